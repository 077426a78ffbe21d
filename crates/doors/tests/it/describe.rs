//! What admin tools ask: topics page by page, sizes on disk, special offsets,
//! assignments in a cluster of one.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    ListOffsetsRequest, ListPartitionReassignmentsRequest, OffsetForLeaderEpochRequest, TopicName,
};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::harness::{Raw, Server, batch, text};

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_described_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 3, &[]).await.unwrap();
    client.create_topic("sun", 4, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let mut found = Vec::new();
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let request =
            DescribeTopicPartitionsRequest::default().with_response_partition_limit(2).with_cursor(cursor);
        let page = raw.ask(0, &request).await;
        for topic in &page.topics {
            assert_eq!(topic.error_code, 0);
            let of = |index: i32| (topic.name.as_ref().unwrap().to_string(), index);
            found.extend(topic.partitions.iter().map(|it| of(it.partition_index)));
        }
        pages += 1;
        let Some(next) = page.next_cursor else { break };
        cursor = Some(
            Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index),
        );
    }
    found.retain(|(topic, _)| !topic.starts_with("__"));
    let of = |topic: &str, count| (0..count).map(|index| (topic.to_owned(), index)).collect::<Vec<_>>();
    assert_eq!((found, pages), ([of("rain", 3), of("sun", 4)].concat(), 5));
    let topics = ["sun", "hail"].map(|topic| TopicRequest::default().with_name(name(topic)));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics.to_vec())
        .with_response_partition_limit(2_000);
    let named = raw.ask(0, &request).await;
    let shown: Vec<_> = named.topics.iter().map(|it| (it.error_code, it.partitions.len())).collect();
    assert_eq!((shown, named.next_cursor), (vec![(3, 0), (0, 4)], None));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_on_disk_are_the_logs_own() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 2, &[]).await.unwrap();
    let sent = batch(&["drop"]);
    client.produce("rain", 1, sent.clone(), -1).await.unwrap().await.unwrap();
    let mut raw = server.raw().await;
    let asked = DescribableLogDirTopic::default().with_topic(name("rain")).with_partitions(vec![0, 1, 7]);
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![asked]));
    let answer = raw.ask(4, &request).await;
    let result = &answer.results[0];
    assert_eq!(
        (answer.error_code, result.error_code, &*result.log_dir),
        (0, 0, dir.path().to_str().unwrap())
    );
    let sizes: Vec<_> =
        result.topics[0].partitions.iter().map(|it| (it.partition_index, it.partition_size)).collect();
    assert_eq!(sizes, [(0, 0), (1, sent.len() as i64)]);
    assert!(result.usable_bytes > 0 && result.total_bytes >= result.usable_bytes);
    let all = raw.ask(1, &DescribeLogDirsRequest::default().with_topics(None)).await;
    assert!(all.results[0].topics.iter().any(|topic| &**topic.name == "rain"));
    server.stop().await;
}

async fn list(raw: &mut Raw, version: i16, timestamp: i64, epoch: i32) -> (i16, i64, i64) {
    let part = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(epoch);
    let topic = ListOffsetsTopic::default().with_name(name("rain")).with_partitions(vec![part]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = raw.ask(version, &request).await;
    let found = &answer.topics[0].partitions[0];
    (found.error_code, found.offset, found.timestamp)
}

#[tokio::test(flavor = "multi_thread")]
async fn special_times_and_leader_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    let mut raw = server.raw().await;
    assert_eq!(list(&mut raw, 7, -3, -1).await, (0, -1, -1), "there is no newest of none");
    for time_ms in [100, 900, 300] {
        let mut builder = BatchBuilder::new(time_ms);
        builder.push(None, Some(b"one"), time_ms, &[]);
        builder.push(None, Some(b"two"), time_ms + 1, &[]);
        let batch = builder.finish(Compression::None, None).unwrap();
        client.produce("rain", 0, batch, 1).await.unwrap().await.unwrap();
    }
    assert_eq!(list(&mut raw, 10, -1, 0).await, (0, 6, -1));
    assert_eq!(list(&mut raw, 10, -2, 0).await, (0, 0, -1));
    assert_eq!(list(&mut raw, 7, -3, 0).await, (0, 3, 901));
    assert_eq!(list(&mut raw, 6, -3, 0).await.0, 35);
    assert_eq!(list(&mut raw, 8, -4, 0).await, (0, 0, -1));
    assert_eq!(list(&mut raw, 9, -5, 0).await, (0, -1, -1));
    assert_eq!(list(&mut raw, 8, -5, 0).await.0, 35);
    assert_eq!(list(&mut raw, 10, -6, 0).await.0, 35);
    assert_eq!(list(&mut raw, 10, -1, 1).await.0, 75);
    for (current, asked, answer) in [(-1, 0, (0, 0, 6)), (0, 5, (0, -1, -1)), (1, 0, (75, -1, -1))] {
        let part =
            OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(asked);
        let topic = OffsetForLeaderTopic::default().with_topic(name("rain")).with_partitions(vec![part]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let told = raw.ask(4, &request).await.topics.remove(0).partitions.remove(0);
        assert_eq!((told.error_code, told.leader_epoch, told.end_offset), answer);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_as_assigned_and_told_with_their_settings() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut raw = server.raw().await;
    let assigned = |partition, broker| {
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(vec![BrokerId(broker)])
    };
    let topic = |topic: &str, assignments| {
        let retention = CreatableTopicConfig::default().with_name(text("retention.ms"));
        CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(vec![retention.with_value(Some(text("1000")))])
            .with_assignments(assignments)
    };
    let topics = vec![
        topic("good", vec![assigned(1, 1), assigned(0, 1)]),
        topic("gap", vec![assigned(0, 1), assigned(2, 1)]),
        topic("away", vec![assigned(0, 9)]),
        topic("both", vec![assigned(0, 1)]).with_num_partitions(1),
        topic("twice", vec![]),
        topic("twice", vec![]),
    ];
    let answer = raw.ask(7, &CreateTopicsRequest::default().with_topics(topics)).await;
    let codes: Vec<i16> = answer.topics.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [0, 39, 39, 42, 42, 42]);
    let made = &answer.topics[0];
    assert_eq!((made.num_partitions, made.replication_factor), (2, 1));
    let setting = |name: &str| {
        let found = made.configs.as_ref().unwrap().iter().find(|it| &*it.name == name).unwrap();
        (found.value.as_deref().unwrap().to_owned(), found.config_source)
    };
    assert_eq!(setting("retention.ms"), ("1000".to_owned(), 1));
    assert_eq!(setting("max.message.bytes").1, 5);
    // Nothing is made when only asked whether it could be.
    let only =
        CreateTopicsRequest::default().with_topics(vec![topic("maybe", vec![])]).with_validate_only(true);
    assert_eq!(raw.ask(7, &only).await.topics[0].error_code, 0);
    assert_eq!(
        server.client().await.metadata(None).await.unwrap().iter().filter(|it| !it.internal).count(),
        1
    );
    for (broker, count, code) in [(9, 3, 39), (1, 4, 39), (1, 3, 0)] {
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(broker)]);
        let grown = CreatePartitionsTopic::default()
            .with_name(name("good"))
            .with_count(count)
            .with_assignments(Some(vec![assignment]));
        let request = CreatePartitionsRequest::default().with_topics(vec![grown]);
        assert_eq!(raw.ask(3, &request).await.results[0].error_code, code);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_of_one_nothing_moves() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let asked = TopicPartitions::default().with_topic(name("rain")).with_partitions(vec![0, 1]);
    let elected = raw.ask(2, &ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked]))).await;
    let partitions = &elected.replica_election_results[0].partition_result;
    assert_eq!(partitions.iter().map(|it| it.error_code).collect::<Vec<_>>(), [84, 3]);
    let all = raw.ask(2, &ElectLeadersRequest::default().with_topic_partitions(None)).await;
    assert_eq!((all.error_code, all.replica_election_results.len()), (0, 0));
    for (replicas, code) in [(Some(vec![1]), 0), (Some(vec![1, 2]), 39), (None, 85)] {
        let replicas = replicas.map(|ids: Vec<i32>| ids.into_iter().map(BrokerId).collect());
        let part = ReassignablePartition::default().with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(name("rain")).with_partitions(vec![part]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let answer = raw.ask(1, &request).await;
        assert_eq!((answer.error_code, answer.responses[0].partitions[0].error_code), (0, code));
    }
    let moving = raw.ask(0, &ListPartitionReassignmentsRequest::default().with_topics(None)).await;
    assert_eq!((moving.error_code, moving.topics.len()), (0, 0));
    let cluster = raw.ask(1, &DescribeClusterRequest::default().with_endpoint_type(2)).await;
    assert_eq!(cluster.error_code, 114);
    server.stop().await;
}
