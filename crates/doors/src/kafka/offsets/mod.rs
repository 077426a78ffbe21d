//! Committed offsets: kept in memory, and in the internal topic
//! `__consumer_offsets` of the same event log, one record each (`record`), as
//! a journal keeps them.
//!
//! Promises: a commit is answered only once it is durable. Offsets committed in
//! a transaction are pending, and seen by nobody, until it ends; they survive a
//! restart as such.

mod pending;
mod record;
mod requests;
mod state;

use std::sync::Arc;

use pluvio_eventlog::EventLog;
use pluvio_eventlog::internal::CONSUMER_OFFSETS;
use pluvio_foundation::Clock;

use super::groups::Groups;
use super::journal::{Journal, Wrote};
use crate::DoorError;
pub(crate) use record::{Committed, Place};
pub(crate) use requests::{Asked, NOTE_BYTES_MAX, checked, commit, delete, fetch};
use state::{Entry, State};

/// A change: a new value, or none to take the offset back.
type Change = (Place, Option<Committed>);

/// All committed offsets.
#[derive(Debug)]
pub(crate) struct OffsetStore {
    journal: Journal<State>,
}

impl OffsetStore {
    /// Reads the state back, from the topic that is made if it is not there.
    pub fn open(
        log: &EventLog,
        groups: Arc<Groups>,
        clock: Arc<dyn Clock>,
        retention_ms: i64,
    ) -> Result<Self, DoorError> {
        let state = State::new(groups, Arc::clone(&clock), retention_ms);
        let journal = Journal::open(log, CONSUMER_OFFSETS, clock, state)?;
        tracing::info!(committed = journal.with(State::len), "committed offsets read");
        Ok(Self { journal })
    }

    /// The time of a commit made now.
    pub fn now_ms(&self) -> i64 {
        self.journal.now_ms()
    }

    /// A committed offset.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        self.journal.with(|state| state.get(group, topic, partition).cloned())
    }

    /// All committed offsets of a group, sorted by topic and partition.
    pub fn of_group(&self, group: &str) -> Vec<(Place, Committed)> {
        self.journal.with(|state| state.of_group(group))
    }

    /// The groups that have committed anything.
    pub fn groups(&self) -> Vec<String> {
        self.journal.with(State::groups)
    }

    /// Whether the group has committed anything.
    pub fn has_group(&self, group: &str) -> bool {
        self.journal.with(|state| state.has_group(group))
    }

    /// Forgets all that a group committed.
    pub async fn remove_group(&self, group: &str) -> Result<(), DoorError> {
        self.remove(|state| state.of_group(group).into_iter().map(|(place, _)| place).collect()).await
    }

    /// Forgets all that was committed for a topic.
    pub async fn remove_topic(&self, topic: &str) -> Result<(), DoorError> {
        self.remove(|state| state.of_topic(topic)).await
    }

    async fn remove(&self, choose: impl FnOnce(&State) -> Vec<Place>) -> Result<(), DoorError> {
        let gone = |state: &State| {
            choose(state).into_iter().map(|place| Entry::Committed(place, None)).collect::<Vec<_>>()
        };
        let wrote = self.journal.write_by(gone)?;
        self.journal.durable(wrote).await
    }

    /// Writes changes, takes them into the state and waits until they are
    /// durable.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<(), DoorError> {
        let entries = changes.into_iter().map(|(place, value)| Entry::Committed(place, value));
        self.journal.apply(entries.collect()).await
    }

    /// Writes offsets that the transaction of a producer is to commit.
    pub fn write_pending(
        &self,
        producer_id: i64,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<Wrote, DoorError> {
        let entry = |(place, committed)| Entry::Pending(producer_id, place, Some(committed));
        self.journal.write(offsets.into_iter().map(entry).collect())
    }

    /// Ends the pending offsets of a producer: from here on they are committed,
    /// or as if never written. Does nothing the second time.
    pub fn end_pending(&self, producer_id: i64, is_commit: bool) -> Result<Wrote, DoorError> {
        self.journal.write_by(|state| {
            let mut entries = Vec::new();
            for (place, committed) in state.pending.of_producer(producer_id) {
                if is_commit {
                    entries.push(Entry::Committed(place.clone(), Some(committed)));
                }
                entries.push(Entry::Pending(producer_id, place, None));
            }
            entries
        })
    }

    /// The producers with pending offsets.
    pub fn pending_producers(&self) -> Vec<i64> {
        self.journal.with(|state| state.pending.producers())
    }

    /// Whether a transaction may yet change this committed offset.
    pub fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        let place = Place { group: group.to_owned(), topic: topic.to_owned(), partition };
        self.journal.with(|state| state.pending.len() > 0 && state.pending.has(&place))
    }

    /// Waits until what was written is durable.
    pub async fn durable(&self, wrote: Wrote) -> Result<(), DoorError> {
        self.journal.durable(wrote).await
    }

    /// The same, blocking the thread.
    pub fn sync(&self, wrote: Wrote) -> Result<(), DoorError> {
        self.journal.sync(wrote)
    }
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
        let groups = Groups::open(&log, clock.clone(), &BrokerOptions::default()).unwrap();
        let store = OffsetStore::open(&log, Arc::new(groups), clock, 1_000_000).unwrap();
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
        let end_offset = store.journal.range().1;
        assert!(end_offset > 3_000, "the live state was written anew, on top of 3,000 commits");
        // Deleting what came before runs beside the commits.
        while store.journal.range().0 == 0 {
            tokio::task::yield_now().await;
        }
        log.close();
        let (log, store) = open(dir.path());
        assert_eq!(store.journal.with(State::len), 100);
        assert!((0..100).all(|index| store.get("g", "rain", index).map(|it| it.offset) == Some(29)));
        log.close();
    }
}
