//! The Kafka protocol as bytes and messages: record batches, request frames
//! and the messages inside them.
//!
//! Promises: no sockets, no files, no threads; every size that comes off the
//! wire is checked before memory is taken for it; records are never copied
//! when they can be sliced.
//! It does not decide anything: what a request means is the door's business.

pub mod api;
pub mod client;
pub mod compression;
pub mod error;
pub mod fetch;
pub mod frame;
pub mod produce;
pub mod reader;
pub mod records;
pub mod request;
pub mod sasl;
pub mod shape;
pub mod varint;
pub mod writer;

pub use api::{APIS, Api};
pub use compression::Compression;
pub use error::WireError;
pub use frame::RequestHead;
pub use produce::TopicRef;
pub use request::Request;
