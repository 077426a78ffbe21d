//! The pace of a connection.
//!
//! No request is read while the disk is too far behind what the connection's
//! last ones brought. The peer's socket fills up, and it slows down, without an
//! error and without a thread held.
//!
//! A fetch that names very many partitions costs by their number, whether each
//! has one new record or a hundred; such fetches follow each other no faster
//! than every few milliseconds. The first one after a pause does not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pluvio_eventlog::Partition;

/// Between two full fetches there are so many microseconds for each partition.
const US_PER_PARTITION: u64 = 5;
/// Less than this is not waited for, more neither.
const TURN_US: std::ops::RangeInclusive<u64> = 1_000..=5_000;

/// What one connection has to wait for.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    crowded: Mutex<Vec<Arc<Partition>>>,
    /// When the next full fetch has its turn, by the monotonic clock.
    turn_us: AtomicU64,
}

impl Pace {
    /// Something was appended to this partition.
    pub fn note(&self, partition: &Arc<Partition>) {
        if partition.is_crowded() {
            self.crowded.lock().push(Arc::clone(partition));
        }
    }

    /// Waits until more may be appended.
    pub async fn room(&self) {
        let crowded = std::mem::take(&mut *self.crowded.lock());
        for partition in crowded {
            partition.room().await;
        }
    }

    /// How long a full fetch of so many partitions waits for its turn.
    pub fn until_turn(&self, now_us: u64, partitions: usize) -> Option<Duration> {
        let interval_us = (partitions as u64).saturating_mul(US_PER_PARTITION).min(*TURN_US.end());
        if interval_us < *TURN_US.start() {
            return None;
        }
        let turn_us = self.turn_us.load(Ordering::Relaxed).max(now_us);
        self.turn_us.store(turn_us + interval_us, Ordering::Relaxed);
        (turn_us > now_us).then(|| Duration::from_micros(turn_us - now_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_of_many_partitions_take_turns() {
        let pace = Pace::default();
        let waits = |now_us, partitions| pace.until_turn(now_us, partitions).map(|it| it.as_micros());
        assert_eq!((waits(10_000, 50), waits(10_000, 50)), (None, None), "few partitions");
        assert_eq!(waits(10_000, 400), None, "the first after a pause");
        assert_eq!(waits(10_500, 400), Some(1_500), "every two milliseconds");
        assert_eq!(waits(40_000, 1 << 20), None);
        assert_eq!(waits(40_000, 1 << 20), Some(5_000), "never longer");
    }
}
