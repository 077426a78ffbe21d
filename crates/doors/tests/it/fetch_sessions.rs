//! Fetch sessions over the wire: what is answered, and in which order.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, FetchRequest, FetchResponse, TopicName};
use pluvio_doors::kafka::BrokerOptions;
use pluvio_kafka_client::Client;

use crate::harness::{Raw, Server, batch, read, text};

const VERSION: i16 = 12;

fn topic(partitions: &[(i32, i64)]) -> Vec<FetchTopic> {
    let partitions = partitions.iter().map(|(index, offset)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    vec![FetchTopic::default().with_topic(TopicName(text("rain"))).with_partitions(partitions.collect())]
}

fn request(session: (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(if partitions.is_empty() { vec![] } else { topic(partitions) })
}

fn forgetting(session: (i32, i32), partitions: &[i32]) -> FetchRequest {
    let forgotten =
        ForgottenTopic::default().with_topic(TopicName(text("rain"))).with_partitions(partitions.to_vec());
    request(session, &[]).with_forgotten_topics_data(vec![forgotten])
}

/// Partition, error and values of all that was answered.
fn found(answer: &FetchResponse) -> Vec<(i32, i16, Vec<String>)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let one = |it: &kafka_protocol::messages::fetch_response::PartitionData| {
        let values = read(it.records.as_deref().unwrap_or_default()).into_iter().map(|(_, value)| value);
        (it.partition_index, it.error_code, values.collect())
    };
    partitions.map(one).collect()
}

async fn send(client: &Client, partition: i32, value: &str) {
    client.produce("rain", partition, batch(&[value]), 1).await.unwrap().await.unwrap();
}

async fn open(raw: &mut Raw, partitions: i32) -> i32 {
    let all: Vec<(i32, i64)> = (0..partitions).map(|index| (index, 0)).collect();
    let opened = raw.ask(VERSION, &request((0, 0), &all)).await;
    assert_eq!(opened.error_code, 0);
    assert_ne!(opened.session_id, 0);
    assert_eq!(found(&opened).len(), partitions as usize, "a full fetch tells all");
    opened.session_id
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 5, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let id = open(&mut raw, 4).await;
    assert_eq!(server.metric("door_kafka_fetch_sessions", ""), 1);
    assert_eq!(found(&raw.ask(VERSION, &request((id, 1), &[])).await), []);
    send(&client, 2, "two").await;
    // What the client does not move on from is sent again.
    for epoch in 2..4 {
        let answer = raw.ask(VERSION, &request((id, epoch), &[])).await;
        assert_eq!((answer.session_id, found(&answer)), (id, vec![(2, 0, vec!["two".to_owned()])]));
    }
    // One is moved on, one is new, one is forgotten.
    send(&client, 3, "three").await;
    send(&client, 4, "four").await;
    let moved = forgetting((id, 4), &[3]).with_topics(topic(&[(2, 1), (4, 0)]));
    let answer = raw.ask(VERSION, &moved).await;
    assert_eq!(found(&answer), [(4, 0, vec!["four".to_owned()])]);
    let answer = raw.ask(VERSION, &request((id, 5), &[(4, 1)])).await;
    assert_eq!(found(&answer), []);
    // Deleted records are news too: the start moved.
    let part = DeleteRecordsPartition::default().with_partition_index(2).with_offset(1);
    let before = DeleteRecordsTopic::default().with_name(TopicName(text("rain"))).with_partitions(vec![part]);
    raw.ask(1, &DeleteRecordsRequest::default().with_topics(vec![before])).await;
    let answer = raw.ask(VERSION, &request((id, 6), &[])).await;
    assert_eq!(found(&answer), [(2, 0, vec![])]);
    assert_eq!(answer.responses[0].partitions[0].log_start_offset, 1);
    // Forgetting all ends the session.
    let answer = raw.ask(VERSION, &forgetting((id, 7), &[0, 1, 2, 4])).await;
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    assert_eq!(raw.ask(VERSION, &request((id, 8), &[])).await.error_code, 70);
    assert_eq!(server.metric("door_kafka_fetch_sessions", ""), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_session_hears_of_records_and_of_a_deleted_topic() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 3, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let id = open(&mut raw, 3).await;
    let waiting = |epoch| request((id, epoch), &[]).with_max_wait_ms(60_000);
    raw.send(VERSION, &waiting(1)).await;
    send(&client, 1, "late").await;
    let answer = raw.receive::<FetchRequest>(VERSION).await;
    assert_eq!(found(&answer), [(1, 0, vec!["late".to_owned()])]);
    raw.send(VERSION, &request((id, 2), &[(1, 1)]).with_max_wait_ms(60_000)).await;
    client.delete_topic("rain").await.unwrap();
    let answer = raw.receive::<FetchRequest>(VERSION).await;
    assert!(!found(&answer).is_empty() && found(&answer).iter().all(|it| it.1 == 3), "{answer:?}");
    // Made again, the partitions are found again.
    client.create_topic("rain", 3, &[]).await.unwrap();
    send(&client, 0, "new").await;
    let answer = raw.ask(VERSION, &request((id, 3), &[(1, 0)])).await;
    assert!(found(&answer).contains(&(0, 0, vec!["new".to_owned()])), "{answer:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_partition_starves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 3, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let id = open(&mut raw, 3).await;
    for partition in 0..3 {
        for value in ["a", "b"] {
            send(&client, partition, value).await;
        }
    }
    // Each answer has room for one batch only.
    let mut offsets = [0; 3];
    let mut order = Vec::new();
    let mut moved = Vec::new();
    for epoch in 1..=6 {
        let answer = raw.ask(VERSION, &request((id, epoch), &moved).with_max_bytes(1)).await;
        let found = found(&answer);
        assert_eq!(found.len(), 1);
        let partition = found[0].0;
        order.push(partition);
        offsets[partition as usize] += 1;
        moved = vec![(partition, offsets[partition as usize])];
    }
    assert_eq!(offsets, [2, 2, 2]);
    assert_eq!(order[..3], order[3..], "each has its turn before any has its second");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_about_a_session_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 2, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let id = open(&mut raw, 2).await;
    let unknown = raw.ask(VERSION, &request((id ^ 1, 1), &[])).await;
    assert_eq!((unknown.error_code, unknown.session_id), (70, 0));
    assert_eq!(raw.ask(VERSION, &request((id, 2), &[])).await.error_code, 71);
    assert_eq!(raw.ask(13, &request((id, 1), &[])).await.error_code, 106);
    assert_eq!(raw.ask(VERSION, &request((id, 1), &[])).await.error_code, 0);
    // A full fetch that names a session ends it.
    let again = raw.ask(VERSION, &request((id, 0), &[(0, 0)])).await;
    assert!(again.session_id != 0 && again.session_id != id);
    assert_eq!(raw.ask(VERSION, &request((id, 2), &[])).await.error_code, 70);
    let without = raw.ask(VERSION, &request((again.session_id, -1), &[(0, 0)])).await;
    assert_eq!((without.session_id, found(&without).len()), (0, 1));
    assert_eq!(server.metric("door_kafka_fetch_sessions", ""), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_a_client_goes_on_without_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        BrokerOptions { fetch_sessions_max: 2, fetch_session_partitions_max: 5, ..BrokerOptions::default() };
    let server = Server::start_with(dir.path(), options).await;
    server.client().await.create_topic("rain", 6, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let one = open(&mut raw, 2).await;
    open(&mut raw, 2).await;
    let third = raw.ask(VERSION, &request((0, 0), &[(0, 0)])).await;
    assert_eq!((third.session_id, found(&third).len()), (0, 1));
    // A session that grows beyond what all may have together is ended.
    let grown = raw.ask(VERSION, &request((one, 1), &[(2, 0), (3, 0)])).await;
    assert_eq!(grown.error_code, 70);
    assert_eq!(server.metric("door_kafka_fetch_sessions", ""), 1);
    server.stop().await;
}
