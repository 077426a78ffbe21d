//! The wire against the library that is generated from Kafka's own message
//! definitions: every request we read, in every version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fuzz_corpus;
mod golden;
mod hot;
mod shapes;
mod shapes_access;
