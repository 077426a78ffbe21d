//! Peers that misbehave cost themselves only.

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use kafka_protocol::protocol::Decodable;
use pluvio_doors::kafka::BrokerOptions;
use tokio::io::AsyncWriteExt;

use crate::harness::{Server, batch};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_close_their_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut bystander = server.raw().await;
    let frames: [&[u8]; 6] = [
        // A length beyond any limit, a negative one, one below any header.
        &[0x7f, 0xff, 0xff, 0xff, 0, 3],
        &[0xff, 0xff, 0xff, 0xff, 0, 3],
        &[0, 0, 0, 2, 0, 3],
        // An API key that does not exist, a version that does not.
        &[0, 0, 0, 10, 0x70, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff],
        // Metadata whose array claims two billion topics.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ];
    for frame in frames {
        let mut peer = server.raw().await;
        peer.stream.write_all(frame).await.unwrap();
        assert!(peer.receive_frame().await.is_none(), "{frame:?}");
    }
    assert_eq!(server.metric("door_kafka_malformed_closes", ""), 6);
    let versions = bystander.ask(3, &ApiVersionsRequest::default()).await;
    assert_eq!(versions.error_code, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut peer = server.raw().await;
    peer.stream.write_all(&[0, 0, 0, 11, 0, 18, 0, 77, 0, 0, 0, 5, 0xff, 0xff, 0]).await.unwrap();
    let mut answer = peer.receive_frame().await.unwrap();
    assert_eq!(answer.split_to(4)[..], [0, 0, 0, 5]);
    let versions = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(versions.error_code, 35);
    let of = |key| versions.api_keys.iter().find(|it| it.api_key == key);
    assert_eq!(of(0).map(|it| it.min_version), Some(0));
    assert_eq!(of(11).map(|it| it.min_version), Some(0));
    for transactional in [24, 25, 26, 28] {
        assert!(of(transactional).is_some());
    }
    // The connection is still good.
    assert_eq!(peer.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unacknowledged_refusal_closes_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    let mut closed = false;
    for _ in 0..100 {
        assert_eq!(client.produce("nowhere", 0, batch(&["x"]), 0).await.unwrap().await.unwrap(), -1);
        // The client may see the end of the connection first, and make another.
        if let Err(after) = client.metadata(None).await {
            assert!(after.to_string().contains("closed"), "{after}");
            closed = true;
            break;
        }
    }
    assert!(closed, "a refused event without acknowledgement never closed the connection");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions { connections_max: 2, ..BrokerOptions::default() };
    let server = Server::start_with(dir.path(), options).await;
    let mut first = server.raw().await;
    first.ask(1, &MetadataRequest::default()).await;
    let mut second = server.raw().await;
    second.ask(1, &MetadataRequest::default()).await;
    assert_eq!(server.metric("door_kafka_connections", ""), 2);
    let mut third = server.raw().await;
    assert!(third.receive_frame().await.is_none());
    first.ask(1, &MetadataRequest::default()).await;
    assert_eq!(server.metric("door_kafka_requests", "Metadata"), 3);
    server.stop().await;
}
