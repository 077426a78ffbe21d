//! Produce: each partition's batch is checked and appended at once; with
//! `acks=all` the answer waits until the batches are durable, unless their
//! topic is lazy.

use std::sync::Arc;

use pluvio_access::{Operation, QuotaKey};
use pluvio_eventlog::{LogError, Partition, TimestampType, Topic};
use pluvio_wire_kafka::produce::{
    ProducePartition, ProduceRequest, ProducedPartition, ProducedTopic, encode_response,
};
use pluvio_wire_kafka::records::BatchHeader;
use pluvio_wire_kafka::{TopicRef, WireError};

use super::broker::Broker;
use super::codes::{self, Code};
use super::dispatch::Call;
use super::frames::LARGE_BYTES;
use super::transactions;
use super::validate::{Refusal, check_produced};
use super::writer::Answer;
use crate::DoorError;

const ACKS_NONE: i16 = 0;
const ACKS_ALL: i16 = -1;
/// Most records that one answer tells to be wrong.
const RECORD_ERRORS_MAX: usize = 10_000;

/// A batch whose durability the answer waits for.
struct Waiting {
    partition: Arc<Partition>,
    end_offset: i64,
    /// Where its answer is: topic, partition.
    place: (usize, usize),
}

/// What a batch must be to be appended.
pub(crate) enum Gate<'a> {
    /// Outside of any transaction.
    Plain,
    /// In the transaction that this asks about topic, partition and batch.
    Transaction {
        check: &'a dyn Fn(&Topic, i32, &BatchHeader) -> Result<(), Code>,
        /// Whether each transaction has an epoch, and so sequences, of its own.
        from_zero: bool,
    },
}

/// Carries out a Produce. An error closes the connection: that is how a
/// producer which wants no answers learns of a refusal.
pub(crate) fn produce(call: &Call, request: ProduceRequest) -> Result<Answer, DoorError> {
    match &request.transactional_id {
        Some(id) => transactions::produce(call, &id.clone(), request),
        None => append_all(call, request, &Gate::Plain),
    }
}

/// Appends all batches of a request that may pass the gate.
pub(crate) fn append_all(call: &Call, request: ProduceRequest, gate: &Gate<'_>) -> Result<Answer, DoorError> {
    let acks = request.acks;
    let alone = request.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>() == 1;
    let throttle_time_ms = throttle(call, &request);
    let refuse_all = refusal_of_all(call, &request);
    let mut waiting = Vec::new();
    let mut record_errors_left = RECORD_ERRORS_MAX;
    let mut answers = Vec::with_capacity(request.topics.len());
    for produced in request.topics {
        let topic = call.broker.topic(&produced.topic);
        let refuse = refuse_all.or_else(|| refusal_of_topic(call, &produced.topic, topic.as_deref()));
        let mut partitions = Vec::with_capacity(produced.partitions.len());
        for part in produced.partitions {
            let index = part.index;
            let appended = match &refuse {
                Some((code, message)) => Err(Refusal::new(*code, *message)),
                None => append(&call.broker, &produced.topic, topic.as_deref(), part, (alone, gate)),
            };
            if let Ok(Appended { partition, .. }) = &appended {
                call.pace.note(partition);
            }
            if let Ok(Appended { partition, at, .. }) = &appended
                && acks == ACKS_ALL
            {
                let (partition, end_offset) = (Arc::clone(partition), at.last_offset + 1);
                waiting.push(Waiting { partition, end_offset, place: (answers.len(), partitions.len()) });
            }
            let mut answer = answer_of(index, appended);
            answer.record_errors.truncate(record_errors_left);
            record_errors_left -= answer.record_errors.len();
            partitions.push(answer);
        }
        answers.push(ProducedTopic { topic: produced.topic, partitions });
    }
    answer(call, (acks, throttle_time_ms), answers, waiting)
}

/// Counts what came against the peer's quota; how long it must wait, in
/// milliseconds.
fn throttle(call: &Call, request: &ProduceRequest) -> i32 {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    let bytes = partitions.filter_map(|part| Some(part.records.as_ref()?.len())).sum();
    call.broker.throttle.used(call, QuotaKey::ProducerByteRate, bytes)
}

fn answer(
    call: &Call,
    (acks, throttle_ms): (i16, i32),
    answers: Vec<ProducedTopic>,
    waiting: Vec<Waiting>,
) -> Result<Answer, DoorError> {
    if acks == ACKS_NONE {
        let refused = answers.iter().flat_map(|topic| &topic.partitions).find(|it| it.error_code != 0);
        return match refused {
            None => Ok(Answer::None),
            Some(refused) => Err(WireError::Malformed {
                what: "Produce without acknowledgement",
                reason: refused.error_message.clone().unwrap_or_default(),
            }
            .into()),
        };
    }
    let (version, correlation_id) = (call.head.api_version, call.head.correlation_id);
    if waiting.is_empty() {
        return Ok(Answer::Ready(encode_response(version, correlation_id, throttle_ms, &answers)?.into()));
    }
    let broker = Arc::clone(&call.broker);
    Ok(Answer::Begun(Box::pin(async move {
        let answers = durable(&broker, answers, waiting).await;
        Ok(Answer::Ready(encode_response(version, correlation_id, throttle_ms, &answers)?.into()))
    })))
}

async fn durable(
    broker: &Broker,
    mut answers: Vec<ProducedTopic>,
    waiting: Vec<Waiting>,
) -> Vec<ProducedTopic> {
    for Waiting { partition, end_offset, place: (topic, index) } in waiting {
        if let Err(error) = partition.acknowledged(end_offset).await {
            log_failure(broker, &error);
            let answer = &mut answers[topic].partitions[index];
            answer.error_code = Code::KafkaStorageError.code();
            answer.error_message = Some(error.to_string());
            answer.base_offset = -1;
        }
    }
    answers
}

/// What is wrong with the request as a whole, if anything.
pub(crate) fn refusal_of_all(call: &Call, request: &ProduceRequest) -> Option<(Code, &'static str)> {
    if !(ACKS_ALL..=1).contains(&request.acks) {
        return Some((Code::InvalidRequiredAcks, "acks must be 0, 1 or -1"));
    }
    let denied = |id: &String| !call.rights.transaction(Operation::Write, id);
    if request.transactional_id.as_ref().is_some_and(denied) {
        let code = Code::TransactionalIdAuthorizationFailed;
        return Some((code, "not allowed to use the transactional id"));
    }
    None
}

/// What keeps the peer from writing to a topic, if anything.
pub(crate) fn refusal_of_topic(
    call: &Call,
    named: &TopicRef,
    topic: Option<&Topic>,
) -> Option<(Code, &'static str)> {
    if !call.rights.are_limited() {
        return None;
    }
    let name = match named {
        TopicRef::Name(name) => name,
        TopicRef::Id(_) => topic?.name(),
    };
    let denied = !call.rights.topic(Operation::Write, name);
    denied.then_some((Code::TopicAuthorizationFailed, "not allowed to write to the topic"))
}

/// Where a batch went.
struct Appended {
    partition: Arc<Partition>,
    at: pluvio_eventlog::Appended,
    /// -1 if the records bear their producer's times.
    log_append_time_ms: i64,
}

/// Appends one partition's batch.
fn append(
    broker: &Broker,
    name: &TopicRef,
    topic: Option<&Topic>,
    part: ProducePartition,
    (alone, gate): (bool, &Gate<'_>),
) -> Result<Appended, Refusal> {
    let unknown = match name {
        TopicRef::Name(_) => Code::UnknownTopicOrPartition,
        TopicRef::Id(_) => Code::UnknownTopicId,
    };
    let topic = topic.ok_or_else(|| Refusal::new(unknown, "the topic does not exist"))?;
    if topic.is_internal() {
        return Err(Refusal::new(Code::InvalidTopicException, "the topic is internal"));
    }
    let partition = topic.partition(part.index);
    let partition =
        partition.ok_or_else(|| Refusal::new(Code::UnknownTopicOrPartition, "no such partition"))?;
    let batch = part.records.unwrap_or_default();
    let config = topic.config();
    let header = check_produced(&config, &batch, broker.clock.now_ms())?;
    pass(gate, topic, part.index, &header)?;
    // A large batch that is nearly all of its request is kept where it lies.
    // While somebody holds it the log copies it, and keeps the batch only.
    let _held = (!alone || batch.len() < LARGE_BYTES).then(|| batch.clone());
    let appended = match gate {
        Gate::Transaction { from_zero: true, .. } => partition.append_from_zero(batch),
        _ => partition.append(batch),
    };
    match appended {
        Ok(at) => {
            let log_append_time_ms = match config.timestamp {
                TimestampType::CreateTime => -1,
                TimestampType::LogAppendTime => at.append_time_ms,
            };
            Ok(Appended { partition, at, log_append_time_ms })
        }
        Err(error) => {
            log_failure(broker, &error);
            Err(Refusal::new(codes::of_log(&error), error.to_string()))
        }
    }
}

/// Refuses a batch that does not belong where the request wants it.
fn pass(gate: &Gate<'_>, topic: &Topic, index: i32, header: &BatchHeader) -> Result<(), Refusal> {
    let Gate::Transaction { check, .. } = gate else {
        if header.is_transactional() {
            let reason = "a transactional batch came without its transactional id";
            return Err(Refusal::new(Code::TransactionalIdAuthorizationFailed, reason));
        }
        return Ok(());
    };
    if !header.is_transactional() {
        return Err(Refusal::new(Code::InvalidRecord, "the batch is not transactional, its request is"));
    }
    check(topic, index, header).map_err(|code| Refusal::new(code, "the producer's transaction refuses it"))
}

fn answer_of(index: i32, appended: Result<Appended, Refusal>) -> ProducedPartition {
    match appended {
        Ok(appended) => ProducedPartition {
            index,
            error_code: 0,
            base_offset: appended.at.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.partition.start_offset(),
            record_errors: Vec::new(),
            error_message: None,
        },
        Err(refusal) => ProducedPartition {
            index,
            error_code: refusal.code.code(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: refusal.record_errors,
            error_message: Some(refusal.message),
        },
    }
}

/// Tells the operator of failures that are the server's, not the producer's:
/// once a second at most, for producers try again at once.
fn log_failure(broker: &Broker, error: &LogError) {
    use pluvio_foundation::ErrorKind as Kind;
    let ours = matches!(
        error.kind(),
        Kind::DiskFull | Kind::Io | Kind::Corrupt | Kind::Internal | Kind::Unavailable
    );
    if !ours {
        return;
    }
    broker.counters.produce_failures.add(1);
    if broker.complaints.is_due(broker.monotonic_ms()) {
        let failures = broker.counters.produce_failures.get();
        tracing::error!(%error, failures, "records refused");
    }
}
