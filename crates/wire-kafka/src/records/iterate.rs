//! The records of a batch, one by one, as slices of the batch or, if it is
//! compressed, of a buffer that is used again from batch to batch.

use super::header::{BatchHeader, HEADER_BYTES, parse_whole};
use crate::varint::{read_signed, read_signed_32};
use crate::{Compression, WireError};

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key; `None` if null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` if null (a deletion, where keys matter).
    pub value: Option<&'a [u8]>,
    /// How many headers it says it has.
    pub headers_count: u32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// The headers, decoded as they are asked for.
    pub fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { bytes: self.headers, position: 0, left: self.headers_count }
    }
}

/// The headers of a record: name and value.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    bytes: &'a [u8],
    position: usize,
    left: u32,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Result<(&'a str, Option<&'a [u8]>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let header = self.read();
        self.left = if header.is_ok() { self.left - 1 } else { 0 };
        Some(header)
    }
}

impl<'a> HeaderIter<'a> {
    fn read(&mut self) -> Result<(&'a str, Option<&'a [u8]>), WireError> {
        let name = nullable(self.bytes, &mut self.position)?;
        let name = name.ok_or_else(|| WireError::malformed("record header", "its name is null"))?;
        let name = std::str::from_utf8(name)
            .map_err(|_| WireError::malformed("record header", "its name is not UTF-8"))?;
        Ok((name, nullable(self.bytes, &mut self.position)?))
    }
}

/// The records of one batch. Their offsets ascend within those that the batch
/// takes: a reader goes on by offset, and a compaction keeps the event of a key
/// with the highest one.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    bytes: &'a [u8],
    position: usize,
    left: i32,
    /// The least and the largest that the next record may have.
    delta_min: i64,
    delta_max: i64,
    base_offset: i64,
    base_timestamp_ms: i64,
    append_time_ms: Option<i64>,
}

impl<'a> RecordIter<'a> {
    pub(super) fn new(header: &BatchHeader, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            left: header.records_count.max(0),
            delta_min: 0,
            delta_max: header.last_offset_delta.into(),
            base_offset: header.base_offset,
            base_timestamp_ms: header.base_timestamp,
            append_time_ms: header.is_append_time().then_some(header.max_timestamp),
        }
    }

    /// Where the next record begins, in bytes after the batch's header.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    #[inline]
    fn read(&mut self) -> Result<Record<'a>, WireError> {
        let length = read_signed_32(self.bytes, &mut self.position)?;
        let rest = &self.bytes[self.position..];
        let body = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(body) = body else {
            return Err(record_cut(length, rest.len()));
        };
        self.position += body.len();
        let mut at = 1;
        let time_delta = read_signed(body, &mut at)?;
        let offset_delta = i64::from(read_signed_32(body, &mut at)?);
        if offset_delta < self.delta_min || offset_delta > self.delta_max {
            return Err(offset_astray(offset_delta, self.delta_min, self.delta_max));
        }
        self.delta_min = offset_delta + 1;
        let key = nullable(body, &mut at)?;
        let value = nullable(body, &mut at)?;
        let headers_count = read_signed_32(body, &mut at)?;
        let headers = &body[at..];
        // A header takes at least two bytes: its two lengths.
        let headers_count = u32::try_from(headers_count)
            .ok()
            .filter(|count| *count as usize <= headers.len() / 2)
            .ok_or_else(|| WireError::malformed("record", "it has fewer headers than it says"))?;
        Ok(Record {
            offset: self.base_offset.wrapping_add(offset_delta),
            timestamp_ms: match self.append_time_ms {
                None => self.base_timestamp_ms.wrapping_add(time_delta),
                Some(time) => time,
            },
            key,
            value,
            headers_count,
            headers,
        })
    }
}

#[cold]
fn offset_astray(delta: i64, min: i64, max: i64) -> WireError {
    WireError::malformed("record", format!("its offset delta is {delta}, {min} to {max} may come here"))
}

#[cold]
fn record_cut(length: i32, have: usize) -> WireError {
    match usize::try_from(length) {
        Ok(needed) => WireError::Truncated { what: "record", needed, have },
        Err(_) => WireError::malformed("record", format!("its length is {length}")),
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.left).ok())
    }
}

/// Bytes with a varint length before them; -1 means null.
#[inline]
fn nullable<'a>(bytes: &'a [u8], position: &mut usize) -> Result<Option<&'a [u8]>, WireError> {
    let length = read_signed_32(bytes, position)?;
    if length < 0 {
        if length == -1 {
            return Ok(None);
        }
        return Err(WireError::malformed("record", format!("a field's length is {length}")));
    }
    let end = usize::try_from(length).ok().and_then(|length| position.checked_add(length));
    let field = end.and_then(|end| bytes.get(*position..end));
    let Some(field) = field else {
        return Err(record_cut(length, bytes.len() - *position));
    };
    *position += field.len();
    Ok(Some(field))
}

/// The records of the batch at the start of `batch`.
///
/// Uncompressed records are slices of `batch`; compressed ones are inflated
/// into `scratch`, at most `inflated_bytes_max` bytes, and are slices of it.
/// The checksum is not verified: the log did that when the batch came in.
/// A control batch gives its markers: ask [`BatchHeader::is_control`] first.
pub fn records<'a>(
    batch: &'a [u8],
    inflated_bytes_max: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<RecordIter<'a>, WireError> {
    let (header, batch) = parse_whole(batch)?;
    let payload = &batch[HEADER_BYTES..];
    match header.compression()? {
        Compression::None => Ok(RecordIter::new(&header, payload)),
        codec => {
            codec.inflate(payload, inflated_bytes_max, scratch)?;
            Ok(RecordIter::new(&header, scratch))
        }
    }
}

/// Calls `f` for each record of the batch; see [`records`]. Stops at the first
/// error, the batch's or `f`'s, and finds a batch that holds less or more than
/// it says.
pub fn for_each_record<F>(
    batch: &[u8],
    inflated_bytes_max: usize,
    scratch: &mut Vec<u8>,
    mut f: F,
) -> Result<(), WireError>
where
    F: FnMut(Record<'_>) -> Result<(), WireError>,
{
    let mut iter = records(batch, inflated_bytes_max, scratch)?;
    for record in iter.by_ref() {
        f(record?)?;
    }
    if iter.position != iter.bytes.len() {
        let extra = iter.bytes.len() - iter.position;
        return Err(WireError::malformed("record batch", format!("{extra} bytes follow its last record")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, set_base_offset};
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    type Header = (String, Option<Vec<u8>>);
    type Plain = (Option<Vec<u8>>, Option<Vec<u8>>, i64, Vec<Header>);

    fn plain() -> impl Strategy<Value = Plain> {
        let bytes = || option::of(vec(any::<u8>(), 0..200));
        (bytes(), bytes(), -5_000_i64..5_000, vec(("[a-zé]{0,5}", bytes()), 0..3))
    }

    fn built(records: &[Plain], codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_700_000_000_000);
        for (key, value, delta, headers) in records {
            let headers: Vec<(&str, Option<&[u8]>)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            builder.push(key.as_deref(), value.as_deref(), 1_700_000_000_000 + delta, &headers);
        }
        let mut batch = builder.finish(codec, None).unwrap().to_vec();
        set_base_offset(&mut batch, 100);
        batch
    }

    fn read_back(batch: &[u8]) -> Result<Vec<(i64, Plain)>, WireError> {
        let mut back = Vec::new();
        for_each_record(batch, 1 << 20, &mut Vec::new(), |record| {
            let mut headers = Vec::new();
            for header in record.headers() {
                let (name, value) = header?;
                headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
            }
            let key = record.key.map(<[u8]>::to_vec);
            let value = record.value.map(<[u8]>::to_vec);
            back.push((record.offset, (key, value, record.timestamp_ms - 1_700_000_000_000, headers)));
            Ok(())
        })?;
        Ok(back)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn round_trip(sent in vec(plain(), 1..20)) {
            for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
                let back = read_back(&built(&sent, codec)).unwrap();
                let expected: Vec<_> = (100_i64..).zip(sent.iter().cloned()).collect();
                prop_assert_eq!(back, expected);
            }
        }

        #[test]
        fn damage_never_panics(sent in vec(plain(), 1..5), at in 8_usize..400, byte in any::<u8>()) {
            let mut batch = built(&sent, Compression::None);
            let at = at % batch.len();
            batch[at] = byte;
            let _ = read_back(&batch);
        }
    }

    #[test]
    fn offsets_ascend_within_the_batch() {
        let one: Plain = (None, None, 0, Vec::new());
        let batch = built(&[one.clone(), one], Compression::None);
        // Each record has seven bytes, the fourth of them the zigzagged delta.
        let with = |first: u8, second: u8| {
            let mut batch = batch.clone();
            (batch[64], batch[71]) = (first, second);
            read_back(&batch).map(|records| records.iter().map(|(offset, _)| *offset).collect::<Vec<_>>())
        };
        assert_eq!(with(0, 2).unwrap(), [100, 101]);
        for (first, second) in [(0, 0), (2, 0), (2, 2), (0, 4), (1, 2), (0, 126)] {
            assert!(matches!(with(first, second), Err(WireError::Malformed { .. })), "{first} {second}");
        }
    }

    #[test]
    fn a_wrong_count_is_found() {
        let one: Plain = (None, Some(b"x".to_vec()), 0, Vec::new());
        let mut batch = built(&[one.clone(), one], Compression::None);
        batch[57..61].copy_from_slice(&1_i32.to_be_bytes());
        assert!(read_back(&batch).unwrap_err().to_string().contains("follow its last record"));
        batch[57..61].copy_from_slice(&3_i32.to_be_bytes());
        assert!(matches!(read_back(&batch), Err(WireError::Truncated { .. })));
    }
}
