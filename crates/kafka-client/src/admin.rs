//! Requests about topics and committed offsets.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, GroupId, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::client::Coordinated;
use crate::error::check;
use crate::link::Link;
use crate::{Client, ClientError};

const ADMIN_TIMEOUT_MS: i32 = 30_000;
/// The protocol's stand-in for the time of the next record.
const LATEST: i64 = -1;

/// A topic as the server tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Whether it is the server's own.
    pub internal: bool,
}

/// A committed offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset not yet consumed.
    pub offset: i64,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Client {
    /// The named topics, or all. Fails with `NotFound` if one is not there; the
    /// server is not asked to make it.
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<Vec<TopicMetadata>, ClientError> {
        let asked = topics.map(|names| {
            let one = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            names.iter().map(one).collect()
        });
        let request = MetadataRequest::default().with_topics(asked).with_allow_auto_topic_creation(false);
        let response = Self::exchange(&*self.any().await?, &request).await?;
        let mut brokers = HashMap::with_capacity(response.brokers.len());
        for broker in response.brokers {
            brokers.insert(broker.node_id, format!("{}:{}", &*broker.host, broker.port));
        }
        let mut found = Vec::with_capacity(response.topics.len());
        for topic in response.topics {
            let name = topic.name.unwrap_or_default().to_string();
            check(topic.error_code, || format!("look up topic {name:?}"))?;
            let mut leaders = vec![String::new(); topic.partitions.len()];
            for partition in &topic.partitions {
                let place = usize::try_from(partition.partition_index).ok();
                if let Some(leader) = place.and_then(|place| leaders.get_mut(place)) {
                    *leader = brokers.get(&partition.leader_id).cloned().unwrap_or_default();
                }
            }
            self.remember(&name, leaders);
            let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            found.push(TopicMetadata { name, partitions, internal: topic.is_internal });
        }
        Ok(found)
    }

    /// The broker that makes and deletes topics.
    async fn controller(&self) -> Result<Arc<Link>, ClientError> {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let any = self.any().await?;
        let response = Self::exchange(&any, &request).await?;
        let controller = response.brokers.iter().find(|it| it.node_id == response.controller_id);
        match controller {
            Some(it) => self.link(&format!("{}:{}", &*it.host, it.port)).await,
            None => Ok(any),
        }
    }

    /// Makes a topic; settings are Kafka's, such as `retention.ms`.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        settings: &[(&str, &str)],
    ) -> Result<(), ClientError> {
        let configs = settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(i32::try_from(partitions).unwrap_or(i32::MAX))
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(ADMIN_TIMEOUT_MS);
        for answer in Self::exchange(&*self.controller().await?, &request).await?.topics {
            check(answer.error_code, || match answer.error_message {
                Some(reason) => format!("make topic {name:?}: {reason}"),
                None => format!("make topic {name:?}"),
            })?;
        }
        Ok(())
    }

    /// Deletes a topic with all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(name)])
            .with_timeout_ms(ADMIN_TIMEOUT_MS);
        for answer in Self::exchange(&*self.controller().await?, &request).await?.responses {
            check(answer.error_code, || format!("delete topic {name:?}"))?;
        }
        Ok(())
    }

    /// The offset for a time in milliseconds since 1970, -1 for the end, -2
    /// for the beginning. -1 is also the answer if no record has such a time.
    pub async fn list_offsets(&self, topic: &str, partition: i32, time_ms: i64) -> Result<i64, ClientError> {
        self.look_up_offset(topic, partition, time_ms, false).await
    }

    /// The offset before which all transactions have ended.
    ///
    /// # Errors
    /// The partition's broker cannot be reached.
    pub async fn stable_offset(&self, topic: &str, partition: i32) -> Result<i64, ClientError> {
        self.look_up_offset(topic, partition, LATEST, true).await
    }

    async fn look_up_offset(
        &self,
        topic: &str,
        partition: i32,
        time_ms: i64,
        committed: bool,
    ) -> Result<i64, ClientError> {
        let asked = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(time_ms);
        let asked = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(i8::from(committed))
            .with_topics(vec![asked]);
        let response = Self::exchange(&*self.leader(topic, partition).await?, &request).await?;
        let answers = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let mut offset = -1;
        for answer in answers {
            check(answer.error_code, || format!("look up offsets of topic {topic:?} partition {partition}"))?;
            offset = answer.offset;
        }
        Ok(offset)
    }

    /// Commits offsets for a group that has no members.
    pub async fn commit_offsets(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), ClientError> {
        let topics = offsets.iter().map(|committed| {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(committed.partition)
                .with_committed_offset(committed.offset)
                .with_committed_metadata(Some(StrBytes::default()));
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(&committed.topic))
                .with_partitions(vec![partition])
        });
        let request =
            OffsetCommitRequest::default().with_group_id(GroupId(text(group))).with_topics(topics.collect());
        let link = self.coordinator(Coordinated::Group, group).await?;
        let response = Self::exchange(&link, &request).await?;
        for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
            check(answer.error_code, || format!("commit offsets of group {group:?}"))?;
        }
        Ok(())
    }

    /// What a group has committed for some partitions of a topic; those that
    /// have nothing are left out.
    pub async fn fetch_offsets(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let asked = OffsetFetchRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(partitions.to_vec());
        let request =
            OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![asked]));
        let link = self.coordinator(Coordinated::Group, group).await?;
        let response = Self::exchange(&link, &request).await?;
        check(response.error_code, || format!("look up offsets of group {group:?}"))?;
        let mut found = Vec::new();
        for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
            check(answer.error_code, || format!("look up offsets of group {group:?}"))?;
            if answer.committed_offset >= 0 {
                let (partition, offset) = (answer.partition_index, answer.committed_offset);
                found.push(CommittedOffset { topic: topic.to_owned(), partition, offset });
            }
        }
        Ok(found)
    }
}
