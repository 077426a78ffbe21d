//! Records in and out.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError as Code;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use pluvio_doors::kafka::BrokerOptions;
use pluvio_eventlog::LogOptions;
use pluvio_kafka_client::{Client, ClientError};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, parse_header};

use crate::harness::{Server, batch, batch_of, read, text};

fn code(error: ClientError) -> Code {
    match error {
        ClientError::Refused { code, .. } => code,
        other => panic!("not refused: {other}"),
    }
}

async fn sent(client: &Client, batch: Bytes, acks: i16) -> Result<i64, ClientError> {
    client.produce("rain", 0, batch, acks).await.unwrap().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_and_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 2, &[]).await.unwrap();
    let mut expected = Vec::new();
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for codec in codecs {
        for acks in [1, -1, 0] {
            let offset = expected.len() as i64;
            let (one, two) = (format!("{} {acks} one", codec.name()), format!("{} {acks} two", codec.name()));
            let base = sent(&client, batch_of(&[&one, &two], codec, None), acks).await.unwrap();
            assert_eq!(base, if acks == 0 { -1 } else { offset });
            expected.extend([(offset, one), (offset + 1, two)]);
        }
    }
    let fetched = client.fetch("rain", 0, 0, 1000, 1 << 20).await.unwrap();
    assert_eq!(read(&fetched.records), expected);
    assert_eq!((fetched.start_offset, fetched.end_offset), (0, 30));
    assert_eq!(client.list_offsets("rain", 0, -1).await.unwrap(), 30);
    assert_eq!(client.list_offsets("rain", 0, -2).await.unwrap(), 0);
    assert_eq!(client.list_offsets("rain", 0, 1_700_000_000_000).await.unwrap(), 0);
    assert_eq!(client.list_offsets("rain", 0, 1_800_000_000_000).await.unwrap(), -1);
    assert_eq!(client.list_offsets("rain", 1, -1).await.unwrap(), 0);
    // A fetch from the middle of a batch gives the whole batch.
    let middle = client.fetch("rain", 0, 3, 1000, 1).await.unwrap();
    assert_eq!(read(&middle.records).len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_compresses_what_comes_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (named, wanted) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().zip(codecs) {
        client.create_topic("rain", 1, &[("compression.type", named)]).await.unwrap();
        for (index, codec) in codecs.into_iter().enumerate() {
            let sent =
                sent(&client, batch_of(&["one", "two"], codec, Some((9, 0, index as i32 * 2))), -1).await;
            assert_eq!(sent.unwrap(), index as i64 * 2);
        }
        let mut records = &client.fetch("rain", 0, 0, 1000, 1 << 20).await.unwrap().records[..];
        let values: Vec<String> = read(records).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["one", "two"].repeat(5));
        while !records.is_empty() {
            let header = parse_header(records).unwrap();
            assert_eq!((header.compression().unwrap(), header.producer_id), (wanted, 9));
            records = &records[header.total_bytes()..];
        }
        client.delete_topic("rain").await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_produces_under_way_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    let sender = client.clone();
    let (answers, mut answered) = tokio::sync::mpsc::channel(200);
    tokio::spawn(async move {
        for number in 0..200 {
            let acks = if number % 3 == 0 { 1 } else { -1 };
            let value = number.to_string();
            answers.send(sender.produce("rain", 0, batch(&[&value]), acks).await.unwrap()).await.unwrap();
        }
    });
    let mut offset = 0;
    while let Some(answer) = answered.recv().await {
        assert_eq!(answer.await.unwrap(), offset);
        offset += 1;
    }
    assert_eq!(offset, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let unknown = client.produce("sun", 0, batch(&["x"]), 1).await.unwrap().await;
    assert_eq!(code(unknown.unwrap_err()), Code::UnknownTopicOrPartition);
    let unknown = client.produce("rain", 1, batch(&["x"]), 1).await.unwrap().await;
    assert_eq!(code(unknown.unwrap_err()), Code::UnknownTopicOrPartition);
    let large = "x".repeat(1000);
    let refused = sent(&client, batch(&[&large]), 1).await.unwrap_err();
    assert_eq!(code(refused), Code::MessageTooLarge);
    let mut damaged = batch(&["abc"]).to_vec();
    *damaged.last_mut().unwrap() ^= 0xff;
    assert_eq!(code(sent(&client, damaged.into(), 1).await.unwrap_err()), Code::CorruptMessage);
    let twice = [&batch(&["a"])[..], &batch(&["b"])[..]].concat();
    assert_eq!(code(sent(&client, twice.into(), 1).await.unwrap_err()), Code::InvalidRecord);
    let mut old = batch(&["abc"]).to_vec();
    old[16] = 1;
    let refused = sent(&client, old.into(), 1).await.unwrap_err();
    assert_eq!(code(refused), Code::UnsupportedForMessageFormat);
    assert_eq!(code(sent(&client, Bytes::new(), 1).await.unwrap_err()), Code::InvalidRecord);
    assert_eq!(code(sent(&client, batch(&["x"]), 7).await.unwrap_err()), Code::InvalidRequiredAcks);
    let internal = client.produce("__consumer_offsets", 0, batch(&["x"]), 1).await.unwrap().await;
    assert_eq!(code(internal.unwrap_err()), Code::InvalidTopicException);
    let beyond = client.fetch("rain", 0, 5, 10, 1000).await.unwrap_err();
    assert_eq!(code(beyond), Code::OffsetOutOfRange);
    assert_eq!(sent(&client, batch(&["good"]), -1).await.unwrap(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_records_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let full = LogOptions { disk_reserve_bytes: u64::MAX, ..LogOptions::default() };
    let server = Server::start_over(dir.path(), BrokerOptions::default(), full).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    for acks in [1, -1] {
        let refused = sent(&client, batch(&["x"]), acks).await.unwrap_err();
        assert_eq!(code(refused), Code::KafkaStorageError);
    }
    assert_eq!(server.metric("door_kafka_produce_failures", ""), 2);
    assert_eq!(client.list_offsets("rain", 0, -1).await.unwrap(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_wants_keys() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let refused = sent(&client, batch_of(&["x"], Compression::Lz4, None), 1).await.unwrap_err();
    assert_eq!(code(refused), Code::InvalidRecord);
    let mut builder = BatchBuilder::new(1_700_000_000_000);
    for key in [Some(&b"k"[..]), None, Some(&b"k"[..]), None] {
        builder.push(key, Some(b"v"), 1_700_000_000_000, &[]);
    }
    let batch = builder.finish(Compression::Gzip, None).unwrap();
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic =
        TopicProduceData::default().with_name(TopicName(text("rain"))).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let mut raw = server.raw().await;
    for version in 3..=12 {
        let answer = raw.ask(version, &request).await;
        let partition = &answer.responses[0].partition_responses[0];
        let wrong: Vec<i32> = partition.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(partition.error_code, Code::InvalidRecord.code(), "version {version}");
        assert_eq!(wrong, if version >= 8 { vec![1, 3] } else { vec![] });
        assert_eq!(partition.error_message.is_some(), version >= 8);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[]).await.unwrap();
    let from = |epoch, sequence| batch_of(&["a", "b"], Compression::None, Some((900, epoch, sequence)));
    assert_eq!(sent(&client, from(1, 0), -1).await.unwrap(), 0);
    assert_eq!(sent(&client, from(1, 2), -1).await.unwrap(), 2);
    assert_eq!(sent(&client, from(1, 2), -1).await.unwrap(), 2);
    let skipped = sent(&client, from(1, 9), -1).await.unwrap_err();
    assert_eq!(code(skipped), Code::OutOfOrderSequenceNumber);
    let stale = sent(&client, from(0, 4), -1).await.unwrap_err();
    assert_eq!(code(stale), Code::InvalidProducerEpoch);
    assert_eq!(client.list_offsets("rain", 0, -1).await.unwrap(), 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_the_first_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (producer, consumer) = (server.client().await, server.client().await);
    producer.create_topic("rain", 1, &[]).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.fetch("rain", 0, 0, 60_000, 1 << 20).await });
    sent(&producer, batch(&["at last"]), 1).await.unwrap();
    let fetched = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(read(&fetched.records), [(0, "at last".to_owned())]);
    let nothing = producer.fetch("rain", 0, 1, 1, 1 << 20).await.unwrap();
    assert!(nothing.records.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_pass_whole() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.client().await;
    client.create_topic("rain", 1, &[("max.message.bytes", "20000000")]).await.unwrap();
    let large = "0123456789".repeat(1_500_000);
    assert_eq!(sent(&client, batch(&[&large]), 1).await.unwrap(), 0);
    assert_eq!(sent(&client, batch(&["after"]), 1).await.unwrap(), 1);
    let fetched = client.fetch("rain", 0, 0, 1000, 1000).await.unwrap();
    assert_eq!(fetched.records.len(), batch(&[&large]).len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_is_slowed_to_the_pace_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let log_options =
        LogOptions { disk_reserve_bytes: 0, unsynced_bytes_per_topic: 0, ..LogOptions::default() };
    let server = Server::start_over(dir.path(), BrokerOptions::default(), log_options).await;
    let client = server.client().await;
    // Nobody asks for a sync, and none is due for an hour.
    let settings = [("flush.messages", "1000000"), ("flush.ms", "3600000")];
    client.create_topic("rain", 1, &settings).await.unwrap();
    let before = server.metric("log_fsyncs", "");
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(client.produce("rain", 0, batch(&["x"]), 1).await.unwrap());
    }
    for (offset, answer) in (0..).zip(answers) {
        assert_eq!(answer.await.unwrap(), offset);
    }
    // Each request but the last waited for what came before it.
    let syncs = server.metric("log_fsyncs", "") - before;
    assert!(syncs >= 19, "{syncs} syncs");
    server.stop().await;
}
