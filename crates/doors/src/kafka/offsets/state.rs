//! The live committed offsets, by group, topic and partition.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pluvio_foundation::Clock;

use super::pending::Pending;
use super::record::{Committed, Key, Place};
use crate::DoorError;
use crate::kafka::groups::Groups;
use crate::kafka::journal::{Kept, Record};

/// Members of groups that are not kept yet have so long to join after a start
/// before anything expires.
const EXPIRY_PAUSE_MS: u64 = 30 * 60_000;
/// Most committed and pending offsets, over all groups.
const ENTRIES_MAX: usize = 1 << 20;

/// Bytes of a stored record beside its names and its note.
const RECORD_BYTES: usize = 64;

type OfGroup = BTreeMap<(String, i32), Committed>;

/// A change of the state; no value takes the offset back.
#[derive(Debug)]
pub(super) enum Entry {
    Committed(Place, Option<Committed>),
    /// In the transaction of this producer.
    Pending(i64, Place, Option<Committed>),
}

/// All that is committed and not taken back.
#[derive(Debug)]
pub(super) struct State {
    groups: BTreeMap<String, OfGroup>,
    entries: usize,
    bytes: u64,
    pub pending: Pending,
    /// Whose members keep their offsets from expiring.
    active: Arc<Groups>,
    clock: Arc<dyn Clock>,
    retention_ms: i64,
    /// When this was made, on the clock that never goes back.
    opened_ms: u64,
}

fn stored_bytes(group: &str, topic: &str, committed: &Committed) -> u64 {
    (RECORD_BYTES + group.len() + topic.len() + committed.note.len()) as u64
}

impl Kept for State {
    type Change = Entry;

    fn encode(entry: &Entry) -> Record {
        let (pending_of, place, value) = match entry {
            Entry::Committed(place, value) => (None, place, value),
            Entry::Pending(producer_id, place, value) => (Some(*producer_id), place, value),
        };
        let key = Key { pending_of, place: place.clone() };
        (key.encode(), value.as_ref().map(Committed::encode))
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Entry, String> {
        let Key { pending_of, place } = Key::decode(key)?;
        let value = value.map(Committed::decode).transpose()?;
        Ok(match pending_of {
            None => Entry::Committed(place, value),
            Some(producer_id) => Entry::Pending(producer_id, place, value),
        })
    }

    fn admit(&self, entries: &[Entry]) -> Result<(), DoorError> {
        let is_new =
            |entry: &&Entry| matches!(entry, Entry::Committed(_, Some(_)) | Entry::Pending(_, _, Some(_)));
        // The end of a transaction turns what is pending into what is committed.
        let is_gone = |entry: &&Entry| matches!(entry, Entry::Pending(_, _, None));
        let added = entries.iter().filter(is_new).count();
        let gone = entries.iter().filter(is_gone).count();
        let count = self.entries + self.pending.len() + added.saturating_sub(gone);
        if added > gone && count > ENTRIES_MAX {
            let what = "committed offsets; delete consumer groups that are no longer used";
            return Err(DoorError::Limit { what, count, count_max: ENTRIES_MAX });
        }
        Ok(())
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Committed(place, value) => self.commit(place, value),
            Entry::Pending(producer_id, place, value) => self.pending.apply(producer_id, place, value),
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes + (self.pending.len() * RECORD_BYTES) as u64
    }

    fn live(&mut self, now_ms: i64) -> Vec<Entry> {
        self.expire_unused(now_ms);
        let committed = self.all().into_iter().map(|(place, value)| Entry::Committed(place, Some(value)));
        let pending = self.pending.all().into_iter();
        let pending =
            pending.map(|(producer_id, place, value)| Entry::Pending(producer_id, place, Some(value)));
        committed.chain(pending).collect()
    }
}

impl State {
    pub fn new(active: Arc<Groups>, clock: Arc<dyn Clock>, retention_ms: i64) -> Self {
        let (groups, pending) = (BTreeMap::new(), Pending::default());
        let opened_ms = clock.monotonic_us() / 1000;
        Self { groups, entries: 0, bytes: 0, pending, active, clock, retention_ms, opened_ms }
    }

    /// Forgets what was committed too long ago, in groups that had no members
    /// for as long. At the start some may not have joined yet, so nothing is
    /// forgotten.
    fn expire_unused(&mut self, now_ms: i64) {
        let up_ms = self.clock.monotonic_us() / 1000;
        if up_ms < self.opened_ms + EXPIRY_PAUSE_MS {
            return;
        }
        let now = i64::try_from(up_ms).unwrap_or(i64::MAX);
        let active = self.active.active_since(now - self.retention_ms);
        self.expire(now_ms - self.retention_ms, &active);
    }

    /// How many committed offsets there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    fn commit(&mut self, place: Place, value: Option<Committed>) {
        let Place { group, topic, partition } = place;
        let Some(committed) = value else {
            self.remove(&group, topic, partition);
            return;
        };
        self.bytes += stored_bytes(&group, &topic, &committed);
        let key = (topic, partition);
        let of_group = self.groups.entry(group.clone()).or_default();
        match of_group.insert(key.clone(), committed) {
            None => self.entries += 1,
            Some(old) => self.bytes -= stored_bytes(&group, &key.0, &old),
        }
    }

    fn remove(&mut self, group: &str, topic: String, partition: i32) {
        let Some(of_group) = self.groups.get_mut(group) else { return };
        let key = (topic, partition);
        if let Some(old) = of_group.remove(&key) {
            self.entries -= 1;
            self.bytes -= stored_bytes(group, &key.0, &old);
        }
        if of_group.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Drops what was committed before `before_ms` in groups that are not
    /// `active`.
    fn expire(&mut self, before_ms: i64, active: &HashSet<String>) {
        let inactive = self.groups.iter().filter(|(group, _)| !active.contains(*group));
        let old = inactive.flat_map(|(group, of_group)| {
            of_group.iter().filter(|(_, committed)| committed.committed_at_ms < before_ms).map(
                move |((topic, partition), _)| Place {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                },
            )
        });
        for place in old.collect::<Vec<_>>() {
            self.commit(place, None);
        }
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group)?.get(&(topic.to_owned(), partition))
    }

    pub fn of_group(&self, group: &str) -> Vec<(Place, Committed)> {
        let of_group = self.groups.get(group).into_iter().flatten();
        of_group.map(|(key, committed)| (place(group, key), committed.clone())).collect()
    }

    pub fn of_topic(&self, topic: &str) -> Vec<Place> {
        let all = self.groups.iter().flat_map(|(group, of_group)| {
            of_group.keys().filter(|(name, _)| name == topic).map(move |key| place(group, key))
        });
        all.collect()
    }

    fn all(&self) -> Vec<(Place, Committed)> {
        let all = self.groups.iter().flat_map(|(group, of_group)| {
            of_group.iter().map(move |(key, committed)| (place(group, key), committed.clone()))
        });
        all.collect()
    }

    pub fn groups(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    pub fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }
}

fn place(group: &str, (topic, partition): &(String, i32)) -> Place {
    Place { group: group.to_owned(), topic: topic.clone(), partition: *partition }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::BrokerOptions;
    use crate::kafka::groups::tests;
    use pluvio_testkit::{ManualClock, SimDisk};

    fn committed(offset: i64, committed_at_ms: i64) -> Committed {
        Committed { topic_id: [0; 16], offset, leader_epoch: 0, committed_at_ms, note: "n".into() }
    }

    fn state() -> State {
        let clock = ManualClock::default();
        let (_log, groups) = tests::open(&SimDisk::new(), &clock, &BrokerOptions::default());
        State::new(Arc::new(groups), Arc::new(clock), 1_000)
    }

    fn at(group: &str, partition: i32) -> Place {
        Place { group: group.into(), topic: "t".into(), partition }
    }

    #[test]
    fn counts_follow_every_change() {
        let mut state = state();
        for partition in 0..3 {
            state.commit(at("a", partition), Some(committed(1, 0)));
        }
        let bytes = state.bytes();
        state.commit(at("a", 1), Some(committed(9, 0)));
        assert_eq!((state.len(), state.bytes()), (3, bytes));
        assert_eq!(state.get("a", "t", 1).map(|it| it.offset), Some(9));
        state.commit(at("a", 7), None);
        for place in state.of_topic("t") {
            state.commit(place, None);
        }
        assert_eq!((state.len(), state.bytes(), state.groups().len()), (0, 0, 0));
    }

    #[test]
    fn only_idle_groups_expire() {
        let mut state = state();
        state.commit(at("idle", 0), Some(committed(1, 10)));
        state.commit(at("idle", 1), Some(committed(1, 30)));
        state.commit(at("busy", 0), Some(committed(1, 10)));
        state.expire(20, &HashSet::from(["busy".to_owned()]));
        assert_eq!(state.all().len(), 2);
        assert!(state.get("idle", "t", 0).is_none() && state.has_group("busy"));
    }
}
