//! Transactions over the wire: seen whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, DescribeProducersRequest, DescribeTransactionsRequest, GroupId,
    InitProducerIdRequest, ListOffsetsRequest, ListTransactionsRequest, OffsetFetchRequest,
};
use pluvio_doors::kafka::BrokerOptions;
use pluvio_eventlog::LogOptions;
use pluvio_testkit::ManualClock;

use crate::harness::{Raw, Server, text};
use crate::transactional::{Producer, Speaks, fetch, fetch_waiting, id_of, topic, visible};

const BOTH: [Speaks; 2] = [Speaks::One, Speaks::Two];

async fn seen(raw: &mut Raw, name: &str, partition: i32) -> Vec<String> {
    visible(&fetch(raw, name, partition, 0, true).await)
}

async fn state(raw: &mut Raw, name: &str) -> String {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id_of(name)]);
    let described = raw.ask(0, &request).await.transaction_states.remove(0);
    assert_eq!(described.error_code, 0);
    described.transaction_state.to_string()
}

/// Committed offset and error code, for who requires a stable one or not.
async fn offset(raw: &mut Raw, group: &str, name: &str, stable: bool) -> (i64, i16) {
    let asked = OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(vec![0]);
    let group =
        OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![asked]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable);
    let answer = raw.ask(8, &request).await.groups.remove(0).topics.remove(0).partitions.remove(0);
    (answer.committed_offset, answer.error_code)
}

async fn latest(raw: &mut Raw, name: &str, committed: bool) -> i64 {
    let part = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
    let asked = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![part]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(i8::from(committed))
        .with_topics(vec![asked]);
    raw.ask(4, &request).await.topics[0].partitions[0].offset
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_is_seen_and_aborted_is_not() {
    for speaks in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.client().await.create_topic("rain", 2, &[]).await.unwrap();
        let mut reader = server.raw().await;
        let mut producer = Producer::new(&server, "tx", speaks).await;
        producer.write("rain", 0, &["a", "b"]).await;
        producer.write("rain", 1, &["c"]).await;
        let part = fetch(&mut reader, "rain", 0, 0, true).await;
        assert_eq!((visible(&part).len(), part.last_stable_offset, part.high_watermark), (0, 0, 2));
        assert_eq!(visible(&fetch(&mut reader, "rain", 0, 0, false).await), ["a", "b"]);
        assert_eq!(
            (latest(&mut reader, "rain", true).await, latest(&mut reader, "rain", false).await),
            (0, 2)
        );
        assert_eq!(producer.end(true).await, 0);
        assert_eq!(seen(&mut reader, "rain", 0).await, ["a", "b"]);
        assert_eq!(seen(&mut reader, "rain", 1).await, ["c"]);
        producer.write("rain", 0, &["no"]).await;
        assert_eq!(producer.end(false).await, 0);
        producer.write("rain", 0, &["d"]).await;
        assert_eq!(producer.end(true).await, 0);
        assert_eq!(seen(&mut reader, "rain", 0).await, ["a", "b", "d"]);
        let part = fetch(&mut reader, "rain", 0, 0, true).await;
        assert_eq!((part.aborted_transactions.unwrap().len(), part.last_stable_offset), (1, 7));
        assert_eq!(latest(&mut reader, "rain", true).await, 7);
        // Asked again, for the answer may have been lost.
        if speaks == Speaks::One {
            assert_eq!(producer.end(true).await, 0);
        } else {
            producer.epoch -= 1;
            assert_eq!(producer.end(true).await, 0);
            assert_eq!(producer.epoch, 3);
        }
        assert_ne!(producer.end(true).await == 0, speaks == Speaks::Two, "there is nothing to commit");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_reader_is_woken_by_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let mut producer = Producer::new(&server, "tx", Speaks::Two).await;
    producer.write("rain", 0, &["a"]).await;
    let mut reader = server.raw().await;
    let waiting = tokio::spawn(async move { fetch_waiting(&mut reader, "rain", (0, 0), true, 60_000).await });
    producer.write("rain", 0, &["b"]).await;
    assert_eq!(producer.end(true).await, 0);
    let part = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert_eq!(visible(&part), ["a", "b"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_instance_is_fenced() {
    for speaks in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.client().await.create_topic("rain", 1, &[]).await.unwrap();
        let mut reader = server.raw().await;
        let mut old = Producer::new(&server, "tx", speaks).await;
        old.write("rain", 0, &["lost"]).await;
        // The new one aborts what the old one began.
        let mut new = Producer::new(&server, "tx", speaks).await;
        assert_eq!((new.id, new.epoch), (old.id, old.epoch + 2));
        assert_eq!(state(&mut reader, "tx").await, "Empty");
        assert_eq!(old.send("rain", 0, &["late"]).await, 47);
        assert_eq!(old.add("rain", &[0]).await, 90);
        assert_eq!(old.end(true).await, 90);
        assert_eq!(old.commit_offset("g", "rain", 1).await, if speaks == Speaks::One { 90 } else { 47 });
        new.write("rain", 0, &["kept"]).await;
        assert_eq!(new.end(true).await, 0);
        assert_eq!(seen(&mut reader, "rain", 0).await, ["kept"]);
        // One that says who it is, and is not any more.
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id_of("tx")))
            .with_transaction_timeout_ms(1_000)
            .with_producer_id(old.id.into())
            .with_producer_epoch(old.epoch);
        assert_eq!(reader.ask(4, &request).await.error_code, 90);
        assert_eq!(reader.ask(3, &request).await.error_code, 47);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions {
        transactional_ids_max: 2,
        transaction_partitions_max: 3,
        transaction_timeout_ms_max: 60_000,
        ..BrokerOptions::default()
    };
    let server = Server::start_with(dir.path(), options).await;
    let client = server.client().await;
    client.create_topic("rain", 8, &[]).await.unwrap();
    let mut raw = server.raw().await;
    for (name, timeout_ms, code) in [("tx", 60_001, 50), ("tx", 0, 50), ("", 1_000, 42), ("tx", 60_000, 0)] {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id_of(name)))
            .with_transaction_timeout_ms(timeout_ms);
        assert_eq!(raw.ask(4, &request).await.error_code, code, "{name:?} {timeout_ms}");
    }
    let mut one = Producer::new(&server, "one", Speaks::One).await;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id_of("three")))
        .with_transaction_timeout_ms(1_000);
    assert_eq!(raw.ask(4, &request).await.error_code, 44, "the third of two");
    assert_eq!(one.send("rain", 0, &["not added"]).await, 48);
    assert_eq!(one.add("sun", &[0]).await, 3);
    assert_eq!(one.add("__consumer_offsets", &[0]).await, 17);
    assert_eq!(one.add("rain", &[0, 1, 2]).await, 0);
    assert_eq!(one.add("rain", &[3]).await, 44, "the fourth of three");
    let batch = one.batch(0, &["without an id"]);
    assert!(client.produce("rain", 0, batch, -1).await.unwrap().await.is_err());
    let mut other = Producer::new(&server, "tx", Speaks::Two).await;
    other.id = one.id;
    assert_eq!(other.send("rain", 0, &["another's"]).await, 49);
    assert_eq!(other.end(true).await, 49);
    assert_eq!(client.list_offsets("rain", 0, -1).await.unwrap(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_batches_keep_their_order() {
    for speaks in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.client().await.create_topic("rain", 3, &[]).await.unwrap();
        let mut producer = Producer::new(&server, "tx", speaks).await;
        if speaks == Speaks::One {
            assert_eq!(producer.add("rain", &[0, 1, 2]).await, 0);
        }
        let values: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        for value in &values {
            for partition in 0..3 {
                producer.begin_send("rain", partition, &[value]).await;
            }
        }
        for _ in 0..90 {
            assert_eq!(producer.sent().await, 0);
        }
        assert_eq!(producer.end(true).await, 0);
        let mut reader = server.raw().await;
        for partition in 0..3 {
            assert_eq!(seen(&mut reader, "rain", partition).await, values);
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_with_the_records() {
    for speaks in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.client().await.create_topic("rain", 1, &[]).await.unwrap();
        let mut reader = server.raw().await;
        let mut producer = Producer::new(&server, "tx", speaks).await;
        for (value, committed, before, after) in [("a", true, -1, 5), ("b", false, 5, 5), ("c", true, 5, 7)] {
            producer.write("rain", 0, &[value]).await;
            assert_eq!(producer.commit_offset("g", "rain", after + i64::from(!committed)).await, 0);
            assert_eq!(offset(&mut reader, "g", "rain", false).await, (before, 0));
            assert_eq!(offset(&mut reader, "g", "rain", true).await, (-1, 88));
            assert_eq!(offset(&mut reader, "other", "rain", true).await, (-1, 0));
            assert_eq!(producer.end(committed).await, 0);
            assert_eq!(offset(&mut reader, "g", "rain", true).await, (after, 0));
        }
        assert_eq!(seen(&mut reader, "rain", 0).await, ["a", "c"]);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_after_a_restart() {
    for speaks in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.client().await.create_topic("rain", 2, &[]).await.unwrap();
        let mut producer = Producer::new(&server, "tx", speaks).await;
        producer.write("rain", 0, &["before"]).await;
        assert_eq!(producer.commit_offset("g", "rain", 9).await, 0);
        let mut idle = Producer::new(&server, "idle", speaks).await;
        server.stop().await;

        let server = Server::start(dir.path()).await;
        let mut reader = server.raw().await;
        assert_eq!(state(&mut reader, "tx").await, "Ongoing");
        assert!(seen(&mut reader, "rain", 0).await.is_empty());
        assert_eq!(offset(&mut reader, "g", "rain", true).await, (-1, 88));
        producer.reconnect(&server).await;
        assert_eq!(producer.send("rain", 0, &["after"]).await, 0);
        producer.write("rain", 1, &["too"]).await;
        assert_eq!(producer.end(true).await, 0);
        server.stop().await;

        let server = Server::start(dir.path()).await;
        let mut reader = server.raw().await;
        assert_eq!(seen(&mut reader, "rain", 0).await, ["before", "after"]);
        assert_eq!(seen(&mut reader, "rain", 1).await, ["too"]);
        assert_eq!(offset(&mut reader, "g", "rain", true).await, (9, 0));
        idle.reconnect(&server).await;
        idle.write("rain", 1, &["idle"]).await;
        assert_eq!(idle.end(true).await, 0);
        let new = Producer::new(&server, "tx", speaks).await;
        assert_eq!((new.id, new.epoch), (producer.id, producer.epoch + 1));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_aborted_and_fenced() {
    for speaks in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        let log_options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
        let clocked = Arc::new(clock.clone());
        let server = Server::start_at(dir.path(), BrokerOptions::default(), log_options, clocked).await;
        server.client().await.create_topic("rain", 1, &[]).await.unwrap();
        let mut reader = server.raw().await;
        let mut producer = Producer::with_timeout(&server, "tx", speaks, 5_000).await;
        producer.write("rain", 0, &["a"]).await;
        assert_eq!(producer.commit_offset("g", "rain", 9).await, 0);
        clock.advance_ms(4_999);
        server.broker.check_transactions().await;
        assert_eq!(state(&mut reader, "tx").await, "Ongoing");
        clock.advance_ms(1);
        // The server's own check may be at it at this very moment.
        while state(&mut reader, "tx").await != "CompleteAbort" {
            server.broker.check_transactions().await;
        }
        assert!(seen(&mut reader, "rain", 0).await.is_empty());
        assert_eq!(offset(&mut reader, "g", "rain", true).await, (-1, 0));
        assert_eq!(producer.send("rain", 0, &["late"]).await, 47);
        assert_eq!(producer.end(true).await, 90);
        // An id that nobody uses is forgotten, and its producer with it.
        clock.advance_ms(BrokerOptions::default().transactional_id_retention_ms + 1);
        while producer.end(true).await != 49 {
            server.broker.check_transactions().await;
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_described_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.client().await.create_topic("rain", 2, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let mut one = Producer::new(&server, "tx-one", Speaks::Two).await;
    Producer::new(&server, "tx-two", Speaks::One).await;
    one.write("rain", 1, &["a", "b"]).await;
    assert_eq!(one.commit_offset("g", "rain", 0).await, 0);
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![id_of("tx-one"), id_of("no")]);
    let described = raw.ask(0, &request).await.transaction_states;
    assert_eq!((described[0].producer_id.0, described[0].transaction_timeout_ms), (one.id, 60_000));
    let topics: Vec<_> = described[0].topics.iter().map(|it| (it.topic.as_str(), &it.partitions)).collect();
    assert_eq!(topics, [("rain", &vec![1]), ("__consumer_offsets", &vec![0])]);
    assert_eq!(described[1].error_code, 105);

    let all = ListTransactionsRequest::default();
    let listed = |answer: kafka_protocol::messages::ListTransactionsResponse| {
        answer.transaction_states.iter().map(|it| it.transactional_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(raw.ask(0, &all).await), ["tx-one", "tx-two"]);
    let ongoing = all.clone().with_state_filters(vec![text("Ongoing"), text("Sleeping")]);
    let answer = raw.ask(0, &ongoing).await;
    assert_eq!(answer.unknown_state_filters, [text("Sleeping")]);
    assert_eq!(listed(answer), ["tx-one"]);
    assert_eq!(listed(raw.ask(1, &all.clone().with_duration_filter(3_600_000)).await).len(), 0);
    let like = |pattern| all.clone().with_transactional_id_pattern(Some(text(pattern)));
    assert_eq!(listed(raw.ask(2, &like(".*-t.o")).await), ["tx-two"]);
    assert_eq!(listed(raw.ask(2, &like("tx")).await).len(), 0, "the whole id must fit");
    assert_eq!(raw.ask(2, &like("(")).await.error_code, 128);

    let asked = TopicRequest::default().with_name(topic("rain")).with_partition_indexes(vec![1, 7]);
    let answer = raw.ask(0, &DescribeProducersRequest::default().with_topics(vec![asked])).await;
    let producers = &answer.topics[0].partitions[0].active_producers;
    assert_eq!((producers.len(), producers[0].producer_id.0, producers[0].last_sequence), (1, one.id, 1));
    assert_eq!(producers[0].current_txn_start_offset, 0);
    assert_eq!(answer.topics[0].partitions[1].error_code, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_how_transactions_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut raw = server.raw().await;
    assert!(raw.ask(2, &ApiVersionsRequest::default()).await.finalized_features.is_empty());
    for version in [3, 4] {
        let answer = raw.ask(version, &ApiVersionsRequest::default()).await;
        let level = answer.finalized_features.iter().find(|it| &*it.name == "transaction.version");
        assert_eq!(level.map(|it| it.max_version_level), Some(2));
        assert_eq!(answer.finalized_features_epoch, 0);
    }
    server.stop().await;
}
