//! Making a stored batch again: without some of its records, or with the time
//! of its append.
//!
//! What compaction leaves of a batch keeps its offsets, its producer's fields
//! and its compression; records that stay keep their bytes. The one thing that
//! is added is the delete horizon: from when on the deletions in the batch may
//! go. It is kept where Kafka keeps it, in the base timestamp, told by bit 6 of
//! the attributes; the records' time differences are set to fit.

use super::header::{APPEND_TIME_BIT, BatchHeader, DELETE_HORIZON_BIT, HEADER_BYTES, parse_whole};
use super::iterate::{Record, RecordIter};
use crate::varint::{read_signed, write_signed};
use crate::{Compression, WireError};

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// How many records.
    pub records: usize,
    /// The batch made again; `None` if it stays as it is.
    pub batch: Option<Vec<u8>>,
}

/// Leaves the records that `keep` accepts. If a deletion stays (a record with a
/// key and no value), or a marker, and the batch has no delete horizon yet, it is
/// given `delete_horizon_ms`, unless that is `None`.
///
/// A batch with no record left is a header alone. `scratch` is as in
/// [`records`](super::records).
pub fn retain_records(
    batch: &[u8],
    inflated_bytes_max: usize,
    scratch: &mut Vec<u8>,
    delete_horizon_ms: Option<i64>,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Retained, WireError> {
    let (header, whole) = parse_whole(batch)?;
    let codec = header.compression()?;
    let payload = match codec {
        Compression::None => &whole[HEADER_BYTES..],
        codec => {
            codec.inflate(&whole[HEADER_BYTES..], inflated_bytes_max, scratch)?;
            scratch.as_slice()
        }
    };
    let mut kept = Vec::new();
    let (mut deletions, mut max_timestamp) = (false, i64::MIN);
    for record in RecordIter::new(&header, payload) {
        let record = record?;
        kept.push(keep(&record));
        if kept.last() == Some(&true) {
            deletions |= header.is_control() || (record.key.is_some() && record.value.is_none());
            max_timestamp = max_timestamp.max(record.timestamp_ms);
        }
    }
    let records = kept.iter().filter(|kept| **kept).count();
    let horizon = delete_horizon_ms.filter(|_| deletions && header.delete_horizon_ms().is_none());
    if records == kept.len() && horizon.is_none() {
        return Ok(Retained { records, batch: None });
    }
    if records == 0 {
        return Ok(Retained { records, batch: Some(emptied(&header)?) });
    }
    let body = filtered(&header, payload, &kept, horizon)?;
    let mut made = header;
    made.records_count = i32::try_from(records).unwrap_or(i32::MAX);
    if !header.is_append_time() {
        made.max_timestamp = max_timestamp;
    }
    if let Some(horizon_ms) = horizon {
        made.base_timestamp = horizon_ms;
        made.attributes |= DELETE_HORIZON_BIT;
    }
    let mut bytes = vec![0; HEADER_BYTES];
    match codec {
        Compression::None => bytes.extend_from_slice(&body),
        codec => codec.deflate(&body, &mut bytes)?,
    }
    made.seal(&mut bytes)?;
    Ok(Retained { records, batch: Some(bytes) })
}

/// The batch as a header alone: its offsets and its producer are still known.
fn emptied(header: &BatchHeader) -> Result<Vec<u8>, WireError> {
    let mut made = *header;
    made.records_count = 0;
    made.attributes &= !Compression::BITS;
    let mut bytes = vec![0; HEADER_BYTES];
    made.seal(&mut bytes)?;
    Ok(bytes)
}

/// The records that stay, one after the other, their times as differences to
/// the horizon if there is a new one.
fn filtered(
    header: &BatchHeader,
    payload: &[u8],
    kept: &[bool],
    horizon_ms: Option<i64>,
) -> Result<Vec<u8>, WireError> {
    let mut body = Vec::with_capacity(payload.len());
    let mut iter = RecordIter::new(header, payload);
    let mut moved = Vec::new();
    for kept in kept {
        let from = iter.position();
        let Some(record) = iter.next() else { break };
        record?;
        if !kept {
            continue;
        }
        let raw = &payload[from..iter.position()];
        let Some(horizon_ms) = horizon_ms else {
            body.extend_from_slice(raw);
            continue;
        };
        let mut at = 0;
        read_signed(raw, &mut at)?;
        let attributes = raw[at];
        at += 1;
        let time_delta = read_signed(raw, &mut at)?;
        moved.clear();
        moved.push(attributes);
        let shift = header.base_timestamp.wrapping_sub(horizon_ms);
        write_signed(&mut moved, time_delta.wrapping_add(shift));
        moved.extend_from_slice(&raw[at..]);
        write_signed(&mut body, i64::try_from(moved.len()).unwrap_or(i64::MAX));
        body.extend_from_slice(&moved);
    }
    Ok(body)
}

/// Sets the time of the append: every record of the batch bears it from here
/// on. The checksum is made anew.
///
/// Fails if `batch` is not exactly one whole batch.
pub fn set_append_time(batch: &mut [u8], time_ms: i64) -> Result<(), WireError> {
    let (mut header, whole) = parse_whole(batch)?;
    if whole.len() != batch.len() {
        return Err(WireError::malformed("record batch", "bytes follow the batch"));
    }
    header.attributes |= APPEND_TIME_BIT;
    header.max_timestamp = time_ms;
    header.seal(batch)
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, for_each_record, parse_header, set_base_offset, verify_crc};
    use super::*;

    const TIME_MS: i64 = 1_700_000_000_000;

    /// Ten records with keys 0 to 9; the odd ones are deletions.
    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(TIME_MS);
        for number in 0..10_u8 {
            let value = (number % 2 == 0).then_some(&b"some value"[..]);
            builder.push(Some(&[number]), value, TIME_MS + i64::from(number), &[("h", Some(b"x"))]);
        }
        let mut bytes = builder.finish(codec, Some((7, 1, 30))).unwrap().to_vec();
        set_base_offset(&mut bytes, 100);
        bytes
    }

    fn read(batch: &[u8]) -> Vec<(i64, u8, bool, i64)> {
        verify_crc(batch).unwrap();
        let mut found = Vec::new();
        for_each_record(batch, 1 << 20, &mut Vec::new(), |record| {
            assert_eq!(record.headers().count(), 1);
            found.push((record.offset, record.key.unwrap()[0], record.value.is_some(), record.timestamp_ms));
            Ok(())
        })
        .unwrap();
        found
    }

    fn retain(batch: &[u8], horizon: Option<i64>, keep: impl FnMut(&Record<'_>) -> bool) -> Retained {
        retain_records(batch, 1 << 20, &mut Vec::new(), horizon, keep).unwrap()
    }

    #[test]
    fn what_stays_is_as_it_was() {
        for codec in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Zstd] {
            let whole = batch(codec);
            assert_eq!(retain(&whole, None, |_| true), Retained { records: 10, batch: None });
            let left = retain(&whole, None, |record| record.key.unwrap()[0] % 3 == 0);
            let made = left.batch.unwrap();
            let expected: Vec<_> = read(&whole).into_iter().filter(|(_, key, ..)| key % 3 == 0).collect();
            assert_eq!((left.records, read(&made)), (4, expected));
            let (old, new) = (parse_header(&whole).unwrap(), parse_header(&made).unwrap());
            assert_eq!((new.base_offset, new.last_offset(), new.records_count), (100, 109, 4));
            assert_eq!((new.producer_id, new.producer_epoch, new.base_sequence), (7, 1, 30));
            assert_eq!((new.attributes, new.max_timestamp), (old.attributes, TIME_MS + 9));
        }
    }

    #[test]
    fn deletions_are_given_a_horizon_once() {
        let whole = batch(Compression::Lz4);
        let horizon_ms = TIME_MS + 86_400_000;
        let first = retain(&whole, Some(horizon_ms), |_| true).batch.unwrap();
        assert_eq!(parse_header(&first).unwrap().delete_horizon_ms(), Some(horizon_ms));
        assert_eq!(read(&first), read(&whole));
        assert_eq!(retain(&first, Some(horizon_ms + 5), |_| true).batch, None);
        // Without a deletion there is nothing to wait for.
        let values = retain(&whole, Some(horizon_ms), |record| record.value.is_some()).batch.unwrap();
        assert_eq!(parse_header(&values).unwrap().delete_horizon_ms(), None);
    }

    #[test]
    fn an_emptied_batch_keeps_its_place() {
        let left = retain(&batch(Compression::Zstd), None, |_| false);
        let made = left.batch.unwrap();
        assert_eq!((left.records, made.len(), read(&made).len()), (0, HEADER_BYTES, 0));
        let header = parse_header(&made).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.base_sequence), (100, 109, 30));
        assert_eq!(retain(&made, None, |_| false), Retained { records: 0, batch: None });
    }

    #[test]
    fn append_time_is_every_records_time() {
        let mut bytes = batch(Compression::Gzip);
        set_append_time(&mut bytes, 5).unwrap();
        assert!(read(&bytes).iter().all(|(.., time_ms)| *time_ms == 5));
        assert!(set_append_time(&mut bytes[..70], 5).is_err());
    }
}
