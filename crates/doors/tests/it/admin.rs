//! Topics and their settings.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    MetadataRequest, TopicName,
};
use pluvio_doors::kafka::BrokerOptions;
use pluvio_eventlog::{LogOptions, TopicConfig};
use pluvio_foundation::ErrorKind;

use crate::harness::{Raw, Server, batch, text};

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_listed_grown_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 2, &[]).await.unwrap();
    let again = client.create_topic("rain", 2, &[]).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    for (bad, settings) in [("a/b", vec![]), ("__consumer_offsets", vec![]), ("x", vec![("no.such", "1")])] {
        assert!(client.create_topic(bad, 1, &settings).await.is_err(), "{bad}");
    }
    assert!(client.create_topic("none", 0, &[]).await.is_err());
    // Two underscores alone make no internal topic: connectors have such topics.
    client.create_topic("__debezium-heartbeat.shop", 1, &[]).await.unwrap();
    let listed = client.metadata(Some(&["__debezium-heartbeat.shop"])).await.unwrap();
    assert!(!listed[0].internal);
    client.produce("__debezium-heartbeat.shop", 0, batch(&["x"]), -1).await.unwrap().await.unwrap();
    client.delete_topic("__debezium-heartbeat.shop").await.unwrap();
    let listed = client.metadata(Some(&["rain"])).await.unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].partitions, listed[0].internal), ("rain", 2, false));

    let mut raw = server.raw().await;
    let grown = CreatePartitionsTopic::default().with_name(topic("rain")).with_count(5);
    let request = CreatePartitionsRequest::default().with_topics(vec![grown.with_assignments(None)]);
    assert_eq!(raw.ask(3, &request).await.results[0].error_code, 0);
    assert_eq!(raw.ask(3, &request).await.results[0].error_code, 37);
    assert_eq!(client.metadata(Some(&["rain"])).await.unwrap()[0].partitions, 5);

    client.delete_topic("rain").await.unwrap();
    assert_eq!(client.metadata(Some(&["rain"])).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.delete_topic("rain").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(client.delete_topic("__consumer_offsets").await.is_err());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_partitions_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    // Three of the topics are the system's own, with a partition each.
    let log =
        LogOptions { topics_max: 5, partitions_max: 10, disk_reserve_bytes: 0, ..LogOptions::default() };
    let server = Server::start_over(dir.path(), BrokerOptions::default(), log).await;
    let mut raw = server.raw().await;
    for (name, partitions, code) in [("a", 8, 44), ("a", 3, 0), ("b", 5, 44), ("b", 1, 0), ("c", 1, 44)] {
        let asked = CreatableTopic::default().with_name(topic(name)).with_num_partitions(partitions);
        let request = CreateTopicsRequest::default().with_topics(vec![asked.with_replication_factor(1)]);
        let made = raw.ask(5, &request).await;
        assert_eq!(made.topics[0].error_code, code, "{name} {:?}", made.topics[0].error_message);
    }
    let grown = CreatePartitionsTopic::default().with_name(topic("a")).with_count(7).with_assignments(None);
    let grown = raw.ask(3, &CreatePartitionsRequest::default().with_topics(vec![grown])).await;
    assert_eq!(grown.results[0].error_code, 44);
    let first_use = MetadataRequestTopic::default().with_name(Some(topic("c")));
    let request = MetadataRequest::default().with_topics(Some(vec![first_use]));
    assert_eq!(raw.ask(9, &request.with_allow_auto_topic_creation(true)).await.topics[0].error_code, 17);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_metadata_makes_and_shows_topics() {
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions { default_partitions: 3, ..BrokerOptions::default() };
    let server = Server::start_with(dir.path(), options).await;
    let mut raw = server.raw().await;
    for version in 0..=13 {
        let name = format!("rain-{version}");
        let asked = MetadataRequestTopic::default().with_name(Some(topic(&name)));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let response = raw.ask(version, &request).await;
        assert_eq!(response.brokers[0].host.as_str(), "127.0.0.1");
        let made = &response.topics[0];
        assert_eq!((made.error_code, made.partitions.len()), (0, 3), "version {version}");
        assert_eq!(made.partitions[2].partition_index, 2);
        if version >= 12 {
            let by_id = MetadataRequestTopic::default().with_topic_id(made.topic_id).with_name(None);
            let request = MetadataRequest::default().with_topics(Some(vec![by_id]));
            let found = raw.ask(version, &request).await;
            assert_eq!(found.topics[0].name.as_ref().unwrap().as_str(), name);
        }
    }
    // In version 0 an empty list asks for all topics.
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    assert_eq!(raw.ask(0, &request).await.topics.len(), 17);
    assert_eq!(raw.ask(1, &request).await.topics.len(), 0);
    assert_eq!(raw.ask(9, &MetadataRequest::default().with_topics(None)).await.topics.len(), 17);
    let not_made = MetadataRequestTopic::default().with_name(Some(topic("sun")));
    let request =
        MetadataRequest::default().with_topics(Some(vec![not_made])).with_allow_auto_topic_creation(false);
    assert_eq!(raw.ask(9, &request).await.topics[0].error_code, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_has_an_id_of_its_own_and_keeps_it() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut seen = Vec::new();
    for dir in [&dir, &dir, &other] {
        let server = Server::start(dir.path()).await;
        let mut raw = server.raw().await;
        let id = raw.ask(1, &DescribeClusterRequest::default()).await.cluster_id.to_string();
        let told = raw.ask(9, &MetadataRequest::default().with_topics(None)).await.cluster_id;
        assert_eq!(told.as_deref(), Some(&*id));
        assert!(id.len() == 22 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        seen.push(id);
        server.stop().await;
    }
    assert!(seen[0] == seen[1] && seen[0] != seen[2], "{seen:?}");
}

async fn setting(raw: &mut Raw, name: &str) -> (String, i8) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("rain"))
        .with_configuration_keys(Some(vec![text(name)]));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let result = raw.ask(4, &request).await.results.remove(0);
    assert_eq!((result.error_code, result.configs.len()), (0, 1));
    (result.configs[0].value.as_ref().unwrap().to_string(), result.configs[0].config_source)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client
        .create_topic("rain", 1, &[("retention.ms", "1000"), ("compression.type", "producer")])
        .await
        .unwrap();
    let mut raw = server.raw().await;
    assert_eq!(setting(&mut raw, "retention.ms").await, ("1000".into(), 1));
    assert_eq!(setting(&mut raw, "cleanup.policy").await, ("delete".into(), 5));
    let change = |name, operation, value: Option<&str>| {
        let config = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation)
            .with_value(value.map(text));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("rain"))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    for (name, operation, value, code) in [
        ("retention.bytes", 0, Some("5000"), 0),
        ("retention.ms", 1, None, 0),
        ("retention.ms", 0, Some("never"), 40),
        ("min.insync.replicas", 0, Some("3"), 40),
        ("segment.bytes", 0, Some("1"), 40),
        ("compression.type", 0, Some("brotli"), 40),
        ("compression.type", 0, Some("lz4"), 0),
        ("cleanup.policy", 2, Some("compact"), 0),
        ("min.cleanable.dirty.ratio", 2, Some("0.1"), 40),
        ("flush.messages", 0, Some("1000"), 0),
    ] {
        let answer = raw.ask(1, &change(name, operation, value)).await;
        assert_eq!(answer.responses[0].error_code, code, "{name} {value:?}");
    }
    assert_eq!(setting(&mut raw, "retention.bytes").await, ("5000".into(), 1));
    assert_eq!(setting(&mut raw, "retention.ms").await, ("604800000".into(), 5));
    assert_eq!(setting(&mut raw, "cleanup.policy").await, ("compact,delete".into(), 1));
    assert_eq!(raw.ask(1, &change("cleanup.policy", 3, Some("compact"))).await.responses[0].error_code, 0);
    // What is given is the topic's own, also where it is the default.
    assert_eq!(setting(&mut raw, "cleanup.policy").await, ("delete".into(), 1));
    assert_eq!(setting(&mut raw, "flush.messages").await, ("1000".into(), 1));
    assert_eq!(setting(&mut raw, "compression.type").await, ("lz4".into(), 1));
    assert_eq!(raw.ask(1, &change("compression.type", 1, None)).await.responses[0].error_code, 0);
    assert_eq!(setting(&mut raw, "compression.type").await, ("producer".into(), 5));
    assert_eq!(setting(&mut raw, "memory.tail.bytes").await, ((32 << 20).to_string(), 5));
    assert_eq!(raw.ask(1, &change("memory.tail.bytes", 0, Some("-1"))).await.responses[0].error_code, 0);
    assert_eq!(setting(&mut raw, "memory.tail.bytes").await, ("-1".into(), 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_were_not_given_follow_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let settings = [("retention.ms", "604800000"), ("memory.tail.bytes", "0")];
    server.client().await.create_topic("rain", 1, &settings).await.unwrap();
    server.stop().await;
    let topic = TopicConfig { retention_ms: Some(5), segment_bytes: 2048, ..TopicConfig::default() };
    let log = LogOptions { disk_reserve_bytes: 0, topic, tail_bytes_per_topic: 7, ..LogOptions::default() };
    let server = Server::start_over(dir.path(), BrokerOptions::default(), log).await;
    let mut raw = server.raw().await;
    assert_eq!(setting(&mut raw, "retention.ms").await, ("604800000".into(), 1));
    assert_eq!(setting(&mut raw, "segment.bytes").await, ("2048".into(), 5));
    assert_eq!(setting(&mut raw, "memory.tail.bytes").await, ("0".into(), 1));
    // The system's own topics keep what they have.
    let of = |name: &str| server.log().topic(name).unwrap().config().retention_ms;
    assert_eq!((of("__consumer_offsets"), of("__transaction_state")), (None, None));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    client.produce("rain", 0, batch(&["a", "b", "c"]), 1).await.unwrap().await.unwrap();
    let mut raw = server.raw().await;
    for (version, before, code, left) in [(0, 2, 0, 2), (1, 9, 1, -1), (1, -2, 1, -1), (2, -1, 0, 3)] {
        let partition = DeleteRecordsPartition::default().with_offset(before);
        let asked = DeleteRecordsTopic::default().with_name(topic("rain")).with_partitions(vec![partition]);
        let answer = raw.ask(version, &DeleteRecordsRequest::default().with_topics(vec![asked])).await;
        let answer = &answer.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.low_watermark), (code, left), "before {before}");
    }
    assert_eq!(client.list_offsets("rain", 0, -2).await.unwrap(), 3);
    client.create_topic("kept", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    for (name, index, code) in [("kept", 0, 44), ("rain", 1, 3), ("sun", 0, 3), ("__consumer_offsets", 0, 17)]
    {
        let partition = DeleteRecordsPartition::default().with_partition_index(index).with_offset(0);
        let asked = DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let answer = raw.ask(2, &DeleteRecordsRequest::default().with_topics(vec![asked])).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, code, "{name} {index}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_one_broker() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut raw = server.raw().await;
    let cluster = raw.ask(1, &DescribeClusterRequest::default()).await;
    assert_eq!((cluster.controller_id, cluster.brokers.len()), (BrokerId(1), 1));
    for version in 0..=6 {
        let request = match version {
            0..4 => FindCoordinatorRequest::default().with_key(text("g")),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
        };
        let response = raw.ask(version, &request).await;
        let node = response.coordinators.first().map_or(response.node_id, |found| found.node_id);
        assert_eq!((response.error_code, node), (0, BrokerId(1)));
        if version >= 1 {
            for (key_type, expected) in [(1, 0), (2, 35)] {
                let response = raw.ask(version, &request.clone().with_key_type(key_type)).await;
                let code =
                    response.coordinators.first().map_or(response.error_code, |found| found.error_code);
                assert_eq!(code, expected);
            }
        }
    }
    let one = raw.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    let two = raw.ask(0, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    assert_eq!((one.error_code, two.error_code), (0, 0));
    assert_ne!(one.producer_id, two.producer_id);
    server.stop().await;
}
