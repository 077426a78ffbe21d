//! Markers: control batches that end a transaction, one record each, written
//! by the broker into every partition that the transaction touched. Integers
//! are big-endian.
//!
//! ```text
//! key    2  version, 0
//!        2  type: 0 the transaction is aborted, 1 it is committed
//! value  2  version, 0
//!        4  epoch of the transaction's coordinator
//! ```
//!
//! The batch's header names the producer and its epoch, has no sequence, and
//! both the transactional and the control bit.

use bytes::Bytes;

use super::builder::BatchBuilder;
use super::header::{CONTROL_BIT, TRANSACTIONAL_BIT, parse_header};
use super::iterate::for_each_record;
use crate::{Compression, WireError};

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// A marker is never compressed, so nothing is inflated.
const INFLATED_BYTES_MAX: usize = 1 << 10;

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndMarker {
    /// Whose transaction.
    pub producer_id: i64,
    /// The producer's epoch from here on.
    pub producer_epoch: i16,
    /// Whether its records count; if not, they are as if never written.
    pub is_commit: bool,
}

/// The control batch of a marker, with base offset 0. `coordinator_epoch` is
/// stored and means nothing here; `now_ms` is milliseconds since 1970.
pub fn end_marker(marker: &EndMarker, coordinator_epoch: i32, now_ms: i64) -> Result<Bytes, WireError> {
    let kind = if marker.is_commit { COMMIT } else { ABORT };
    let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
    let value = [&VERSION.to_be_bytes()[..], &coordinator_epoch.to_be_bytes()].concat();
    let mut builder = BatchBuilder::new(now_ms);
    builder.push(Some(&key), Some(&value), now_ms, &[]);
    let producer = (marker.producer_id, marker.producer_epoch, -1);
    builder.finish_with(Compression::None, Some(producer), TRANSACTIONAL_BIT | CONTROL_BIT)
}

/// Reads the marker in a whole batch; `None` if it is data, or a control batch
/// of another type.
pub fn read_end_marker(batch: &[u8]) -> Result<Option<EndMarker>, WireError> {
    let header = parse_header(batch)?;
    if !header.is_control() {
        return Ok(None);
    }
    let mut kind = None;
    for_each_record(batch, INFLATED_BYTES_MAX, &mut Vec::new(), |record| {
        let key = record.key.and_then(|key| key.first_chunk::<4>());
        kind = key.map(|[_, _, high, low]| i16::from_be_bytes([*high, *low]));
        Ok::<(), WireError>(())
    })?;
    let is_commit = match kind {
        Some(ABORT) => false,
        Some(COMMIT) => true,
        _ => return Ok(None),
    };
    let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
    Ok(Some(EndMarker { producer_id, producer_epoch, is_commit }))
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, validate_produced, verify_crc};
    use super::*;

    #[test]
    fn round_trip() {
        for is_commit in [true, false] {
            let marker = EndMarker { producer_id: 7, producer_epoch: 3, is_commit };
            let batch = end_marker(&marker, 0, 1_000).unwrap();
            verify_crc(&batch).unwrap();
            assert_eq!(read_end_marker(&batch).unwrap(), Some(marker));
            let header = parse_header(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.base_sequence, header.records_count, header.attributes), (-1, 1, 0x30));
            assert!(validate_produced(&batch, 1_000).is_err(), "no producer may send one");
        }
    }

    /// The bytes that Kafka writes: a reader there must find its own format.
    #[test]
    fn the_record_is_kafkas() {
        let marker = EndMarker { producer_id: 1, producer_epoch: 0, is_commit: true };
        let batch = end_marker(&marker, 5, 0).unwrap();
        // Length, attributes, time and offset deltas, key of 4 bytes, value of 6.
        assert_eq!(batch[61..], [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 5, 0]);
    }

    #[test]
    fn data_is_no_marker() {
        let mut builder = BatchBuilder::new(0);
        builder.push(Some(&[0, 0, 0, 1]), None, 0, &[]);
        let batch = builder.finish_transactional(Compression::None, (1, 0, 0)).unwrap();
        assert!(parse_header(&batch).unwrap().is_transactional());
        assert_eq!(read_end_marker(&batch).unwrap(), None);
    }
}
