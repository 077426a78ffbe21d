//! Rows to a topic of a Kafka cluster, in transactions: the events and the epoch
//! they go up to become visible together. The epoch is a committed offset of the
//! group `pluvio-sink-NAME` of that cluster, so what was delivered is known from
//! there, and a crash repeats nothing and loses nothing.
//!
//! With `delivery = 'at_least_once'` the epoch is committed after the events, for
//! clusters that serve no transactions: a crash in between repeats events.

use pluvio_catalog::{Delivery, KafkaSinkDef};
use pluvio_foundation::ErrorKind;
use pluvio_kafka_client::{Client, CommittedOffset, Position, Transactions};
use pluvio_query::QueryError;
use pluvio_query::sources::{connection, failed};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use super::Worker;
use super::events::Events;

const DURABLE: i16 = -1;

/// How events get to the cluster.
enum Way {
    Transactions(Transactions),
    Plain(Client),
}

impl Worker {
    fn group(&self) -> String {
        format!("pluvio-sink-{}", self.parts.def.name)
    }

    /// Takes the sink's place at the cluster: the way in, and the epoch delivered.
    async fn enter(&self, target: &KafkaSinkDef) -> Result<(Way, u64, usize), QueryError> {
        let client = Client::open(connection(&target.kafka)?).await.map_err(|e| failed(&e))?;
        let found = client.metadata(Some(&[&target.topic])).await;
        let found = found.map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                let message = format!("the topic {:?} does not exist: create it there", target.topic);
                QueryError::new(ErrorKind::NotFound, message)
            }
            _ => failed(&e),
        })?;
        let partitions = found.first().map_or(0, |it| it.partitions) as usize;
        let (group, topic) = (self.group(), target.topic.clone());
        let (way, position) = match target.delivery {
            Delivery::ExactlyOnce => {
                let position = Position { group: group.clone(), topic };
                let transactions = Transactions::begin(client, &group, position).await;
                let transactions = transactions.map_err(|e| failed(&e))?;
                let position = transactions.position().await.map_err(|e| failed(&e))?;
                (Way::Transactions(transactions), position)
            }
            Delivery::AtLeastOnce => {
                let found = client.fetch_offsets(&group, &topic, &[0]).await.map_err(|e| failed(&e))?;
                (Way::Plain(client), found.first().map(|committed| committed.offset))
            }
        };
        let epoch = position.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0);
        Ok((way, epoch, partitions.max(1)))
    }

    /// Delivers until told to stop.
    pub(super) async fn follow_kafka(&self, target: &KafkaSinkDef) -> Result<(), QueryError> {
        let (mut way, mut written, partitions) = self.enter(target).await?;
        let mut rows_out = self.shared.rows.load(std::sync::atomic::Ordering::Relaxed);
        self.delivered(written, rows_out);
        let mut waiting = Vec::new();
        let (mut bytes, mut rows, mut last_commit_us) = (0, 0, self.parts.clock.monotonic_us());
        loop {
            let stopping = self.stopping();
            let committed = self.parts.signals.committed.notified();
            let pieces = self.pieces(written)?;
            let idle = pieces.is_empty();
            for (tag, piece) in pieces {
                bytes += piece.get_array_memory_size() as u64;
                rows += piece.num_rows() as u64;
                waiting.push(piece);
                written = tag;
            }
            let full = bytes >= self.parts.def.commit_bytes;
            if rows > 0 && (self.is_due(last_commit_us) || full || (stopping && idle)) {
                let mut events = Events::new(partitions, written, self.parts.clock.now_ms());
                let key = self.parts.key.as_deref();
                waiting.drain(..).try_for_each(|piece| events.add(target, key, &piece))?;
                self.deliver(&mut way, target, events, written).await?;
                rows_out += rows;
                self.delivered(written, rows_out);
                (bytes, rows, last_commit_us) = (0, 0, self.parts.clock.monotonic_us());
            }
            *self.shared.error.lock() = None;
            if idle {
                if stopping {
                    return Ok(());
                }
                self.rest(committed).await;
            }
        }
    }

    async fn deliver(
        &self,
        way: &mut Way,
        target: &KafkaSinkDef,
        events: Events,
        epoch: u64,
    ) -> Result<(), QueryError> {
        let position = epoch.cast_signed();
        let topic = &target.topic;
        match way {
            Way::Transactions(transactions) => {
                let seal = |partition: i32, batch: BatchBuilder| {
                    let producer = transactions.next_batch(topic, partition, batch.count());
                    batch.finish_transactional(Compression::Lz4, producer)
                };
                let batches = events.finish(seal)?;
                transactions.deliver(topic, batches, position).await.map_err(|e| failed(&e))
            }
            Way::Plain(client) => {
                let mut produced = Vec::new();
                for (partition, batch) in events.finish(|_, batch| batch.finish(Compression::Lz4, None))? {
                    let sent = client.produce(topic, partition, batch, DURABLE).await;
                    produced.push(sent.map_err(|e| failed(&e))?);
                }
                for acknowledged in produced {
                    acknowledged.await.map_err(|e| failed(&e))?;
                }
                let committed = CommittedOffset { topic: topic.clone(), partition: 0, offset: position };
                client.commit_offsets(&self.group(), &[committed]).await.map_err(|e| failed(&e))
            }
        }
    }
}
