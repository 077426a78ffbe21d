//! The engine over real stores: SQL behaviour as data files, jobs against batch
//! queries over the same events, and power failures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod catching_up;
mod compacted;
mod crash;
mod idle;
mod instant;
mod oracle;
mod platform;
mod processing_time;
mod queries;
mod random_queries;
mod slt;
mod ttl;
mod workload;
