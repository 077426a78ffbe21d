//! Requests about producers' identities and transactions.

use kafka_protocol::messages as wire;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use pluvio_access::Operation;

use super::{Guarded, Verdict, take_denied};
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const DENIED: Code = Code::TransactionalIdAuthorizationFailed;

impl Guarded for wire::InitProducerIdRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let rights = &call.rights;
        let (allowed, code) = match &self.transactional_id {
            Some(id) => (rights.transaction(Operation::Write, id), DENIED),
            None => {
                let allowed =
                    rights.cluster(Operation::IdempotentWrite) || rights.some_topic(Operation::Write);
                (allowed, Code::ClusterAuthorizationFailed)
            }
        };
        Verdict::whole(self, allowed, |_| {
            wire::InitProducerIdResponse::default()
                .with_error_code(code.code())
                .with_producer_id(wire::ProducerId(-1))
                .with_producer_epoch(-1)
        })
    }
}

/// As in Kafka, one topic that is not allowed keeps all others out.
fn added(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&str) -> Code,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let results = topics.iter().map(|topic| {
        let code = code(&topic.name).code();
        let partitions = topic.partitions.iter().map(|index| {
            let result = AddPartitionsToTxnPartitionResult::default().with_partition_index(*index);
            result.with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    results.collect()
}

impl Guarded for wire::AddPartitionsToTxnRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let rights = &call.rights;
        if call.version() >= 4 {
            // Only brokers speak these versions, to each other.
            let allowed = rights.cluster(Operation::ClusterAction);
            return Verdict::whole(self, allowed, |_| {
                let code = Code::ClusterAuthorizationFailed.code();
                wire::AddPartitionsToTxnResponse::default().with_error_code(code)
            });
        }
        let topics = &self.v3_and_below_topics;
        let own = rights.transaction(Operation::Write, &self.v3_and_below_transactional_id);
        let may = |name: &str| rights.topic(Operation::Write, name);
        let allowed = own && topics.iter().all(|topic| may(&topic.name));
        Verdict::whole(self, allowed, |request| {
            let results = added(&request.v3_and_below_topics, |name| match (own, may(name)) {
                (false, _) => DENIED,
                (true, false) => Code::TopicAuthorizationFailed,
                (true, true) => Code::OperationNotAttempted,
            });
            wire::AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
        })
    }
}

impl Guarded for wire::AddOffsetsToTxnRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let refused = |code: Code| {
            Verdict::Refuse(wire::AddOffsetsToTxnResponse::default().with_error_code(code.code()))
        };
        if !call.rights.transaction(Operation::Write, &self.transactional_id) {
            return refused(DENIED);
        }
        match call.rights.group(Operation::Read, &self.group_id) {
            true => Verdict::Serve(self),
            false => refused(Code::GroupAuthorizationFailed),
        }
    }
}

impl Guarded for wire::EndTxnRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let allowed = call.rights.transaction(Operation::Write, &self.transactional_id);
        Verdict::whole(self, allowed, |_| wire::EndTxnResponse::default().with_error_code(DENIED.code()))
    }
}

impl Guarded for wire::TxnOffsetCommitRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let rights = &call.rights;
        let own = rights.transaction(Operation::Write, &self.transactional_id);
        let group = rights.group(Operation::Read, &self.group_id);
        let code = match (own, group) {
            (false, _) => DENIED,
            (true, false) => Code::GroupAuthorizationFailed,
            (true, true) => Code::TopicAuthorizationFailed,
        };
        let denied =
            take_denied(&mut self.topics, |topic| own && group && rights.topic(Operation::Read, &topic.name));
        let denied = denied.into_iter().map(move |topic| {
            let partitions = topic.partitions.iter().map(|part| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(part.partition_index)
                    .with_error_code(code.code())
            });
            TxnOffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        match own && group {
            true => Verdict::partly(self, |answer| answer.topics.extend(denied)),
            false => Verdict::Refuse(wire::TxnOffsetCommitResponse::default().with_topics(denied.collect())),
        }
    }
}

impl Guarded for wire::DescribeTransactionsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let may = |id: &wire::TransactionalId| call.rights.transaction(Operation::Describe, id);
        let denied = take_denied(&mut self.transactional_ids, may);
        let rights = call.rights.clone();
        Verdict::partly(self, move |answer| {
            for state in &mut answer.transaction_states {
                state.topics.retain(|topic| rights.topic(Operation::Describe, &topic.topic));
            }
            answer.transaction_states.extend(denied.into_iter().map(|id| {
                TransactionState::default().with_error_code(DENIED.code()).with_transactional_id(id)
            }));
        })
    }
}

impl Guarded for wire::ListTransactionsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let rights = call.rights.clone();
        Verdict::partly(self, move |answer| {
            let may = |id: &str| rights.transaction(Operation::Describe, id);
            answer.transaction_states.retain(|state| may(&state.transactional_id));
        })
    }
}
