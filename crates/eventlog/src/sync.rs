//! Making appends durable, many at once. While a partition's file is being
//! synced, its appends and waiters gather, and its next sync covers all that
//! came meanwhile: the disk's own pace sets the size of the group.
//!
//! A few threads serve all partitions, because a disk syncs several files
//! together in little more than the time of one. Partitions that somebody
//! waits for come first; each of the others has its topic's `flush_ms`.

use crate::LogError;
use crate::partition::Partition;
use crate::shared::Shared;
use parking_lot::{Condvar, Mutex};
use pluvio_foundation::Clock;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct SyncQueue {
    pending: Mutex<Pending>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    /// Somebody waits for these.
    wanted: VecDeque<Arc<Partition>>,
    /// Nobody waits, but their time has come.
    due: VecDeque<Arc<Partition>>,
    /// These have unsynced appends.
    dirty: BinaryHeap<Dirty>,
    /// How many were ever dirty: those due at the same time keep their order.
    count: u64,
    stopped: bool,
}

/// A partition with unsynced appends, and when its time comes. The first to
/// come is the largest.
#[derive(Debug)]
struct Dirty {
    due_us: u64,
    number: u64,
    partition: Arc<Partition>,
}

impl Dirty {
    fn rank(&self) -> Reverse<(u64, u64)> {
        Reverse((self.due_us, self.number))
    }
}

impl PartialEq for Dirty {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Dirty {}

impl PartialOrd for Dirty {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Dirty {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

enum Work {
    Wanted(Arc<Partition>),
    Due(Arc<Partition>),
}

impl SyncQueue {
    /// Somebody waits for this partition.
    pub(crate) fn want(&self, partition: Arc<Partition>) -> Result<(), LogError> {
        let mut pending = self.pending.lock();
        if pending.stopped {
            return Err(LogError::Closed);
        }
        pending.wanted.push_back(partition);
        drop(pending);
        self.wake.notify_one();
        Ok(())
    }

    /// This partition has unsynced appends, to be synced at `due_us` of the
    /// monotonic clock if nobody asks before.
    pub(crate) fn add_dirty(&self, partition: Arc<Partition>, due_us: u64) {
        let mut pending = self.pending.lock();
        let first = pending.dirty.peek().is_none_or(|first| due_us < first.due_us);
        let number = pending.count;
        pending.count += 1;
        pending.dirty.push(Dirty { due_us, number, partition });
        drop(pending);
        if first {
            self.wake.notify_one();
        }
    }

    /// The partitions with unsynced appends; from here on none is known.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<Partition>> {
        let mut pending = self.pending.lock();
        let mut dirty: Vec<_> = pending.due.drain(..).collect();
        let rest = std::mem::take(&mut pending.dirty).into_sorted_vec();
        dirty.extend(rest.into_iter().rev().map(|dirty| dirty.partition));
        dirty
    }

    /// All that is unsynced becomes due.
    pub(crate) fn hurry(&self) {
        let mut pending = self.pending.lock();
        let dirty = std::mem::take(&mut pending.dirty).into_sorted_vec();
        pending.due.extend(dirty.into_iter().rev().map(|dirty| dirty.partition));
        drop(pending);
        self.wake.notify_all();
    }

    /// Ends the threads after their present syncs.
    pub(crate) fn stop(&self) {
        self.pending.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Waits for work; `None` once stopped.
    fn next(&self, clock: &dyn Clock) -> Option<Work> {
        let mut pending = self.pending.lock();
        loop {
            if pending.stopped {
                return None;
            }
            if let Some(partition) = pending.wanted.pop_front() {
                return Some(Work::Wanted(partition));
            }
            if let Some(partition) = pending.due.pop_front() {
                return Some(Work::Due(partition));
            }
            let Some(due_us) = pending.dirty.peek().map(|first| first.due_us) else {
                self.wake.wait(&mut pending);
                continue;
            };
            let left = Duration::from_micros(due_us.saturating_sub(clock.monotonic_us()));
            if !left.is_zero() && !self.wake.wait_for(&mut pending, left).timed_out() {
                continue;
            }
            while pending.dirty.peek().is_some_and(|first| first.due_us <= due_us) {
                let first = pending.dirty.pop();
                pending.due.extend(first.map(|dirty| dirty.partition));
            }
            // The others help.
            self.wake.notify_all();
        }
    }
}

/// A thread's work, until [`SyncQueue::stop`].
pub(crate) fn run(shared: &Shared) {
    while let Some(work) = shared.syncs.next(&*shared.clock) {
        match work {
            Work::Wanted(partition) => partition.sync_wanted(),
            Work::Due(partition) => partition.sync_round(),
        }
    }
}
