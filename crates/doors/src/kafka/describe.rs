//! DescribeTopicPartitions and DescribeLogDirs: what admin tools show of topics
//! and of the disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, TopicName,
};
use pluvio_eventlog::Topic;
use uuid::Uuid;

use super::cluster::text;
use super::codes::Code;
use super::dispatch::Call;
use super::list_offsets::LEADER_EPOCH;

/// Most partitions of one answer, however many a client allows (Kafka's).
const PARTITIONS_MAX: usize = 2_000;
const UNKNOWN_BYTES: i64 = -1;

/// Carries out a DescribeTopicPartitions: topics by name, from where the last
/// answer ended.
pub(crate) fn topic_partitions(
    call: &Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let log = &call.broker.log;
    let names: BTreeSet<String> = match request.topics.is_empty() {
        true => log.topics().iter().map(|topic| topic.name().to_owned()).collect(),
        false => request.topics.iter().map(|topic| topic.name.to_string()).collect(),
    };
    let (from, mut first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => (String::new(), 0),
    };
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut left = limit.clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.range(from.clone()..) {
        first = if *name == from { first } else { 0 };
        let cursor = |index: usize| {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            Some(Cursor::default().with_topic_name(TopicName(text(name))).with_partition_index(index))
        };
        if left == 0 {
            return response.with_next_cursor(cursor(0));
        }
        let Some(topic) = log.topic(name) else {
            response.topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_error_code(Code::UnknownTopicOrPartition.code())
                    .with_name(Some(TopicName(text(name)))),
            );
            continue;
        };
        let count = topic.partitions().len();
        let last = count.min(first.saturating_add(left));
        response.topics.push(described(call, &topic, first..last));
        left -= last.saturating_sub(first);
        if last < count {
            return response.with_next_cursor(cursor(last));
        }
    }
    response
}

fn described(
    call: &Call,
    topic: &Arc<Topic>,
    indexes: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic {
    let node = BrokerId(call.broker.options.node_id);
    let partitions = indexes.map(|index| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_id(node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name()))))
        .with_topic_id(Uuid::from_bytes(topic.id()))
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions.collect())
}

/// Carries out a DescribeLogDirs: the one folder, with the bytes of each
/// partition asked for.
pub(crate) fn log_dirs(call: &Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let (log, version) = (&call.broker.log, call.version());
    let topics = match request.topics {
        None => log.topics().iter().map(|topic| sizes(topic, None)).collect(),
        Some(asked) => {
            let known = asked.iter().filter_map(|it| Some((log.topic(&it.topic)?, &it.partitions)));
            known.map(|(topic, partitions)| sizes(&topic, Some(partitions))).collect()
        }
    };
    let folder = log.folder();
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let result =
        DescribeLogDirsResult::default().with_log_dir(text(&folder.to_string_lossy())).with_topics(topics);
    let result = match version {
        4.. => result
            .with_total_bytes(known_bytes(log.total_bytes()))
            .with_usable_bytes(known_bytes(log.available_bytes())),
        _ => result,
    };
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn known_bytes(bytes: Option<u64>) -> i64 {
    bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(UNKNOWN_BYTES)
}

fn sizes(topic: &Topic, wanted: Option<&Vec<i32>>) -> DescribeLogDirsTopic {
    let wanted = |index: i32| wanted.is_none_or(|wanted| wanted.contains(&index));
    let partitions = topic.partitions();
    let partitions = partitions.iter().filter(|partition| wanted(partition.index())).map(|partition| {
        DescribeLogDirsPartition::default()
            .with_partition_index(partition.index())
            .with_partition_size(i64::try_from(partition.bytes()).unwrap_or(i64::MAX))
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(text(topic.name())))
        .with_partitions(partitions.collect())
}
