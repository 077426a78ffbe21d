//! What the jobs of a machine share: the bytes that their epochs hold, and how
//! many of them are busy.
//!
//! Promise: all epochs together read no more than the budget at a time, but for a
//! megabyte that each may always have; one more job at work makes the others' next
//! epochs smaller, not the budget larger.

use std::sync::Arc;

use parking_lot::Mutex;

/// Most bytes that one epoch reads.
const EPOCH_BYTES_MAX: usize = 32 << 20;
/// Least bytes that an epoch may read, however many there are.
const EPOCH_BYTES_MIN: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Shares {
    budget_bytes: usize,
    threads: usize,
    running: Mutex<Running>,
}

/// The epochs that run now.
#[derive(Debug, Default)]
struct Running {
    count: usize,
    /// What they may read, all together.
    bytes: usize,
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
        Arc::new(Self { budget_bytes, threads: threads.max(1), running: Mutex::default() })
    }

    /// Takes part with an epoch, until the share is dropped.
    pub fn enter(self: &Arc<Self>) -> Share {
        let mut running = self.running.lock();
        running.count += 1;
        let left = self.budget_bytes.saturating_sub(running.bytes);
        let bytes = (self.budget_bytes / running.count).min(left).clamp(EPOCH_BYTES_MIN, EPOCH_BYTES_MAX);
        running.bytes += bytes;
        Share { shares: Arc::clone(self), bytes }
    }

    /// How many jobs want each of the machine's threads, at least one.
    pub fn busy_jobs(&self) -> usize {
        self.running.lock().count.div_ceil(self.threads).max(1)
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
        let mut running = self.shares.running.lock();
        running.bytes -= self.bytes;
        running.count -= 1;
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
        let all = first.bytes() + others.iter().map(Share::bytes).sum::<usize>();
        assert!(all <= (64 << 20) + 7 * EPOCH_BYTES_MIN, "{all}");
        assert_eq!((others[6].bytes(), shares.busy_jobs()), (EPOCH_BYTES_MIN, 4));
        drop((first, others));
        let all: Vec<Share> = (0..8).map(|_| shares.enter()).collect();
        assert_eq!(shares.busy_jobs(), 4);
        drop(all);
        assert_eq!((shares.enter().bytes(), shares.busy_jobs()), (32 << 20, 1));
    }
}
