//! A record batch, as a producer sends it or a segment holds it. The input is
//! taken as it is and, so that the search gets past the checksum, with the
//! length and the checksum that fit it.
//!
//! Holds: no bytes make reading panic, nor inflate to more than is allowed; a
//! batch accepted whole has as many records as its header says, with ascending
//! offsets within it; its records are those that the library reads; written
//! again with the same compression, they are the same; what a compaction
//! leaves of it are its own records.

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;
use pluvio_wire_kafka::records::{
    BatchBuilder, BatchHeader, HEADER_BYTES, Record, for_each_record, parse_header, read_end_marker,
    retain_records, set_append_time, validate_produced, verify_crc,
};
use pluvio_wire_kafka::{Compression, WireError};

const BATCH_BYTES_MAX: usize = 64 << 10;
const INFLATED_BYTES_MAX: usize = 256 << 10;
const HORIZON_MS: i64 = 1_700_000_000_000;

/// A record, taken out of its batch; `None` if its headers are malformed.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Option<Vec<(String, Option<Vec<u8>>)>>,
}

/// Holds the bytes against what is promised of them.
pub fn check(input: &[u8]) {
    check_batch(input);
    if let Some(batch) = sealed(input) {
        check_batch(&batch);
    }
}

fn check_batch(batch: &[u8]) {
    let _ = read_end_marker(batch);
    let Ok(header) = parse_header(batch) else { return };
    let produced = validate_produced(batch, BATCH_BYTES_MAX);
    if produced.is_ok() {
        assert_eq!((header.total_bytes(), verify_crc(batch)), (batch.len(), Ok(())));
        assert_eq!((header.base_offset, header.last_offset() + 1), (0, i64::from(header.records_count)));
    }
    let Ok(records) = read(batch) else { return };
    assert_eq!(records.len(), usize::try_from(header.records_count).unwrap_or(0));
    let mut from = header.base_offset;
    for record in &records {
        assert!((from..=header.last_offset()).contains(&record.offset), "{header:?} {record:?}");
        from = record.offset.saturating_add(1);
    }
    check_library(batch, &header, &records);
    if produced.is_ok() {
        check_written(&header, &records);
        check_retained(batch, &records);
        check_append_time(batch, &records);
    }
}

/// The bytes with the length and the checksum that fit them.
fn sealed(input: &[u8]) -> Option<Vec<u8>> {
    let mut batch = input.get(..input.len().min(BATCH_BYTES_MAX))?.to_vec();
    let length = i32::try_from(batch.len().checked_sub(HEADER_BYTES)? + HEADER_BYTES - 12).ok()?;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Some(batch)
}

fn read(batch: &[u8]) -> Result<Vec<Plain>, WireError> {
    let (mut records, mut scratch) = (Vec::new(), Vec::new());
    let result = for_each_record(batch, INFLATED_BYTES_MAX, &mut scratch, |record| {
        records.push(plain(&record));
        Ok(())
    });
    // One byte over the limit is how going over it is noticed.
    assert!(scratch.len() <= INFLATED_BYTES_MAX + 1 && scratch.capacity() <= 4 * INFLATED_BYTES_MAX);
    result.map(|()| records)
}

fn plain(record: &Record<'_>) -> Plain {
    let headers: Result<Vec<_>, _> = record.headers().collect();
    let headers = headers.ok().map(|headers| {
        assert_eq!(headers.len(), record.headers_count as usize);
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect()
    });
    Plain {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
    }
}

/// The library reads uncompressed batches. It takes a record's header count
/// and lengths at their word, so it is asked only where headers are whole.
fn check_library(batch: &[u8], header: &BatchHeader, records: &[Plain]) {
    let whole = records.iter().all(|record| record.headers.is_some());
    if header.compression() != Ok(Compression::None) || header.is_append_time() || !whole {
        return;
    }
    let batch = &batch[..header.total_bytes()];
    let Ok(library) = RecordBatchDecoder::decode(&mut Bytes::copy_from_slice(batch)) else { return };
    assert_eq!(library.records.len(), records.len());
    for (theirs, ours) in library.records.iter().zip(records) {
        assert_eq!((theirs.offset, theirs.timestamp), (ours.offset, ours.timestamp_ms));
        assert_eq!(
            (theirs.key.as_deref(), theirs.value.as_deref()),
            (ours.key.as_deref(), ours.value.as_deref())
        );
    }
}

fn check_written(header: &BatchHeader, records: &[Plain]) {
    let mut builder = BatchBuilder::new(header.base_timestamp);
    for record in records {
        let Some(headers) = &record.headers else { return };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        builder.push(record.key.as_deref(), record.value.as_deref(), record.timestamp_ms, &headers);
    }
    let codec = header.compression().unwrap();
    let written = builder.finish(codec, None).unwrap();
    let again = read(&written);
    if !matches!(again, Err(WireError::TooLarge { .. })) {
        assert_eq!(again.unwrap(), records);
    }
}

/// Every second record stays.
fn check_retained(batch: &[u8], records: &[Plain]) {
    let mut number = 0;
    let keep = |_: &Record<'_>| {
        number += 1;
        number % 2 == 1
    };
    let horizon = Some(HORIZON_MS);
    let left = retain_records(batch, INFLATED_BYTES_MAX, &mut Vec::new(), horizon, keep).unwrap();
    let kept: Vec<_> = records.iter().step_by(2).cloned().collect();
    assert_eq!(left.records, kept.len());
    let made = left.batch.as_deref().unwrap_or(batch);
    verify_crc(made).unwrap();
    let again = read(made);
    if !matches!(again, Err(WireError::TooLarge { .. })) {
        assert_eq!(again.unwrap(), kept);
    }
}

fn check_append_time(batch: &[u8], records: &[Plain]) {
    let mut stamped = batch.to_vec();
    set_append_time(&mut stamped, HORIZON_MS).unwrap();
    verify_crc(&stamped).unwrap();
    let expected: Vec<_> =
        records.iter().map(|record| Plain { timestamp_ms: HORIZON_MS, ..record.clone() }).collect();
    assert_eq!(read(&stamped).unwrap(), expected);
}
