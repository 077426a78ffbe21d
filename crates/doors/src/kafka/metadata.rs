//! Metadata: the one broker, the topics and their partitions; makes topics that
//! are asked for and not there, if that is allowed.

use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use pluvio_eventlog::internal::is_internal;
use pluvio_eventlog::{LogError, Topic, TopicConfig};
use pluvio_foundation::limits;
use uuid::Uuid;

use super::broker::{Broker, blocking};
use super::cluster::text;
use super::codes::{self, Code};
use super::dispatch::Call;
use super::list_offsets::LEADER_EPOCH;

/// Carries out a Metadata.
pub(crate) async fn metadata(call: Call, request: MetadataRequest) -> MetadataResponse {
    let broker = &call.broker;
    let version = call.version();
    let make = broker.options.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    let topics = match request.topics {
        // In version 0 an empty list asks for all.
        Some(asked) if version > 0 || !asked.is_empty() => {
            let mut topics = Vec::with_capacity(asked.len());
            for topic in asked {
                topics.push(one(broker, version, topic, make).await);
            }
            topics
        }
        _ => broker.log.topics().iter().map(|topic| known(broker, version, topic)).collect(),
    };
    let options = &broker.options;
    let node = MetadataResponseBroker::default()
        .with_node_id(BrokerId(options.node_id))
        .with_host(text(&options.advertised_host))
        .with_port(i32::from(options.advertised_port));
    let response = MetadataResponse::default()
        .with_brokers(vec![node])
        .with_controller_id(BrokerId(options.node_id))
        .with_topics(topics);
    match version {
        2.. => response.with_cluster_id(Some(text(&broker.cluster_id))),
        _ => response,
    }
}

/// One topic that was asked for by name or by identifier.
async fn one(
    broker: &Arc<Broker>,
    version: i16,
    asked: MetadataRequestTopic,
    make: bool,
) -> MetadataResponseTopic {
    let Some(name) = asked.name else {
        return match broker.log.topic_by_id(asked.topic_id.into_bytes()) {
            Some(topic) => known(broker, version, &topic),
            None => MetadataResponseTopic::default()
                .with_error_code(Code::UnknownTopicId.code())
                .with_topic_id(asked.topic_id)
                .with_name((version < 12).then(TopicName::default)),
        };
    };
    match find_or_make(broker, &name, make).await {
        Ok(topic) => known(broker, version, &topic),
        Err(code) => MetadataResponseTopic::default().with_error_code(code.code()).with_name(Some(name)),
    }
}

async fn find_or_make(broker: &Arc<Broker>, name: &str, make: bool) -> Result<Arc<Topic>, Code> {
    if let Some(topic) = broker.log.topic(name) {
        return Ok(topic);
    }
    if name.len() > limits::TOPIC_NAME_BYTES_MAX {
        return Err(Code::InvalidTopicException);
    }
    if !make || is_internal(name) {
        return Err(Code::UnknownTopicOrPartition);
    }
    let partitions = broker.options.default_partitions;
    match create(broker, name, partitions, broker.log.options().topic.clone()).await {
        Ok(topic) => {
            tracing::info!(topic = name, partitions, "topic made on first use");
            Ok(topic)
        }
        // Another client was faster.
        Err(LogError::TopicExists { .. }) => broker.log.topic(name).ok_or(Code::UnknownTopicOrPartition),
        // Clients know no other refusal that they do not repeat at once.
        Err(LogError::InvalidTopic { .. } | LogError::LimitReached { .. }) => {
            Err(Code::InvalidTopicException)
        }
        Err(error) => {
            tracing::error!(topic = name, %error, "topic not made");
            Err(codes::of_log(&error))
        }
    }
}

/// Makes a topic.
pub(crate) async fn create(
    broker: &Arc<Broker>,
    name: &str,
    partitions: u32,
    config: TopicConfig,
) -> Result<Arc<Topic>, LogError> {
    let (log, name) = (Arc::clone(&broker.log), name.to_owned());
    blocking(move || log.create_topic(&name, partitions, config)).await
}

fn known(broker: &Broker, version: i16, topic: &Topic) -> MetadataResponseTopic {
    let node = BrokerId(broker.options.node_id);
    let partitions = (0..).zip(topic.partitions()).map(|(index, _)| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(node)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node]);
        match version {
            7.. => partition.with_leader_epoch(LEADER_EPOCH),
            _ => partition,
        }
    });
    let known = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name()))))
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions.collect());
    match version {
        10.. => known.with_topic_id(Uuid::from_bytes(topic.id())),
        _ => known,
    }
}
