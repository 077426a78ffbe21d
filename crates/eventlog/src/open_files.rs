//! A bound on what segments keep at hand: open files, or indexes in memory.
//! The one that came first and was not used since goes first.

use crate::segment::Segment;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// Segments that hold something, in the order in which they took it.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    holders_max: usize,
    holders: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    pub(crate) fn new(holders_max: usize) -> Self {
        Self { holders_max: holders_max.max(1), holders: Mutex::default() }
    }

    /// Notes a new holder; those over the bound are asked to let go. `release`
    /// says whether the segment is rid of it (false: it is in use, ask again
    /// later). Call without any lock of a segment held.
    pub(crate) fn add(&self, segment: &Arc<Segment>, release: impl Fn(&Segment) -> bool) {
        let mut over = {
            let mut holders = self.holders.lock();
            holders.push_back(Arc::downgrade(segment));
            holders.len().saturating_sub(self.holders_max)
        };
        // Ask each at most once, so that a bound below what is in use ends.
        let mut asked = 0;
        while over > 0 && asked <= self.holders_max {
            let Some(first) = self.holders.lock().pop_front() else { return };
            match first.upgrade() {
                Some(holder) if !release(&holder) => self.holders.lock().push_back(first),
                _ => over -= 1,
            }
            asked += 1;
        }
    }
}
