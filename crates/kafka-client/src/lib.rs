//! A Kafka client: reads and writes topics of an Apache Kafka, an Event Hubs
//! Kafka endpoint or another Pluvio.
//!
//! # Promises
//! - [`Client`] sends each request to the broker that answers for it (leader,
//!   coordinator or controller), over one connection a broker; produces are
//!   pipelined, a bounded number at a time, and answered in order; records are
//!   sent from where they are.
//! - [`TopicReader`] gives whole record batches of committed transactions only,
//!   from any offset on, as they are stored; reads ahead within a byte budget;
//!   goes on by itself after a broker was away.
//! - [`Transactions`] makes batches and a position visible together or not at
//!   all, and fences whoever used the same name before.
//!
//! # Not here
//! Membership in consumer groups, and retries of single requests: who asks
//! decides what a failure means.

mod admin;
mod client;
mod connection;
mod error;
mod link;
mod login;
mod reader;
mod tls;
mod transactions;

pub use admin::{CommittedOffset, TopicMetadata};
pub use client::{Client, Fetched, Produced};
pub use connection::{Connection, Sasl, Tls};
pub use error::ClientError;
pub use reader::{Batch, Batches, PartitionReader, TopicReader};
pub use transactions::{Position, Transactions};
