//! Fetch: whole batches from the log, as they are stored, once there are
//! enough of them or the client's patience ends.
//!
//! Every fetch is a full one: no incremental sessions are kept, which the
//! answer says by naming session 0.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use pluvio_eventlog::Partition;
use pluvio_wire_kafka::TopicRef;
use pluvio_wire_kafka::fetch::{
    FetchPartition, FetchRequest, FetchedPartition, FetchedTopic, encode_response,
};
use tokio::time::Instant;

use super::broker::{Broker, blocking};
use super::codes::{self, Code};
use super::dispatch::Call;
use super::writer::Reply;
use crate::DoorError;

/// Most bytes of records in one answer, however many a client allows.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Longest wait of one fetch, however long a client allows.
const WAIT_MS_MAX: i32 = 60_000;
/// A read that begins this many records or more before the end likely needs
/// the disk.
const COLD_RECORDS: i64 = 50_000;

/// What one reading of all partitions gave.
struct Reading {
    topics: Vec<FetchedTopic>,
    bytes: usize,
    failed: bool,
}

/// Carries out a Fetch.
pub(crate) async fn fetch(call: Call, request: FetchRequest) -> Result<Reply, DoorError> {
    let (version, correlation_id) = (call.head.api_version, call.head.correlation_id);
    if request.session_id != 0 {
        let code = Code::FetchSessionIdNotFound.code();
        let pieces = encode_response(version, correlation_id, code, &[])?;
        return Ok(Reply { pieces, taken: None });
    }
    let patience = u64::try_from(request.max_wait_ms.clamp(0, WAIT_MS_MAX)).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(patience);
    let enough = usize::try_from(request.min_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let mut ends = watch_ends(&call.broker, &request);
    loop {
        let mut taken = call.broker.answers_budget.take(ANSWER_BYTES_MAX).await;
        let reading = read_all(&call.broker, &request).await;
        let late = Instant::now() >= deadline;
        if reading.bytes >= enough || reading.failed || late {
            call.broker.answers_budget.shrink(&mut taken, reading.bytes);
            let pieces = encode_response(version, correlation_id, 0, &reading.topics)?;
            return Ok(Reply { pieces, taken });
        }
        drop((reading, taken));
        // Either there is more or time is up; both are seen by reading again.
        let _ = tokio::time::timeout_at(deadline, any_moved(&mut ends)).await;
    }
}

type End = tokio::sync::watch::Receiver<i64>;

/// The ends of all partitions asked for, marked as seen before they are read.
fn watch_ends(broker: &Broker, request: &FetchRequest) -> Vec<End> {
    let mut ends = Vec::new();
    for fetched in &request.topics {
        let Some(topic) = broker.topic(&fetched.topic) else { continue };
        for part in &fetched.partitions {
            if let Some(partition) = topic.partition(part.index) {
                let mut end = partition.watch_end();
                end.mark_unchanged();
                ends.push(end);
            }
        }
    }
    ends
}

/// Waits until one of the ends moved; forever if there are none.
async fn any_moved(ends: &mut [End]) {
    type Moved<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    let mut waits: Vec<Moved<'_>> = Vec::with_capacity(ends.len());
    for end in ends {
        waits.push(Box::pin(async move {
            if end.changed().await.is_err() {
                // The topic is gone, which the next reading says.
                std::future::pending::<()>().await;
            }
        }));
    }
    std::future::poll_fn(|context| {
        let moved = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if moved { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn read_all(broker: &Broker, request: &FetchRequest) -> Reading {
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let mut reading = Reading { topics: Vec::with_capacity(request.topics.len()), bytes: 0, failed: false };
    for fetched in &request.topics {
        let topic = broker.topic(&fetched.topic);
        let mut partitions = Vec::with_capacity(fetched.partitions.len());
        for part in &fetched.partitions {
            let partition = topic.as_ref().and_then(|topic| topic.partition(part.index));
            let read = match partition {
                Some(partition) => read_one(&partition, part, left, reading.bytes == 0).await,
                None => Err(unknown(&fetched.topic, topic.is_some())),
            };
            let read = read.unwrap_or_else(|code| failed(part.index, code));
            let bytes = read.records.iter().map(Bytes::len).sum::<usize>();
            reading.failed |= read.error_code != 0;
            reading.bytes += bytes;
            left = left.saturating_sub(bytes);
            partitions.push(read);
        }
        reading.topics.push(FetchedTopic { topic: fetched.topic.clone(), partitions });
    }
    reading
}

fn unknown(topic: &TopicRef, topic_is_known: bool) -> Code {
    match topic {
        TopicRef::Id(_) if !topic_is_known => Code::UnknownTopicId,
        _ => Code::UnknownTopicOrPartition,
    }
}

fn failed(index: i32, code: Code) -> FetchedPartition {
    FetchedPartition {
        index,
        error_code: code.code(),
        high_watermark: -1,
        log_start_offset: -1,
        records: Vec::new(),
    }
}

/// Reads one partition. `first` says that nothing was read yet, so that a
/// batch larger than any limit still gets through.
async fn read_one(
    partition: &Arc<Partition>,
    part: &FetchPartition,
    left: usize,
    first: bool,
) -> Result<FetchedPartition, Code> {
    if part.current_leader_epoch > 0 {
        return Err(Code::UnknownLeaderEpoch);
    }
    let (start_offset, end_offset) = (partition.start_offset(), partition.end_offset());
    let mut fetched = FetchedPartition {
        index: part.index,
        error_code: 0,
        high_watermark: end_offset,
        log_start_offset: start_offset,
        records: Vec::new(),
    };
    if !(start_offset..=end_offset).contains(&part.fetch_offset) {
        return Err(Code::OffsetOutOfRange);
    }
    let bytes_max = left.min(usize::try_from(part.max_bytes).unwrap_or(0));
    if part.fetch_offset == end_offset || (bytes_max == 0 && !first) {
        return Ok(fetched);
    }
    let from = part.fetch_offset;
    let read = match end_offset - from >= COLD_RECORDS {
        false => partition.read(from, bytes_max),
        true => {
            let partition = Arc::clone(partition);
            blocking(move || partition.read(from, bytes_max)).await
        }
    };
    let read = read.map_err(|error| {
        if !matches!(error, pluvio_eventlog::LogError::OffsetOutOfRange { .. }) {
            tracing::error!(%error, "read failed");
        }
        codes::of_log(&error)
    })?;
    fetched.high_watermark = read.end_offset;
    fetched.log_start_offset = read.start_offset;
    fetched.records = read.batches.into_iter().map(|batch| batch.bytes).collect();
    Ok(fetched)
}
