//! The newest batches of each partition in memory, under a byte budget per
//! topic and one over all topics. The oldest of a topic leaves first, whichever
//! partition it is in; over the total budget the largest topic gives way.
//!
//! A partition's tail is always an unbroken run up to its newest batch. What a
//! compaction made anew leaves it, so that reads find what is left. Locks
//! here are leaves: none is taken while another one of them is held.

use crate::buffers::Buffers;
use crate::read::StoredBatch;
use parking_lot::Mutex;
use pluvio_foundation::metrics::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What a batch costs beside its bytes.
const OVERHEAD_BYTES: u64 = 128;

/// One partition's batches in memory, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: Mutex<VecDeque<StoredBatch>>,
}

impl Tail {
    /// Whole batches from the one that holds `from` on, of `bytes_max` bytes
    /// but at least one; `None` if `from` is not in memory.
    pub(crate) fn read(&self, from: i64, bytes_max: usize) -> Option<Vec<StoredBatch>> {
        let batches = self.batches.lock();
        if batches.front()?.base_offset > from {
            return None;
        }
        let first = batches.partition_point(|batch| batch.last_offset < from);
        let mut left = bytes_max;
        let mut chosen = Vec::new();
        for batch in batches.range(first..) {
            if batch.bytes.len() > left && !chosen.is_empty() {
                break;
            }
            left = left.saturating_sub(batch.bytes.len());
            chosen.push(batch.clone());
        }
        if chosen.is_empty() { None } else { Some(chosen) }
    }
}

impl Tail {
    /// The offset of the oldest event in memory.
    pub(crate) fn first_offset(&self) -> Option<i64> {
        self.batches.lock().front().map(|batch| batch.base_offset)
    }
}

/// One topic's share.
#[derive(Debug, Default)]
pub(crate) struct TopicTail {
    bytes_max: AtomicU64,
    bytes: AtomicU64,
    /// For each batch in memory the tail it is in, oldest first.
    order: Mutex<VecDeque<Arc<Tail>>>,
}

/// The budgets.
#[derive(Debug)]
pub(crate) struct TailBudget {
    total_bytes_max: u64,
    total_bytes: AtomicU64,
    topics: Mutex<Vec<Weak<TopicTail>>>,
    shown: Arc<Cell>,
    /// Where the memory of batches that leave goes.
    buffers: Arc<Buffers>,
}

impl TailBudget {
    pub(crate) fn new(total_bytes_max: usize, shown: Arc<Cell>, buffers: Arc<Buffers>) -> Self {
        Self {
            total_bytes_max: total_bytes_max as u64,
            total_bytes: AtomicU64::new(0),
            topics: Mutex::default(),
            shown,
            buffers,
        }
    }

    /// Takes a topic of so many bytes at most under the budgets.
    pub(crate) fn new_topic(&self, bytes_max: u64) -> Arc<TopicTail> {
        let topic = Arc::new(TopicTail { bytes_max: bytes_max.into(), ..TopicTail::default() });
        let mut topics = self.topics.lock();
        topics.retain(|topic| topic.strong_count() > 0);
        topics.push(Arc::downgrade(&topic));
        topic
    }

    /// Adds a partition's newest batch and lets old ones go.
    pub(crate) fn push(&self, topic: &TopicTail, tail: &Arc<Tail>, batch: StoredBatch) {
        let cost = cost(&batch);
        tail.batches.lock().push_back(batch);
        topic.order.lock().push_back(Arc::clone(tail));
        topic.bytes.fetch_add(cost, Ordering::Relaxed);
        self.total_bytes.fetch_add(cost, Ordering::Relaxed);
        self.fit(topic);
        if self.total_bytes.load(Ordering::Relaxed) > self.total_bytes_max {
            self.shrink();
        }
        self.shown.set(self.total_bytes.load(Ordering::Relaxed));
    }

    /// Gives a topic another share; what is too much for it goes.
    pub(crate) fn limit(&self, topic: &TopicTail, bytes_max: u64) {
        topic.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.fit(topic);
        self.shown.set(self.total_bytes.load(Ordering::Relaxed));
    }

    fn fit(&self, topic: &TopicTail) {
        let bytes_max = topic.bytes_max.load(Ordering::Relaxed);
        while topic.bytes.load(Ordering::Relaxed) > bytes_max && self.evict_oldest(topic) {}
    }

    /// Lets go of all of a deleted topic's batches.
    pub(crate) fn forget(&self, topic: &TopicTail) {
        while self.evict_oldest(topic) {}
        self.shown.set(self.total_bytes.load(Ordering::Relaxed));
    }

    /// Lets go of a partition's batches that begin before `offset`.
    pub(crate) fn drop_before(&self, topic: &TopicTail, tail: &Arc<Tail>, offset: i64) {
        let mut left = tail.batches.lock().partition_point(|batch| batch.base_offset < offset);
        let mut count = 0;
        topic.order.lock().retain(|of| {
            let goes = left > 0 && Arc::ptr_eq(of, tail);
            left -= usize::from(goes);
            count += usize::from(goes);
            !goes
        });
        // As many as places in the order, whoever else takes some meanwhile.
        for _ in 0..count {
            self.evict_from(topic, tail);
        }
        self.shown.set(self.total_bytes.load(Ordering::Relaxed));
    }

    fn evict_oldest(&self, topic: &TopicTail) -> bool {
        let Some(tail) = topic.order.lock().pop_front() else { return false };
        self.evict_from(topic, &tail);
        true
    }

    fn evict_from(&self, topic: &TopicTail, tail: &Tail) {
        let batch = tail.batches.lock().pop_front();
        if let Some(batch) = batch {
            topic.bytes.fetch_sub(cost(&batch), Ordering::Relaxed);
            self.total_bytes.fetch_sub(cost(&batch), Ordering::Relaxed);
            self.buffers.give(batch.bytes);
        }
    }

    /// Takes from the largest topics until a sixteenth of the total is free
    /// again, so that this is not done at every append.
    fn shrink(&self) {
        let goal = self.total_bytes_max - self.total_bytes_max / 16;
        let mut topics: Vec<Arc<TopicTail>> = self.topics.lock().iter().filter_map(Weak::upgrade).collect();
        topics.sort_by_key(|topic| std::cmp::Reverse(topic.bytes.load(Ordering::Relaxed)));
        for position in 0..topics.len() {
            let next_largest =
                topics.get(position + 1).map_or(0, |topic| topic.bytes.load(Ordering::Relaxed));
            // Down to the size of the next: from there on they give in turn.
            for topic in &topics[..=position] {
                while self.total_bytes.load(Ordering::Relaxed) > goal
                    && topic.bytes.load(Ordering::Relaxed) > next_largest
                    && self.evict_oldest(topic)
                {}
            }
            if self.total_bytes.load(Ordering::Relaxed) <= goal {
                return;
            }
        }
    }
}

fn cost(batch: &StoredBatch) -> u64 {
    batch.bytes.len() as u64 + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn stored(offset: i64, bytes: usize) -> StoredBatch {
        StoredBatch {
            bytes: Bytes::from(vec![0; bytes]),
            base_offset: offset,
            last_offset: offset + 9,
            records: 10,
            append_time_ms: Some(1),
        }
    }

    #[test]
    fn reads_whole_batches_from_the_middle() {
        let budget = TailBudget::new(1 << 20, Arc::default(), Arc::default());
        let (topic, tail) = (budget.new_topic(1 << 20), Arc::default());
        for batch in 0..10 {
            budget.push(&topic, &tail, stored(100 + batch * 10, 50));
        }
        let offsets = |from, max| {
            tail.read(from, max)
                .map(|batches| batches.iter().map(|batch| batch.base_offset).collect::<Vec<_>>())
        };
        assert_eq!(offsets(99, 1000), None);
        assert_eq!(offsets(115, 120).unwrap(), [110, 120]);
        assert_eq!(offsets(120, 0).unwrap(), [120]);
        assert_eq!(offsets(199, 1000).unwrap(), [190]);
        assert_eq!(offsets(200, 1000), None);
    }

    #[test]
    fn the_oldest_of_the_topic_leaves_first() {
        let budget = TailBudget::new(1 << 20, Arc::default(), Arc::default());
        let topic = budget.new_topic(1000);
        let tails: [Arc<Tail>; 2] = Default::default();
        for batch in 0..10 {
            budget.push(&topic, &tails[0], stored(batch * 10, 122));
        }
        // Four of 250 bytes fit; the other partition pushes the first one's out.
        assert_eq!(tails[0].read(60, 9000).unwrap().len(), 4);
        budget.push(&topic, &tails[1], stored(0, 122));
        assert!(tails[0].read(60, 9000).is_none() && tails[1].read(0, 0).is_some());
        budget.push(&topic, &tails[1], stored(10, 5000));
        assert!(tails[1].read(10, 0).is_none() && tails[0].read(90, 0).is_none());
        assert_eq!(budget.total_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_was_made_anew_leaves_with_its_place_in_the_order() {
        let budget = TailBudget::new(1 << 20, Arc::default(), Arc::default());
        let topic = budget.new_topic(1 << 20);
        let tails: [Arc<Tail>; 2] = Default::default();
        for batch in 0..10 {
            tails.iter().for_each(|tail| budget.push(&topic, tail, stored(batch * 10, 122)));
        }
        budget.drop_before(&topic, &tails[0], 55);
        assert!(tails[0].read(50, 9000).is_none());
        assert_eq!(tails[0].read(60, 9000).unwrap().len(), 4);
        assert_eq!(tails[1].read(0, 9000).unwrap().len(), 10);
        assert_eq!(topic.order.lock().len(), 14);
        assert_eq!((topic.bytes.load(Ordering::Relaxed), budget.shown.get()), (14 * 250, 14 * 250));
        budget.drop_before(&topic, &tails[0], 55);
        budget.drop_before(&topic, &tails[0], i64::MAX);
        budget.forget(&topic);
        assert_eq!(budget.total_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_largest_topic_gives_way() {
        let budget = TailBudget::new(10_000, Arc::default(), Arc::default());
        let (large, small) = (budget.new_topic(1 << 20), budget.new_topic(1 << 20));
        let (large_tail, small_tail) = (Arc::default(), Arc::default());
        budget.push(&small, &small_tail, stored(0, 872));
        for batch in 0..100 {
            budget.push(&large, &large_tail, stored(batch * 10, 372));
        }
        assert!(small_tail.read(0, 0).is_some());
        let total = budget.total_bytes.load(Ordering::Relaxed);
        assert!((8_000..=10_000).contains(&total), "{total}");
        budget.forget(&large);
        assert_eq!(budget.shown.get(), 1000);
    }

    #[test]
    fn a_smaller_share_lets_the_oldest_go() {
        let budget = TailBudget::new(1 << 20, Arc::default(), Arc::default());
        let (topic, tail) = (budget.new_topic(u64::MAX), Arc::default());
        for batch in 0..10 {
            budget.push(&topic, &tail, stored(batch * 10, 122));
        }
        budget.limit(&topic, 600);
        assert_eq!((tail.first_offset(), budget.shown.get()), (Some(80), 500));
        budget.limit(&topic, 1_000);
        budget.push(&topic, &tail, stored(100, 122));
        assert_eq!((tail.first_offset(), budget.shown.get()), (Some(80), 750));
        budget.limit(&topic, 0);
        assert_eq!((tail.first_offset(), budget.shown.get()), (None, 0));
    }
}
