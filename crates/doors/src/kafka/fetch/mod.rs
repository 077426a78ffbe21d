//! Fetch: whole batches from the log, as they are stored, once there are
//! enough of them or the client's patience ends.
//!
//! A full fetch names all it reads, waits if there is too little (`waiting`),
//! and may begin a session (`sessions`). The
//! incremental fetches of a session say and answer only what changed, and look
//! at no more partitions than that (`session`).

mod partition;
mod session;
mod sessions;
mod waiting;

use std::time::Duration;

use bytes::Bytes;
use pluvio_access::{Operation, QuotaKey};
use pluvio_eventlog::Topic;
use pluvio_wire_kafka::TopicRef;
use pluvio_wire_kafka::fetch::{
    FetchPartition, FetchRequest, FetchedPartition, FetchedTopic, encode_response,
};
use tokio::time::Instant;

use super::broker::Taken;
use super::codes::Code;
use super::dispatch::Call;
use super::writer::Reply;
use crate::DoorError;
use partition::{failed, read_one, unknown};
use session::Session;
pub(crate) use sessions::Sessions;
use sessions::{EPOCH_CLOSE, EPOCH_OPEN};
use waiting::Waiting;

/// Most bytes of records in one answer, however many a client allows.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Longest wait of one fetch, however long a client allows.
const WAIT_MS_MAX: i32 = 60_000;

/// When a fetch is answered, and how large the answer may be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    deadline: Instant,
    bytes_enough: usize,
    bytes_max: usize,
}

impl Bounds {
    fn of(request: &FetchRequest) -> Self {
        let patience = u64::try_from(request.max_wait_ms.clamp(0, WAIT_MS_MAX)).unwrap_or(0);
        let bytes = |value: i32| usize::try_from(value).unwrap_or(0).min(ANSWER_BYTES_MAX);
        Self {
            deadline: Instant::now() + Duration::from_millis(patience),
            bytes_enough: bytes(request.min_bytes),
            bytes_max: bytes(request.max_bytes),
        }
    }

    /// Whether what was read is to be sent.
    fn is_met(&self, bytes: usize, failed: bool) -> bool {
        bytes >= self.bytes_enough || failed || Instant::now() >= self.deadline
    }
}

/// Carries out a Fetch.
pub(crate) async fn fetch(call: Call, request: FetchRequest) -> Result<Reply, DoorError> {
    // Connections that share a quota, and new ones, wait until it is paid for.
    let unpaid_ms = call.broker.throttle.used(&call, QuotaKey::ConsumerByteRate, 0);
    if let Ok(unpaid_ms @ 1..) = u64::try_from(unpaid_ms) {
        tokio::time::sleep(Duration::from_millis(unpaid_ms)).await;
    }
    if matches!(request.session_epoch, EPOCH_OPEN | EPOCH_CLOSE) {
        if request.session_id != 0 {
            call.broker.sessions.close(request.session_id);
        }
        return full(&call, request).await;
    }
    let now_ms = call.broker.monotonic_ms();
    let resumed = call.broker.sessions.resume(now_ms, &request, by_id(&call));
    let mut session = match resumed {
        Ok(session) => session,
        Err(code) => return refuse(&call, code),
    };
    session.update(&request);
    if !call.broker.sessions.resize(request.session_id, session.len()) {
        return refuse(&call, Code::FetchSessionIdNotFound);
    }
    if session.is_empty() {
        call.broker.sessions.close(request.session_id);
        return full(&call, FetchRequest { session_epoch: EPOCH_CLOSE, ..request }).await;
    }
    incremental(&call, &request, &mut session).await
}

/// Whether the request names topics by identifier.
fn by_id(call: &Call) -> bool {
    call.version() >= 13
}

fn refuse(call: &Call, code: Code) -> Result<Reply, DoorError> {
    reply(call, (code.code(), 0), &[], None)
}

fn reply(
    call: &Call,
    status: (i16, i32),
    topics: &[FetchedTopic],
    taken: Option<Taken>,
) -> Result<Reply, DoorError> {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let bytes = partitions.flat_map(|part| &part.records).map(Bytes::len).sum();
    let throttle_ms = call.broker.throttle.used(call, QuotaKey::ConsumerByteRate, bytes);
    let (version, correlation_id) = (call.head.api_version, call.head.correlation_id);
    let pieces = encode_response(version, correlation_id, throttle_ms, status, topics)?;
    Ok(Reply { pieces, taken })
}

/// A fetch that names all it reads.
async fn full(call: &Call, request: FetchRequest) -> Result<Reply, DoorError> {
    let broker = &call.broker;
    let bounds = Bounds::of(&request);
    let partitions = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if let Some(wait) = call.pace.until_turn(broker.clock.monotonic_us(), partitions) {
        tokio::time::sleep(wait).await;
    }
    let mut taken = broker.answers_budget.take(ANSWER_BYTES_MAX).await;
    let mut reading = read_all(call, &request, bounds.bytes_max).await;
    if !bounds.is_met(reading.bytes, reading.failed) {
        drop(taken.take());
        let mut waiting = Waiting::on(broker, &request, &mut reading);
        loop {
            waiting.until(bounds.deadline).await;
            taken = broker.answers_budget.take(ANSWER_BYTES_MAX).await;
            waiting.read(call, &request, &mut reading, bounds.bytes_max).await;
            if bounds.is_met(reading.bytes, reading.failed) {
                break;
            }
            waiting.put_back(&mut reading);
            drop(taken.take());
        }
    }
    broker.answers_budget.shrink(&mut taken, reading.bytes);
    let mut session_id = 0;
    if request.session_epoch == EPOCH_OPEN {
        let begin = || Session::begin(broker, &request, &reading.topics);
        session_id = broker.sessions.open(broker, reading.partitions, by_id(call), begin);
    }
    reply(call, (0, session_id), &reading.topics, taken)
}

/// A fetch within a session.
async fn incremental(call: &Call, request: &FetchRequest, session: &mut Session) -> Result<Reply, DoorError> {
    let broker = &call.broker;
    let bounds = Bounds::of(request);
    loop {
        session.take_changes();
        let mut taken = match session.is_due() {
            true => broker.answers_budget.take(ANSWER_BYTES_MAX).await,
            false => None,
        };
        let reading = session.read(call, bounds.bytes_max, request.read_committed).await;
        if bounds.is_met(reading.bytes, reading.failed) {
            broker.answers_budget.shrink(&mut taken, reading.bytes);
            let topics = session.answer(reading);
            return reply(call, (0, request.session_id), &topics, taken);
        }
        session.put_back(reading);
        drop(taken);
        // Either there is more or time is up; both are seen by looking again.
        let _ = tokio::time::timeout_at(bounds.deadline, session.changed()).await;
    }
}

/// What one reading of all partitions gave.
struct Reading {
    topics: Vec<FetchedTopic>,
    partitions: usize,
    bytes: usize,
    failed: bool,
}

impl Reading {
    fn count(&mut self, read: &FetchedPartition) {
        self.failed |= read.error_code != 0;
        self.bytes += read.records.iter().map(Bytes::len).sum::<usize>();
    }
}

/// Reads one partition of a full fetch, after so many bytes of at most so many.
async fn read_part(
    topic: Option<&Topic>,
    name: &TopicRef,
    part: &FetchPartition,
    request: &FetchRequest,
    (bytes, bytes_max): (usize, usize),
) -> FetchedPartition {
    let left = bytes_max.saturating_sub(bytes);
    let read = match topic.and_then(|topic| topic.partition(part.index)) {
        Some(partition) => read_one(&partition, part, left, bytes == 0, request.read_committed).await,
        None => Err(unknown(name, topic.is_some())),
    };
    read.unwrap_or_else(|code| failed(part.index, code))
}

/// Why the peer may not read a topic, if so.
fn denied(call: &Call, topic: &TopicRef) -> Option<Code> {
    if !call.rights.are_limited() {
        return None;
    }
    let allowed = match topic {
        TopicRef::Name(name) => call.rights.topic(Operation::Read, name),
        TopicRef::Id(_) => call.rights.topic(Operation::Read, call.broker.topic(topic)?.name()),
    };
    (!allowed).then_some(Code::TopicAuthorizationFailed)
}

async fn read_all(call: &Call, request: &FetchRequest, bytes_max: usize) -> Reading {
    let topics = Vec::with_capacity(request.topics.len());
    let mut reading = Reading { topics, partitions: 0, bytes: 0, failed: false };
    for fetched in &request.topics {
        let topic = call.broker.topic(&fetched.topic);
        let denied = denied(call, &fetched.topic);
        let mut partitions = Vec::with_capacity(fetched.partitions.len());
        for part in &fetched.partitions {
            let read = match denied {
                Some(code) => failed(part.index, code),
                None => {
                    let bytes = (reading.bytes, bytes_max);
                    read_part(topic.as_deref(), &fetched.topic, part, request, bytes).await
                }
            };
            reading.count(&read);
            partitions.push(read);
        }
        reading.partitions += partitions.len();
        reading.topics.push(FetchedTopic { topic: fetched.topic.clone(), partitions });
    }
    reading
}
