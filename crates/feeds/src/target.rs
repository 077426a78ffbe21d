//! The topic that a feed fills.

use std::sync::Arc;

use bytes::Bytes;
use pluvio_eventlog::{Partition, Topic};
use pluvio_foundation::hash::kafka_key_hash;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, HEADER_BYTES};
use tokio::runtime::{Builder, Runtime};

use crate::FeedError;
use crate::context::Context;

/// A batch is closed at this size.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Bytes of a record beside its value and the values of its headers: lengths,
/// time, and the headers' names.
const RECORD_BYTES: usize = 128;
/// Bytes of a mark beside the stream's name.
const MARK_BYTES: usize = 128;

/// An open topic.
#[derive(Debug)]
pub(crate) struct Target {
    pub topic: Arc<Topic>,
    partitions: Vec<Arc<Partition>>,
    /// Largest batch it takes.
    batch_bytes_max: usize,
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
        Ok(Self { topic, partitions, batch_bytes_max: config.max_message_bytes })
    }

    /// The partition where everything with this key goes, as every client of
    /// Kafka places it.
    pub fn partition_of(&self, key: &[u8]) -> Result<&Arc<Partition>, FeedError> {
        self.partition(u64::from(kafka_key_hash(key)))
    }

    /// The partition of a turn, one after another.
    pub fn partition(&self, turn: u64) -> Result<&Arc<Partition>, FeedError> {
        let count = self.partitions.len().max(1) as u64;
        let place = usize::try_from(turn % count).unwrap_or(0);
        self.partitions.get(place).ok_or_else(|| FeedError::NoTopic { topic: self.topic.name().to_owned() })
    }

    /// The size at which a batch is closed.
    pub fn batch_bytes(&self) -> usize {
        BATCH_BYTES.min(self.batch_bytes_max)
    }

    /// What a record takes beside its value, at most, if its headers and the
    /// stream's name have so many bytes.
    pub fn record_bytes(headers_bytes: usize) -> usize {
        RECORD_BYTES + MARK_BYTES + headers_bytes
    }

    /// The longest value that fits into a batch of its own.
    ///
    /// # Errors
    /// Not even an empty one does.
    pub fn value_bytes_max(&self, headers_bytes: usize) -> Result<usize, FeedError> {
        let taken = HEADER_BYTES + Self::record_bytes(headers_bytes);
        let room = self.batch_bytes_max.checked_sub(taken).filter(|room| *room > 0);
        let (topic, bytes_max) = (self.topic.name(), self.batch_bytes_max);
        room.ok_or_else(|| FeedError::SmallBatches { topic: topic.to_owned(), bytes_max })
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
