//! Being told of changes in many partitions through one place.
//!
//! Promises: once a partition is followed, every later change of its end, its
//! start or its existence is told; however often a partition changes before
//! its token is taken, it is told once. Following costs an append one atomic
//! operation if the change is not taken yet, and a partition that nobody
//! follows one load. What changed is not said: the partition tells that.

use crate::partition::Partition;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Collects which of the followed partitions changed. For one waiter at a time.
#[derive(Debug, Default)]
pub struct Changes {
    gathered: Arc<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    changed: Mutex<Vec<Arc<Follower>>>,
    notify: Notify,
}

#[derive(Debug)]
struct Follower {
    token: u32,
    /// Whether the change is told and not taken yet.
    told: AtomicBool,
    gathered: Arc<Gathered>,
}

/// A partition that is followed for as long as this lives.
#[derive(Debug)]
pub struct Followed {
    partition: Arc<Partition>,
    follower: Arc<Follower>,
}

/// Who follows a partition.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Follower>>>,
}

impl Changes {
    /// Follows a partition; its changes are told as `token`. Whatever is read
    /// from the partition after this call is not older than what is told.
    pub fn follow(&self, partition: &Arc<Partition>, token: u32) -> Followed {
        let gathered = Arc::clone(&self.gathered);
        let follower = Arc::new(Follower { token, told: AtomicBool::new(false), gathered });
        partition.followers.add(Arc::clone(&follower));
        Followed { partition: Arc::clone(partition), follower }
    }

    /// Adds the tokens of the partitions that changed since they were last
    /// taken. One may be of a partition that is not followed any more.
    pub fn take(&self, tokens: &mut Vec<u32>) {
        let mut changed = self.gathered.changed.lock();
        for follower in changed.drain(..) {
            follower.told.store(false, Ordering::SeqCst);
            tokens.push(follower.token);
        }
    }

    /// Waits until there is something to take.
    pub async fn changed(&self) {
        while self.gathered.changed.lock().is_empty() {
            self.gathered.notify.notified().await;
        }
    }
}

impl Followed {
    /// The partition.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.partition.followers.remove(&self.follower);
    }
}

impl Followers {
    fn add(&self, follower: Arc<Follower>) {
        let mut list = self.list.lock();
        list.push(follower);
        self.count.store(list.len(), Ordering::SeqCst);
    }

    fn remove(&self, follower: &Arc<Follower>) {
        let mut list = self.list.lock();
        if let Some(place) = list.iter().position(|it| Arc::ptr_eq(it, follower)) {
            list.swap_remove(place);
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// Tells all. Whoever changed something stored it (sequentially
    /// consistent) before this, so that a follower either is told or, having
    /// come later, reads the new value.
    pub(crate) fn tell(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for follower in self.list.lock().iter() {
            if !follower.told.swap(true, Ordering::SeqCst) {
                follower.gathered.changed.lock().push(Arc::clone(follower));
                follower.gathered.notify.notify_one();
            }
        }
    }
}
