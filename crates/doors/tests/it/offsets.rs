//! Committed offsets.

use kafka_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetFetchRequest};
use pluvio_kafka_client::CommittedOffset;

use crate::harness::{Server, text};

fn at(topic: &str, partition: i32, offset: i64) -> CommittedOffset {
    CommittedOffset { topic: topic.into(), partition, offset }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 3, &[]).await.unwrap();
    client.commit_offsets("g", &[at("rain", 0, 10), at("rain", 1, 20)]).await.unwrap();
    client.commit_offsets("g", &[at("rain", 0, 11)]).await.unwrap();
    assert!(client.commit_offsets("g", &[at("sun", 0, 1)]).await.is_err());
    server.stop().await;

    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    let found = client.fetch_offsets("g", "rain", &[0, 1, 2]).await.unwrap();
    assert_eq!(found, [at("rain", 0, 11), at("rain", 1, 20)]);
    assert!(client.fetch_offsets("other", "rain", &[0]).await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_topic_of_the_same_name_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    client.commit_offsets("g", &[at("rain", 0, 10)]).await.unwrap();
    client.delete_topic("rain").await.unwrap();
    client.create_topic("rain", 1, &[]).await.unwrap();
    assert!(client.fetch_offsets("g", "rain", &[0]).await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_without_members_are_listed_described_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    client.commit_offsets("g", &[at("rain", 0, 10)]).await.unwrap();
    let mut raw = server.raw().await;
    let listed = raw.ask(5, &ListGroupsRequest::default()).await;
    assert_eq!((listed.groups.len(), listed.groups[0].group_state.as_str()), (1, "Empty"));
    let id = || GroupId(text("g"));
    let describe = DescribeGroupsRequest::default().with_groups(vec![id(), GroupId(text("h"))]);
    let described = raw.ask(6, &describe).await;
    assert_eq!(described.groups[0].group_state.as_str(), "Empty");
    assert_eq!(described.groups[1].error_code, 69);
    let all = OffsetFetchRequestGroup::default().with_group_id(id()).with_topics(None);
    let all = raw.ask(9, &OffsetFetchRequest::default().with_groups(vec![all])).await;
    assert_eq!(all.groups[0].topics[0].partitions[0].committed_offset, 10);
    let all = raw.ask(5, &OffsetFetchRequest::default().with_group_id(id()).with_topics(None)).await;
    assert_eq!(all.topics[0].partitions[0].committed_offset, 10);
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![id()]);
    assert_eq!(raw.ask(2, &delete).await.results[0].error_code, 0);
    assert_eq!(raw.ask(2, &delete).await.results[0].error_code, 69);
    assert!(client.fetch_offsets("g", "rain", &[0]).await.unwrap().is_empty());
    server.stop().await;
}
