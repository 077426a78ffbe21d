//! TxnOffsetCommit: offsets that a transaction commits with its records.

use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::transaction::State;
use super::{Slot, Transactions};
use crate::kafka::broker::Broker;
use crate::kafka::codes::{self, Code};
use crate::kafka::dispatch::Call;
use crate::kafka::offsets::{Asked, Committed, Place, checked};

/// The version from which the group need not be added to the transaction
/// before.
const ADDS_GROUP_FROM: i16 = 5;

/// Carries out a TxnOffsetCommit.
pub(crate) async fn commit_offsets(call: Call, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let joined = join(&call, &request).await;
    let mut pending = Vec::new();
    let mut codes: Vec<Vec<i16>> = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let topic = call.broker.log.topic(&asked.name);
        let of_topic = asked.partitions.iter().map(|part| {
            let one = joined.as_ref().map_err(|code| *code);
            let asked = Asked {
                partition: part.partition_index,
                offset: part.committed_offset,
                leader_epoch: part.committed_leader_epoch,
                note: part.committed_metadata.as_deref(),
            };
            match one.and_then(|_| checked(&call, &request.group_id, topic.as_deref(), &asked)) {
                Ok(one) => {
                    pending.push(one);
                    0
                }
                Err(code) => code.code(),
            }
        });
        codes.push(of_topic.collect());
    }
    if let Ok(slot) = &joined
        && let Err(code) = write(&call.broker, slot, &request, pending).await
    {
        codes.iter_mut().flatten().filter(|told| **told == 0).for_each(|told| *told = code.code());
    }
    let topics = request.topics.into_iter().zip(codes).map(|(asked, codes)| {
        let partitions = asked.partitions.iter().zip(codes).map(|(part, code)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(part.partition_index)
                .with_error_code(code)
        });
        TxnOffsetCommitResponseTopic::default().with_name(asked.name).with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// Checks the member and brings the group into the transaction if it may be
/// brought in here.
async fn join(call: &Call, request: &TxnOffsetCommitRequest) -> Result<Arc<Slot>, Code> {
    let broker = &call.broker;
    let slot = broker.transactions.find(&request.transactional_id)?;
    let member = (&*request.member_id, request.group_instance_id.as_deref());
    if request.generation_id >= 0 || !member.0.is_empty() || member.1.is_some() {
        let now_ms = broker.monotonic_ms();
        broker.groups.check_commit(now_ms, &request.group_id, member, request.generation_id)?;
    }
    if call.version() >= ADDS_GROUP_FROM {
        let producer = (request.producer_id.0, request.producer_epoch);
        let added = Transactions::add(broker, &slot, producer, &[], Some(&request.group_id)).await;
        added.map_err(told)?;
    }
    Ok(slot)
}

/// To this request a fenced producer has an old epoch.
fn told(code: Code) -> Code {
    if code == Code::ProducerFenced { Code::InvalidProducerEpoch } else { code }
}

/// Writes the offsets while the transaction cannot end.
async fn write(
    broker: &Broker,
    slot: &Slot,
    request: &TxnOffsetCommitRequest,
    pending: Vec<(Place, Committed)>,
) -> Result<(), Code> {
    let failed = |error| {
        tracing::error!(group = &*request.group_id.0, %error, "offsets of a transaction not kept");
        codes::of_door(&error)
    };
    let wrote = {
        let now = slot.now.lock();
        now.check_producer(request.producer_id.0, request.producer_epoch).map_err(told)?;
        if now.state != State::Ongoing || !now.groups.contains(&*request.group_id.0) {
            return Err(Code::InvalidTxnState);
        }
        broker.offsets.write_pending(now.producer_id, pending).map_err(failed)?
    };
    broker.offsets.durable(wrote).await.map_err(failed)
}
