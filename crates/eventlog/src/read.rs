//! Reading: from memory when the offset is there, else from the file in one
//! large read that is sliced into batches without copying. What comes from a
//! file is checked by checksum; damage is quarantined and stepped over.

use crate::LogError;
use crate::error::IoContext;
use crate::partition::Partition;
use crate::scan::{Scanner, follows};
use crate::segment::Segment;
use crate::walk::{Step, Walk};
use bytes::{Bytes, BytesMut};
use pluvio_foundation::{DiskFile, ErrorKind, limits};
use pluvio_wire_kafka::WireError;
use pluvio_wire_kafka::records::{
    BatchHeader, HEADER_BYTES, for_each_record, parse_header, set_leader_epoch, verify_crc,
};
use std::ops::Range;
use std::sync::Arc;

/// A batch as it is stored: ready to be sent to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// The whole batch, its offset set.
    pub bytes: Bytes,
    /// The offset of its first event.
    pub base_offset: i64,
    /// The offset of its last event.
    pub last_offset: i64,
    /// How many events it holds.
    pub records: u32,
    /// When it was appended, in milliseconds since 1970; `None` if that is
    /// known neither from memory nor from the batch itself.
    pub append_time_ms: Option<i64>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whole batches in order. The first may begin before the offset asked for,
    /// or after it where damaged events were stepped over.
    pub batches: Vec<StoredBatch>,
    /// The first offset that can be read.
    pub start_offset: i64,
    /// The offset that the next event will get.
    pub end_offset: i64,
    /// Where to read on. More than the last batch's end if damaged events
    /// follow it.
    pub next_offset: i64,
}

/// Where a segment's reading ended.
enum Ended {
    /// Enough was read.
    Full,
    /// The segment has nothing more.
    AtEnd,
}

impl Partition {
    /// Whole batches from the one that holds `from` on, of `max_bytes` bytes
    /// but at least one if there is any. An empty answer means that nothing is
    /// left to read before `next_offset`.
    ///
    /// Events are served before they are durable. Whoever makes something
    /// durable from them, so that their offsets are not read again, must first
    /// have them made durable with [`Partition::sync`] or
    /// [`Partition::durable`]: a crash may take them, and their offsets are
    /// then given to other events.
    ///
    /// Fails with `OffsetOutOfRange` outside of `[start, end]`, `TopicDeleted`,
    /// or `Io`.
    pub fn read(&self, from: i64, max_bytes: usize) -> Result<Read, LogError> {
        self.topic.check_alive()?;
        let (start_offset, end_offset) = (self.start_offset(), self.end_offset());
        if from < start_offset || from > end_offset {
            return Err(self.out_of_range(from));
        }
        let mut read = Read { batches: Vec::new(), start_offset, end_offset, next_offset: from };
        if from == end_offset {
            return Ok(read);
        }
        let max_bytes = max_bytes.min(limits::KAFKA_FRAME_BYTES_MAX);
        match self.tail.read(from, max_bytes) {
            Some(batches) => read.batches = batches,
            None => match self.read_files(&mut read, max_bytes) {
                // Retention may have taken the file meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound && from < self.start_offset() => {
                    return Err(self.out_of_range(from));
                }
                result => result?,
            },
        }
        // A batch is in memory and in the file before the end is behind it. Who
        // was given it then would go on at an offset that is out of range.
        let ended = read.batches.partition_point(|batch| batch.last_offset < end_offset);
        read.batches.truncate(ended);
        read.next_offset = read.next_offset.min(end_offset);
        if let Some(last) = read.batches.last() {
            read.next_offset = read.next_offset.max(last.last_offset + 1);
        }
        Ok(read)
    }

    pub(crate) fn out_of_range(&self, offset: i64) -> LogError {
        let (topic, partition) = (self.topic.name.clone(), self.index());
        let (start, end) = (self.start_offset(), self.end_offset());
        LogError::OffsetOutOfRange { topic, partition, offset, start, end }
    }

    fn read_files(&self, read: &mut Read, max_bytes: usize) -> Result<(), LogError> {
        let mut left = max_bytes;
        while read.next_offset < read.end_offset {
            let Some((segment, next)) = self.segment_of(read.next_offset) else { return Ok(()) };
            let file = segment.file(&self.shared)?;
            match self.read_segment(&segment, &*file, read, &mut left)? {
                Ended::Full => return Ok(()),
                // Where the newest segment ends the log ends, whatever damage
                // lies between its last batch and there.
                Ended::AtEnd => read.next_offset = next.unwrap_or(read.end_offset),
            }
            if let Some(next) = next {
                self.tell_gap(&segment, next)?;
            }
        }
        Ok(())
    }

    /// Tells once if a closed segment ends before the next one begins and no
    /// damage explains it: its end, or a segment after it, is missing.
    fn tell_gap(&self, segment: &Arc<Segment>, next: i64) -> Result<(), LogError> {
        let end = self.with_index(segment, |index| index.next_offset)?;
        let mut places = segment.places.lock();
        let explained = places.damage.iter().any(|damage| damage.to == segment.bytes());
        if end < next && !explained && !std::mem::replace(&mut places.gap_told, true) {
            drop(places);
            self.report_missing(end, next);
        }
        Ok(())
    }

    fn read_segment(
        &self,
        segment: &Arc<Segment>,
        file: &dyn DiskFile,
        read: &mut Read,
        left: &mut usize,
    ) -> Result<Ended, LogError> {
        let Some((mut position, offset)) = self.locate(segment, file, read.next_offset)? else {
            return Ok(Ended::AtEnd);
        };
        let mut expected = Some(offset);
        loop {
            let (damage, stop) = {
                let places = segment.places.lock();
                (places.damage_at(position), places.damage_after(position).unwrap_or(u64::MAX))
            };
            if let Some(damage) = damage {
                (position, expected) = (damage.to, None);
                continue;
            }
            let end = stop.min(segment.bytes());
            if position >= end {
                return Ok(Ended::AtEnd);
            }
            let one_at_least = read.batches.is_empty();
            let Some(chunk) = self.read_chunk(segment, file, position..end, *left, one_at_least)? else {
                return Ok(Ended::Full);
            };
            let cut = position + (chunk.len() as u64) < end;
            let taken = take_batches(chunk, cut, expected, read, left);
            if taken.bytes > 0 {
                position += taken.bytes as u64;
                expected = Some(read.next_offset);
                segment.places.lock().add_hint(read.next_offset, position);
            }
            match taken.stopped {
                Stopped::Full => return Ok(Ended::Full),
                Stopped::Consumed => {}
                Stopped::Damage(reason) => {
                    let mut scanner = Scanner::new(file, segment.bytes());
                    let offset = expected.unwrap_or(read.next_offset);
                    self.quarantine(segment, &mut scanner, (position, offset), &reason)?;
                }
            }
        }
    }

    /// The bytes at the beginning of `range`: as many as wanted, at least one
    /// whole batch if `one_at_least`. `None` if nothing more is wanted.
    fn read_chunk(
        &self,
        segment: &Segment,
        file: &dyn DiskFile,
        range: Range<u64>,
        wanted: usize,
        one_at_least: bool,
    ) -> Result<Option<BytesMut>, LogError> {
        let position = range.start;
        let there = usize::try_from(range.end - position).unwrap_or(usize::MAX);
        let mut length = wanted.min(there);
        if one_at_least {
            length = length.max(HEADER_BYTES.min(there));
        } else if length < HEADER_BYTES {
            return Ok(None);
        }
        let mut chunk = self.shared.buffers.take(length);
        chunk.resize(length, 0);
        file.read_exact_at(&mut chunk, position).doing("read", &segment.path)?;
        let first = parse_header(&chunk).map_or(0, |header| header.total_bytes());
        if one_at_least && first > length && first <= there && first <= limits::KAFKA_FRAME_BYTES_MAX {
            chunk.resize(first, 0);
            file.read_exact_at(&mut chunk[length..], position + length as u64)
                .doing("read", &segment.path)?;
        }
        Ok(Some(chunk))
    }

    /// Where the batch that holds `offset`, or the first after it, begins, and
    /// its base offset.
    fn locate(
        &self,
        segment: &Arc<Segment>,
        file: &dyn DiskFile,
        offset: i64,
    ) -> Result<Option<(u64, i64)>, LogError> {
        if let Some(position) = segment.places.lock().hint(offset) {
            return Ok(Some((position, offset)));
        }
        let from = self.with_index(segment, |index| index.before_offset(offset))?;
        let mut walk = Walk::new(self, segment, file, from);
        loop {
            match walk.step()? {
                Step::Batch(position, header) if header.last_offset() >= offset => {
                    return Ok(Some((position, header.base_offset)));
                }
                Step::Batch(..) => {}
                Step::Torn(_) | Step::End => return Ok(None),
            }
        }
    }

    /// The first of the events with the largest timestamp: its offset and its
    /// timestamp, as [`Partition::offset_for_time`] gives them.
    pub fn newest(&self) -> Result<Option<(i64, i64)>, LogError> {
        self.topic.check_alive()?;
        let segments = self.segments.read().clone();
        let mut newest_ms = -1;
        for segment in segments {
            newest_ms = newest_ms.max(self.with_index(&segment, |index| index.max_timestamp_ms)?);
        }
        if newest_ms < 0 { Ok(None) } else { self.offset_for_time(newest_ms) }
    }

    /// The first event with a timestamp of `ts_ms` (milliseconds since 1970) or
    /// later: its offset and its timestamp. Of a batch whose records cannot be
    /// taken apart, the first offset and the largest timestamp.
    pub fn offset_for_time(&self, ts_ms: i64) -> Result<Option<(i64, i64)>, LogError> {
        self.topic.check_alive()?;
        let segments = self.segments.read().clone();
        for segment in segments {
            let (newest, from) =
                self.with_index(&segment, |index| (index.max_timestamp_ms, index.before_time(ts_ms)))?;
            if newest < ts_ms {
                continue;
            }
            let file = segment.file(&self.shared)?;
            let mut walk = Walk::new(self, &segment, &*file, from);
            while let Step::Batch(position, header) = walk.step()? {
                if header.max_timestamp < ts_ms || header.last_offset() < self.start_offset() {
                    continue;
                }
                let bytes = walk.scanner.bytes(position, header.total_bytes());
                let bytes = bytes.doing("read", &segment.path)?;
                if let Some(found) = first_from(bytes, &header, ts_ms, self.start_offset()) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

struct Taken {
    bytes: usize,
    stopped: Stopped,
}

enum Stopped {
    /// Enough was read.
    Full,
    /// The chunk has nothing more.
    Consumed,
    /// What follows is not a batch that can be served.
    Damage(String),
}

/// Slices whole batches off the chunk, up to `left` bytes. `cut`: the file goes
/// on after the chunk. `expected`: the offset of the first batch, if known.
fn take_batches(
    mut chunk: BytesMut,
    cut: bool,
    mut expected: Option<i64>,
    read: &mut Read,
    left: &mut usize,
) -> Taken {
    let mut bytes = 0;
    let mut found = Vec::new();
    let stopped = loop {
        let is_first = read.batches.is_empty() && found.is_empty();
        let rest = &chunk[bytes..];
        if rest.is_empty() {
            break Stopped::Consumed;
        }
        // Only the first batch may be larger than asked for; of others the
        // chunk may have been cut off.
        let may_end = cut && !is_first;
        let header = match parse_header(rest) {
            Err(WireError::Truncated { .. }) if may_end => break Stopped::Full,
            Err(error) => break Stopped::Damage(error.to_string()),
            Ok(header) => header,
        };
        let size = header.total_bytes();
        if (size > rest.len() && may_end) || (size > *left && !is_first) {
            break Stopped::Full;
        }
        if let Some(reason) = damaged(&header, rest, expected, read.next_offset) {
            break Stopped::Damage(reason);
        }
        if header.partition_leader_epoch != 0 {
            // The mark of a gap is the file's own.
            set_leader_epoch(&mut chunk[bytes..], 0);
        }
        found.push((bytes, header));
        read.next_offset = header.last_offset() + 1;
        expected = Some(read.next_offset);
        *left = left.saturating_sub(size);
        bytes += size;
    };
    let chunk = chunk.freeze();
    read.batches.extend(found.into_iter().map(|(from, header)| StoredBatch {
        bytes: chunk.slice(from..from + header.total_bytes()),
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        records: header.records_count.unsigned_abs(),
        append_time_ms: header.is_append_time().then_some(header.max_timestamp),
    }));
    Taken { bytes, stopped }
}

/// Why the batch at the start of `rest` cannot be served, if it cannot.
fn damaged(header: &BatchHeader, rest: &[u8], expected: Option<i64>, next_offset: i64) -> Option<String> {
    let found = header.base_offset;
    if expected.is_some_and(|expected| !follows(header, expected)) || header.last_offset() < next_offset {
        let expected = expected.unwrap_or(next_offset);
        return Some(format!("a batch with offset {found} where {expected} should be"));
    }
    verify_crc(rest).err().map(|error| error.to_string())
}

/// The first record of the batch at or after a time and an offset.
fn first_from(batch: &[u8], header: &BatchHeader, ts_ms: i64, offset_min: i64) -> Option<(i64, i64)> {
    let mut found = None;
    let mut scratch = Vec::new();
    let walked = for_each_record(batch, limits::RECORD_BATCH_INFLATED_BYTES_MAX, &mut scratch, |record| {
        if found.is_none() && record.timestamp_ms >= ts_ms && record.offset >= offset_min {
            found = Some((record.offset, record.timestamp_ms));
        }
        Ok(())
    });
    match walked {
        Err(_) if found.is_none() => Some((header.base_offset.max(offset_min), header.max_timestamp)),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::batch;
    use crate::{EventLog, LogOptions, TopicConfig};
    use pluvio_foundation::Metrics;
    use pluvio_foundation::random::SeededRandom;
    use pluvio_testkit::{ManualClock, SimDisk};
    use std::path::Path;

    #[test]
    fn what_is_being_appended_is_not_read_yet() {
        let options = LogOptions { background: false, disk_reserve_bytes: 0, ..LogOptions::default() };
        let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(ManualClock::default()));
        let random = Arc::new(SeededRandom::new(1));
        let log =
            EventLog::open(Path::new("/log"), disk, clock, random, Metrics::default(), options).unwrap();
        let partition = log.create_topic("t", 1, TopicConfig::default()).unwrap().partition(0).unwrap();
        partition.append(batch(0, 2, 10)).unwrap();
        // As far as an append has come when a reader is quicker.
        let bytes = batch(2, 1, 10);
        let next = StoredBatch { bytes, base_offset: 2, last_offset: 2, records: 1, append_time_ms: None };
        partition.shared.tails.push(&partition.topic.tail, &partition.tail, next);
        let read = partition.read(0, 1 << 20).unwrap();
        assert_eq!((read.batches.len(), read.next_offset, read.end_offset), (1, 2, 2));
        partition.read(read.next_offset, 1 << 20).unwrap();
        partition.set_end(3);
        assert_eq!(partition.read(2, 1 << 20).unwrap().next_offset, 3);
    }
}
