//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use pluvio_eventlog::internal::is_internal;
use pluvio_eventlog::{LogError, Topic, TopicConfig};
use pluvio_foundation::limits;
use uuid::Uuid;

use super::broker::{Broker, blocking};
use super::cluster::text;
use super::codes::{self, Code};
use super::configs::{Change, Refused, apply, settings, source_of};
use super::dispatch::Call;
use super::metadata::create;

/// Carries out a CreateTopics.
pub(crate) async fn create_topics(call: Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    let mut seen = HashMap::new();
    request.topics.iter().for_each(|asked| *seen.entry(asked.name.clone()).or_insert(0) += 1);
    for asked in request.topics {
        let result = CreatableTopicResult::default().with_name(asked.name.clone());
        let made = match seen.get(&asked.name) {
            Some(1) => create_one(&call, &asked, request.validate_only).await,
            _ => Err((Code::InvalidRequest, "the request names the topic more than once".to_owned())),
        };
        results.push(match made {
            Ok(made) => described(&call, result, &made),
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(&message)))
            }
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

/// What was made, or would have been.
struct Made {
    id: [u8; 16],
    partitions: u32,
    config: TopicConfig,
}

fn described(call: &Call, result: CreatableTopicResult, made: &Made) -> CreatableTopicResult {
    let version = call.version();
    if version < 5 {
        return result;
    }
    let configs = settings(&made.config, call.broker.log.options()).into_iter().map(|setting| {
        CreatableTopicConfigs::default()
            .with_name(text(setting.name))
            .with_value(Some(text(&setting.value)))
            .with_read_only(setting.read_only)
            .with_config_source(source_of(&setting))
    });
    let result = result
        .with_num_partitions(i32::try_from(made.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()));
    match version {
        7.. => result.with_topic_id(Uuid::from_bytes(made.id)),
        _ => result,
    }
}

async fn create_one(call: &Call, asked: &CreatableTopic, validate_only: bool) -> Result<Made, Refused> {
    let broker = &call.broker;
    let name: &str = &asked.name;
    let partitions = partitions_of(broker, asked)?;
    let log = broker.log.options();
    let mut config = log.topic.clone();
    for entry in &asked.configs {
        let change = entry.value.as_ref().map_or(Change::Reset, |value| Change::Set(value.to_string()));
        apply(&mut config, log, &entry.name, &change).map_err(|reason| (Code::InvalidConfig, reason))?;
    }
    if broker.log.topic(name).is_some() || is_internal(name) {
        return Err((Code::TopicAlreadyExists, format!("topic {name:?} exists already")));
    }
    let made = |id| Made { id, partitions, config: config.clone() };
    if validate_only {
        return Ok(made([0; 16]));
    }
    match create(broker, name, partitions, config.clone()).await {
        Ok(topic) => {
            tracing::info!(topic = name, partitions, "topic made");
            Ok(made(topic.id()))
        }
        Err(error) => Err(refused(&error)),
    }
}

fn partitions_of(broker: &Broker, asked: &CreatableTopic) -> Result<u32, Refused> {
    if !asked.assignments.is_empty() {
        if asked.num_partitions != -1 || asked.replication_factor != -1 {
            let reason = "with assignments, the counts of partitions and replicas must be -1".to_owned();
            return Err((Code::InvalidRequest, reason));
        }
        let mut indexes: Vec<i32> = asked.assignments.iter().map(|it| it.partition_index).collect();
        indexes.sort_unstable();
        if !indexes.iter().copied().eq(0..i32::try_from(indexes.len()).unwrap_or(i32::MAX)) {
            let reason = "assignments must be of partitions 0, 1, 2 and so on".to_owned();
            return Err((Code::InvalidReplicaAssignment, reason));
        }
        asked.assignments.iter().try_for_each(|it| assigned_here(broker, &it.broker_ids))?;
        return partition_count(i32::try_from(indexes.len()).unwrap_or(i32::MAX));
    }
    if !matches!(asked.replication_factor, -1 | 1) {
        let factor = asked.replication_factor;
        let reason = format!("replication factor {factor} needs {factor} brokers, there is one; ask for 1");
        return Err((Code::InvalidReplicationFactor, reason));
    }
    match asked.num_partitions {
        -1 => Ok(broker.options.default_partitions),
        count => partition_count(count),
    }
}

/// Refuses a partition that is to be anywhere but here, once.
fn assigned_here(broker: &Broker, replicas: &[BrokerId]) -> Result<(), Refused> {
    match replicas {
        [only] if only.0 == broker.options.node_id => Ok(()),
        _ => {
            let reason =
                format!("the only broker is {}; assign each partition to it", broker.options.node_id);
            Err((Code::InvalidReplicaAssignment, reason))
        }
    }
}

fn partition_count(count: i32) -> Result<u32, Refused> {
    let count_max = limits::PARTITIONS_PER_TOPIC_MAX;
    match u32::try_from(count) {
        Ok(count) if (1..=count_max).contains(&count) => Ok(count),
        _ => Err((Code::InvalidPartitions, format!("{count} partitions: allowed are 1 to {count_max}"))),
    }
}

fn refused(error: &LogError) -> Refused {
    let code = match error {
        LogError::InvalidTopic { .. } => Code::InvalidTopicException,
        other => codes::of_log(other),
    };
    use LogError::{InvalidTopic, LimitReached, TopicExists};
    if !matches!(error, InvalidTopic { .. } | TopicExists { .. } | LimitReached { .. }) {
        tracing::error!(%error, "request on a topic failed");
    }
    (code, error.to_string())
}

/// Carries out a DeleteTopics; the topics' committed offsets go with them.
pub(crate) async fn delete_topics(call: Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name =
        request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let mut responses = Vec::new();
    for state in request.topics.into_iter().chain(by_name) {
        let deleted = delete_one(&call, &state).await;
        let mut result = DeletableTopicResult::default().with_name(state.name);
        if let Ok(topic) = &deleted {
            result = result.with_name(Some(kafka_protocol::messages::TopicName(text(topic.name()))));
            if call.version() >= 6 {
                result = result.with_topic_id(Uuid::from_bytes(topic.id()));
            }
        }
        if let Err((code, message)) = deleted {
            result = result.with_error_code(code.code());
            if call.version() >= 5 {
                result = result.with_error_message(Some(text(&message)));
            }
        }
        responses.push(result);
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete_one(call: &Call, state: &DeleteTopicState) -> Result<Arc<Topic>, Refused> {
    let broker = &call.broker;
    let topic = match &state.name {
        Some(name) => broker.log.topic(name).ok_or(Code::UnknownTopicOrPartition),
        None => broker.log.topic_by_id(state.topic_id.into_bytes()).ok_or(Code::UnknownTopicId),
    };
    let topic = topic.map_err(|code| (code, "the topic does not exist".to_owned()))?;
    if topic.is_internal() {
        return Err((Code::InvalidTopicException, format!("topic {:?} is internal", topic.name())));
    }
    let (log, name) = (Arc::clone(&broker.log), topic.name().to_owned());
    blocking(move || log.delete_topic(&name)).await.map_err(|error| refused(&error))?;
    if let Err(error) = broker.offsets.remove_topic(topic.name()).await {
        tracing::error!(topic = topic.name(), %error, "committed offsets of a deleted topic remain");
    }
    tracing::info!(topic = topic.name(), "topic deleted");
    Ok(topic)
}

/// Carries out a CreatePartitions.
pub(crate) async fn create_partitions(
    call: Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let result = CreatePartitionsTopicResult::default();
        let result = match grow(&call, &asked, request.validate_only).await {
            Ok(()) => result,
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(&message)))
            }
        };
        results.push(result.with_name(asked.name));
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn grow(call: &Call, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let name = asked.name.to_string();
    let topic = call.broker.log.topic(&name);
    let topic = topic.ok_or((Code::UnknownTopicOrPartition, format!("topic {name:?} does not exist")))?;
    let present = topic.partitions().len();
    let total = partition_count(asked.count)?;
    if total as usize <= present {
        let reason = format!("topic {name:?} has {present} partitions; {total} would not add any");
        return Err((Code::InvalidPartitions, reason));
    }
    if topic.is_internal() {
        return Err((Code::InvalidTopicException, format!("topic {name:?} is internal")));
    }
    if let Some(assignments) = &asked.assignments {
        let added = total as usize - present;
        if assignments.len() != added {
            let reason = format!("{} assignments for {added} new partitions", assignments.len());
            return Err((Code::InvalidReplicaAssignment, reason));
        }
        assignments.iter().try_for_each(|it| assigned_here(&call.broker, &it.broker_ids))?;
    }
    if validate_only {
        return Ok(());
    }
    let log = Arc::clone(&call.broker.log);
    blocking(move || log.add_partitions(&name, total).map(|_| ())).await.map_err(|error| refused(&error))
}

/// Carries out a DeleteRecords.
pub(crate) async fn delete_records(call: Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for part in &asked.partitions {
            let result = DeleteRecordsPartitionResult::default().with_partition_index(part.partition_index);
            let done = delete_before(&call.broker, &asked.name, part.partition_index, part.offset).await;
            partitions.push(match done {
                Ok(start_offset) => result.with_low_watermark(start_offset),
                Err(code) => result.with_error_code(code.code()).with_low_watermark(-1),
            });
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(asked.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// Deletes all records before `offset`, -1 for all there are; gives the first
/// offset kept.
async fn delete_before(broker: &Broker, name: &str, index: i32, offset: i64) -> Result<i64, Code> {
    let topic = broker.log.topic(name).ok_or(Code::UnknownTopicOrPartition)?;
    if topic.is_internal() {
        return Err(Code::InvalidTopicException);
    }
    let partition = topic.partition(index).ok_or(Code::UnknownTopicOrPartition)?;
    if !topic.config().cleanup.deletes() {
        return Err(Code::PolicyViolation);
    }
    let before = if offset == -1 { partition.end_offset() } else { offset };
    if !(0..=partition.end_offset()).contains(&before) {
        return Err(Code::OffsetOutOfRange);
    }
    let deleted = blocking(move || partition.delete_records(before)).await;
    deleted.map_err(|error| refused(&error).0)
}
