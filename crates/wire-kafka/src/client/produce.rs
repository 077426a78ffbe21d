//! Produce as a client sends it: one batch for one partition.

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::ApiKey;

use crate::WireError;
use crate::frame::{LENGTH_BYTES, begin_request, set_length};
use crate::produce::ProducedPartition;
use crate::reader::Reader;
use crate::writer::{put_array_length, put_bytes_length, put_string};

/// The version spoken.
pub const VERSION: i16 = 7;

/// Where a batch goes, and on what terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// 0: no answer; 1: answer once appended; -1: answer once durable.
    pub acks: i16,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    /// The transactional producer's name, if the batch is part of a transaction.
    pub transactional_id: Option<&'a str>,
}

/// The first piece of the request's frame; the batch of `records_bytes` bytes
/// follows it as it is.
pub fn encode(
    correlation_id: i32,
    client_id: &str,
    terms: Terms<'_>,
    records_bytes: usize,
) -> Result<Bytes, WireError> {
    let mut out = begin_request(ApiKey::Produce, VERSION, correlation_id, client_id);
    put_string(&mut out, terms.transactional_id, false);
    out.put_i16(terms.acks);
    out.put_i32(terms.timeout_ms);
    put_array_length(&mut out, 1, false);
    put_string(&mut out, Some(terms.topic), false);
    put_array_length(&mut out, 1, false);
    out.put_i32(terms.partition);
    put_bytes_length(&mut out, records_bytes, false);
    let bytes = out.len() - LENGTH_BYTES + records_bytes;
    set_length(&mut out, bytes)?;
    Ok(out.freeze())
}

/// Reads the answer's body: the one partition's.
pub fn decode(body: &Bytes) -> Result<ProducedPartition, WireError> {
    let mut reader = Reader::new(body, "Produce response");
    let topics = reader.array_length(false)?;
    reader.required_string(false)?;
    let partitions = reader.array_length(false)?;
    if (topics, partitions) != (Some(1), Some(1)) {
        return Err(WireError::malformed("Produce response", "it does not answer for one partition"));
    }
    let (index, error_code, base_offset) = (reader.int32()?, reader.int16()?, reader.int64()?);
    let (log_append_time_ms, log_start_offset) = (reader.int64()?, reader.int64()?);
    Ok(ProducedPartition {
        index,
        error_code,
        base_offset,
        log_append_time_ms,
        log_start_offset,
        record_errors: Vec::new(),
        error_message: None,
    })
}
