//! What every crate of Pluvio stands on: kinds of errors, limits, and the three
//! things a deterministic test must own: the clock, the disk and randomness.
//!
//! Promises: no threads, no I/O except behind [`Disk`], nothing that knows a
//! protocol, a schema or a query.

pub mod clock;
pub mod disk;
pub mod error;
pub mod hash;
pub mod limits;
pub mod metrics;
pub mod priority;
pub mod random;

pub use clock::{Clock, SystemClock};
pub use disk::{Disk, DiskFile, OpenMode, RealDisk};
pub use error::ErrorKind;
pub use metrics::Metrics;
pub use random::{Random, SystemRandom};
