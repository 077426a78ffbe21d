//! Requests about the offsets of groups.

use kafka_protocol::messages as wire;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request as asked;
use kafka_protocol::messages::offset_fetch_response as answered;
use pluvio_access::Operation;

use super::{Guarded, Verdict, take_denied};
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const GROUP: Code = Code::GroupAuthorizationFailed;
const TOPIC: Code = Code::TopicAuthorizationFailed;

impl Guarded for wire::OffsetCommitRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let group = call.rights.group(Operation::Read, &self.group_id);
        let code = if group { TOPIC } else { GROUP };
        let may = |name: &str| group && call.rights.topic(Operation::Read, name);
        let denied = take_denied(&mut self.topics, |topic| may(&topic.name));
        let denied = denied.into_iter().map(move |topic| {
            let partitions = topic.partitions.iter().map(|part| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(part.partition_index)
                    .with_error_code(code.code())
            });
            OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        match group {
            true => Verdict::partly(self, |answer| answer.topics.extend(denied)),
            false => Verdict::Refuse(wire::OffsetCommitResponse::default().with_topics(denied.collect())),
        }
    }
}

impl Guarded for wire::OffsetFetchRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        match call.version() {
            8.. => of_groups(self, call),
            _ => of_one_group(self, call),
        }
    }
}

fn of_one_group(mut request: wire::OffsetFetchRequest, call: &Call) -> Verdict<wire::OffsetFetchRequest> {
    let version = call.version();
    if !call.rights.group(Operation::Describe, &request.group_id) {
        let answer = wire::OffsetFetchResponse::default();
        return Verdict::Refuse(match version {
            2.. => answer.with_error_code(GROUP.code()),
            _ => {
                let topics = request.topics.into_iter().flatten();
                answer.with_topics(topics.map(|topic| refused(topic, GROUP)).collect())
            }
        });
    }
    let may = |topic: &asked::OffsetFetchRequestTopic| call.rights.topic(Operation::Describe, &topic.name);
    let denied = request.topics.as_mut().map(|topics| take_denied(topics, may)).unwrap_or_default();
    let rights = call.rights.clone();
    Verdict::partly(request, move |answer| {
        answer.topics.retain(|topic| rights.topic(Operation::Describe, &topic.name));
        answer.topics.extend(denied.into_iter().map(|topic| refused(topic, TOPIC)));
    })
}

fn refused(topic: asked::OffsetFetchRequestTopic, code: Code) -> answered::OffsetFetchResponseTopic {
    let partitions = topic.partition_indexes.iter().map(|index| {
        answered::OffsetFetchResponsePartition::default()
            .with_partition_index(*index)
            .with_committed_offset(-1)
            .with_error_code(code.code())
    });
    answered::OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
}

fn of_groups(mut request: wire::OffsetFetchRequest, call: &Call) -> Verdict<wire::OffsetFetchRequest> {
    let denied = take_denied(&mut request.groups, |it| call.rights.group(Operation::Describe, &it.group_id));
    let may = |topic: &asked::OffsetFetchRequestTopics| call.rights.topic(Operation::Describe, &topic.name);
    let mut unseen = Vec::new();
    for group in &mut request.groups {
        let topics = group.topics.as_mut().map(|topics| take_denied(topics, may)).unwrap_or_default();
        unseen.push((group.group_id.clone(), topics));
    }
    let rights = call.rights.clone();
    Verdict::partly(request, move |answer| {
        for group in &mut answer.groups {
            group.topics.retain(|topic| rights.topic(Operation::Describe, &topic.name));
            for (_, topics) in unseen.extract_if(.., |(id, _)| *id == group.group_id) {
                group.topics.extend(topics.into_iter().map(refused_of_group));
            }
        }
        answer.groups.extend(denied.into_iter().map(|group| {
            let refused = answered::OffsetFetchResponseGroup::default().with_error_code(GROUP.code());
            refused.with_group_id(group.group_id)
        }));
    })
}

fn refused_of_group(topic: asked::OffsetFetchRequestTopics) -> answered::OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|index| {
        answered::OffsetFetchResponsePartitions::default()
            .with_partition_index(*index)
            .with_committed_offset(-1)
            .with_error_code(TOPIC.code())
    });
    answered::OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(topic.name)
}

impl Guarded for wire::OffsetDeleteRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        if !call.rights.group(Operation::Delete, &self.group_id) {
            return Verdict::Refuse(wire::OffsetDeleteResponse::default().with_error_code(GROUP.code()));
        }
        let denied = take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Read, &topic.name));
        Verdict::partly(self, |answer| {
            answer.topics.extend(denied.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|part| {
                    OffsetDeleteResponsePartition::default()
                        .with_partition_index(part.partition_index)
                        .with_error_code(TOPIC.code())
                });
                OffsetDeleteResponseTopic::default()
                    .with_partitions(partitions.collect())
                    .with_name(topic.name)
            }));
        })
    }
}
