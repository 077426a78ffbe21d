//! The doors: where events come in over protocols that producers already
//! speak, and where plain consumers read them.
//!
//! Promises: a door sees the event log and who may use it, and nothing beyond;
//! a bad request or a bad peer costs that connection at most, never the server;
//! every size that a peer can choose has a limit.

pub mod error;
pub mod kafka;

pub use error::DoorError;
