//! What a partition knows of transactions: which of them are ongoing, and
//! where those lie that were aborted.
//!
//! A producer's transaction begins in a partition with its first batch there
//! and ends with a marker. Events before the first offset of every ongoing
//! transaction are decided: that offset is the last stable offset. An aborted
//! transaction's batches stay in the log; readers of committed events leave
//! them out by the list kept here, which ends with the events themselves.

use bytes::{Buf, BufMut};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Most aborted transactions remembered, and so most that the retained events
/// of one partition may hold; 32 bytes of memory each.
pub(crate) const ABORTED_MAX: usize = 1 << 20;
const ONGOING_BYTES: usize = 16;
const ABORTED_BYTES: usize = 32;
/// What [`Transactions::first_unstable`] says if no transaction is ongoing.
pub(crate) const ALL_STABLE: i64 = i64::MAX;

/// An aborted transaction of one producer in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Whose it was.
    pub producer_id: i64,
    /// The offset of its first event.
    pub first_offset: i64,
    /// The offset of its marker.
    pub last_offset: i64,
    /// The last stable offset once it had ended: no transaction that ended
    /// later begins before it.
    stable_offset: i64,
}

/// A partition's transactions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Transactions {
    /// First offset by producer.
    ongoing: HashMap<i64, i64>,
    /// Producer by first offset.
    by_first: BTreeMap<i64, i64>,
    /// By the offset of the marker.
    aborted: VecDeque<Aborted>,
}

impl Transactions {
    /// A producer's batch with this first offset was appended.
    pub(crate) fn note_data(&mut self, producer_id: i64, base_offset: i64) {
        if self.ongoing.contains_key(&producer_id) {
            return;
        }
        self.ongoing.insert(producer_id, base_offset);
        self.by_first.insert(base_offset, producer_id);
    }

    /// A marker was appended. One for a producer without an ongoing
    /// transaction ends nothing.
    pub(crate) fn note_marker(&mut self, producer_id: i64, marker_offset: i64, is_commit: bool) {
        let Some(first_offset) = self.ongoing.remove(&producer_id) else { return };
        self.by_first.remove(&first_offset);
        if is_commit {
            return;
        }
        let stable_offset = self.first_unstable().min(marker_offset + 1);
        self.aborted.push_back(Aborted {
            producer_id,
            first_offset,
            last_offset: marker_offset,
            stable_offset,
        });
    }

    /// The first offset of a producer's ongoing transaction.
    pub(crate) fn ongoing_since(&self, producer_id: i64) -> Option<i64> {
        self.ongoing.get(&producer_id).copied()
    }

    /// Whose transactions are ongoing, by first offset.
    pub(crate) fn ongoing(&self) -> impl Iterator<Item = i64> {
        self.by_first.values().copied()
    }

    /// The first offset of all ongoing transactions.
    pub(crate) fn first_unstable(&self) -> i64 {
        self.by_first.first_key_value().map_or(ALL_STABLE, |(first, _)| *first)
    }

    /// Whether one more transaction may begin: all that are ongoing may yet be
    /// aborted.
    pub(crate) fn has_room(&self) -> bool {
        self.aborted.len() + self.ongoing.len() < ABORTED_MAX
    }

    /// The aborted transactions with events in `[from, upto)`, by the offset
    /// of their marker.
    pub(crate) fn aborted_in(&self, from: i64, upto: i64) -> Vec<Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let mut found = Vec::new();
        for aborted in self.aborted.range(first..) {
            if aborted.first_offset < upto {
                found.push(*aborted);
            }
            if aborted.stable_offset >= upto {
                break;
            }
        }
        found
    }

    /// Forgets aborted transactions that lie wholly before `start`.
    pub(crate) fn forget_before(&mut self, start: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < start);
        self.aborted.drain(..gone);
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        8 + self.ongoing.len() * ONGOING_BYTES + self.aborted.len() * ABORTED_BYTES
    }

    /// Writes the part of a snapshot; see [`crate::snapshot`].
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(self.by_first.len()).unwrap_or(0));
        for (first_offset, producer_id) in &self.by_first {
            out.put_i64(*producer_id);
            out.put_i64(*first_offset);
        }
        out.put_u32(u32::try_from(self.aborted.len()).unwrap_or(0));
        for aborted in &self.aborted {
            out.put_i64(aborted.producer_id);
            out.put_i64(aborted.first_offset);
            out.put_i64(aborted.last_offset);
            out.put_i64(aborted.stable_offset);
        }
    }

    /// Reads the part of a snapshot.
    pub(crate) fn decode(content: &mut &[u8]) -> Option<Self> {
        let mut transactions = Self::default();
        for _ in 0..content.try_get_u32().ok()? {
            let producer_id = content.try_get_i64().ok()?;
            transactions.note_data(producer_id, content.try_get_i64().ok()?);
        }
        for _ in 0..content.try_get_u32().ok()? {
            transactions.aborted.push_back(Aborted {
                producer_id: content.try_get_i64().ok()?,
                first_offset: content.try_get_i64().ok()?,
                last_offset: content.try_get_i64().ok()?,
                stable_offset: content.try_get_i64().ok()?,
            });
        }
        Some(transactions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(found: &[Aborted]) -> Vec<(i64, i64, i64)> {
        found.iter().map(|it| (it.producer_id, it.first_offset, it.last_offset)).collect()
    }

    #[test]
    fn the_oldest_ongoing_one_bounds_what_is_stable() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.first_unstable(), ALL_STABLE);
        transactions.note_data(1, 10);
        transactions.note_data(2, 12);
        transactions.note_data(1, 14);
        assert_eq!(transactions.first_unstable(), 10);
        transactions.note_marker(1, 16, true);
        assert_eq!((transactions.first_unstable(), transactions.ongoing_since(2)), (12, Some(12)));
        transactions.note_marker(2, 17, false);
        assert_eq!(transactions.first_unstable(), ALL_STABLE);
        assert_eq!(ranges(&transactions.aborted_in(0, 100)), [(2, 12, 17)]);
        // A marker written again ends nothing.
        transactions.note_marker(2, 18, false);
        assert_eq!(transactions.aborted_in(0, 100).len(), 1);
    }

    #[test]
    fn aborted_ones_are_found_by_range_and_forgotten_with_their_events() {
        let mut transactions = Transactions::default();
        // Producer 9 spans what the others do, and ends last.
        transactions.note_data(9, 0);
        for number in 0..10 {
            transactions.note_data(number % 3, 1 + number * 10);
            transactions.note_marker(number % 3, 5 + number * 10, number % 2 == 0);
        }
        transactions.note_marker(9, 100, false);
        let found = |from, upto| ranges(&transactions.aborted_in(from, upto));
        assert_eq!(found(0, 1), [(9, 0, 100)]);
        assert_eq!(found(12, 32), [(1, 11, 15), (0, 31, 35), (9, 0, 100)]);
        assert_eq!(found(16, 31), [(9, 0, 100)]);
        assert_eq!(found(101, 200), []);
        transactions.forget_before(36);
        assert_eq!(ranges(&transactions.aborted_in(0, 52)), [(2, 51, 55), (9, 0, 100)]);
    }

    /// The early end of the search must not lose any: compared with a search
    /// through all of them.
    #[test]
    fn the_search_finds_what_a_full_one_finds() {
        use pluvio_foundation::Random;
        use pluvio_foundation::random::SeededRandom;
        for seed in 0..200 {
            let random = SeededRandom::new(seed);
            let mut transactions = Transactions::default();
            for offset in 0..60 {
                let producer = (random.next_u64() % 4).cast_signed();
                match random.next_u64() % 3 {
                    0 => transactions.note_marker(producer, offset, random.next_u64().is_multiple_of(2)),
                    _ => transactions.note_data(producer, offset),
                }
            }
            for from in 0..60 {
                for upto in from..60 {
                    let all = transactions.aborted.iter().copied();
                    let all = all.filter(|it| it.last_offset >= from && it.first_offset < upto);
                    assert_eq!(transactions.aborted_in(from, upto), all.collect::<Vec<_>>(), "seed {seed}");
                }
            }
        }
    }
}
