//! What a partition knows of its idempotent producers: of each the epoch and
//! the last five batches, so that a batch sent again is recognised and a gap
//! refused.

use bytes::{Buf, BufMut};
use pluvio_wire_kafka::records::BatchHeader;
use std::collections::{HashMap, HashSet};

const BATCHES_KEPT: usize = 5;
const BATCH_BYTES: usize = 24;
/// Most producers that a partition remembers; beyond it the tenth that was
/// silent longest is forgotten.
pub(crate) const PRODUCERS_MAX: usize = 100_000;
/// A producer silent for this long is forgotten.
pub(crate) const IDLE_MS_MAX: i64 = 24 * 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    append_time_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The offset and the append time of its last batch or marker.
    last_offset: i64,
    last_append_ms: i64,
    count: u8,
    /// Newest first.
    sent: [Sent; BATCHES_KEPT],
}

impl Producer {
    fn of_epoch(epoch: i16) -> Self {
        Self { epoch, last_offset: -1, last_append_ms: -1, count: 0, sent: Default::default() }
    }

    fn sent(&self) -> &[Sent] {
        &self.sent[..usize::from(self.count).min(BATCHES_KEPT)]
    }

    fn add(&mut self, sent: Sent) {
        self.sent.rotate_right(1);
        self.sent[0] = sent;
        self.count = (self.count + 1).min(BATCHES_KEPT as u8);
    }
}

/// A producer that a partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub producer_epoch: i16,
    /// The last sequence number of that epoch; `None` if it sent nothing yet.
    pub last_sequence: Option<i32>,
    /// When its last batch or marker was appended, in milliseconds since 1970.
    pub last_append_ms: i64,
    /// The first offset of its ongoing transaction here, if it has one.
    pub transaction_since: Option<i64>,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    New,
    /// It is in the log already, from this offset on, since this time.
    Duplicate { base_offset: i64, append_time_ms: i64 },
    /// Another sequence number comes next.
    OutOfOrder { expected: i32 },
    /// A newer epoch was seen.
    StaleEpoch { current: i16 },
}

/// A partition's producers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// What to do with the batch of this header. `from_zero`: a producer that
    /// is not known must begin with sequence 0.
    pub(crate) fn judge(&self, header: &BatchHeader, from_zero: bool) -> Verdict {
        if header.producer_id < 0 {
            return Verdict::New;
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else {
            return if from_zero { in_order(header.base_sequence, 0) } else { Verdict::New };
        };
        if header.producer_epoch < producer.epoch {
            return Verdict::StaleEpoch { current: producer.epoch };
        }
        if header.base_sequence < 0 {
            return Verdict::New;
        }
        if header.producer_epoch > producer.epoch {
            return in_order(header.base_sequence, 0);
        }
        let last = last_sequence(header);
        for sent in producer.sent() {
            if sent.first_sequence == header.base_sequence && sent.last_sequence == last {
                let (base_offset, append_time_ms) = (sent.base_offset, sent.append_time_ms);
                return Verdict::Duplicate { base_offset, append_time_ms };
            }
        }
        match producer.sent().first() {
            Some(newest) => in_order(header.base_sequence, after(newest.last_sequence, 1)),
            None => in_order(header.base_sequence, 0),
        }
    }

    /// Remembers an appended batch; its header carries its offset.
    pub(crate) fn note(&mut self, header: &BatchHeader, append_time_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        let fresh = Producer::of_epoch(header.producer_epoch);
        let producer = self.by_id.entry(header.producer_id).or_insert(fresh);
        if producer.epoch != header.producer_epoch {
            *producer = fresh;
        }
        producer.last_offset = header.last_offset();
        producer.last_append_ms = append_time_ms;
        if header.base_sequence >= 0 {
            producer.add(Sent {
                first_sequence: header.base_sequence,
                last_sequence: last_sequence(header),
                base_offset: header.base_offset,
                append_time_ms,
            });
        }
        if self.by_id.len() > PRODUCERS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets producers that were silent since `before_ms`, but for those
    /// that `keep` names.
    pub(crate) fn forget_idle(&mut self, before_ms: i64, keep: impl Fn(i64) -> bool) {
        self.by_id.retain(|id, producer| producer.last_append_ms >= before_ms || keep(*id));
    }

    fn forget_oldest(&mut self) {
        let mut offsets: Vec<i64> = self.by_id.values().map(|producer| producer.last_offset).collect();
        let tenth = offsets.len() / 10;
        let (_, limit, _) = offsets.select_nth_unstable(tenth);
        let limit = *limit;
        self.by_id.retain(|_, producer| producer.last_offset >= limit);
    }

    /// The epoch last seen of a producer.
    pub(crate) fn epoch_of(&self, id: i64) -> Option<i16> {
        self.by_id.get(&id).map(|producer| producer.epoch)
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<KnownProducer> {
        let known = |(id, producer): (&i64, &Producer)| KnownProducer {
            producer_id: *id,
            producer_epoch: producer.epoch,
            last_sequence: producer.sent().first().map(|newest| newest.last_sequence),
            last_append_ms: producer.last_append_ms,
            transaction_since: None,
        };
        let mut all: Vec<KnownProducer> = self.by_id.iter().map(known).collect();
        all.sort_unstable_by_key(|producer| producer.producer_id);
        all
    }

    /// The offsets that must stay for the producers to be known after a replay
    /// of the log: where the last batch of each begins, and its last marker.
    pub(crate) fn last_batches(&self) -> HashSet<i64> {
        let of = |producer: &Producer| {
            let newest = producer.sent().first().map(|newest| newest.base_offset);
            newest.into_iter().chain([producer.last_offset])
        };
        self.by_id.values().flat_map(of).collect()
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        4 + self.by_id.len() * (27 + BATCHES_KEPT * BATCH_BYTES)
    }

    /// Writes the part of a snapshot; see [`crate::snapshot`].
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(self.by_id.len()).unwrap_or(0));
        let mut sorted: Vec<_> = self.by_id.iter().collect();
        sorted.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in sorted {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.last_offset);
            out.put_i64(producer.last_append_ms);
            out.put_u8(producer.count);
            for sent in producer.sent() {
                out.put_i32(sent.first_sequence);
                out.put_i32(sent.last_sequence);
                out.put_i64(sent.base_offset);
                out.put_i64(sent.append_time_ms);
            }
        }
    }

    /// Reads the part of a snapshot.
    pub(crate) fn decode(content: &mut &[u8]) -> Option<Self> {
        Self::decode_with(content, |content, producer| {
            producer.last_offset = content.try_get_i64().ok()?;
            producer.last_append_ms = content.try_get_i64().ok()?;
            Some(())
        })
    }

    /// The same of version 1, which knows of batches only.
    pub(crate) fn decode_1(content: &mut &[u8]) -> Option<Self> {
        let mut producers = Self::decode_with(content, |_, _| Some(()))?;
        for producer in producers.by_id.values_mut() {
            if let Some(newest) = producer.sent().first().copied() {
                let records = after(newest.last_sequence, newest.first_sequence.wrapping_neg());
                producer.last_offset = newest.base_offset.saturating_add(records.into());
                producer.last_append_ms = newest.append_time_ms;
            }
        }
        Some(producers)
    }

    fn decode_with(
        content: &mut &[u8],
        decode_last: impl Fn(&mut &[u8], &mut Producer) -> Option<()>,
    ) -> Option<Self> {
        let mut producers = Self::default();
        for _ in 0..content.try_get_u32().ok()? {
            let id = content.try_get_i64().ok()?;
            let mut producer = Producer::of_epoch(content.try_get_i16().ok()?);
            decode_last(content, &mut producer)?;
            producer.count = content.try_get_u8().ok()?;
            for sent in producer.sent.get_mut(..usize::from(producer.count))? {
                *sent = Sent {
                    first_sequence: content.try_get_i32().ok()?,
                    last_sequence: content.try_get_i32().ok()?,
                    base_offset: content.try_get_i64().ok()?,
                    append_time_ms: content.try_get_i64().ok()?,
                };
            }
            producers.by_id.insert(id, producer);
        }
        Some(producers)
    }
}

fn in_order(sequence: i32, expected: i32) -> Verdict {
    if sequence == expected { Verdict::New } else { Verdict::OutOfOrder { expected } }
}

/// Sequence numbers go on at 0 after the largest.
fn after(sequence: i32, steps: i32) -> i32 {
    sequence.wrapping_add(steps) & i32::MAX
}

fn last_sequence(header: &BatchHeader) -> i32 {
    after(header.base_sequence, header.last_offset_delta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::batch_of;
    use pluvio_wire_kafka::records::parse_header;

    fn header(producer: (i64, i16, i32), records: i64, offset: i64) -> BatchHeader {
        let mut header = parse_header(&batch_of(producer, records)).unwrap();
        header.base_offset = offset;
        header
    }

    #[test]
    fn recognises_the_last_five() {
        let mut producers = Producers::default();
        for batch in 0..7 {
            let header = header((4, 0, batch * 3), 3, i64::from(batch) * 3);
            assert_eq!(producers.judge(&header, false), Verdict::New);
            producers.note(&header, 100 + i64::from(batch));
        }
        for batch in 2..7 {
            let again = producers.judge(&header((4, 0, batch * 3), 3, 0), false);
            let (base_offset, append_time_ms) = (i64::from(batch) * 3, 100 + i64::from(batch));
            assert_eq!(again, Verdict::Duplicate { base_offset, append_time_ms });
        }
        let expected = Verdict::OutOfOrder { expected: 21 };
        assert_eq!(producers.judge(&header((4, 0, 3), 3, 0), false), expected);
        assert_eq!(producers.judge(&header((4, 0, 22), 3, 0), false), expected);
        assert_eq!(producers.judge(&header((4, 0, 18), 2, 0), false), expected);
        assert_eq!(producers.judge(&header((5, 0, 22), 3, 0), false), Verdict::New);
    }

    #[test]
    fn epochs_and_wrapping() {
        let mut producers = Producers::default();
        producers.note(&header((1, 3, i32::MAX - 1), 2, 0), 0);
        assert_eq!(producers.judge(&header((1, 3, 0), 1, 0), false), Verdict::New);
        producers.note(&header((1, 3, 0), 1, 2), 0);
        assert_eq!(producers.judge(&header((1, 2, 1), 1, 0), false), Verdict::StaleEpoch { current: 3 });
        assert_eq!(producers.judge(&header((1, 4, 1), 1, 0), false), Verdict::OutOfOrder { expected: 0 });
        assert_eq!(producers.judge(&header((1, 4, 0), 1, 0), false), Verdict::New);
        // A batch over the end of the numbers: last is MAX - 1 + 2 steps = 0.
        assert_eq!(last_sequence(&header((1, 0, i32::MAX - 1), 3, 0)), 0);
        // A marker raises the epoch and has no sequence.
        let mut marker = header((1, 5, 0), 1, 3);
        marker.base_sequence = -1;
        producers.note(&marker, 0);
        assert_eq!(producers.judge(&header((1, 4, 1), 1, 0), false), Verdict::StaleEpoch { current: 5 });
        assert_eq!(producers.judge(&header((1, 5, 0), 1, 0), false), Verdict::New);
    }

    #[test]
    fn idle_ones_are_forgotten_unless_kept() {
        let mut producers = Producers::default();
        for id in 0..50 {
            producers.note(&header((id, 1, 0), 1, id), id);
        }
        // One of which only a marker is known.
        let mut marker = header((50, 1, 0), 1, 50);
        marker.base_sequence = -1;
        producers.note(&marker, 5);
        producers.forget_idle(10, |id| id == 3);
        let left: Vec<i64> = producers.all().iter().map(|producer| producer.producer_id).collect();
        assert_eq!(left, [3].into_iter().chain(10..50).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_producer_may_have_to_begin_at_zero() {
        let producers = Producers::default();
        assert_eq!(producers.judge(&header((1, 0, 5), 1, 0), false), Verdict::New);
        assert_eq!(producers.judge(&header((1, 0, 5), 1, 0), true), Verdict::OutOfOrder { expected: 0 });
        assert_eq!(producers.judge(&header((1, 0, 0), 1, 0), true), Verdict::New);
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut producers = Producers::default();
        let mut sample = header((0, 0, 0), 1, 0);
        for id in 0..(PRODUCERS_MAX as i64 + 5) {
            sample.producer_id = id;
            sample.base_offset = id;
            producers.note(&sample, 0);
        }
        assert!(producers.by_id.len() <= PRODUCERS_MAX);
        assert!(!producers.by_id.contains_key(&0));
        assert!(producers.by_id.contains_key(&(PRODUCERS_MAX as i64 + 4)));
    }
}
