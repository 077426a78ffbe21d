//! What a partition knows of its idempotent producers: of each the epoch and
//! the last five batches, so that a batch sent again is recognised and a gap
//! refused.
//!
//! A snapshot file `<offset>.producers` holds the state before the event at
//! that offset. Content, inside the frame of [`crate::sealed`], kind `PLPR`:
//! ```text
//! offset  bytes  field
//!      0      8  offset
//!      8      4  number of producers
//!     12      …  producers: 8 id, 2 epoch, 1 number of batches, 24×n batches,
//!                newest first: 4 first sequence, 4 last sequence,
//!                8 base offset, 8 append time in milliseconds
//! ```

use crate::sealed::{self, Sealer};
use bytes::{Buf, BufMut};
use pluvio_wire_kafka::records::BatchHeader;
use std::collections::HashMap;

const KIND: [u8; 4] = *b"PLPR";
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
    count: u8,
    /// Newest first.
    sent: [Sent; BATCHES_KEPT],
}

impl Producer {
    fn sent(&self) -> &[Sent] {
        &self.sent[..usize::from(self.count).min(BATCHES_KEPT)]
    }

    fn add(&mut self, sent: Sent) {
        self.sent.rotate_right(1);
        self.sent[0] = sent;
        self.count = (self.count + 1).min(BATCHES_KEPT as u8);
    }
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
    /// What to do with the batch of this header.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Verdict {
        if header.producer_id < 0 {
            return Verdict::New;
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Verdict::New };
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
        let fresh = Producer { epoch: header.producer_epoch, count: 0, sent: Default::default() };
        let producer = self.by_id.entry(header.producer_id).or_insert(fresh);
        if producer.epoch != header.producer_epoch {
            *producer = fresh;
        }
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

    /// Forgets producers that were silent since `before_ms`.
    pub(crate) fn forget_idle(&mut self, before_ms: i64) {
        self.by_id.retain(|_, producer| {
            producer.sent().first().is_none_or(|newest| newest.append_time_ms >= before_ms)
        });
    }

    fn forget_oldest(&mut self) {
        let newest = |producer: &Producer| producer.sent().first().map_or(-1, |sent| sent.base_offset);
        let mut offsets: Vec<i64> = self.by_id.values().map(newest).collect();
        let tenth = offsets.len() / 10;
        let (_, limit, _) = offsets.select_nth_unstable(tenth);
        let limit = *limit;
        self.by_id.retain(|_, producer| newest(producer) >= limit);
    }

    /// The snapshot file's bytes for the state before `offset`.
    pub(crate) fn encode(&self, offset: i64) -> Vec<u8> {
        let each = 11 + BATCHES_KEPT * BATCH_BYTES;
        let mut sealer = Sealer::new(KIND, 12 + self.by_id.len() * each);
        let content = sealer.content();
        content.put_i64(offset);
        content.put_u32(u32::try_from(self.by_id.len()).unwrap_or(0));
        let mut sorted: Vec<_> = self.by_id.iter().collect();
        sorted.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in sorted {
            content.put_i64(*id);
            content.put_i16(producer.epoch);
            content.put_u8(producer.count);
            for sent in producer.sent() {
                content.put_i32(sent.first_sequence);
                content.put_i32(sent.last_sequence);
                content.put_i64(sent.base_offset);
                content.put_i64(sent.append_time_ms);
            }
        }
        sealer.finish()
    }

    /// The state before `offset`, if the file is whole and for that offset.
    pub(crate) fn decode(file: &[u8], offset: i64) -> Option<Self> {
        let mut content = sealed::open(KIND, file)?;
        if content.try_get_i64().ok()? != offset {
            return None;
        }
        let count = content.try_get_u32().ok()?;
        let mut producers = Self::default();
        for _ in 0..count {
            let id = content.try_get_i64().ok()?;
            let epoch = content.try_get_i16().ok()?;
            let count = content.try_get_u8().ok()?;
            let mut producer = Producer { epoch, count, sent: Default::default() };
            for sent in producer.sent.get_mut(..usize::from(count))? {
                *sent = Sent {
                    first_sequence: content.try_get_i32().ok()?,
                    last_sequence: content.try_get_i32().ok()?,
                    base_offset: content.try_get_i64().ok()?,
                    append_time_ms: content.try_get_i64().ok()?,
                };
            }
            producers.by_id.insert(id, producer);
        }
        content.is_empty().then_some(producers)
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
            assert_eq!(producers.judge(&header), Verdict::New);
            producers.note(&header, 100 + i64::from(batch));
        }
        for batch in 2..7 {
            let again = producers.judge(&header((4, 0, batch * 3), 3, 0));
            let (base_offset, append_time_ms) = (i64::from(batch) * 3, 100 + i64::from(batch));
            assert_eq!(again, Verdict::Duplicate { base_offset, append_time_ms });
        }
        let expected = Verdict::OutOfOrder { expected: 21 };
        assert_eq!(producers.judge(&header((4, 0, 3), 3, 0)), expected);
        assert_eq!(producers.judge(&header((4, 0, 22), 3, 0)), expected);
        assert_eq!(producers.judge(&header((4, 0, 18), 2, 0)), expected);
        assert_eq!(producers.judge(&header((5, 0, 22), 3, 0)), Verdict::New);
    }

    #[test]
    fn epochs_and_wrapping() {
        let mut producers = Producers::default();
        producers.note(&header((1, 3, i32::MAX - 1), 2, 0), 0);
        assert_eq!(producers.judge(&header((1, 3, 0), 1, 0)), Verdict::New);
        producers.note(&header((1, 3, 0), 1, 2), 0);
        assert_eq!(producers.judge(&header((1, 2, 1), 1, 0)), Verdict::StaleEpoch { current: 3 });
        assert_eq!(producers.judge(&header((1, 4, 1), 1, 0)), Verdict::OutOfOrder { expected: 0 });
        assert_eq!(producers.judge(&header((1, 4, 0), 1, 0)), Verdict::New);
        // A batch over the end of the numbers: last is MAX - 1 + 2 steps = 0.
        assert_eq!(last_sequence(&header((1, 0, i32::MAX - 1), 3, 0)), 0);
        // A marker raises the epoch and has no sequence.
        let mut marker = header((1, 5, 0), 1, 3);
        marker.base_sequence = -1;
        producers.note(&marker, 0);
        assert_eq!(producers.judge(&header((1, 4, 1), 1, 0)), Verdict::StaleEpoch { current: 5 });
        assert_eq!(producers.judge(&header((1, 5, 0), 1, 0)), Verdict::New);
    }

    #[test]
    fn snapshot_round_trip() {
        let mut producers = Producers::default();
        for id in 0..50 {
            for batch in 0..i32::try_from(id % 8).unwrap() {
                producers.note(&header((id, 1, batch), 1, id * 10 + i64::from(batch)), id);
            }
        }
        let file = producers.encode(777);
        assert_eq!(Producers::decode(&file, 777), Some(producers.clone()));
        assert_eq!(Producers::decode(&file, 778), None);
        producers.forget_idle(10);
        // Of 50 ids the seven multiples of 8 sent nothing; 1 to 7 and 9 are idle.
        assert_eq!(producers.by_id.len(), 50 - 7 - 8);
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
