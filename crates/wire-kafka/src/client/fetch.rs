//! Fetch as a client sends it, for many partitions at once, and its answer,
//! whose records stay slices of the frame they came in.

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::ApiKey;

use crate::WireError;
use crate::fetch::FetchedPartition;
use crate::frame::{begin_request, seal};
use crate::produce::count_element;
use crate::reader::Reader;
use crate::writer::{put_array_length, put_string};

/// The version spoken.
pub const VERSION: i16 = 11;

/// What limits a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the broker may wait for `bytes_min`, in milliseconds.
    pub wait_ms: i32,
    /// The least that is worth an answer before `wait_ms`, in bytes.
    pub bytes_min: i32,
    /// The most to answer, in bytes; the first batch is sent even if larger.
    pub bytes_max: i32,
}

/// Where to read a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which partition.
    pub partition: i32,
    /// The first offset wanted.
    pub offset: i64,
    /// The most for this partition, in bytes.
    pub bytes_max: i32,
}

/// The frame of a request for partitions of one topic. `committed` leaves out
/// what lies behind the first open transaction.
pub fn encode(
    correlation_id: i32,
    client_id: &str,
    topic: &str,
    wanted: &[Wanted],
    limits: Limits,
    committed: bool,
) -> Result<Bytes, WireError> {
    let mut out = begin_request(ApiKey::Fetch, VERSION, correlation_id, client_id);
    out.put_i32(-1);
    out.put_i32(limits.wait_ms);
    out.put_i32(limits.bytes_min);
    out.put_i32(limits.bytes_max);
    out.put_i8(i8::from(committed));
    out.put_i32(0);
    out.put_i32(-1);
    put_array_length(&mut out, 1, false);
    put_string(&mut out, Some(topic), false);
    put_array_length(&mut out, wanted.len(), false);
    for wanted in wanted {
        out.put_i32(wanted.partition);
        out.put_i32(-1);
        out.put_i64(wanted.offset);
        out.put_i64(-1);
        out.put_i32(wanted.bytes_max);
    }
    put_array_length(&mut out, 0, false);
    put_string(&mut out, Some(""), false);
    seal(out)
}

/// Reads the answer's body: an error for the whole, or what each partition gave,
/// its records in one piece, of which the last batch may be cut off.
pub fn decode(body: &Bytes) -> Result<(i16, Vec<FetchedPartition>), WireError> {
    let mut reader = Reader::new(body, "Fetch response");
    reader.int32()?;
    let error_code = reader.int16()?;
    reader.int32()?;
    let mut fetched = Vec::new();
    let mut elements = 0;
    for _ in 0..reader.array_length(false)?.unwrap_or(0) {
        reader.required_string(false)?;
        count_element(&mut elements)?;
        for _ in 0..reader.array_length(false)?.unwrap_or(0) {
            count_element(&mut elements)?;
            fetched.push(partition(&mut reader, &mut elements)?);
        }
    }
    Ok((error_code, fetched))
}

fn partition(reader: &mut Reader<'_>, elements: &mut usize) -> Result<FetchedPartition, WireError> {
    let (index, error_code, high_watermark) = (reader.int32()?, reader.int16()?, reader.int64()?);
    let (last_stable_offset, log_start_offset) = (reader.int64()?, reader.int64()?);
    let mut aborted = Vec::new();
    for _ in 0..reader.array_length(false)?.unwrap_or(0) {
        count_element(elements)?;
        aborted.push((reader.int64()?, reader.int64()?));
    }
    reader.int32()?;
    let records = reader.bytes(false)?.into_iter().collect();
    Ok(FetchedPartition {
        index,
        error_code,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        aborted,
        records,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{FetchRequest, FetchedTopic, encode_response};
    use crate::frame::{LENGTH_BYTES, split_request};
    use crate::{Request, TopicRef};

    #[test]
    fn the_door_reads_what_is_asked() {
        let wanted =
            [(0, 5), (7, 900)].map(|(partition, offset)| Wanted { partition, offset, bytes_max: 1000 });
        let limits = Limits { wait_ms: 500, bytes_min: 1, bytes_max: 1 << 20 };
        let frame = encode(3, "us", "rain", &wanted, limits, true).unwrap();
        let (head, body) = split_request(&frame.slice(LENGTH_BYTES..)).unwrap();
        let Request::Fetch(FetchRequest { topics, max_wait_ms, .. }) = Request::decode(&head, body).unwrap()
        else {
            panic!("a Fetch");
        };
        let offsets: Vec<_> = topics[0].partitions.iter().map(|it| (it.index, it.fetch_offset)).collect();
        assert_eq!((offsets, max_wait_ms), (vec![(0, 5), (7, 900)], 500));
    }

    #[test]
    fn noise_is_refused() {
        for length in 0..80 {
            let noise: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(97) % 251) as u8).collect();
            let _ = decode(&Bytes::from(noise));
        }
        let huge = [&[0; 10][..], &i32::MAX.to_be_bytes(), &[0, 0]].concat();
        assert!(decode(&Bytes::from(huge)).is_err());
    }

    #[test]
    fn answers_of_the_door_are_read() {
        let records = Bytes::from(vec![7; 3000]);
        let mut part = FetchedPartition::refused(4, 0);
        (part.high_watermark, part.last_stable_offset, part.log_start_offset) = (90, 80, 10);
        part.aborted = vec![(3, 12)];
        part.records = vec![records];
        let sent = vec![part];
        let topic = FetchedTopic { topic: TopicRef::Name("rain".into()), partitions: sent.clone() };
        let frame = encode_response(VERSION, 9, 0, (0, 0), &[topic]).unwrap().concat();
        let (error_code, fetched) = decode(&Bytes::from(frame).slice(LENGTH_BYTES + 4..)).unwrap();
        assert_eq!((error_code, fetched), (0, sent));
    }
}
