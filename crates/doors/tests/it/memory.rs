//! Requests that wait keep no more memory than there is for them.

use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, GroupId, JoinGroupRequest, ProduceRequest, ProduceResponse, TopicName,
};
use pluvio_doors::kafka::BrokerOptions;
use pluvio_testkit::SimDisk;
use tokio::time::timeout;

use crate::harness::{Raw, Server, batch, text};

const FETCH: i16 = 12;
/// Larger than a frame that needs no share of the memory.
const LARGE: usize = 40 << 10;
/// Room for one large request at a time.
const ROOM: usize = 64 << 10;

/// A request that is large and waits for a record of `topic` for a minute.
fn waiting_fetch(topic: &str) -> FetchRequest {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(60_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
        .with_rack_id(text(&"r".repeat(LARGE)))
}

fn produce(topic: &str, acks: i16) -> ProduceRequest {
    let records = Some(batch(&["x".repeat(LARGE).as_str()]));
    let partition = PartitionProduceData::default().with_records(records);
    let topic =
        TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_topic_data(vec![topic])
}

async fn appended(raw: &mut Raw) -> (i64, i16) {
    let answer: ProduceResponse = raw.receive::<ProduceRequest>(9).await;
    let partition = &answer.responses[0].partition_responses[0];
    (partition.base_offset, partition.error_code)
}

async fn until(condition: impl Fn() -> bool) {
    timeout(Duration::from_secs(30), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_keeps_its_memory_until_it_is_carried_out() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        BrokerOptions { waiting_bytes_max: ROOM, requests_bytes_max: ROOM, ..BrokerOptions::default() };
    let server = Server::start_with(dir.path(), options).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let (mut first, mut second, mut producer) = (server.raw().await, server.raw().await, server.raw().await);
    let mut bystander = server.raw().await;
    first.send(FETCH, &waiting_fetch("rain")).await;
    first.send(0, &ApiVersionsRequest::default()).await;
    until(|| server.metric("door_kafka_requests", "Fetch") == 1).await;
    // No memory is left for this one, which would be refused at once.
    let protocol = JoinGroupRequestProtocol::default().with_metadata(vec![0; LARGE].into());
    let join = JoinGroupRequest::default().with_protocols(vec![protocol]);
    second.send(2, &join).await;
    let before = server.metric("door_kafka_requests", "ApiVersions");
    for _ in 0..100 {
        bystander.ask(0, &ApiVersionsRequest::default()).await;
    }
    // Neither what follows on the connection nor the other was read.
    assert_eq!(server.metric("door_kafka_requests", "ApiVersions"), before + 100);
    assert_eq!(server.metric("door_kafka_requests", "JoinGroup"), 0);
    // A producer has memory of its own, and ends the wait.
    producer.send(9, &produce("rain", 1)).await;
    assert_eq!(appended(&mut producer).await, (0, 0));
    let fetched = first.receive::<FetchRequest>(FETCH).await;
    assert!(fetched.responses[0].partitions[0].records.is_some());
    first.receive::<ApiVersionsRequest>(0).await;
    assert_ne!(second.receive::<JoinGroupRequest>(2).await.error_code, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_wait_for_others_keep_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions {
        waiting_bytes_max: ROOM,
        group_initial_delay_ms: 600_000,
        ..BrokerOptions::default()
    };
    let server = Server::start_with(dir.path(), options).await;
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(text("all")))
        .with_protocol_type(text("consumer"))
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(600_000)
        .with_protocols(vec![protocol.with_metadata(vec![0; LARGE].into())]);
    let mut members = Vec::new();
    for count in 1..=5 {
        let mut member = server.raw().await;
        member.send(2, &join).await;
        until(|| server.metric("door_kafka_requests", "JoinGroup") == count).await;
        members.push(member);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_waits_for_the_disk_keeps_no_memory() {
    let disk = SimDisk::new();
    let options = BrokerOptions { requests_bytes_max: ROOM, ..BrokerOptions::default() };
    let server = Server::simulated(&disk, options).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let mut raw = server.raw().await;
    disk.pause_syncs(true);
    for _ in 0..10 {
        raw.send(9, &produce("rain", -1)).await;
    }
    until(|| server.end_offset("rain") == 10).await;
    disk.pause_syncs(false);
    for offset in 0..10 {
        assert_eq!(appended(&mut raw).await, (offset, 0));
    }
    server.stop().await;
}
