//! Produce (key 0), by hand: records stay slices of the frame they came in.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use crate::WireError;
use crate::frame::{begin_response, seal};
use crate::reader::Reader;
use crate::shape::ELEMENTS_MAX;
use crate::writer::{put_array_length, put_string, put_tags};

const FLEXIBLE_FROM: i16 = 9;
const TOPIC_ID_FROM: i16 = 13;

/// A topic, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By identifier (Produce from version 13, Fetch from version 13).
    Id([u8; 16]),
}

impl TopicRef {
    /// Reads a name or, if `by_id`, an identifier.
    pub(crate) fn read(reader: &mut Reader<'_>, by_id: bool, flexible: bool) -> Result<Self, WireError> {
        Ok(match by_id {
            true => Self::Id(reader.uuid()?),
            false => Self::Name(reader.required_string(flexible)?.to_owned()),
        })
    }

    /// Writes it the way it was read.
    pub(crate) fn write(&self, out: &mut BytesMut, flexible: bool) {
        match self {
            Self::Name(name) => put_string(out, Some(name), flexible),
            Self::Id(id) => out.put_slice(id),
        }
    }
}

/// A Produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRequest {
    /// Set by a transactional producer.
    pub transactional_id: Option<String>,
    /// 0: no answer; 1: answer once appended; -1: answer once durable.
    pub acks: i16,
    /// How long the client waits, in milliseconds.
    pub timeout_ms: i32,
    /// What is produced.
    pub topics: Vec<ProduceTopic>,
}

/// The part of a Produce request for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<ProducePartition>,
}

/// The part of a Produce request for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartition {
    /// Which partition.
    pub index: i32,
    /// The record batch, not checked yet.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads a request's body.
    pub fn decode(body: &Bytes, version: i16) -> Result<Self, WireError> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body, "Produce request");
        let transactional_id = match version {
            3.. => reader.string(flexible)?.map(str::to_owned),
            _ => None,
        };
        let (acks, timeout_ms) = (reader.int16()?, reader.int32()?);
        let mut topics = Vec::new();
        let mut elements = 0;
        for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
            let topic = TopicRef::read(&mut reader, version >= TOPIC_ID_FROM, flexible)?;
            let mut partitions = Vec::new();
            for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
                let index = reader.int32()?;
                let records = reader.bytes(flexible)?;
                reader.tags(flexible)?;
                count_element(&mut elements)?;
                partitions.push(ProducePartition { index, records });
            }
            reader.tags(flexible)?;
            count_element(&mut elements)?;
            topics.push(ProduceTopic { topic, partitions });
        }
        reader.tags(flexible)?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

/// Arrays grow as their elements are read, so this bounds their memory.
pub(crate) fn count_element(elements: &mut usize) -> Result<(), WireError> {
    *elements += 1;
    if *elements > ELEMENTS_MAX {
        let what = "array elements of a request";
        return Err(WireError::TooLarge { what, bytes: *elements, bytes_max: ELEMENTS_MAX });
    }
    Ok(())
}

/// The answer for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<ProducedPartition>,
}

/// The answer for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedPartition {
    /// Which partition.
    pub index: i32,
    /// 0 or the protocol's error code.
    pub error_code: i16,
    /// The offset of the first record, -1 on error.
    pub base_offset: i64,
    /// When the batch was appended, in milliseconds since 1970, if its records
    /// bear that time; -1 if they bear their producer's.
    pub log_append_time_ms: i64,
    /// The first offset still kept, -1 if unknown.
    pub log_start_offset: i64,
    /// Which records are why the batch was refused (from version 8).
    pub record_errors: Vec<RecordError>,
    /// What went wrong, for people.
    pub error_message: Option<String>,
}

/// A record that a batch was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it, for people.
    pub message: &'static str,
}

/// A whole response frame; the client is to wait `throttle_time_ms`
/// milliseconds before it sends more.
pub fn encode_response(
    version: i16,
    correlation_id: i32,
    throttle_time_ms: i32,
    topics: &[ProducedTopic],
) -> Result<Bytes, WireError> {
    let flexible = version >= FLEXIBLE_FROM;
    let mut out = begin_response(ApiKey::Produce, version, correlation_id);
    put_array_length(&mut out, topics.len(), flexible);
    for topic in topics {
        topic.topic.write(&mut out, flexible);
        put_array_length(&mut out, topic.partitions.len(), flexible);
        for partition in &topic.partitions {
            put_partition(&mut out, version, partition);
        }
        put_tags(&mut out, flexible);
    }
    if version >= 1 {
        out.put_i32(throttle_time_ms);
    }
    put_tags(&mut out, flexible);
    seal(out)
}

fn put_partition(out: &mut BytesMut, version: i16, partition: &ProducedPartition) {
    let flexible = version >= FLEXIBLE_FROM;
    out.put_i32(partition.index);
    out.put_i16(partition.error_code);
    out.put_i64(partition.base_offset);
    if version >= 2 {
        out.put_i64(partition.log_append_time_ms);
    }
    if version >= 5 {
        out.put_i64(partition.log_start_offset);
    }
    if version >= 8 {
        put_array_length(out, partition.record_errors.len(), flexible);
        for error in &partition.record_errors {
            out.put_i32(error.batch_index);
            put_string(out, Some(error.message), flexible);
            put_tags(out, flexible);
        }
        put_string(out, partition.error_message.as_deref(), flexible);
    }
    put_tags(out, flexible);
}
