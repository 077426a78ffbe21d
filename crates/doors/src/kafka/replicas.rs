//! ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments, in
//! a cluster of one: every partition is where it can only be, so no election is
//! needed and nothing moves.

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::cluster::text;
use super::codes::Code;
use super::configs::Refused;
use super::dispatch::Call;

fn unknown(topic: &str, index: i32) -> Refused {
    (Code::UnknownTopicOrPartition, format!("topic {topic:?} has no partition {index}"))
}

/// Carries out an ElectLeaders. Of all partitions, only failures are told, and
/// there are none.
pub(crate) fn elect_leaders(call: &Call, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let topics = request.topic_partitions.unwrap_or_default().into_iter().map(|asked| {
        let partitions = asked.partitions.iter().map(|index| {
            let (code, message) = match call.broker.partition(&asked.topic, *index) {
                None => unknown(&asked.topic, *index),
                Some(_) => (Code::ElectionNotNeeded, "the leader is the preferred one".to_owned()),
            };
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(code.code())
                .with_error_message(Some(text(&message)))
        });
        ReplicaElectionResult::default().with_partition_result(partitions.collect()).with_topic(asked.topic)
    });
    ElectLeadersResponse::default().with_replica_election_results(topics.collect())
}

/// Carries out an AlterPartitionReassignments.
pub(crate) fn reassign(
    call: &Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let partitions = asked.partitions.iter().map(|part| {
            let answer = ReassignablePartitionResponse::default().with_partition_index(part.partition_index);
            match reassign_one(call, &asked.name, part) {
                Ok(()) => answer,
                Err((code, message)) => {
                    answer.with_error_code(code.code()).with_error_message(Some(text(&message)))
                }
            }
        });
        ReassignableTopicResponse::default().with_partitions(partitions.collect()).with_name(asked.name)
    });
    AlterPartitionReassignmentsResponse::default().with_responses(topics.collect())
}

fn reassign_one(call: &Call, topic: &str, part: &ReassignablePartition) -> Result<(), Refused> {
    let node_id = call.broker.options.node_id;
    if call.broker.partition(topic, part.partition_index).is_none() {
        return Err(unknown(topic, part.partition_index));
    }
    match part.replicas.as_deref() {
        None => Err((Code::NoReassignmentInProgress, "nothing is being moved".to_owned())),
        Some([only]) if only.0 == node_id => Ok(()),
        Some(_) => Err((Code::InvalidReplicaAssignment, format!("the only broker is {node_id}"))),
    }
}

/// Carries out a ListPartitionReassignments: nothing is being moved.
pub(crate) fn list_reassignments(
    _: &Call,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
