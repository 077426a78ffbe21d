//! Making appends durable, many at once. While a partition's file is being
//! synced, its appends and waiters gather, and its next sync covers all that
//! came meanwhile: the disk's own pace sets the size of the group.
//!
//! A few threads serve all partitions, because a disk syncs several files
//! together in little more than the time of one. Partitions that somebody
//! waits for come first; the others are swept once per `sync_interval_ms`.

use crate::LogError;
use crate::partition::Partition;
use crate::shared::Shared;
use parking_lot::{Condvar, Mutex};
use pluvio_foundation::Clock;
use std::collections::VecDeque;
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
    dirty: Vec<Arc<Partition>>,
    /// When the dirty ones become due.
    due_us: Option<u64>,
    stopped: bool,
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

    /// This partition has unsynced appends.
    pub(crate) fn add_dirty(&self, partition: Arc<Partition>) {
        let mut pending = self.pending.lock();
        let first = pending.dirty.is_empty();
        pending.dirty.push(partition);
        drop(pending);
        if first {
            self.wake.notify_one();
        }
    }

    /// The partitions with unsynced appends; from here on none is known.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<Partition>> {
        let mut pending = self.pending.lock();
        let mut dirty: Vec<_> = pending.due.drain(..).collect();
        dirty.append(&mut pending.dirty);
        dirty
    }

    /// Ends the threads after their present syncs.
    pub(crate) fn stop(&self) {
        self.pending.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Waits for work; `None` once stopped.
    fn next(&self, clock: &dyn Clock, interval_us: u64) -> Option<Work> {
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
            if pending.dirty.is_empty() {
                self.wake.wait(&mut pending);
                continue;
            }
            let now_us = clock.monotonic_us();
            let due_us = *pending.due_us.get_or_insert(now_us + interval_us);
            let left = Duration::from_micros(due_us.saturating_sub(now_us));
            if left.is_zero() || self.wake.wait_for(&mut pending, left).timed_out() {
                let dirty = std::mem::take(&mut pending.dirty);
                pending.due.extend(dirty);
                pending.due_us = None;
                // The others help.
                self.wake.notify_all();
            }
        }
    }
}

/// A thread's work, until [`SyncQueue::stop`].
pub(crate) fn run(shared: &Shared) {
    let interval_us = shared.options.sync_interval_ms * 1000;
    while let Some(work) = shared.syncs.next(&*shared.clock, interval_us) {
        match work {
            Work::Wanted(partition) => partition.sync_wanted(),
            Work::Due(partition) => partition.sync_round(),
        }
    }
}
