//! How much of memory groups take for what their members tell and are given.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most of one group, in bytes: one of the classic protocol is one stored record.
pub(super) const GROUP_BYTES_MAX: usize = 32 << 20;
/// What an entry of a list takes beside its text, in bytes.
pub(super) const ENTRY_BYTES: usize = 64;

/// What all groups take together.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: usize,
    bytes: Arc<AtomicUsize>,
}

impl Memory {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: Arc::default() }
    }

    /// A group's share, none at first.
    pub fn share(&self) -> Share {
        Share { own: 0, bytes_max: self.bytes_max, all: Arc::clone(&self.bytes) }
    }
}

/// What one group takes; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    own: usize,
    bytes_max: usize,
    all: Arc<AtomicUsize>,
}

impl Share {
    /// Most that the group may take now: always what it has, so that its members
    /// can join again.
    pub fn bytes_max(&self) -> usize {
        let free = self.bytes_max.saturating_sub(self.all.load(Ordering::Relaxed));
        self.own.max(GROUP_BYTES_MAX.min(self.own + free))
    }

    /// The group takes so much now.
    pub fn set(&mut self, bytes: usize) {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_sub(self.own, Ordering::Relaxed);
        self.own = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_have_what_it_has_and_what_is_free() {
        let memory = Memory::new(100);
        let (mut one, mut two) = (memory.share(), memory.share());
        one.set(70);
        two.set(40);
        assert_eq!((one.bytes_max(), two.bytes_max()), (70, 40));
        drop(one);
        assert_eq!(two.bytes_max(), 100);
        two.set(0);
        assert_eq!(memory.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(Memory::new(usize::MAX).share().bytes_max(), GROUP_BYTES_MAX);
    }
}
