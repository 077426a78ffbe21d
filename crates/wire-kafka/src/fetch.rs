//! Fetch (key 1), by hand: the answer is a list of pieces, of which the
//! records are the log's own bytes.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use crate::WireError;
use crate::frame::{LENGTH_BYTES, begin_response, set_length};
use crate::produce::{TopicRef, count_element};
use crate::reader::Reader;
use crate::writer::{put_array_length, put_bytes_length, put_tags};

const FLEXIBLE_FROM: i16 = 12;
const TOPIC_ID_FROM: i16 = 13;
/// The isolation level of a client that wants committed records only.
const READ_COMMITTED: i8 = 1;
/// Records shorter than this are copied rather than sent as a piece.
const PIECE_BYTES_MIN: usize = 2048;

/// A Fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// The least that is worth an answer before `max_wait_ms`, in bytes.
    pub min_bytes: i32,
    /// The most to answer, in bytes; the first batch is sent even if larger.
    pub max_bytes: i32,
    /// Whether only committed records are wanted, up to the last stable offset.
    pub read_committed: bool,
    /// The incremental session; 0 for none.
    pub session_id: i32,
    /// Where in the session; -1 for none at all, 0 to begin one.
    pub session_epoch: i32,
    /// What to read; within a session, what is new or changed.
    pub topics: Vec<FetchTopic>,
    /// What a session is to read no more: topics and their partitions.
    pub forgotten: Vec<(TopicRef, Vec<i32>)>,
}

/// The part of a Fetch request for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<FetchPartition>,
}

/// The part of a Fetch request for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which partition.
    pub index: i32,
    /// The leader epoch the client knows, -1 if none.
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The most for this partition, in bytes.
    pub max_bytes: i32,
}

impl FetchRequest {
    /// Reads a request's body.
    pub fn decode(body: &Bytes, version: i16) -> Result<Self, WireError> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body, "Fetch request");
        if version <= 14 {
            reader.int32()?;
        }
        let (max_wait_ms, min_bytes, max_bytes) = (reader.int32()?, reader.int32()?, reader.int32()?);
        let read_committed = reader.int8()? == READ_COMMITTED;
        let (session_id, session_epoch) = match version {
            7.. => (reader.int32()?, reader.int32()?),
            _ => (0, -1),
        };
        let mut topics = Vec::new();
        let mut elements = 0;
        for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
            let topic = TopicRef::read(&mut reader, version >= TOPIC_ID_FROM, flexible)?;
            let mut partitions = Vec::new();
            for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
                partitions.push(read_partition(&mut reader, version)?);
                count_element(&mut elements)?;
            }
            reader.tags(flexible)?;
            count_element(&mut elements)?;
            topics.push(FetchTopic { topic, partitions });
        }
        let forgotten = match version {
            7.. => read_forgotten(&mut reader, version, &mut elements)?,
            _ => Vec::new(),
        };
        // The client's rack does not matter here.
        Ok(Self {
            max_wait_ms,
            min_bytes,
            max_bytes,
            read_committed,
            session_id,
            session_epoch,
            topics,
            forgotten,
        })
    }
}

fn read_forgotten(
    reader: &mut Reader<'_>,
    version: i16,
    elements: &mut usize,
) -> Result<Vec<(TopicRef, Vec<i32>)>, WireError> {
    let flexible = version >= FLEXIBLE_FROM;
    let mut forgotten = Vec::new();
    for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
        let topic = TopicRef::read(reader, version >= TOPIC_ID_FROM, flexible)?;
        let mut partitions = Vec::new();
        for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
            partitions.push(reader.int32()?);
            count_element(elements)?;
        }
        reader.tags(flexible)?;
        count_element(elements)?;
        forgotten.push((topic, partitions));
    }
    Ok(forgotten)
}

fn read_partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchPartition, WireError> {
    let index = reader.int32()?;
    let current_leader_epoch = if version >= 9 { reader.int32()? } else { -1 };
    let fetch_offset = reader.int64()?;
    if version >= 12 {
        reader.int32()?;
    }
    if version >= 5 {
        reader.int64()?;
    }
    let max_bytes = reader.int32()?;
    reader.tags(version >= FLEXIBLE_FROM)?;
    Ok(FetchPartition { index, current_leader_epoch, fetch_offset, max_bytes })
}

/// The answer for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// The answer for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Which partition.
    pub index: i32,
    /// 0 or the protocol's error code.
    pub error_code: i16,
    /// The offset after the last record there is, -1 on error.
    pub high_watermark: i64,
    /// The first offset of a transaction that is not decided, or the high
    /// watermark; -1 on error.
    pub last_stable_offset: i64,
    /// The first offset still kept, -1 on error.
    pub log_start_offset: i64,
    /// The aborted transactions among the records, for a client that wants
    /// committed ones: producer and first offset.
    pub aborted: Vec<(i64, i64)>,
    /// Whole record batches.
    pub records: Vec<Bytes>,
}

impl FetchedPartition {
    /// The answer for a partition that cannot be read.
    pub fn refused(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: Vec::new(),
            records: Vec::new(),
        }
    }
}

/// A whole response frame, in pieces to be sent one after the other. The
/// session is 0 if there is none; the client is to wait `throttle_time_ms`
/// milliseconds before it asks for more.
pub fn encode_response(
    version: i16,
    correlation_id: i32,
    throttle_time_ms: i32,
    (error_code, session_id): (i16, i32),
    topics: &[FetchedTopic],
) -> Result<Vec<Bytes>, WireError> {
    let flexible = version >= FLEXIBLE_FROM;
    let mut pieces = Pieces::new(begin_response(ApiKey::Fetch, version, correlation_id));
    pieces.out.put_i32(throttle_time_ms);
    if version >= 7 {
        pieces.out.put_i16(error_code);
        pieces.out.put_i32(session_id);
    }
    put_array_length(&mut pieces.out, topics.len(), flexible);
    for topic in topics {
        topic.topic.write(&mut pieces.out, flexible);
        put_array_length(&mut pieces.out, topic.partitions.len(), flexible);
        for partition in &topic.partitions {
            put_partition(&mut pieces, version, partition);
        }
        put_tags(&mut pieces.out, flexible);
    }
    put_tags(&mut pieces.out, flexible);
    pieces.seal()
}

fn put_partition(pieces: &mut Pieces, version: i16, partition: &FetchedPartition) {
    let flexible = version >= FLEXIBLE_FROM;
    let out = &mut pieces.out;
    out.put_i32(partition.index);
    out.put_i16(partition.error_code);
    out.put_i64(partition.high_watermark);
    out.put_i64(partition.last_stable_offset);
    if version >= 5 {
        out.put_i64(partition.log_start_offset);
    }
    put_array_length(out, partition.aborted.len(), flexible);
    for (producer_id, first_offset) in &partition.aborted {
        out.put_i64(*producer_id);
        out.put_i64(*first_offset);
        put_tags(out, flexible);
    }
    if version >= 11 {
        out.put_i32(-1);
    }
    put_bytes_length(out, partition.records.iter().map(Bytes::len).sum(), flexible);
    for records in &partition.records {
        pieces.put(records);
    }
    put_tags(&mut pieces.out, flexible);
}

/// A frame that grows by copying what is small and keeping what is large.
struct Pieces {
    done: Vec<Bytes>,
    out: BytesMut,
    done_bytes: usize,
    head: Option<BytesMut>,
}

impl Pieces {
    fn new(out: BytesMut) -> Self {
        Self { done: Vec::new(), out, done_bytes: 0, head: None }
    }

    fn put(&mut self, records: &Bytes) {
        if records.len() < PIECE_BYTES_MIN {
            self.out.put_slice(records);
            return;
        }
        self.cut();
        self.done_bytes += records.len();
        self.done.push(records.clone());
    }

    /// Ends the piece being written. The first one waits for its length.
    fn cut(&mut self) {
        let piece = self.out.split();
        self.done_bytes += piece.len();
        match self.head {
            None => self.head = Some(piece),
            Some(_) if piece.is_empty() => {}
            Some(_) => self.done.push(piece.freeze()),
        }
    }

    fn seal(mut self) -> Result<Vec<Bytes>, WireError> {
        self.cut();
        let mut head = self.head.take().unwrap_or_default();
        set_length(&mut head, self.done_bytes - LENGTH_BYTES)?;
        self.done.insert(0, head.freeze());
        Ok(self.done)
    }
}
