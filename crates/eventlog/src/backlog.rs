//! How many bytes were appended and are not on disk yet: bounded per topic and
//! in total, so that a disk that cannot keep up slows producers down instead
//! of filling memory with what the system has yet to write.
//!
//! An append is never refused for this. Whoever takes appends from outside
//! asks [`Partition::is_crowded`] after each, and if so waits for
//! [`Partition::room`] before the next.

use crate::partition::Partition;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The bytes of all topics, and their limits.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicU64,
    bytes_max: u64,
    topic_bytes_max: u64,
    shrunk: Notify,
}

impl Backlog {
    pub(crate) fn new(topic_bytes_max: u64, bytes_max: u64) -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max, topic_bytes_max, shrunk: Notify::new() }
    }

    /// Bytes were appended.
    pub(crate) fn add(&self, topic: &AtomicU64, bytes: u64) {
        topic.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes were synced, or never will be.
    pub(crate) fn remove(&self, topic: &AtomicU64, bytes: u64) {
        topic.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shrunk.notify_waiters();
    }

    /// Wakes who waits for room, to look again.
    pub(crate) fn wake(&self) {
        self.shrunk.notify_waiters();
    }

    fn is_full(&self, topic: &AtomicU64) -> bool {
        topic.load(Ordering::Relaxed) > self.topic_bytes_max
            || self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }
}

impl Partition {
    /// Whether more bytes of the topic, or of all topics, wait for the disk
    /// than the log's options allow.
    pub fn is_crowded(&self) -> bool {
        self.shared.backlog.is_full(&self.topic.unsynced_bytes)
    }

    /// Waits until the partition is not crowded. Syncs what waits, also where
    /// nobody else would for a while. Returns at once when nothing can be
    /// appended any more.
    pub async fn room(&self) {
        let shared = &self.shared;
        while self.is_crowded() && self.check_usable().is_ok() {
            if !shared.options.background {
                for partition in shared.syncs.take_dirty() {
                    partition.sync_round();
                }
                return;
            }
            let shrunk = shared.backlog.shrunk.notified();
            tokio::pin!(shrunk);
            shrunk.as_mut().enable();
            shared.syncs.hurry();
            if self.is_crowded() && self.check_usable().is_ok() {
                shrunk.await;
            }
        }
    }
}
