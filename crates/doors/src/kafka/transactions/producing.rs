//! Produce within a transaction. What is in the transaction already is appended
//! as it is read, as any other batch; from version 12 on what is not is added
//! first, and what comes after it waits its turn.

use std::sync::Arc;

use pluvio_eventlog::Topic;
use pluvio_wire_kafka::produce::ProduceRequest;
use pluvio_wire_kafka::records::{BatchHeader, parse_header};

use super::adding::{Joining, Place};
use super::transaction::{State, Transaction};
use super::{Slot, Transactions};
use crate::DoorError;
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;
use crate::kafka::produce::{Gate, append_all, refusal_of_all, refusal_of_topic};
use crate::kafka::writer::Answer;

/// The version from which a Produce adds its partitions to the transaction
/// (transactions of version 2).
const ADDS_PARTITIONS_FROM: i16 = 12;
/// The version from which an error that an abort heals has a code of its own.
const ABORTABLE_FROM: i16 = 11;

/// Carries out a Produce of a transactional producer.
pub(crate) fn produce(call: &Call, id: &str, request: ProduceRequest) -> Result<Answer, DoorError> {
    let slot = match call.broker.transactions.find(id) {
        Ok(slot) if refusal_of_all(call, &request).is_none() => slot,
        Ok(_) => return append_all(call, request, &refusing(&|_, _, _| Ok(()))),
        Err(code) => return append_all(call, request, &refusing(&move |_, _, _| Err(code))),
    };
    let places = match call.version() {
        ADDS_PARTITIONS_FROM.. => places(call, &request),
        _ => Vec::new(),
    };
    if !Joining::is_any(&slot) && is_ready(&slot, &places) {
        return append(call, &slot, request, Ok(()));
    }
    let joining = Joining::new(&slot);
    let call = call.clone();
    Ok(Answer::Later(Box::pin(async move {
        let added = match producer(&request) {
            Some(producer) => Transactions::add(&call.broker, &slot, producer, &places, None).await,
            None => Ok(()),
        };
        let answer = append(&call, &slot, request, added);
        drop(joining);
        answer
    })))
}

fn refusing(check: &dyn Fn(&Topic, i32, &BatchHeader) -> Result<(), Code>) -> Gate<'_> {
    Gate::Transaction { check, from_zero: false }
}

/// The partitions that a request is for, but for those it will be refused.
fn places(call: &Call, request: &ProduceRequest) -> Vec<Place> {
    let mut places = Vec::new();
    for produced in &request.topics {
        let Some(topic) = call.broker.topic(&produced.topic) else { continue };
        if topic.is_internal() || refusal_of_topic(call, &produced.topic, Some(&topic)).is_some() {
            continue;
        }
        let indexes = produced.partitions.iter().map(|part| part.index);
        let known = indexes.filter(|index| topic.partition(*index).is_some());
        places.extend(known.map(|index| (topic.name().to_owned(), topic.id(), index)));
    }
    places
}

/// Who produces: the first batch says it, and no other may say otherwise.
fn producer(request: &ProduceRequest) -> Option<(i64, i16)> {
    let mut parts = request.topics.iter().flat_map(|topic| &topic.partitions);
    let header = parse_header(parts.next()?.records.as_ref()?).ok()?;
    Some((header.producer_id, header.producer_epoch))
}

/// Whether nothing needs to be added.
fn is_ready(slot: &Slot, places: &[Place]) -> bool {
    let now = slot.now.lock();
    places.is_empty()
        || (now.state == State::Ongoing
            && places.iter().all(|(topic, id, index)| now.has_partition(topic, *id, *index)))
}

/// Appends under the lock that the end of the transaction takes.
fn append(
    call: &Call,
    slot: &Arc<Slot>,
    request: ProduceRequest,
    added: Result<(), Code>,
) -> Result<Answer, DoorError> {
    let version = call.version();
    let now = slot.now.lock();
    let check = |topic: &Topic, index: i32, header: &BatchHeader| {
        let checked = added.and_then(|()| check(&now, topic, index, header));
        checked.map_err(|code| told(code, version))
    };
    append_all(
        call,
        request,
        &Gate::Transaction { check: &check, from_zero: version >= ADDS_PARTITIONS_FROM },
    )
}

fn check(now: &Transaction, topic: &Topic, index: i32, header: &BatchHeader) -> Result<(), Code> {
    now.check_producer(header.producer_id, header.producer_epoch)?;
    let is_in = now.state == State::Ongoing && now.has_partition(topic.name(), topic.id(), index);
    if is_in { Ok(()) } else { Err(Code::InvalidTxnState) }
}

/// What a producer is told.
fn told(code: Code, version: i16) -> Code {
    match code {
        Code::ProducerFenced => Code::InvalidProducerEpoch,
        // The coordinator's troubles pass; a producer knows this one to try again.
        Code::CoordinatorNotAvailable => Code::NotEnoughReplicas,
        Code::InvalidTxnState if version >= ABORTABLE_FROM => Code::TransactionAbortable,
        code => code,
    }
}
