//! The topic that a feed fills.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use pluvio_eventlog::{Partition, Topic};
use pluvio_foundation::hash::kafka_key_hash;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, HEADER_BYTES};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::context::Context;
use crate::{FeedError, checkpoint};

/// A batch is closed at this size.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Bytes of a record beside its value and the values of its headers: lengths,
/// time, and the headers' names.
const RECORD_BYTES: usize = 64;
/// Bytes of a mark beside the stream's name.
const MARK_BYTES: usize = 128;

/// An open topic.
#[derive(Debug)]
pub(crate) struct Target {
    pub topic: Arc<Topic>,
    partitions: Vec<Arc<Partition>>,
    /// Largest batch it takes.
    batch_bytes_max: usize,
    /// Partitions that got events since the last checkpoint.
    held: HashSet<i32>,
}

impl Target {
    /// # Errors
    /// There is no such topic, or it cannot take events without a key.
    pub fn open(context: &Context) -> Result<Self, FeedError> {
        let name = &context.spec.topic;
        let topic = context.log.topic(name).ok_or_else(|| FeedError::NoTopic { topic: name.clone() })?;
        let config = topic.config();
        if config.cleanup.compacts() {
            return Err(FeedError::Compacted { topic: name.clone() });
        }
        let partitions = topic.partitions();
        let batch_bytes_max = config.max_message_bytes;
        Ok(Self { topic, partitions, batch_bytes_max, held: HashSet::new() })
    }

    /// The partition where everything with this key goes, as every client of
    /// Kafka places it.
    pub fn partition_of(&self, key: &[u8]) -> Result<Arc<Partition>, FeedError> {
        self.partition(u64::from(kafka_key_hash(key)))
    }

    /// The partition of a turn, one after another.
    pub fn partition(&self, turn: u64) -> Result<Arc<Partition>, FeedError> {
        let count = self.partitions.len().max(1) as u64;
        let place = usize::try_from(turn % count).unwrap_or(0);
        let partition = self.partitions.get(place).cloned();
        partition.ok_or_else(|| FeedError::NoTopic { topic: self.topic.name().to_owned() })
    }

    /// What the records of a batch may take together; a single one may take
    /// more.
    pub fn records_bytes(&self, context: &Context) -> usize {
        BATCH_BYTES.min(self.batch_bytes_max).saturating_sub(Self::batch_bytes(context))
    }

    /// What a batch takes beside its records, at most.
    fn batch_bytes(context: &Context) -> usize {
        HEADER_BYTES + MARK_BYTES + context.spec.stream.len()
    }

    /// What a record takes, at most, if its value and the values of its headers,
    /// without the mark, have so many bytes.
    pub fn record_bytes(value_bytes: usize, headers_bytes: usize) -> usize {
        RECORD_BYTES + value_bytes + headers_bytes
    }

    /// The longest value that fits into a batch of its own.
    ///
    /// # Errors
    /// Not even an empty one does.
    pub fn value_bytes_max(&self, context: &Context, headers_bytes: usize) -> Result<usize, FeedError> {
        let taken = Self::batch_bytes(context) + Self::record_bytes(0, headers_bytes);
        let room = self.batch_bytes_max.checked_sub(taken).filter(|room| *room > 0);
        let (topic, bytes_max) = (self.topic.name(), self.batch_bytes_max);
        room.ok_or_else(|| FeedError::SmallBatches { topic: topic.to_owned(), bytes_max })
    }

    /// Appends a marked batch. Until the next checkpoint knows of it, retention
    /// leaves it where it is.
    ///
    /// # Errors
    /// The log's.
    pub fn append(
        &mut self,
        context: &Context,
        partition: &Partition,
        batch: Bytes,
    ) -> Result<(), FeedError> {
        if self.held.insert(partition.index()) {
            checkpoint::hold(context, partition, Some(partition.end_offset()));
        }
        partition.append(batch)?;
        Ok(())
    }

    /// Writes the checkpoint. `positions` hold everything that was appended.
    ///
    /// # Errors
    /// The events could not be made durable, or the file not written.
    pub fn save<P: Serialize>(&mut self, context: &Context, positions: P) -> Result<(), FeedError> {
        checkpoint::save(context, &self.topic, positions)?;
        self.held.clear();
        Ok(())
    }
}

/// The finished batch.
///
/// # Errors
/// It has no events.
pub(crate) fn seal(builder: BatchBuilder) -> Result<Bytes, FeedError> {
    Ok(builder.finish(Compression::None, None)?)
}

/// Waits for the log, on a feed's own thread.
#[derive(Debug)]
pub(crate) struct Waiter(Runtime);

impl Waiter {
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self, FeedError> {
        let runtime = Builder::new_current_thread().build();
        runtime.map(Self).map_err(|error| FeedError::Fault(error.to_string()))
    }

    /// Returns when more may be appended, or the feed is to stop.
    pub fn room(&self, context: &Context, partition: &Partition) {
        if partition.is_crowded() {
            self.0.block_on(async {
                tokio::select! {
                    () = partition.room() => {}
                    () = context.stop.asked() => {}
                }
            });
        }
    }
}
