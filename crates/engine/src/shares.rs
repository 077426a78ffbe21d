//! What the jobs of a machine share: the bytes that their epochs hold, and how
//! many of them are busy.
//!
//! Promise: all epochs together read no more than the budget at a time, and one
//! more job at work makes the others' epochs smaller, not the budget larger.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes that one epoch reads.
const EPOCH_BYTES_MAX: usize = 32 << 20;
/// Least bytes that an epoch may read, however many there are.
const EPOCH_BYTES_MIN: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Shares {
    budget_bytes: usize,
    threads: usize,
    running: AtomicUsize,
}

/// A place among the running epochs.
pub struct Share {
    shares: Arc<Shares>,
    bytes: usize,
}

impl Shares {
    /// A budget for all epochs that run at a time, on a machine with so many
    /// threads for them.
    pub fn new(budget_bytes: usize, threads: usize) -> Arc<Self> {
        Arc::new(Self { budget_bytes, threads: threads.max(1), running: AtomicUsize::new(0) })
    }

    /// Takes part with an epoch, until the share is dropped.
    pub fn enter(self: &Arc<Self>) -> Share {
        let running = self.running.fetch_add(1, Ordering::AcqRel) + 1;
        let bytes = (self.budget_bytes / running).clamp(EPOCH_BYTES_MIN, EPOCH_BYTES_MAX);
        Share { shares: Arc::clone(self), bytes }
    }

    /// How many jobs want each of the machine's threads, at least one.
    pub fn busy_jobs(&self) -> usize {
        self.running.load(Ordering::Relaxed).div_ceil(self.threads).max(1)
    }
}

impl Share {
    /// Most bytes that the epoch may read.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_jobs_take_less_each() {
        let shares = Shares::new(64 << 20, 2);
        let first = shares.enter();
        assert_eq!((first.bytes(), shares.busy_jobs()), (32 << 20, 1));
        let others: Vec<Share> = (0..7).map(|_| shares.enter()).collect();
        assert_eq!((others[6].bytes(), shares.busy_jobs()), (8 << 20, 4));
        drop(others);
        assert_eq!((shares.enter().bytes(), shares.busy_jobs()), (32 << 20, 1));
    }
}
