//! A transactional producer: batches and a position become visible together.
//!
//! The position says how far the producer's own source is delivered. It is kept
//! as a committed offset of a consumer group of the target cluster, inside the
//! same transaction as the records, so it tells exactly what was delivered,
//! whatever crashed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
    ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use pluvio_wire_kafka::client::Exchange;
use pluvio_wire_kafka::client::produce::Terms;
use tokio::time::{Instant, sleep};

use crate::client::{Coordinated, PRODUCE_TIMEOUT_MS};
use crate::error::check;
use crate::link::Link;
use crate::{Client, ClientError};

/// After this long without an end a broker aborts a transaction, in milliseconds.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
/// How long to ask again while an earlier transaction is being ended.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);
const DURABLE: i16 = -1;

/// Where a position is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The consumer group.
    pub group: String,
    /// A topic that exists; its partition 0 stands for the position.
    pub topic: String,
}

/// A producer whose batches are visible only when its transaction is committed.
#[derive(Debug)]
pub struct Transactions {
    client: Client,
    id: String,
    producer: (i64, i16),
    position: Position,
    /// For each topic and partition, the sequence number of the next record.
    sequences: BTreeMap<(String, i32), i32>,
    /// The brokers that coordinate the position's group and this producer, once
    /// found, in the order of [`Coordinated`].
    coordinators: [Mutex<Option<Arc<Link>>>; 2],
}

impl Transactions {
    /// Becomes the producer of this name: whoever had it before is fenced, and
    /// its open transaction is aborted.
    ///
    /// # Errors
    /// The cluster cannot be reached, or serves no transactions.
    pub async fn begin(client: Client, id: &str, position: Position) -> Result<Self, ClientError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional(id)))
            .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS);
        let what = || format!("become the transactional producer {id:?}");
        let answer = patiently(async || {
            let link = client.coordinator(Coordinated::Transaction, id).await?;
            let answer = Client::exchange(&link, &request).await?;
            check(answer.error_code, what).map(|()| answer)
        });
        let answer = answer.await?;
        let producer = (answer.producer_id.0, answer.producer_epoch);
        let (sequences, coordinators) = (BTreeMap::new(), Default::default());
        Ok(Self { client, id: id.to_owned(), producer, position, sequences, coordinators })
    }

    /// How far it was delivered, if anything was. All earlier transactions of
    /// this name have ended when this is asked.
    ///
    /// # Errors
    /// The cluster cannot be reached.
    pub async fn position(&self) -> Result<Option<i64>, ClientError> {
        let Position { group, topic } = &self.position;
        let found = self.client.fetch_offsets(group, topic, &[0]).await?;
        Ok(found.first().map(|committed| committed.offset))
    }

    /// The id, epoch and first sequence that the next batch for a partition of
    /// `records` records must carry.
    pub fn next_batch(&mut self, topic: &str, partition: i32, records: usize) -> (i64, i16, i32) {
        let next = self.sequences.entry((topic.to_owned(), partition)).or_default();
        let sequence = *next;
        // Sequences go on from 0 after the largest number.
        *next = i32::try_from((i64::from(sequence) + records as i64) % (1 << 31)).unwrap_or(0);
        (self.producer.0, self.producer.1, sequence)
    }

    /// Delivers batches of one topic, by partition, together with the position
    /// after them. They are marked as transactional here; each must carry what
    /// [`Self::next_batch`] gave, in that order.
    ///
    /// # Errors
    /// On any error it is open whether they were delivered:
    /// [`Self::begin`] again and ask for the position.
    pub async fn deliver(
        &self,
        topic: &str,
        batches: Vec<(i32, Bytes)>,
        position: i64,
    ) -> Result<(), ClientError> {
        self.add_partitions(topic, &batches).await?;
        let mut waiting = Vec::with_capacity(batches.len());
        for (partition, batch) in batches {
            let terms = Terms {
                topic,
                partition,
                acks: DURABLE,
                timeout_ms: PRODUCE_TIMEOUT_MS,
                transactional_id: Some(&self.id),
            };
            waiting.push(self.client.produce_on(terms, batch).await?);
        }
        try_join_all(waiting).await?;
        self.add_position(position).await?;
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional(&self.id))
            .with_producer_id(ProducerId(self.producer.0))
            .with_producer_epoch(self.producer.1)
            .with_committed(true);
        let answer = self.ask(&request).await?;
        check(answer.error_code, || format!("commit the transaction of {:?}", self.id))
    }

    async fn ask<E: Exchange>(&self, request: &E) -> Result<E::Response, ClientError> {
        Client::exchange(&*self.coordinator(Coordinated::Transaction).await?, request).await
    }

    async fn coordinator(&self, of: Coordinated) -> Result<Arc<Link>, ClientError> {
        let known = &self.coordinators[of as usize];
        if let Some(link) = known.lock().clone().filter(|link| !link.is_closed()) {
            return Ok(link);
        }
        let name = match of {
            Coordinated::Group => &self.position.group,
            Coordinated::Transaction => &self.id,
        };
        let link = self.client.coordinator(of, name).await?;
        *known.lock() = Some(Arc::clone(&link));
        Ok(link)
    }

    /// The same as [`patiently`]; after a failure the coordinators are found anew.
    async fn patiently<T>(
        &self,
        mut ask: impl AsyncFnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        patiently(async || {
            let answer = ask().await;
            if answer.is_err() {
                self.coordinators.iter().for_each(|known| *known.lock() = None);
            }
            answer
        })
        .await
    }

    async fn add_partitions(&self, topic: &str, batches: &[(i32, Bytes)]) -> Result<(), ClientError> {
        let mut partitions: Vec<i32> = batches.iter().map(|(partition, _)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        if partitions.is_empty() {
            return Ok(());
        }
        let added = AddPartitionsToTxnTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(partitions);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional(&self.id))
            .with_v3_and_below_producer_id(ProducerId(self.producer.0))
            .with_v3_and_below_producer_epoch(self.producer.1)
            .with_v3_and_below_topics(vec![added]);
        let what = || format!("add topic {topic:?} to the transaction of {:?}", self.id);
        self.patiently(async || {
            let answer = self.ask(&request).await?;
            let results = answer.results_by_topic_v3_and_below.iter();
            let mut codes = results.flat_map(|it| &it.results_by_partition);
            codes.try_for_each(|it| check(it.partition_error_code, what))
        })
        .await
    }

    async fn add_position(&self, position: i64) -> Result<(), ClientError> {
        let Position { group, topic } = &self.position;
        let (group_id, producer_id) =
            (GroupId(StrBytes::from_string(group.clone())), ProducerId(self.producer.0));
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional(&self.id))
            .with_producer_id(producer_id)
            .with_producer_epoch(self.producer.1)
            .with_group_id(group_id.clone());
        let what = || format!("add the position to the transaction of {:?}", self.id);
        self.patiently(async || check(self.ask(&request).await?.error_code, what)).await?;
        let committed = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(position)
            .with_committed_metadata(Some(StrBytes::default()));
        let committed = TxnOffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.clone())))
            .with_partitions(vec![committed]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional(&self.id))
            .with_group_id(group_id)
            .with_producer_id(producer_id)
            .with_producer_epoch(self.producer.1)
            .with_topics(vec![committed]);
        self.patiently(async || {
            let link = self.coordinator(Coordinated::Group).await?;
            let answer = Client::exchange(&link, &request).await?;
            let mut codes = answer.topics.iter().flat_map(|it| &it.partitions);
            codes.try_for_each(|it| check(it.error_code, what))
        })
        .await
    }
}

fn transactional(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

/// Asks again while the coordinator is busy with what came before, or is moving.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    use ResponseError as Code;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match ask().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let busy = matches!(
            error.code(),
            Some(
                Code::ConcurrentTransactions
                    | Code::CoordinatorLoadInProgress
                    | Code::CoordinatorNotAvailable
                    | Code::NotCoordinator
            )
        );
        if !busy || Instant::now() >= deadline {
            return Err(error);
        }
        sleep(PAUSE).await;
    }
}
