//! Makes record batches: records are written once, straight into the batch.

use bytes::Bytes;

use super::header::{BatchHeader, HEADER_BYTES, TRANSACTIONAL_BIT};
use crate::varint::{unsigned_bytes, write_signed, zigzag};
use crate::{Compression, WireError};

/// A batch in the making.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    count: i32,
}

impl BatchBuilder {
    /// An empty batch; record times are stored as differences to
    /// `base_timestamp_ms`.
    pub fn new(base_timestamp_ms: i64) -> Self {
        Self::with_capacity(base_timestamp_ms, 0)
    }

    /// The same, with room for `bytes` bytes.
    pub fn with_capacity(base_timestamp_ms: i64, bytes: usize) -> Self {
        let mut room = Vec::with_capacity(HEADER_BYTES + bytes);
        room.resize(HEADER_BYTES, 0);
        Self { bytes: room, base_timestamp_ms, max_timestamp_ms: i64::MIN, count: 0 }
    }

    /// Adds a record. `timestamp_ms` is milliseconds since 1970.
    pub fn push(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: i64,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let time_delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        let offset_delta = i64::from(self.count);
        let mut length = 1 + signed_bytes(time_delta) + signed_bytes(offset_delta);
        length += nullable_bytes(key) + nullable_bytes(value) + signed_bytes(headers.len() as i64);
        for (name, value) in headers {
            length += nullable_bytes(Some(name.as_bytes())) + nullable_bytes(*value);
        }
        let out = &mut self.bytes;
        out.reserve(length + 5);
        write_signed(out, length as i64);
        out.push(0);
        write_signed(out, time_delta);
        write_signed(out, offset_delta);
        write_nullable(out, key);
        write_nullable(out, value);
        write_signed(out, headers.len() as i64);
        for (name, value) in headers {
            write_nullable(out, Some(name.as_bytes()));
            write_nullable(out, *value);
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.count += 1;
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// The size of the batch so far, uncompressed, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished batch, with base offset 0. `producer` is the id, epoch and
    /// first sequence of an idempotent producer.
    ///
    /// Fails on an empty batch and on one of 2 GiB or more.
    pub fn finish(self, codec: Compression, producer: Option<(i64, i16, i32)>) -> Result<Bytes, WireError> {
        self.finish_with(codec, producer, 0)
    }

    /// The same as part of the producer's transaction.
    pub fn finish_transactional(
        self,
        codec: Compression,
        producer: (i64, i16, i32),
    ) -> Result<Bytes, WireError> {
        self.finish_with(codec, Some(producer), TRANSACTIONAL_BIT)
    }

    /// The same with further bits of the attributes set.
    pub(super) fn finish_with(
        self,
        codec: Compression,
        producer: Option<(i64, i16, i32)>,
        attributes: i16,
    ) -> Result<Bytes, WireError> {
        if self.count == 0 {
            return Err(WireError::malformed("record batch", "it has no records"));
        }
        let (producer_id, producer_epoch, base_sequence) = producer.unwrap_or((-1, -1, -1));
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: codec.bits() | attributes,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp_ms,
            max_timestamp: self.max_timestamp_ms,
            producer_id,
            producer_epoch,
            base_sequence,
            records_count: self.count,
        };
        let mut bytes = self.bytes;
        if codec != Compression::None {
            let mut packed = Vec::with_capacity(bytes.len() / 2 + HEADER_BYTES);
            packed.resize(HEADER_BYTES, 0);
            codec.deflate(&bytes[HEADER_BYTES..], &mut packed)?;
            bytes = packed;
        }
        header.seal(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }
}

#[inline]
fn signed_bytes(value: i64) -> usize {
    unsigned_bytes(zigzag(value))
}

#[inline]
fn nullable_bytes(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| signed_bytes(field.len() as i64) + field.len())
}

#[inline]
fn write_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => out.push(1),
        Some(field) => {
            write_signed(out, field.len() as i64);
            out.extend_from_slice(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_batch_is_refused() {
        assert!(BatchBuilder::new(0).finish(Compression::None, None).is_err());
    }

    #[test]
    fn sizes_are_told() {
        let mut builder = BatchBuilder::with_capacity(5, 100);
        assert!(builder.is_empty());
        builder.push(None, Some(b"abc"), 5, &[]);
        assert_eq!((builder.count(), builder.is_empty()), (1, false));
        let batch = builder.clone().finish(Compression::None, None).unwrap();
        assert_eq!(batch.len(), builder.bytes());
    }
}
