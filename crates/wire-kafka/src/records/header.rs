//! The 61 bytes in front of a batch's records: read, check, patch in place.
//! The checksum covers the attributes to the end, so the base offset and the
//! leader epoch can be set without touching it.

use crate::{Compression, WireError};

/// Bytes before a batch's records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what `batch_length` counts.
const LENGTH_END: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_COVERS_FROM: usize = 21;
pub(super) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(super) const CONTROL_BIT: i16 = 1 << 5;
pub(super) const APPEND_TIME_BIT: i16 = 1 << 3;
pub(super) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// A batch's header; field names are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the module head shows the layout")]
pub struct BatchHeader {
    pub base_offset: i64,
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, WireError> {
        Compression::from_attributes(self.attributes)
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds a marker of the broker's instead of data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether every record's time is the time of the append (`max_timestamp`).
    pub fn is_append_time(&self) -> bool {
        self.attributes & APPEND_TIME_BIT != 0
    }

    /// From when on the deletions in the batch may be removed, in milliseconds
    /// since 1970, if a compaction met them already.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The size of the whole batch, in bytes.
    pub fn total_bytes(&self) -> usize {
        LENGTH_END + usize::try_from(self.batch_length).unwrap_or(0)
    }
}

#[inline]
fn field<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

/// Reads the header at the start of `bytes`, which may hold more than the
/// batch or end inside its records. Checks the magic and that the length is
/// possible, nothing else.
pub fn parse_header(bytes: &[u8]) -> Result<BatchHeader, WireError> {
    if bytes.len() > MAGIC_AT && bytes[MAGIC_AT] != 2 {
        return Err(WireError::Magic(bytes[MAGIC_AT].cast_signed()));
    }
    let cut = || WireError::Truncated { what: "record batch", needed: HEADER_BYTES, have: bytes.len() };
    let head = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(cut)?;
    let header = BatchHeader {
        base_offset: i64::from_be_bytes(field(head, 0)),
        batch_length: i32::from_be_bytes(field(head, 8)),
        partition_leader_epoch: i32::from_be_bytes(field(head, LENGTH_END)),
        magic: i8::from_be_bytes(field(head, MAGIC_AT)),
        crc: u32::from_be_bytes(field(head, CRC_AT)),
        attributes: i16::from_be_bytes(field(head, CRC_COVERS_FROM)),
        last_offset_delta: i32::from_be_bytes(field(head, 23)),
        base_timestamp: i64::from_be_bytes(field(head, 27)),
        max_timestamp: i64::from_be_bytes(field(head, 35)),
        producer_id: i64::from_be_bytes(field(head, 43)),
        producer_epoch: i16::from_be_bytes(field(head, 51)),
        base_sequence: i32::from_be_bytes(field(head, 53)),
        records_count: i32::from_be_bytes(field(head, 57)),
    };
    if header.total_bytes() < HEADER_BYTES {
        let reason = format!("batch length {} leaves no room for the header", header.batch_length);
        return Err(WireError::malformed("record batch", reason));
    }
    Ok(header)
}

/// The header of a batch whose bytes must all be there; what follows them is
/// ignored.
pub(super) fn parse_whole(bytes: &[u8]) -> Result<(BatchHeader, &[u8]), WireError> {
    let header = parse_header(bytes)?;
    let needed = header.total_bytes();
    let batch = bytes.get(..needed);
    let batch = batch.ok_or(WireError::Truncated { what: "record batch", needed, have: bytes.len() })?;
    Ok((header, batch))
}

/// Checks the checksum of the whole batch at the start of `bytes`.
pub fn verify_crc(bytes: &[u8]) -> Result<(), WireError> {
    let (header, batch) = parse_whole(bytes)?;
    let computed = crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
    if computed != header.crc {
        return Err(WireError::Crc { stored: header.crc, computed });
    }
    Ok(())
}

/// Checks what a producer sent for one partition: exactly one batch of format
/// 2, at most `bytes_max` bytes, whole, and what only producers may write.
/// Does not look at the records themselves.
pub fn validate_produced(bytes: &[u8], bytes_max: usize) -> Result<BatchHeader, WireError> {
    let (header, batch) = parse_whole(bytes)?;
    let refuse = |reason: String| Err(WireError::malformed("record batch", reason));
    if batch.len() > bytes_max {
        return Err(WireError::TooLarge { what: "record batch", bytes: batch.len(), bytes_max });
    }
    if batch.len() != bytes.len() {
        return refuse(format!("{} bytes follow the one batch allowed", bytes.len() - batch.len()));
    }
    if header.base_offset != 0 {
        return refuse(format!("base offset must be 0, it is {}", header.base_offset));
    }
    if header.records_count <= 0 || i64::from(header.records_count) != i64::from(header.last_offset_delta) + 1
    {
        let (count, delta) = (header.records_count, header.last_offset_delta);
        return refuse(format!("record count {count} does not fit the last offset delta {delta}"));
    }
    if header.is_control() {
        return refuse("control batches are the broker's to write".into());
    }
    if header.is_append_time() {
        return refuse("append time is the broker's to set".into());
    }
    if header.delete_horizon_ms().is_some() {
        return refuse("a delete horizon is the broker's to set".into());
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        let (id, sequence) = (header.producer_id, header.base_sequence);
        return refuse(format!("producer {id} sent sequence {sequence}, epoch {}", header.producer_epoch));
    }
    header.compression()?;
    verify_crc(batch)?;
    Ok(header)
}

/// Sets the base offset of the batch in place; the checksum stays right.
/// Does nothing if `batch` is shorter than the field.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    if let Some(field) = batch.first_chunk_mut::<8>() {
        *field = base_offset.to_be_bytes();
    }
}

/// Sets the leader epoch of the batch in place; the checksum stays right.
/// Does nothing if `batch` is shorter than the field.
pub fn set_leader_epoch(batch: &mut [u8], epoch: i32) {
    if let Some(field) = batch.get_mut(LENGTH_END..MAGIC_AT) {
        field.copy_from_slice(&epoch.to_be_bytes());
    }
}

impl BatchHeader {
    /// Writes the header over the first bytes of `batch`, which holds the
    /// records already, with the length and checksum that fit them.
    pub(super) fn seal(mut self, batch: &mut [u8]) -> Result<(), WireError> {
        let have = batch.len();
        let too_large =
            |_| WireError::TooLarge { what: "record batch", bytes: have, bytes_max: i32::MAX as usize };
        self.batch_length = i32::try_from(have.saturating_sub(LENGTH_END)).map_err(too_large)?;
        let cut = WireError::Truncated { what: "record batch", needed: HEADER_BYTES, have };
        let head = batch.first_chunk_mut::<HEADER_BYTES>().ok_or(cut)?;
        head[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        head[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        head[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        head[16] = self.magic.cast_unsigned();
        head[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        head[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        head[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        head[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        head[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        head[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        head[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        head[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        let crc = crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
        batch[CRC_AT..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::BatchBuilder;
    use super::*;

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(Some(b"k"), Some(b"v"), 1_000, &[]);
        builder.push(None, None, 1_005, &[]);
        builder.finish(Compression::None, Some((7, 0, 3))).unwrap().to_vec()
    }

    /// Changes bytes and makes the checksum right again.
    fn forged(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut forged = batch();
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c::crc32c(&forged[CRC_COVERS_FROM..]);
        forged[CRC_AT..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
        forged
    }

    #[test]
    fn a_good_batch_is_accepted() {
        let header = validate_produced(&batch(), 1000).unwrap();
        assert_eq!((header.records_count, header.last_offset_delta), (2, 1));
        assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_005));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 0, 3));
        assert_eq!(header.total_bytes(), batch().len());
    }

    #[test]
    fn offset_and_epoch_lie_outside_the_checksum() {
        let mut patched = batch();
        set_base_offset(&mut patched, 42);
        set_leader_epoch(&mut patched, 9);
        verify_crc(&patched).unwrap();
        let header = parse_header(&patched).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.partition_leader_epoch), (42, 43, 9));
    }

    #[test]
    fn bad_batches_are_refused() {
        let refused = |bytes: &[u8]| validate_produced(bytes, 1000).unwrap_err().to_string();
        let mut flipped = batch();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(refused(&flipped).contains("CRC"));
        assert!(refused(&batch()[..batch().len() - 1]).contains("ends early"));
        assert!(refused(&[batch(), batch()].concat()).contains("one batch"));
        assert!(refused(&forged(0, &5_i64.to_be_bytes())).contains("base offset"));
        assert!(refused(&forged(8, &(-1_i32).to_be_bytes())).contains("batch length"));
        assert!(refused(&forged(16, &[1])).contains("magic 1"));
        assert!(refused(&forged(21, &7_i16.to_be_bytes())).contains("compression 7"));
        assert!(refused(&forged(21, &CONTROL_BIT.to_be_bytes())).contains("control"));
        assert!(refused(&forged(53, &(-1_i32).to_be_bytes())).contains("sequence"));
        assert!(refused(&forged(57, &3_i32.to_be_bytes())).contains("record count 3"));
        let large = validate_produced(&batch(), 60).unwrap_err();
        assert!(matches!(large, WireError::TooLarge { .. }));
    }
}
