//! Batches for the unit tests.

use bytes::Bytes;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, set_base_offset};

/// A batch of `records` records of `value_bytes` bytes each, at `offset`.
pub(crate) fn batch(offset: i64, records: i64, value_bytes: usize) -> Bytes {
    made(offset, records, value_bytes, 1_000 + offset, None)
}

/// The same of a producer (id, epoch, first sequence).
pub(crate) fn batch_of(producer: (i64, i16, i32), records: i64) -> Bytes {
    made(0, records, 20, 1_000, Some(producer))
}

fn made(
    offset: i64,
    records: i64,
    value_bytes: usize,
    base_timestamp_ms: i64,
    producer: Option<(i64, i16, i32)>,
) -> Bytes {
    let mut builder = BatchBuilder::new(base_timestamp_ms);
    for record in 0..records {
        let value = vec![u8::try_from((offset + record) & 0x7f).unwrap(); value_bytes];
        builder.push(None, Some(&value), base_timestamp_ms + record, &[]);
    }
    let mut bytes = builder.finish(Compression::None, producer).unwrap().to_vec();
    set_base_offset(&mut bytes, offset);
    Bytes::from(bytes)
}
