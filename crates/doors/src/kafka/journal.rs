//! A journal: state that lives in memory and, record by record, in an internal
//! topic of the event log, one key for each thing that is kept.
//!
//! Promises: a change is in the topic before it is in the state, in the same
//! order; it is durable once [`Journal::durable`] returned; the state is
//! rebuilt from the topic at start; the topic stays small: when it has grown
//! well beyond what is live, the live state is written once more and all that
//! came before is deleted.

use std::sync::Arc;

use parking_lot::Mutex;
use pluvio_eventlog::{EventLog, LogError, Partition, TopicConfig};
use pluvio_foundation::{Clock, limits};
use pluvio_wire_kafka::records::{BatchBuilder, for_each_record};
use pluvio_wire_kafka::{Compression, WireError};

use super::broker::blocking;
use crate::DoorError;

/// The live state is written anew once more than this many bytes were written …
const REWRITE_BYTES: u64 = 4 << 20;
/// … and this many times more than what is live.
const REWRITE_RATIO: u64 = 4;
/// Size of the topic's files, in bytes: what is deleted goes file by file.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Records are written in batches of about this size, in bytes.
const BATCH_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 4 << 20;

/// A key, and its value or none to take it back.
pub(crate) type Record = (Vec<u8>, Option<Vec<u8>>);

/// State that can be kept in a journal.
pub(crate) trait Kept {
    /// A change of one key.
    type Change;

    /// Its stored form.
    fn encode(change: &Self::Change) -> Record;

    /// The change that a record stands for.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self::Change, String>;

    /// Refuses changes that would make the state too large.
    fn admit(&self, changes: &[Self::Change]) -> Result<(), DoorError>;

    /// Takes a change in.
    fn apply(&mut self, change: Self::Change);

    /// About how many bytes the live state takes when stored.
    fn bytes(&self) -> u64;

    /// The changes that make the live state out of nothing. What need not be
    /// kept any longer at this time may be dropped here.
    fn live(&mut self, now_ms: i64) -> Vec<Self::Change>;
}

/// The state, and how much was written since it was last written as a whole.
#[derive(Debug)]
struct Written<S> {
    state: S,
    bytes: u64,
}

/// State and the topic that keeps it.
#[derive(Debug)]
pub(crate) struct Journal<S> {
    topic: &'static str,
    partition: Arc<Partition>,
    written: Mutex<Written<S>>,
    clock: Arc<dyn Clock>,
}

/// Where changes were written.
#[derive(Debug, Clone, Copy)]
#[must_use = "what is written is durable only once it was waited for"]
pub(crate) struct Wrote {
    /// The offset after the last record.
    end_offset: i64,
    /// Where the live state begins, if it was written anew.
    rewritten_from: Option<i64>,
}

impl<S: Kept> Journal<S> {
    /// Reads the state back, from the topic that is made if it is not there.
    pub fn open(
        log: &EventLog,
        topic: &'static str,
        clock: Arc<dyn Clock>,
        mut state: S,
    ) -> Result<Self, DoorError> {
        let mut config = TopicConfig {
            retention_ms: None,
            retention_bytes: None,
            segment_bytes: SEGMENT_BYTES,
            max_message_bytes: limits::KAFKA_FRAME_BYTES_MAX,
            ..TopicConfig::default()
        };
        // Whatever the log is opened with, state is kept for ever.
        config.give_all();
        let known = match log.topic(topic) {
            Some(known) => {
                if known.config() != config
                    && let Err(error) = log.alter_topic(topic, config)
                {
                    tracing::warn!(topic, %error, "the topic's settings are not written");
                }
                known
            }
            None => log.create_topic(topic, 1, config)?,
        };
        let missing = || LogError::TopicNotFound { topic: topic.to_owned() };
        let partition = known.partition(0).ok_or_else(missing)?;
        rebuild(topic, &partition, &mut state)?;
        let written = Mutex::new(Written { state, bytes: partition.bytes() });
        Ok(Self { topic, partition, written, clock })
    }

    /// The time of a change made now, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Asks the state.
    pub fn with<T>(&self, ask: impl FnOnce(&S) -> T) -> T {
        ask(&self.written.lock().state)
    }

    /// Writes changes and takes them into the state.
    pub fn write(&self, changes: Vec<S::Change>) -> Result<Wrote, DoorError> {
        self.write_by(|_| changes)
    }

    /// The same with changes that depend on the state.
    pub fn write_by(&self, decide: impl FnOnce(&S) -> Vec<S::Change>) -> Result<Wrote, DoorError> {
        let mut written = self.written.lock();
        let changes = decide(&written.state);
        if changes.is_empty() {
            return Ok(Wrote { end_offset: 0, rewritten_from: None });
        }
        let Written { state, bytes } = &mut *written;
        state.admit(&changes)?;
        let now_ms = self.clock.now_ms();
        let (first, appended) = self.append(now_ms, &changes)?;
        *bytes += appended;
        for change in changes {
            state.apply(change);
        }
        if *bytes < REWRITE_BYTES.max(REWRITE_RATIO * state.bytes()) {
            return Ok(Wrote { end_offset: first, rewritten_from: None });
        }
        let live = state.live(now_ms);
        let (end_offset, appended) = self.append(now_ms, &live)?;
        *bytes = appended;
        tracing::debug!(topic = self.topic, live = live.len(), "live state written anew");
        Ok(Wrote { end_offset, rewritten_from: Some(first) })
    }

    /// Waits until what was written is durable.
    pub async fn durable(&self, wrote: Wrote) -> Result<(), DoorError> {
        self.leave(wrote);
        Ok(self.partition.durable(wrote.end_offset).await?)
    }

    /// Writes changes and waits until they are durable.
    pub async fn apply(&self, changes: Vec<S::Change>) -> Result<(), DoorError> {
        let wrote = self.write(changes)?;
        self.durable(wrote).await
    }

    /// Lets what was written become durable in its own time.
    pub fn leave(&self, wrote: Wrote) {
        if let Some(first) = wrote.rewritten_from {
            tokio::spawn(delete_before(self.topic, Arc::clone(&self.partition), first, wrote.end_offset));
        }
    }

    /// The same; gives what several may wait for.
    pub fn share(&self, wrote: Wrote) -> Wrote {
        self.leave(wrote);
        Wrote { rewritten_from: None, ..wrote }
    }

    /// The same as [`Self::durable`], blocking the thread.
    pub fn sync(&self, wrote: Wrote) -> Result<(), DoorError> {
        self.partition.sync(wrote.end_offset)?;
        if let Some(first) = wrote.rewritten_from {
            self.partition.delete_records(first)?;
        }
        Ok(())
    }

    /// Appends records in batches; gives the offset after the last, and bytes.
    fn append(&self, now_ms: i64, changes: &[S::Change]) -> Result<(i64, u64), DoorError> {
        let mut end_offset = self.partition.end_offset();
        let mut bytes = 0;
        let mut builder = BatchBuilder::new(now_ms);
        let mut changes = changes.iter().peekable();
        while let Some(change) = changes.next() {
            let (key, value) = S::encode(change);
            builder.push(Some(&key), value.as_deref(), now_ms, &[]);
            if builder.bytes() >= BATCH_BYTES || changes.peek().is_none() {
                let full = std::mem::replace(&mut builder, BatchBuilder::new(now_ms));
                let batch = full.finish(Compression::None, None)?;
                bytes += batch.len() as u64;
                end_offset = self.partition.append(batch)?.last_offset + 1;
            }
        }
        Ok((end_offset, bytes))
    }

    /// Where the topic begins and ends; for tests.
    #[cfg(test)]
    pub fn range(&self) -> (i64, i64) {
        (self.partition.start_offset(), self.partition.end_offset())
    }
}

/// Deletes what came before the live state, once that is durable.
async fn delete_before(topic: &'static str, partition: Arc<Partition>, first: i64, end_offset: i64) {
    let deleted = match partition.durable(end_offset).await {
        Ok(()) => blocking(move || partition.delete_records(first).map(|_| ())).await,
        Err(error) => Err(error),
    };
    if let Err(error) = deleted {
        tracing::error!(topic, %error, "old records remain");
    }
}

fn rebuild<S: Kept>(topic: &'static str, partition: &Partition, state: &mut S) -> Result<(), DoorError> {
    let mut scratch = Vec::new();
    let mut next = partition.start_offset();
    while next < partition.end_offset() {
        let read = partition.read(next, READ_BYTES)?;
        for batch in &read.batches {
            let inflated_bytes_max = limits::RECORD_BATCH_INFLATED_BYTES_MAX;
            let mut failed = None;
            for_each_record(&batch.bytes, inflated_bytes_max, &mut scratch, |record| {
                if record.offset >= next && failed.is_none() {
                    let change = record.key.ok_or_else(|| "a record without key".to_owned());
                    match change.and_then(|key| S::decode(key, record.value)) {
                        Ok(change) => state.apply(change),
                        Err(reason) => failed = Some((record.offset, reason)),
                    }
                }
                Ok::<(), WireError>(())
            })?;
            if let Some((offset, reason)) = failed {
                return Err(DoorError::Stored { topic, offset, reason });
            }
        }
        // Damaged records were stepped over and reported by the log.
        next = read.next_offset.max(next + 1);
    }
    Ok(())
}
