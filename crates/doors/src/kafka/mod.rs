//! The Kafka door: an event log served to unmodified Kafka clients, as the one
//! broker of a cluster of one.
//!
//! Promises: requests of one connection are answered in order; `acks=all` is
//! answered only once the records are on disk; record batches are stored as
//! they came and sent as they are stored; committed offsets survive a crash
//! once their commit was answered; a transaction is seen whole or not at all
//! by those who read committed records; only requests that work are advertised.
//! Where peers must prove who they are (`security`), they may do only what a
//! rule allows (`guard`) and no more of it than their quota (`throttle`).

mod broker;
mod cluster;
mod codes;
mod configs;
mod connection;
mod describe;
mod dispatch;
mod fetch;
mod fields;
mod frames;
mod groups;
mod guard;
mod journal;
mod list_offsets;
mod listener;
mod metadata;
mod offsets;
mod pace;
mod produce;
mod replicas;
mod security;
mod throttle;
mod topics;
mod transactions;
mod validate;
mod writer;

pub use broker::{Broker, BrokerOptions};
pub use listener::serve;
pub use security::{Authentication, Security, Tls, TlsFiles};
