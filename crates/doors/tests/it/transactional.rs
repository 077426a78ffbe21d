//! A transactional producer and a reader of committed records, in any version.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest, GroupId,
    InitProducerIdRequest, ProduceRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::harness::{Raw, Server, text};

pub fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// How a client speaks: before transactions of version 2, or with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    One,
    Two,
}

pub struct Producer {
    pub raw: Raw,
    pub id: i64,
    pub epoch: i16,
    name: String,
    speaks: Speaks,
    sequences: HashMap<i32, i32>,
}

pub fn id_of(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

impl Producer {
    pub async fn new(server: &Server, name: &str, speaks: Speaks) -> Self {
        Self::with_timeout(server, name, speaks, 60_000).await
    }

    pub async fn with_timeout(server: &Server, name: &str, speaks: Speaks, timeout_ms: i32) -> Self {
        let raw = server.raw().await;
        let (name, sequences) = (name.to_owned(), HashMap::new());
        let mut producer = Self { raw, id: -1, epoch: -1, name, speaks, sequences };
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id_of(&producer.name)))
            .with_transaction_timeout_ms(timeout_ms);
        let given = producer.raw.ask(4, &request).await;
        assert_eq!(given.error_code, 0);
        (producer.id, producer.epoch) = (given.producer_id.0, given.producer_epoch);
        producer
    }

    /// Goes on over a new connection, to a server that may be another one.
    pub async fn reconnect(&mut self, server: &Server) {
        self.raw = server.raw().await;
    }

    pub async fn add(&mut self, name: &str, partitions: &[i32]) -> i16 {
        let added =
            AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(partitions.to_vec());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id_of(&self.name))
            .with_v3_and_below_producer_id(ProducerId(self.id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![added]);
        let answer = self.raw.ask(3, &request).await;
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    pub fn batch(&self, partition: i32, values: &[&str]) -> Bytes {
        let mut builder = BatchBuilder::new(1_700_000_000_000);
        for value in values {
            builder.push(None, Some(value.as_bytes()), 1_700_000_000_000, &[]);
        }
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        builder.finish_transactional(Compression::None, (self.id, self.epoch, sequence)).unwrap()
    }

    fn produce_request(&self, name: &str, partition: i32, records: Bytes) -> ProduceRequest {
        let part = PartitionProduceData::default().with_index(partition).with_records(Some(records));
        let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![part]);
        ProduceRequest::default()
            .with_transactional_id(Some(id_of(&self.name)))
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![data])
    }

    /// Sends without waiting for the answer.
    pub async fn begin_send(&mut self, name: &str, partition: i32, values: &[&str]) {
        let request = self.produce_request(name, partition, self.batch(partition, values));
        self.raw.send(self.version(), &request).await;
        *self.sequences.entry(partition).or_default() += i32::try_from(values.len()).unwrap();
    }

    fn version(&self) -> i16 {
        if self.speaks == Speaks::Two { 12 } else { 9 }
    }

    pub async fn sent(&mut self) -> i16 {
        let version = self.version();
        let answer = self.raw.receive::<ProduceRequest>(version).await;
        answer.responses[0].partition_responses[0].error_code
    }

    pub async fn send(&mut self, name: &str, partition: i32, values: &[&str]) -> i16 {
        self.begin_send(name, partition, values).await;
        self.sent().await
    }

    /// Begins the partition's part of the transaction the way this client does.
    pub async fn write(&mut self, name: &str, partition: i32, values: &[&str]) {
        if self.speaks == Speaks::One {
            assert_eq!(self.add(name, &[partition]).await, 0);
        }
        assert_eq!(self.send(name, partition, values).await, 0);
    }

    pub async fn commit_offset(&mut self, group: &str, name: &str, offset: i64) -> i16 {
        if self.speaks == Speaks::One {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(id_of(&self.name))
                .with_producer_id(ProducerId(self.id))
                .with_producer_epoch(self.epoch)
                .with_group_id(GroupId(text(group)));
            let code = self.raw.ask(3, &request).await.error_code;
            if code != 0 {
                return code;
            }
        }
        let part = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("")));
        let asked = TxnOffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![part]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(id_of(&self.name))
            .with_group_id(GroupId(text(group)))
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_generation_id(-1)
            .with_topics(vec![asked]);
        let version = if self.speaks == Speaks::Two { 5 } else { 3 };
        self.raw.ask(version, &request).await.topics[0].partitions[0].error_code
    }

    pub async fn end(&mut self, committed: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(id_of(&self.name))
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        let version = if self.speaks == Speaks::Two { 5 } else { 3 };
        let answer = self.raw.ask(version, &request).await;
        if answer.error_code == 0 && self.speaks == Speaks::Two {
            (self.id, self.epoch) = (answer.producer_id.0, answer.producer_epoch);
            self.sequences.clear();
        }
        answer.error_code
    }
}

/// A full fetch of one partition.
pub async fn fetch(raw: &mut Raw, name: &str, partition: i32, from: i64, committed: bool) -> PartitionData {
    fetch_waiting(raw, name, (partition, from), committed, 0).await
}

/// The same that waits for records.
pub async fn fetch_waiting(
    raw: &mut Raw,
    name: &str,
    (partition, from): (i32, i64),
    committed: bool,
    wait_ms: i32,
) -> PartitionData {
    let part = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(from)
        .with_partition_max_bytes(1 << 20);
    let asked = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![part]);
    let request = FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(i8::from(committed))
        .with_topics(vec![asked]);
    let mut answer = raw.ask(11, &request).await;
    let part = answer.responses.remove(0).partitions.remove(0);
    assert_eq!(part.error_code, 0);
    part
}

/// The values that a client of committed records makes of an answer, the way
/// Kafka's does: it leaves out a producer's batches from the first offset of
/// an aborted transaction to its marker.
pub fn visible(part: &PartitionData) -> Vec<String> {
    use pluvio_wire_kafka::records::{for_each_record, parse_header, read_end_marker};
    let mut begins: Vec<(i64, i64)> = part
        .aborted_transactions
        .iter()
        .flatten()
        .map(|aborted| (aborted.first_offset, aborted.producer_id.0))
        .collect();
    let (mut aborted, mut values) = (Vec::new(), Vec::new());
    let mut records = &part.records.clone().unwrap_or_default()[..];
    while !records.is_empty() {
        let header = parse_header(records).unwrap();
        begins.retain(|(first, producer)| {
            let begun = *first <= header.last_offset();
            if begun {
                aborted.push(*producer);
            }
            !begun
        });
        if let Some(marker) = read_end_marker(records).unwrap() {
            aborted.retain(|producer| *producer != marker.producer_id);
        } else if !header.is_transactional() || !aborted.contains(&header.producer_id) {
            for_each_record(records, 1 << 20, &mut Vec::new(), |record| {
                values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                Ok(())
            })
            .unwrap();
        }
        records = &records[header.total_bytes()..];
    }
    values
}
