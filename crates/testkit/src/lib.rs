//! What tests of the stores stand on: a disk that loses and tears what was not
//! synced, and a clock that moves only when told to.
//!
//! Promises: everything random comes from the caller's seed, so the same seed
//! gives the same crash; nothing touches the machine's disk or clock.

pub mod clock;
pub mod disk;

pub use clock::ManualClock;
pub use disk::SimDisk;
