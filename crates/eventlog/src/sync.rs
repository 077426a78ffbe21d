//! Making appends durable, many at once. While a partition's file is being
//! synced, its appends and waiters gather, and its next sync covers all that
//! came meanwhile: the disk's own pace sets the size of the group.
//!
//! A few threads serve all partitions, because a disk syncs several files
//! together in little more than the time of one. Partitions that somebody
//! waits for come first; each of the others has its topic's `flush_ms`. When the
//! time of many comes at once, the disk first writes all that it holds back in one
//! pass, and then finds little to do in each of their files.

use crate::LogError;
use crate::partition::Partition;
use crate::shared::Shared;
use parking_lot::{Condvar, Mutex};
use pluvio_foundation::Clock;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// So many partitions due at once make a pass over all files worth it: it costs
/// an eighth of their syncs' processor time.
const TOGETHER_MIN: usize = 32;
/// What is due so soon goes with what is due now.
const NEAR_US: u64 = 50_000;
/// The pass writes what others hold back, too: longer than this nobody waits for it.
const PASS_US_MAX: u64 = 300_000;

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
    /// Until when those that are due wait for the pass over all files.
    pass_until_us: Option<u64>,
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
    /// Write what the disk holds back of all files.
    Pass,
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
        let mut waited_until_us = 0;
        loop {
            if pending.stopped {
                return None;
            }
            if let Some(partition) = pending.wanted.pop_front() {
                return Some(Work::Wanted(partition));
            }
            let now_us = clock.monotonic_us().max(waited_until_us);
            if pending.pass_until_us.is_none_or(|until_us| now_us >= until_us)
                && let Some(partition) = pending.due.pop_front()
            {
                return Some(Work::Due(partition));
            }
            if pending.gather(now_us) {
                return Some(Work::Pass);
            }
            if !pending.due.is_empty() && pending.pass_until_us.is_none() {
                // The others help.
                self.wake.notify_all();
                continue;
            }
            let first_us = pending.dirty.peek().map(|first| first.due_us);
            let pass_us = pending.pass_until_us.filter(|_| !pending.due.is_empty());
            let Some(until_us) = first_us.into_iter().chain(pass_us).min() else {
                self.wake.wait(&mut pending);
                continue;
            };
            let left = Duration::from_micros(until_us.saturating_sub(now_us));
            if self.wake.wait_for(&mut pending, left).timed_out() {
                waited_until_us = until_us;
            }
        }
    }

    /// The pass over all files is done.
    fn passed(&self) {
        self.pending.lock().pass_until_us = None;
        self.wake.notify_all();
    }
}

impl Pending {
    /// Puts those whose time has come to those that are due, and where there are many
    /// also those whose time is near; whether they are so many that a pass over all
    /// files is to come first.
    fn gather(&mut self, now_us: u64) -> bool {
        if self.dirty.peek().is_none_or(|first| first.due_us > now_us) {
            return false;
        }
        let many = self.dirty.len() >= TOGETHER_MIN;
        let until_us = now_us.saturating_add(if many { NEAR_US } else { 0 });
        while self.dirty.peek().is_some_and(|first| first.due_us <= until_us) {
            let first = self.dirty.pop();
            self.due.extend(first.map(|dirty| dirty.partition));
        }
        let passes = self.due.len() >= TOGETHER_MIN && self.pass_until_us.is_none();
        if passes {
            self.pass_until_us = Some(now_us.saturating_add(PASS_US_MAX));
        }
        passes
    }
}

/// A thread's work, until [`SyncQueue::stop`].
pub(crate) fn run(shared: &Shared) {
    while let Some(work) = shared.syncs.next(&*shared.clock) {
        match work {
            Work::Wanted(partition) => partition.sync_wanted(),
            Work::Due(partition) => partition.sync_round(),
            Work::Pass => {
                shared.disk.write_back(&shared.root);
                shared.syncs.passed();
            }
        }
    }
}
