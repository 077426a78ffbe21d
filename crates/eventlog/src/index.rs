//! Where in a segment file an offset or a time is found, sparsely: one entry
//! per 64 KiB of batches. Kept in memory for the segment that is written to,
//! and in a sidecar file `<base offset>.index` for a closed one.
//!
//! The sidecar's content, inside the frame of [`crate::sealed`], kind `PLIX`:
//! ```text
//! offset  bytes  field
//!      0      8  base offset of the segment
//!      8      8  bytes of the segment that the index covers
//!     16      8  offset after the last batch covered
//!     24      8  largest timestamp covered, milliseconds, -1 if none
//!     32      8  time of the last append, milliseconds, -1 if unknown
//!     40      4  number of entries
//!     44   16×n  entries: 4 offset minus base offset, 4 position in the file,
//!                8 largest timestamp of the batches before the entry
//! ```

use crate::sealed::{self, Sealer};
use bytes::{Buf, BufMut};
use pluvio_wire_kafka::records::BatchHeader;

const KIND: [u8; 4] = *b"PLIX";
const INTERVAL_BYTES: u64 = 64 << 10;
const FIXED_BYTES: usize = 44;
const ENTRY_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset_delta: u32,
    position: u32,
    max_timestamp_before_ms: i64,
}

/// The sparse index of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    base_offset: i64,
    entries: Vec<Entry>,
    /// Bytes of the segment that are described.
    pub(crate) covered_bytes: u64,
    /// The offset after the last batch described.
    pub(crate) next_offset: i64,
    /// The largest timestamp described, -1 if none.
    pub(crate) max_timestamp_ms: i64,
    /// When the last batch was appended, -1 if unknown.
    pub(crate) last_append_ms: i64,
}

impl Index {
    pub(crate) fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            entries: Vec::new(),
            covered_bytes: 0,
            next_offset: base_offset,
            max_timestamp_ms: -1,
            last_append_ms: -1,
        }
    }

    /// Notes the batch that starts at `position`, after all noted before.
    pub(crate) fn push(&mut self, header: &BatchHeader, position: u64) {
        let last = self.entries.last().map_or(0, |entry| u64::from(entry.position));
        if position >= last + INTERVAL_BYTES {
            let delta = u32::try_from(header.base_offset - self.base_offset);
            if let (Ok(offset_delta), Ok(position)) = (delta, u32::try_from(position)) {
                let max_timestamp_before_ms = self.max_timestamp_ms;
                self.entries.push(Entry { offset_delta, position, max_timestamp_before_ms });
            }
        }
        self.covered_bytes = position + header.total_bytes() as u64;
        self.next_offset = header.last_offset() + 1;
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp);
    }

    /// A batch's start, and its offset, at or before the batch that holds
    /// `offset`.
    pub(crate) fn before_offset(&self, offset: i64) -> (u64, i64) {
        let delta = offset.saturating_sub(self.base_offset);
        let after = self.entries.partition_point(|entry| i64::from(entry.offset_delta) <= delta);
        self.start_of(after)
    }

    /// A batch's start, and its offset, at or before the first batch with a
    /// timestamp of `timestamp_ms` or later.
    pub(crate) fn before_time(&self, timestamp_ms: i64) -> (u64, i64) {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before_ms < timestamp_ms);
        self.start_of(after)
    }

    /// The offset that the segment begins with.
    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// All places it knows: position and base offset of a batch.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u64, i64)> {
        let place =
            |entry: &Entry| (u64::from(entry.position), self.base_offset + i64::from(entry.offset_delta));
        self.entries.iter().map(place)
    }

    fn start_of(&self, after: usize) -> (u64, i64) {
        match after.checked_sub(1).and_then(|last| self.entries.get(last)) {
            Some(entry) => (u64::from(entry.position), self.base_offset + i64::from(entry.offset_delta)),
            None => (0, self.base_offset),
        }
    }

    /// The sidecar file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut sealer = Sealer::new(KIND, FIXED_BYTES + self.entries.len() * ENTRY_BYTES);
        let content = sealer.content();
        content.put_i64(self.base_offset);
        content.put_u64(self.covered_bytes);
        content.put_i64(self.next_offset);
        content.put_i64(self.max_timestamp_ms);
        content.put_i64(self.last_append_ms);
        content.put_u32(u32::try_from(self.entries.len()).unwrap_or(0));
        for entry in &self.entries {
            content.put_u32(entry.offset_delta);
            content.put_u32(entry.position);
            content.put_i64(entry.max_timestamp_before_ms);
        }
        sealer.finish()
    }

    /// The index of the segment at `base_offset`, if the file is whole and
    /// belongs to it.
    pub(crate) fn decode(file: &[u8], base_offset: i64) -> Option<Self> {
        let mut content = sealed::open(KIND, file)?;
        if content.len() < FIXED_BYTES || content.get_i64() != base_offset {
            return None;
        }
        let mut index = Self::new(base_offset);
        index.covered_bytes = content.get_u64();
        index.next_offset = content.get_i64();
        index.max_timestamp_ms = content.get_i64();
        index.last_append_ms = content.get_i64();
        let count = usize::try_from(content.get_u32()).ok()?;
        if content.len() != count * ENTRY_BYTES {
            return None;
        }
        index.entries = (0..count)
            .map(|_| Entry {
                offset_delta: content.get_u32(),
                position: content.get_u32(),
                max_timestamp_before_ms: content.get_i64(),
            })
            .collect();
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(base_offset: i64, bytes: i32, max_timestamp: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: bytes - 12,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 9,
            base_timestamp: 0,
            max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: 10,
        }
    }

    fn filled() -> Index {
        let mut index = Index::new(1000);
        for batch in 0..100_i64 {
            let position = u64::try_from(batch).unwrap() * 10_000;
            index.push(&header(1000 + batch * 10, 10_000, 500 + batch), position);
        }
        index
    }

    #[test]
    fn finds_a_start_not_after_and_not_far_before() {
        let index = filled();
        assert_eq!((index.covered_bytes, index.next_offset, index.max_timestamp_ms), (1_000_000, 2000, 599));
        for offset in 1000..2000_i64 {
            let (position, start) = index.before_offset(offset);
            assert!(start <= offset && offset - start < 80, "{offset} {start}");
            assert_eq!(position, u64::try_from((start - 1000) * 1000).unwrap());
        }
        for timestamp in 500..600_i64 {
            let (_, start) = index.before_time(timestamp);
            let first = 1000 + (timestamp - 500) * 10;
            assert!(start <= first && first - start <= 80, "{timestamp} {start}");
        }
    }

    #[test]
    fn sidecar_round_trip() {
        let index = filled();
        let file = index.encode();
        assert_eq!(Index::decode(&file, 1000), Some(index));
        assert_eq!(Index::decode(&file, 1001), None);
        assert_eq!(Index::decode(&file[..file.len() - 1], 1000), None);
    }
}
