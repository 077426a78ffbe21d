//! The live committed offsets, by group, topic and partition.

use std::collections::{BTreeMap, HashSet};

use super::record::{Committed, Place};

/// Bytes of a stored record beside its names and its note.
const RECORD_BYTES: usize = 64;

type OfGroup = BTreeMap<(String, i32), Committed>;

/// All that is committed and not taken back.
#[derive(Debug, Default)]
pub(super) struct State {
    groups: BTreeMap<String, OfGroup>,
    entries: usize,
    bytes: u64,
}

fn stored_bytes(group: &str, topic: &str, committed: &Committed) -> u64 {
    (RECORD_BYTES + group.len() + topic.len() + committed.note.len()) as u64
}

impl State {
    /// How many committed offsets there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// About how many bytes they take when stored.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a change in.
    pub fn apply(&mut self, place: Place, value: Option<Committed>) {
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
    pub fn expire(&mut self, before_ms: i64, active: &HashSet<String>) {
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
            self.apply(place, None);
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

    pub fn all(&self) -> Vec<(Place, Committed)> {
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

    fn committed(offset: i64, committed_at_ms: i64) -> Committed {
        Committed { topic_id: [0; 16], offset, leader_epoch: 0, committed_at_ms, note: "n".into() }
    }

    fn at(group: &str, partition: i32) -> Place {
        Place { group: group.into(), topic: "t".into(), partition }
    }

    #[test]
    fn counts_follow_every_change() {
        let mut state = State::default();
        for partition in 0..3 {
            state.apply(at("a", partition), Some(committed(1, 0)));
        }
        let bytes = state.bytes();
        state.apply(at("a", 1), Some(committed(9, 0)));
        assert_eq!((state.len(), state.bytes()), (3, bytes));
        assert_eq!(state.get("a", "t", 1).map(|it| it.offset), Some(9));
        state.apply(at("a", 7), None);
        for place in state.of_topic("t") {
            state.apply(place, None);
        }
        assert_eq!((state.len(), state.bytes(), state.groups().len()), (0, 0, 0));
    }

    #[test]
    fn only_idle_groups_expire() {
        let mut state = State::default();
        state.apply(at("idle", 0), Some(committed(1, 10)));
        state.apply(at("idle", 1), Some(committed(1, 30)));
        state.apply(at("busy", 0), Some(committed(1, 10)));
        state.expire(20, &HashSet::from(["busy".to_owned()]));
        assert_eq!(state.all().len(), 2);
        assert!(state.get("idle", "t", 0).is_none() && state.has_group("busy"));
    }
}
