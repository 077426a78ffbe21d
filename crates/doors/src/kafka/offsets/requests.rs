//! OffsetCommit, OffsetFetch and OffsetDelete, from and to the protocol's
//! messages.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use pluvio_eventlog::Topic;

use super::{Committed, Place};
use crate::kafka::broker::Broker;
use crate::kafka::cluster::text;
use crate::kafka::codes::{self, Code};
use crate::kafka::dispatch::Call;
use crate::kafka::fields::TEXT_BYTES_MAX;

/// Longest note of a client beside an offset, in bytes (Kafka's default).
pub(crate) const NOTE_BYTES_MAX: usize = 4096;

/// The version of OffsetCommit and OffsetFetch in which members of the consumer
/// protocol say their epoch.
const MEMBER_EPOCH_FROM: i16 = 9;

/// Carries out an OffsetCommit.
pub(crate) async fn commit(call: Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let broker = &call.broker;
    let group = request.group_id.to_string();
    let member = (&*request.member_id, request.group_instance_id.as_deref());
    let generation = request.generation_id_or_member_epoch;
    let consumer = generation >= 0 && broker.groups.is_consumer(&group);
    let allowed = match consumer && call.version() < MEMBER_EPOCH_FROM {
        true => Err(Code::UnsupportedVersion),
        false => broker.groups.check_commit(broker.monotonic_ms(), &group, member, generation),
    };
    let mut codes: Vec<Vec<i16>> = Vec::with_capacity(request.topics.len());
    let mut changes = Vec::new();
    for asked in &request.topics {
        let topic = broker.log.topic(&asked.name);
        let of_topic = asked.partitions.iter().map(|part| {
            let asked = Asked {
                partition: part.partition_index,
                offset: part.committed_offset,
                leader_epoch: part.committed_leader_epoch,
                note: part.committed_metadata.as_deref(),
            };
            match allowed.and_then(|()| checked(&call, &group, topic.as_deref(), &asked)) {
                Ok((place, committed)) => {
                    changes.push((place, Some(committed)));
                    0
                }
                Err(code) => code.code(),
            }
        });
        codes.push(of_topic.collect());
    }
    if let Err(error) = broker.offsets.apply(changes).await {
        tracing::error!(group, %error, "offsets not committed");
        let failed = codes::of_door(&error).code();
        codes.iter_mut().flatten().filter(|code| **code == 0).for_each(|code| *code = failed);
    }
    let topics = request.topics.into_iter().zip(codes).map(|(asked, codes)| {
        let partitions = asked.partitions.iter().zip(codes).map(|(part, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(part.partition_index)
                .with_error_code(code)
        });
        OffsetCommitResponseTopic::default().with_name(asked.name).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// What a client asks to be committed for one partition.
pub(crate) struct Asked<'a> {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    /// The client's note beside it.
    pub note: Option<&'a str>,
}

/// Checks that the partition is there, the group's name and the note short
/// enough; gives what is to be stored, and where.
pub(crate) fn checked(
    call: &Call,
    group: &str,
    topic: Option<&Topic>,
    asked: &Asked<'_>,
) -> Result<(Place, Committed), Code> {
    if group.len() > TEXT_BYTES_MAX {
        return Err(Code::InvalidGroupId);
    }
    let topic = topic.ok_or(Code::UnknownTopicOrPartition)?;
    topic.partition(asked.partition).ok_or(Code::UnknownTopicOrPartition)?;
    let note = asked.note.unwrap_or_default();
    if note.len() > NOTE_BYTES_MAX {
        return Err(Code::OffsetMetadataTooLarge);
    }
    let place = Place { group: group.to_owned(), topic: topic.name().to_owned(), partition: asked.partition };
    let committed = Committed {
        topic_id: topic.id(),
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        committed_at_ms: call.broker.offsets.now_ms(),
        note: note.to_owned(),
    };
    Ok((place, committed))
}

/// What is committed, unless it was for an earlier topic of the same name.
fn current(broker: &Broker, topic: &str, committed: Option<Committed>) -> Committed {
    let id = broker.log.topic(topic).map(|topic| topic.id());
    committed.filter(|committed| id == Some(committed.topic_id)).unwrap_or_else(none)
}

/// How the protocol says that nothing is committed.
fn none() -> Committed {
    Committed { topic_id: [0; 16], offset: -1, leader_epoch: -1, committed_at_ms: 0, note: String::new() }
}

/// A committed offset as it is answered, or why it cannot be said yet.
struct Found {
    committed: Committed,
    code: i16,
}

/// The committed offsets of a group: those asked for, or all.
fn collect(
    broker: &Broker,
    group: &str,
    asked: Option<Vec<(TopicName, Vec<i32>)>>,
    require_stable: bool,
) -> Vec<(TopicName, Vec<(i32, Found)>)> {
    let stable = |topic: &str, partition: i32, committed: Committed| match require_stable
        && broker.offsets.is_pending(group, topic, partition)
    {
        true => Found { committed: none(), code: Code::UnstableOffsetCommit.code() },
        false => Found { committed, code: 0 },
    };
    let Some(asked) = asked else {
        let mut by_topic: BTreeMap<String, Vec<(i32, Found)>> = BTreeMap::new();
        for (place, committed) in broker.offsets.of_group(group) {
            let committed = current(broker, &place.topic, Some(committed));
            if committed.offset >= 0 {
                let found = stable(&place.topic, place.partition, committed);
                by_topic.entry(place.topic).or_default().push((place.partition, found));
            }
        }
        return by_topic.into_iter().map(|(topic, found)| (TopicName(text(&topic)), found)).collect();
    };
    let one = |(topic, partitions): (TopicName, Vec<i32>)| {
        let found = partitions.into_iter().map(|partition| {
            let committed = broker.offsets.get(group, &topic, partition);
            (partition, stable(&topic, partition, current(broker, &topic, committed)))
        });
        let found = found.collect();
        (topic, found)
    };
    asked.into_iter().map(one).collect()
}

/// Carries out an OffsetFetch.
pub(crate) fn fetch(call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version() >= 8 {
        return fetch_groups(call, request);
    }
    let asked = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
    });
    let found = collect(&call.broker, &request.group_id, asked, request.require_stable);
    let topics = found.into_iter().map(|(name, found)| {
        let partitions = found.into_iter().map(|(index, Found { committed, code })| {
            let part = OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
                .with_committed_offset(committed.offset)
                .with_metadata(Some(text(&committed.note)));
            match call.version() {
                5.. => part.with_committed_leader_epoch(committed.leader_epoch),
                _ => part,
            }
        });
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn fetch_groups(call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let groups = request.groups.into_iter().map(|group| {
        let member = group.member_id.as_deref().filter(|_| group.member_epoch >= 0);
        let member = member.filter(|_| call.version() >= MEMBER_EPOCH_FROM);
        let checked =
            member.map(|member| call.broker.groups.check_fetch(&group.group_id, member, group.member_epoch));
        if let Some(Err(code)) = checked {
            return OffsetFetchResponseGroup::default()
                .with_error_code(code.code())
                .with_group_id(group.group_id);
        }
        let asked = group.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
        });
        let found = collect(&call.broker, &group.group_id, asked, request.require_stable);
        let topics = found.into_iter().map(|(name, found)| {
            let partitions = found.into_iter().map(|(index, Found { committed, code })| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_error_code(code)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(text(&committed.note)))
            });
            OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_group_id(group.group_id)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

/// Carries out an OffsetDelete.
pub(crate) async fn delete(call: Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let broker = &call.broker;
    let group = request.group_id.to_string();
    let refused = match () {
        () if broker.groups.is_foreign(&group) => Some(Code::NonEmptyGroup),
        () if broker.offsets.has_group(&group) || broker.groups.is_known(&group) => None,
        () => Some(Code::GroupIdNotFound),
    };
    if let Some(code) = refused {
        return OffsetDeleteResponse::default().with_error_code(code.code());
    }
    let read = |topic: &str| broker.groups.subscribes_to(&group, topic);
    let read: Vec<bool> = request.topics.iter().map(|topic| read(&topic.name)).collect();
    let asked = request.topics.iter().zip(&read).filter(|(_, read)| !**read).map(|(topic, _)| topic);
    let places =
        asked.flat_map(|topic| topic.partitions.iter().map(|part| (&topic.name, part.partition_index)));
    let places =
        places.map(|(topic, partition)| Place { group: group.clone(), topic: topic.to_string(), partition });
    let mut code = 0;
    if let Err(error) = broker.offsets.apply(places.map(|place| (place, None)).collect()).await {
        tracing::error!(group, %error, "committed offsets not deleted");
        code = codes::of_door(&error).code();
    }
    let topics = request.topics.into_iter().zip(read).map(|(topic, read)| {
        let code = if read { Code::GroupSubscribedToTopic.code() } else { code };
        let partitions = topic.partitions.iter().map(|part| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(part.partition_index)
                .with_error_code(code)
        });
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
