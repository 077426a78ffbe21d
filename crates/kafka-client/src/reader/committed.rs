//! Which batches of a fetched run count: those of committed transactions and of
//! no transaction.

use std::collections::HashSet;

use bytes::Bytes;
use pluvio_wire_kafka::WireError;
use pluvio_wire_kafka::records::{HEADER_BYTES, for_each_record, parse_header, verify_crc};

use super::Batch;

/// Largest content of a broker's marker, in bytes.
const MARKER_BYTES_MAX: usize = 1 << 10;
/// The type of the marker that ends an aborted transaction.
const ABORT: i16 = 0;

/// Splits a run of batches, the last of which may be cut off, and leaves out
/// what does not count. Gives the batches and the offset after the run.
///
/// `aborted` is the broker's list: producer and first offset of each aborted
/// transaction that touches the run.
///
/// # Errors
/// Bytes that are not batches, or are damaged.
pub(super) fn committed(
    records: &Bytes,
    from: i64,
    aborted: &[(i64, i64)],
) -> Result<(Vec<Batch>, i64), WireError> {
    let mut begins: Vec<(i64, i64)> = aborted.to_vec();
    begins.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
    let mut aborting = HashSet::new();
    let mut batches = Vec::new();
    let (mut position, mut next) = (0, from);
    while records.len() - position >= HEADER_BYTES {
        let header = parse_header(&records[position..])?;
        let bytes = header.total_bytes();
        if bytes > records.len() - position {
            break;
        }
        let batch = records.slice(position..position + bytes);
        position += bytes;
        if header.last_offset() < from {
            continue;
        }
        verify_crc(&batch)?;
        next = header.last_offset() + 1;
        while begins.last().is_some_and(|(_, first)| *first <= header.last_offset()) {
            aborting.extend(begins.pop().map(|(producer, _)| producer));
        }
        if header.is_control() {
            if marker(&batch)? == Some(ABORT) {
                aborting.remove(&header.producer_id);
            }
            continue;
        }
        if header.is_transactional() && aborting.contains(&header.producer_id) {
            continue;
        }
        batches.push(Batch {
            bytes: batch,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            records: header.records_count.unsigned_abs(),
            append_time_ms: header.is_append_time().then_some(header.max_timestamp),
        });
    }
    Ok((batches, next))
}

/// The type of the marker in a control batch: the second half of its key.
fn marker(batch: &[u8]) -> Result<Option<i16>, WireError> {
    let mut found = None;
    for_each_record(batch, MARKER_BYTES_MAX, &mut Vec::new(), |record| {
        let kind = record.key.and_then(|key| key.get(2..4)?.try_into().ok());
        found = kind.map(i16::from_be_bytes);
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pluvio_wire_kafka::Compression;
    use pluvio_wire_kafka::records::BatchBuilder;

    const TRANSACTIONAL: u8 = 1 << 4;
    const CONTROL: u8 = 1 << 5;

    /// A batch with its offset, producer and kind set as a broker would.
    fn batch(offset: i64, producer: i64, attributes: u8, key: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(0);
        builder.push(Some(key), Some(b"value"), 0, &[]);
        let mut bytes = builder.finish(Compression::None, Some((producer, 0, 0))).unwrap().to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[22] |= attributes;
        let crc = crc(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// CRC-32C, bit by bit.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
        })
    }

    fn end(offset: i64, producer: i64, kind: u8) -> Vec<u8> {
        batch(offset, producer, TRANSACTIONAL | CONTROL, &[0, 0, 0, kind])
    }

    #[test]
    fn aborted_batches_and_markers_are_left_out() {
        let run = [
            batch(5, -1, 0, b"plain"),
            batch(6, 1, TRANSACTIONAL, b"aborted"),
            batch(7, 2, TRANSACTIONAL, b"committed"),
            end(8, 1, 0),
            batch(9, 1, TRANSACTIONAL, b"the next, committed"),
            end(10, 2, 1),
            end(11, 1, 1),
        ];
        let run = Bytes::from(run.concat());
        let (batches, next) = committed(&run, 5, &[(1, 6)]).unwrap();
        assert_eq!(batches.iter().map(|it| it.base_offset).collect::<Vec<_>>(), [5, 7, 9]);
        assert_eq!(next, 12);
        // From within, and with the end cut off.
        let (batches, next) = committed(&run.slice(..run.len() - 1), 7, &[(1, 6)]).unwrap();
        assert_eq!(batches.iter().map(|it| it.base_offset).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(next, 11);
    }

    #[test]
    fn damage_is_found() {
        let mut bytes = batch(5, -1, 0, b"plain");
        bytes[70] ^= 1;
        assert!(committed(&Bytes::from(bytes), 5, &[]).is_err());
    }
}
