//! The continuous-query engine: each trigger reads a bounded range of every
//! partition, runs the jobs' plans on it and commits one epoch.
//!
//! Promises: an epoch is committed by one durable write that holds the source's
//! cut, the watermark, the changed state and the rows of the views; after a crash
//! the next epoch starts exactly there. Jobs that feed each other commit
//! together. Bad events become dead letters in the same write. Lake sinks are
//! fed from the committed rows and are idempotent by (sink, epoch).
//!
//! Does not: parse SQL (that is `query`), listen on anything, or keep rows
//! itself (that is `keytables` and `lake`).

mod compile;
mod graph;
mod jobs;
mod operators;
mod shares;
mod sink;
mod stats;

pub use jobs::{Engine, EngineOptions};
