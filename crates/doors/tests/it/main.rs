//! The Kafka door over a real event log and real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod admin;
mod consumer_groups;
mod describe;
mod faults;
mod fetch_sessions;
mod groups;
mod harness;
mod memory;
mod offsets;
mod records;
mod transactional;
mod transactions;
