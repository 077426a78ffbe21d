//! Feeds: what fills a stream's topic besides producers. The lines of files
//! that grow, lines that peers send over TCP, and made-up events.
//!
//! # Promises
//! - A feed appends as a producer would: its events are the log's, with its
//!   offsets, retention and readers, and their time is when they were appended.
//! - Files and generators are exactly once across any end of the process, also
//!   when the machine loses power: how far a feed has come stands in the topic,
//!   in the batch that took it there. A checkpoint beside it only shortens the
//!   reading of the topic at a start, and never says what the topic does not.
//! - Lines over TCP are not acknowledged by their protocol: what a peer sent and
//!   was not read when its connection broke is lost, nothing is there twice.
//! - A feed slows down with the log: it appends no more while the log has no
//!   [room](pluvio_eventlog::Partition::room).
//! - A feed that fails says so in its [status](Feeds::status) and tries again.
//!
//! # What it does not do
//! It decodes no event and knows no query. It does not make topics.
//!
//! # Headers of events
//! An event of a file has `file` (the path under which the file was first found)
//! and `position` (where in the file the line ends); one of a connection has
//! `peer`. The last event of a batch has `feed` besides, which is ours to read:
//! `files GENERATION DEVICE INODE HEAD-LENGTH HEAD-HASH STREAM` or
//! `generator FIRST-NUMBER NUMBER-BEHIND-THE-LAST STREAM`.
//!
//! # Layout on disk
//! ```text
//! <stream>-<hash>.json     how far a feed has come    checkpoint.rs
//! ```
//!
//! # Numbers
//! By stream: `feed_events`, `feed_bytes`, `feed_skipped`.

mod checkpoint;
mod context;
mod error;
mod feeds;
mod files;
mod generator;
mod lines;
mod mark;
mod runner;
mod scan;
mod splitting;
mod status;
mod stop;
mod target;

pub use error::FeedError;
pub use feeds::{Feeds, FeedsOptions};
pub use status::{FeedState, FeedStatus};
