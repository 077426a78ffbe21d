//! Requests about topics.

use kafka_protocol::messages as wire;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, TopicResponse};
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use pluvio_access::acl::CLUSTER;
use pluvio_access::{Operation, ResourceKind};

use super::{Guarded, Verdict, denied_message, take_denied};
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const DENIED: Code = Code::TopicAuthorizationFailed;

impl Guarded for wire::ListOffsetsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied =
            take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Describe, &topic.name));
        Verdict::partly(self, |answer| {
            answer.topics.extend(denied.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|part| {
                    ListOffsetsPartitionResponse::default()
                        .with_partition_index(part.partition_index)
                        .with_error_code(DENIED.code())
                });
                ListOffsetsTopicResponse::default()
                    .with_partitions(partitions.collect())
                    .with_name(topic.name)
            }));
        })
    }
}

impl Guarded for wire::OffsetForLeaderEpochRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied =
            take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Describe, &topic.topic));
        Verdict::partly(self, |answer| {
            answer.topics.extend(denied.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|part| {
                    EpochEndOffset::default().with_partition(part.partition).with_error_code(DENIED.code())
                });
                OffsetForLeaderTopicResult::default()
                    .with_partitions(partitions.collect())
                    .with_topic(topic.topic)
            }));
        })
    }
}

impl Guarded for wire::MetadataRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let version = call.version();
        let makes = call.broker.options.auto_create_topics && (version < 4 || self.allow_auto_topic_creation);
        let denied = match &mut self.topics {
            Some(topics) => take_denied(topics, |topic| may_ask(call, topic, makes)),
            None => Vec::new(),
        };
        let (rights, denied_some) = (call.rights.clone(), !denied.is_empty());
        // An emptied list would ask for all topics in version 0.
        if version == 0 && denied_some && self.topics.as_ref().is_some_and(Vec::is_empty) {
            let topics = denied.into_iter().map(|topic| unseen(topic, version)).collect();
            return Verdict::Refuse(wire::MetadataResponse::default().with_topics(topics));
        }
        let (of_topics, of_cluster) =
            (self.include_topic_authorized_operations, self.include_cluster_authorized_operations);
        Verdict::partly(self, move |answer| {
            let name = |topic: &MetadataResponseTopic| topic.name.as_ref().map(|name| name.0.to_string());
            answer.topics.retain(|topic| match name(topic) {
                Some(name) if !name.is_empty() => rights.topic(Operation::Describe, &name),
                _ => true,
            });
            if of_topics && version >= 8 {
                for topic in answer.topics.iter_mut().filter(|topic| topic.error_code == 0) {
                    let name = name(topic).unwrap_or_default();
                    topic.topic_authorized_operations = rights.operations(ResourceKind::Topic, &name);
                }
            }
            if of_cluster && (8..=10).contains(&version) {
                answer.cluster_authorized_operations = rights.operations(ResourceKind::Cluster, CLUSTER);
            }
            answer.topics.extend(denied.into_iter().map(|topic| unseen(topic, version)));
        })
    }
}

fn may_ask(call: &Call, topic: &MetadataRequestTopic, makes: bool) -> bool {
    let log = &call.broker.log;
    match &topic.name {
        Some(name) => {
            let made = !makes || log.topic(name).is_some() || call.rights.create_topic(name);
            call.rights.topic(Operation::Describe, name) && made
        }
        None => log
            .topic_by_id(topic.topic_id.into_bytes())
            .is_none_or(|topic| call.rights.topic(Operation::Describe, topic.name())),
    }
}

/// A topic that was asked for by name is refused, one asked for by identifier
/// does not exist for whoever may not see it.
fn unseen(topic: MetadataRequestTopic, version: i16) -> MetadataResponseTopic {
    match topic.name {
        Some(name) => MetadataResponseTopic::default().with_error_code(DENIED.code()).with_name(Some(name)),
        None => MetadataResponseTopic::default()
            .with_error_code(Code::UnknownTopicId.code())
            .with_topic_id(topic.topic_id)
            .with_name((version < 12).then(wire::TopicName::default)),
    }
}

impl Guarded for wire::DescribeTopicPartitionsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let asks_for_all = self.topics.is_empty();
        let denied =
            take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Describe, &topic.name));
        let unseen = |denied: Vec<wire::describe_topic_partitions_request::TopicRequest>| {
            denied.into_iter().map(|topic| {
                DescribeTopicPartitionsResponseTopic::default()
                    .with_error_code(DENIED.code())
                    .with_name(Some(topic.name))
            })
        };
        // An emptied list would ask for all topics.
        if !asks_for_all && self.topics.is_empty() {
            let topics = unseen(denied).collect();
            return Verdict::Refuse(wire::DescribeTopicPartitionsResponse::default().with_topics(topics));
        }
        let rights = call.rights.clone();
        Verdict::partly(self, move |answer| {
            let name = |topic: &DescribeTopicPartitionsResponseTopic| {
                topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default()
            };
            answer.topics.retain(|topic| rights.topic(Operation::Describe, &name(topic)));
            for topic in answer.topics.iter_mut().filter(|topic| topic.error_code == 0) {
                topic.topic_authorized_operations = rights.operations(ResourceKind::Topic, &name(topic));
            }
            answer.topics.extend(unseen(denied));
        })
    }
}

impl Guarded for wire::CreateTopicsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.topics, |topic| call.rights.create_topic(&topic.name));
        Verdict::partly(self, |answer| {
            answer.topics.extend(denied.into_iter().map(|topic| {
                CreatableTopicResult::default()
                    .with_error_code(DENIED.code())
                    .with_error_message(denied_message())
                    .with_name(topic.name)
            }));
        })
    }
}

impl Guarded for wire::DeleteTopicsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let may = |name: &str| call.rights.topic(Operation::Delete, name);
        let mut denied = take_denied(&mut self.topics, |state| match &state.name {
            Some(name) => may(name),
            None => {
                let topic = call.broker.log.topic_by_id(state.topic_id.into_bytes());
                topic.is_none_or(|topic| may(topic.name()))
            }
        });
        let by_name = take_denied(&mut self.topic_names, |name| may(name));
        denied.extend(by_name.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name))));
        let version = call.version();
        Verdict::partly(self, move |answer| {
            answer.responses.extend(denied.into_iter().map(|state| {
                let result =
                    DeletableTopicResult::default().with_error_code(DENIED.code()).with_name(state.name);
                match version {
                    6.. => result.with_topic_id(state.topic_id).with_error_message(denied_message()),
                    5 => result.with_error_message(denied_message()),
                    _ => result,
                }
            }));
        })
    }
}

impl Guarded for wire::CreatePartitionsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Alter, &topic.name));
        Verdict::partly(self, |answer| {
            answer.results.extend(denied.into_iter().map(|topic| {
                CreatePartitionsTopicResult::default()
                    .with_error_code(DENIED.code())
                    .with_error_message(denied_message())
                    .with_name(topic.name)
            }));
        })
    }
}

impl Guarded for wire::DeleteRecordsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Delete, &topic.name));
        Verdict::partly(self, |answer| {
            answer.topics.extend(denied.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|part| {
                    DeleteRecordsPartitionResult::default()
                        .with_partition_index(part.partition_index)
                        .with_low_watermark(-1)
                        .with_error_code(DENIED.code())
                });
                DeleteRecordsTopicResult::default()
                    .with_partitions(partitions.collect())
                    .with_name(topic.name)
            }));
        })
    }
}

impl Guarded for wire::DescribeProducersRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.topics, |topic| call.rights.topic(Operation::Read, &topic.name));
        Verdict::partly(self, |answer| {
            answer.topics.extend(denied.into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|index| {
                    PartitionResponse::default()
                        .with_partition_index(*index)
                        .with_error_code(DENIED.code())
                        .with_error_message(denied_message())
                });
                TopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name)
            }));
        })
    }
}
