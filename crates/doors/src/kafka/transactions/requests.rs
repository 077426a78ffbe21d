//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn and EndTxn, from and to
//! the protocol's messages.

use std::sync::Arc;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};

use super::adding::Place;
use super::transaction::{Ending, NO_EPOCH, NO_ID, State};
use super::{Slot, Transactions, ending};
use crate::kafka::broker::Broker;
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

/// The version of EndTxn from which a client learns of a raised epoch.
const END_RAISES_EPOCH_FROM: i16 = 5;
/// Who asks for no identity of before.
const NO_PRODUCER: i64 = -1;

/// Older clients know another name for a fenced producer.
fn told(code: Code, version: i16, fenced_from: i16) -> i16 {
    match code {
        Code::ProducerFenced if version < fenced_from => Code::InvalidProducerEpoch.code(),
        code => code.code(),
    }
}

/// Carries out an InitProducerId: an identity for an idempotent producer, or
/// the next epoch of a transactional one.
pub(crate) async fn init_producer_id(call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let identity = match &request.transactional_id {
        None => ending::new_producer_id(&call.broker).await.map(|id| (id, 0)),
        Some(id) => identify(&call.broker, id, &request).await,
    };
    let response = InitProducerIdResponse::default();
    match identity {
        Ok((id, epoch)) => response.with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
        Err(code) => response
            .with_error_code(told(code, call.version(), 4))
            .with_producer_id(ProducerId(NO_ID))
            .with_producer_epoch(NO_EPOCH),
    }
}

async fn identify(
    broker: &Arc<Broker>,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<(i64, i16), Code> {
    let this = &broker.transactions;
    let timeout_ms = request.transaction_timeout_ms;
    let said =
        (request.producer_id.0 != NO_PRODUCER).then_some((request.producer_id.0, request.producer_epoch));
    let slot = this.find_or_make(id, timeout_ms)?;
    let (_changing, expected) = take_over(broker, &slot, said).await?;
    let needs_id = slot.now.lock().needs_id(expected);
    let new_id = if needs_id { ending::new_producer_id(broker).await? } else { NO_ID };
    let next = slot.now.lock().identify(expected, timeout_ms, this.now_ms(), new_id)?;
    let wrote = this.write(&slot, &next)?;
    this.durable(&slot, wrote).await?;
    let identity = (next.producer_id, next.producer_epoch);
    *slot.now.lock() = next;
    Ok(identity)
}

/// Ends what the instance before left. Gives also who the client counts as
/// after that.
async fn take_over(
    broker: &Arc<Broker>,
    slot: &Arc<Slot>,
    said: Option<(i64, i16)>,
) -> Result<(super::Changing, Option<(i64, i16)>), Code> {
    let changing = super::enter(broker, slot).await?;
    {
        let now = slot.now.lock();
        now.check_expected(said)?;
        if now.state != State::Ongoing {
            return Ok((changing, said));
        }
        if let Some((id, epoch)) = said {
            now.check_producer(id, epoch)?;
        }
    }
    ending::abort(broker, slot).await?;
    ending::complete(broker, slot).await?;
    let now = slot.now.lock();
    let expected = said.map(|_| (now.producer_id, now.producer_epoch));
    drop(now);
    Ok((changing, expected))
}

/// The places that a request names, or for each partition why not.
fn places(broker: &Broker, topics: &[AddPartitionsToTxnTopic]) -> Result<Vec<Place>, Vec<Vec<Code>>> {
    let mut places = Vec::new();
    let mut codes = Vec::with_capacity(topics.len());
    for asked in topics {
        let topic = broker.log.topic(&asked.name);
        let of_topic = asked.partitions.iter().map(|index| match &topic {
            Some(topic) if topic.is_internal() => Code::InvalidTopicException,
            Some(topic) if topic.partition(*index).is_some() => {
                places.push((topic.name().to_owned(), topic.id(), *index));
                Code::OperationNotAttempted
            }
            _ => Code::UnknownTopicOrPartition,
        });
        codes.push(of_topic.collect::<Vec<_>>());
    }
    let all_known = codes.iter().flatten().all(|code| *code == Code::OperationNotAttempted);
    if all_known { Ok(places) } else { Err(codes) }
}

async fn add_all(
    broker: &Arc<Broker>,
    id: &str,
    producer: (i64, i16),
    (topics, verify_only): (&[AddPartitionsToTxnTopic], bool),
    tell: impl Fn(Code) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let codes = match places(broker, topics) {
        Err(codes) => codes.into_iter().map(|of_topic| of_topic.into_iter().map(&tell).collect()).collect(),
        Ok(places) => {
            let done = match broker.transactions.find(id) {
                Ok(slot) if verify_only => Transactions::verify(&slot, producer, &places),
                Ok(slot) => Transactions::add(broker, &slot, producer, &places, None).await,
                Err(code) => Err(code),
            };
            let code = done.err().map_or(0, &tell);
            topics.iter().map(|topic| vec![code; topic.partitions.len()]).collect::<Vec<_>>()
        }
    };
    let results = topics.iter().zip(codes).map(|(topic, codes)| {
        let partitions = topic.partitions.iter().zip(codes).map(|(index, code)| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    results.collect()
}

/// Carries out an AddPartitionsToTxn.
pub(crate) async fn add_partitions(
    call: Call,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let version = call.version();
    let response = AddPartitionsToTxnResponse::default();
    if version < 4 {
        let producer = (request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
        let asked = (&request.v3_and_below_topics[..], false);
        let id = &request.v3_and_below_transactional_id;
        let results = add_all(&call.broker, id, producer, asked, |code| told(code, version, 2)).await;
        return response.with_results_by_topic_v3_and_below(results);
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for one in request.transactions {
        let producer = (one.producer_id.0, one.producer_epoch);
        // From version 5 on an error that an abort heals has a code of its own.
        let tell = |code| match code {
            Code::InvalidTxnState if version >= 5 => Code::TransactionAbortable.code(),
            code => told(code, version, 2),
        };
        let asked = (&one.topics[..], one.verify_only);
        let topics = add_all(&call.broker, &one.transactional_id, producer, asked, tell).await;
        results.push(
            AddPartitionsToTxnResult::default()
                .with_transactional_id(one.transactional_id)
                .with_topic_results(topics),
        );
    }
    response.with_results_by_transaction(results)
}

/// Carries out an AddOffsetsToTxn.
pub(crate) async fn add_offsets(call: Call, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let producer = (request.producer_id.0, request.producer_epoch);
    let done = match call.broker.transactions.find(&request.transactional_id) {
        Ok(slot) => Transactions::add(&call.broker, &slot, producer, &[], Some(&request.group_id)).await,
        Err(code) => Err(code),
    };
    let code = done.err().map_or(0, |code| told(code, call.version(), 2));
    AddOffsetsToTxnResponse::default().with_error_code(code)
}

/// Carries out an EndTxn; answered once the decision is durable.
pub(crate) async fn end_transaction(call: Call, request: EndTxnRequest) -> EndTxnResponse {
    let version = call.version();
    let ending = Ending {
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
        is_commit: request.committed,
        raises_epoch: version >= END_RAISES_EPOCH_FROM,
    };
    let ended = match call.broker.transactions.find(&request.transactional_id) {
        Ok(slot) => ending::end(&call.broker, &slot, ending).await,
        Err(code) => Err(code),
    };
    let response = EndTxnResponse::default();
    match ended {
        Err(code) => response.with_error_code(told(code, version, 2)),
        Ok((id, epoch)) if version >= END_RAISES_EPOCH_FROM => {
            response.with_producer_id(ProducerId(id)).with_producer_epoch(epoch)
        }
        Ok(_) => response,
    }
}
