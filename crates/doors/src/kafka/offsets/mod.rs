//! Committed offsets: kept in memory, and in the internal topic
//! `__consumer_offsets` of the same event log, one record each (`record`).
//!
//! Promises: a commit is answered only once it is durable; the state is
//! rebuilt from the topic at start; the topic stays small: when it has grown
//! well beyond what is live, the live state is written once more and all that
//! came before is deleted.

mod record;
mod requests;
mod state;

use std::sync::Arc;

use parking_lot::Mutex;
use pluvio_eventlog::{EventLog, LogError, Partition, TopicConfig};
use pluvio_foundation::{Clock, limits};
use pluvio_wire_kafka::records::{BatchBuilder, for_each_record};
use pluvio_wire_kafka::{Compression, WireError};

use super::groups::Groups;
use crate::DoorError;
pub(crate) use record::{Committed, Place};
pub(crate) use requests::{commit, delete, fetch};
use state::State;

const TOPIC: &str = "__consumer_offsets";
/// The live state is written anew once more than this many bytes were written …
const REWRITE_BYTES: u64 = 4 << 20;
/// … and this many times more than what is live.
const REWRITE_RATIO: u64 = 4;
/// Size of the topic's files, in bytes: what is deleted goes file by file.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Records are written in batches of about this size, in bytes.
const BATCH_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 4 << 20;
/// Members have so long to join again after a start before anything expires.
const EXPIRY_PAUSE_MS: u64 = 30 * 60_000;
/// Most committed offsets, over all groups.
const ENTRIES_MAX: usize = 1 << 20;

/// A change: a new value, or none to take the offset back.
type Change = (Place, Option<Committed>);

/// All committed offsets.
#[derive(Debug)]
pub(crate) struct OffsetStore {
    partition: Arc<Partition>,
    written: Mutex<Written>,
    groups: Arc<Groups>,
    clock: Arc<dyn Clock>,
    retention_ms: i64,
    /// When this was opened, on the clock that never goes back.
    opened_ms: u64,
}

/// The state, and how much was written since it was last written as a whole.
#[derive(Debug)]
struct Written {
    state: State,
    bytes: u64,
}

impl OffsetStore {
    /// Reads the state back, from the topic that is made if it is not there.
    pub fn open(
        log: &EventLog,
        groups: Arc<Groups>,
        clock: Arc<dyn Clock>,
        retention_ms: i64,
    ) -> Result<Self, DoorError> {
        let config = TopicConfig {
            retention_ms: None,
            retention_bytes: None,
            segment_bytes: SEGMENT_BYTES,
            ..TopicConfig::default()
        };
        let topic = match log.topic(TOPIC) {
            Some(topic) => topic,
            None => log.create_topic(TOPIC, 1, config)?,
        };
        let partition =
            topic.partition(0).ok_or_else(|| LogError::TopicNotFound { topic: TOPIC.to_owned() })?;
        let state = rebuild(&partition)?;
        tracing::info!(committed = state.len(), "committed offsets read");
        let written = Mutex::new(Written { state, bytes: partition.bytes() });
        let opened_ms = clock.monotonic_us() / 1000;
        Ok(Self { partition, written, groups, clock, retention_ms, opened_ms })
    }

    /// The time of a commit made now.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// A committed offset.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        self.written.lock().state.get(group, topic, partition).cloned()
    }

    /// All committed offsets of a group, sorted by topic and partition.
    pub fn of_group(&self, group: &str) -> Vec<(Place, Committed)> {
        self.written.lock().state.of_group(group)
    }

    /// The groups that have committed anything.
    pub fn groups(&self) -> Vec<String> {
        self.written.lock().state.groups()
    }

    /// Whether the group has committed anything.
    pub fn has_group(&self, group: &str) -> bool {
        self.written.lock().state.has_group(group)
    }

    /// Forgets all that a group committed.
    pub async fn remove_group(&self, group: &str) -> Result<(), DoorError> {
        let gone = self.of_group(group).into_iter().map(|(place, _)| (place, None));
        self.apply(gone.collect()).await
    }

    /// Forgets all that was committed for a topic.
    pub async fn remove_topic(&self, topic: &str) -> Result<(), DoorError> {
        let gone = self.written.lock().state.of_topic(topic);
        self.apply(gone.into_iter().map(|place| (place, None)).collect()).await
    }

    /// Writes changes, takes them into the state and waits until they are
    /// durable.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<(), DoorError> {
        if changes.is_empty() {
            return Ok(());
        }
        let (end_offset, rewritten_from) = self.write(changes)?;
        if let Some(first) = rewritten_from {
            tokio::spawn(delete_before(Arc::clone(&self.partition), first, end_offset));
        }
        Ok(self.partition.durable(end_offset).await?)
    }

    /// Appends under the lock, so that the topic and the state agree on the
    /// order. Gives the offset after the last record and, if the live state
    /// was written anew, where that begins.
    fn write(&self, changes: Vec<Change>) -> Result<(i64, Option<i64>), DoorError> {
        let mut written = self.written.lock();
        let Written { state, bytes } = &mut *written;
        let added = changes.iter().filter(|(_, value)| value.is_some()).count();
        if state.len() + added > ENTRIES_MAX {
            let what = "committed offsets; delete consumer groups that are no longer used";
            return Err(DoorError::Limit { what, count: state.len() + added, count_max: ENTRIES_MAX });
        }
        let now_ms = self.clock.now_ms();
        let (first, appended) =
            self.append(now_ms, changes.iter().map(|(place, value)| (place, value.as_ref())))?;
        *bytes += appended;
        for (place, value) in changes {
            state.apply(place, value);
        }
        if *bytes < REWRITE_BYTES.max(REWRITE_RATIO * state.bytes()) {
            return Ok((first, None));
        }
        self.expire(state, now_ms);
        let live = state.all();
        let (end_offset, appended) =
            self.append(now_ms, live.iter().map(|(place, value)| (place, Some(value))))?;
        *bytes = appended;
        tracing::debug!(committed = live.len(), "committed offsets written anew");
        Ok((end_offset, Some(first)))
    }

    /// Forgets what was committed too long ago, in groups that had no members
    /// for as long. At the start nobody has joined yet, so nothing is forgotten.
    fn expire(&self, state: &mut State, now_ms: i64) {
        let up_ms = self.clock.monotonic_us() / 1000;
        if up_ms < self.opened_ms + EXPIRY_PAUSE_MS {
            return;
        }
        let retention_ms = u64::try_from(self.retention_ms).unwrap_or(0);
        let active = self.groups.active_since(up_ms.saturating_sub(retention_ms));
        state.expire(now_ms - self.retention_ms, &active);
    }

    /// Appends records in batches; gives the offset after the last, and bytes.
    fn append<'a>(
        &self,
        now_ms: i64,
        changes: impl Iterator<Item = (&'a Place, Option<&'a Committed>)>,
    ) -> Result<(i64, u64), DoorError> {
        let mut end_offset = self.partition.end_offset();
        let mut bytes = 0;
        let mut builder = BatchBuilder::new(now_ms);
        let mut changes = changes.peekable();
        while let Some((place, value)) = changes.next() {
            let value = value.map(Committed::encode);
            builder.push(Some(&place.encode()), value.as_deref(), now_ms, &[]);
            if builder.bytes() >= BATCH_BYTES || changes.peek().is_none() {
                let full = std::mem::replace(&mut builder, BatchBuilder::new(now_ms));
                let batch = full.finish(Compression::None, None)?;
                bytes += batch.len() as u64;
                end_offset = self.partition.append(batch)?.last_offset + 1;
            }
        }
        Ok((end_offset, bytes))
    }
}

/// Deletes what came before the live state, once that is durable.
async fn delete_before(partition: Arc<Partition>, first: i64, end_offset: i64) {
    let deleted = match partition.durable(end_offset).await {
        Ok(()) => super::broker::blocking(move || partition.delete_records(first).map(|_| ())).await,
        Err(error) => Err(error),
    };
    if let Err(error) = deleted {
        tracing::error!(topic = TOPIC, %error, "old records remain");
    }
}

fn rebuild(partition: &Partition) -> Result<State, DoorError> {
    let mut state = State::default();
    let mut scratch = Vec::new();
    let mut next = partition.start_offset();
    while next < partition.end_offset() {
        let read = partition.read(next, READ_BYTES)?;
        for batch in &read.batches {
            let inflated_bytes_max = limits::RECORD_BATCH_INFLATED_BYTES_MAX;
            let mut failed = None;
            for_each_record(&batch.bytes, inflated_bytes_max, &mut scratch, |record| {
                if record.offset >= next && failed.is_none() {
                    let taken = take_in(&mut state, record.key, record.value);
                    failed = taken.err().map(|reason| (record.offset, reason));
                }
                Ok::<(), WireError>(())
            })?;
            if let Some((offset, reason)) = failed {
                return Err(DoorError::Stored { topic: TOPIC, offset, reason });
            }
        }
        // Damaged records were stepped over and reported by the log.
        next = read.next_offset.max(next + 1);
    }
    Ok(state)
}

fn take_in(state: &mut State, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), String> {
    let place = Place::decode(key.ok_or("a record without key")?)?;
    state.apply(place, value.map(Committed::decode).transpose()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::BrokerOptions;
    use pluvio_eventlog::LogOptions;
    use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
    use std::path::Path;

    fn open(dir: &Path) -> (Arc<EventLog>, OffsetStore) {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::default()));
        let options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
        let log = EventLog::open(dir, Arc::new(RealDisk), clock.clone(), random, Metrics::default(), options)
            .unwrap();
        let groups = Arc::new(Groups::new(&BrokerOptions::default()));
        let store = OffsetStore::open(&log, groups, clock, 1_000_000).unwrap();
        (log, store)
    }

    fn changes(round: i64, store: &OffsetStore) -> Vec<Change> {
        let one = |partition| {
            let place = Place { group: "g".into(), topic: "rain".into(), partition };
            let committed = Committed {
                topic_id: [1; 16],
                offset: round,
                leader_epoch: 0,
                committed_at_ms: store.now_ms(),
                note: "n".repeat(4096),
            };
            (place, Some(committed))
        };
        (0..100).map(one).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_topic_stays_small_and_the_state_complete() {
        let dir = tempfile::tempdir().unwrap();
        let (log, store) = open(dir.path());
        for round in 0..30 {
            store.apply(changes(round, &store)).await.unwrap();
        }
        let end_offset = store.partition.end_offset();
        assert!(end_offset > 3_000, "the live state was written anew, on top of 3,000 commits");
        // Deleting what came before runs beside the commits.
        while store.partition.start_offset() == 0 {
            tokio::task::yield_now().await;
        }
        log.close();
        let (log, store) = open(dir.path());
        assert_eq!(store.written.lock().state.len(), 100);
        assert!((0..100).all(|index| store.get("g", "rain", index).map(|it| it.offset) == Some(29)));
        log.close();
    }
}
