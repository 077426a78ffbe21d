//! The access file over real and failing disks, and its frozen sample.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod frozen;
mod store;
