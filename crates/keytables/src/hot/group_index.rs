//! Which chunks have rows of a group.
//!
//! An open-addressing table with one entry per hash of a group's key: the one
//! chunk that has the group, or a list of several (in [`super::group_lists`]).
//! Where an entry belongs is told by the highest bits of its hash, so that the
//! groups of a chunk, which stand by hash, come and go in one pass over the table,
//! and a larger table is filled in order from the smaller one. Only a lookup
//! compares keys.
//!
//! A lookup goes in blocks, and in each step touches the memory that the next
//! step needs for the whole block, so that cache misses overlap (as in
//! [`super::probe`]).

use super::Rows;
use super::group_lists::{GroupLists, List, Part};
use super::groups::{Grouping, Groups, Place};
use super::index::{Location, Slots, location};
use super::keys::KeyColumn;
use crate::codec::key::EncodedKeys;

/// Keys looked up together.
const BLOCK: usize = 128;
const ENTRIES_MIN: usize = 16;
/// Marks the entry of a list; slots are below.
const LIST: u32 = 1 << 31;
const EMPTY: Entry = Entry { hash: 0, slot: u32::MAX, place: 0 };

/// The chunks with groups of one hash: one, or a list if the slot is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: u32,
    /// The chunk's slot, or [`LIST`] and the list's length.
    slot: u32,
    /// Where the chunk tells the group, or where the list begins.
    place: Place,
}

impl Entry {
    fn is_empty(self) -> bool {
        self.slot == EMPTY.slot
    }

    #[inline]
    fn list(self) -> Option<List> {
        let is_list = self.slot & LIST != 0 && !self.is_empty();
        is_list.then_some(List { start: self.place, length: self.slot & !LIST })
    }

    fn with_list(self, list: List) -> Self {
        Self { slot: LIST | list.length, place: list.start, ..self }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GroupIndex {
    entries: Vec<Entry>,
    /// Entries that are not empty.
    length: usize,
    lists: GroupLists,
}

/// The rows that a lookup found.
#[derive(Debug, Default)]
pub(crate) struct FoundRows {
    /// For each row the number of the key asked for: ascending.
    pub(crate) probes: Vec<u32>,
    /// Where each row is.
    pub(crate) found: Vec<Location>,
}

/// What a lookup needs of a chunk.
struct View<'a> {
    keys: &'a EncodedKeys,
    groups: &'a Groups,
    rows: &'a Rows,
}

/// A group that may be the one asked for.
struct Candidate<'a> {
    probe: usize,
    slot: usize,
    place: Place,
    view: &'a View<'a>,
    first: usize,
    key: &'a [u8],
}

impl GroupIndex {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.lists.bytes()
    }

    /// Adds the groups of the chunk in a slot.
    pub(crate) fn insert(&mut self, slot: usize, groups: &Groups) {
        // All at once: what comes by hash would crowd in a table that grows meanwhile.
        let length = self.length + groups.len();
        if length * 8 > self.entries.len() * 5 {
            self.resize(length);
        }
        for (hash, place) in groups.iter() {
            self.add(hash, (slot as u32, place));
        }
        self.keep_dense();
    }

    /// Removes the groups of the chunk in a slot.
    pub(crate) fn remove(&mut self, slot: usize, groups: &Groups) {
        for (hash, place) in groups.iter() {
            self.take(hash, (slot as u32, place));
        }
        self.keep_dense();
    }

    /// Gives memory back if much is unused.
    pub(crate) fn shrink(&mut self) {
        if self.entries.len() > 1024 && self.length * 5 < self.entries.len() {
            self.resize(self.length);
        }
    }

    /// The rows that live and whose leading key columns are those of `probe`.
    pub(crate) fn find(
        &self,
        slots: &Slots,
        rows: &[Rows],
        probe: &EncodedKeys,
        grouping: &Grouping,
    ) -> FoundRows {
        let mut found = FoundRows::default();
        if self.length == 0 {
            return found;
        }
        let views: Vec<Option<View<'_>>> = slots
            .iter()
            .zip(rows)
            .map(|(chunk, rows)| match (&chunk.as_ref()?.keys.column, &chunk.as_ref()?.groups) {
                (KeyColumn::Encoded(keys), Some(groups)) => Some(View { keys, groups, rows }),
                _ => None,
            })
            .collect();
        let mut candidates = Vec::new();
        for start in (0..probe.len()).step_by(BLOCK) {
            let end = probe.len().min(start + BLOCK);
            candidates.clear();
            self.candidates(&views, probe, grouping, start..end, &mut candidates);
            for candidate in &mut candidates {
                candidate.first = candidate.view.groups.first(candidate.place);
            }
            for candidate in &mut candidates {
                candidate.key = candidate.view.keys.get(candidate.first);
            }
            let touched = candidates.iter().map(|candidate| candidate.key.first().copied().unwrap_or(0));
            std::hint::black_box(touched.fold(0, |all, byte| all ^ byte));
            for candidate in &candidates {
                if candidate.key.starts_with(probe.get(candidate.probe)) {
                    candidate.collect(&mut found);
                }
            }
        }
        found
    }

    fn candidates<'a>(
        &self,
        views: &'a [Option<View<'a>>],
        probe: &EncodedKeys,
        grouping: &Grouping,
        block: std::ops::Range<usize>,
        out: &mut Vec<Candidate<'a>>,
    ) {
        let mut hashes = [0_u32; BLOCK];
        for (hash, row) in hashes.iter_mut().zip(block.clone()) {
            *hash = grouping.hash(probe.get(row));
        }
        let touched = hashes.iter().take(block.len()).map(|hash| self.entries[self.home(*hash)].hash);
        std::hint::black_box(touched.fold(0, |all, hash| all ^ hash));
        let mut hits = [EMPTY; BLOCK];
        let mut touched = 0;
        for (hash, hit) in hashes.into_iter().zip(&mut hits).take(block.len()) {
            *hit = self.entries[self.position(hash)];
            touched ^= hit.list().map_or(0, |list| self.lists.touch(list));
        }
        std::hint::black_box(touched);
        let mut push = |probe: usize, (slot, place): Part| {
            let slot = slot as usize;
            if let Some(view) = &views[slot] {
                out.push(Candidate { probe, slot, place, view, first: 0, key: &[] });
            }
        };
        for (hit, probe) in hits.into_iter().zip(block).filter(|(hit, _)| !hit.is_empty()) {
            match hit.list() {
                None => push(probe, (hit.slot, hit.place)),
                Some(list) => self.lists.get(list).iter().for_each(|part| push(probe, *part)),
            }
        }
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() { 0 } else { at + 1 }
    }

    /// How far one goes from one place to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.entries.len() - from }
    }

    /// Where the entry of a hash is, or the empty one where it would be.
    #[inline]
    fn position(&self, hash: u32) -> usize {
        let mut at = self.home(hash);
        loop {
            let entry = self.entries[at];
            if entry.is_empty() || entry.hash == hash {
                return at;
            }
            at = self.after(at);
        }
    }

    fn add(&mut self, hash: u32, part: Part) {
        let at = self.position(hash);
        let entry = self.entries[at];
        self.entries[at] = if entry.is_empty() {
            self.length += 1;
            Entry { hash, slot: part.0, place: part.1 }
        } else {
            entry.with_list(match entry.list() {
                None => self.lists.add(&[(entry.slot, entry.place), part]),
                Some(list) => self.lists.push(list, part),
            })
        };
    }

    fn take(&mut self, hash: u32, part: Part) {
        if self.entries.is_empty() {
            return;
        }
        let at = self.position(hash);
        let entry = self.entries[at];
        if let Some(list) = entry.list() {
            let list = self.lists.remove(list, part);
            self.entries[at] = match *self.lists.get(list) {
                [(slot, place)] => {
                    self.lists.release(list);
                    Entry { hash, slot, place }
                }
                _ => entry.with_list(list),
            };
        } else if (entry.slot, entry.place) == part {
            self.clear(at);
        }
    }

    /// Empties an entry and moves later ones back, so that there are no gaps.
    fn clear(&mut self, at: usize) {
        let mut hole = at;
        let mut next = self.after(hole);
        while !self.entries[next].is_empty() {
            let home = self.home(self.entries[next].hash);
            // The entry may fill the hole unless its home lies behind the hole.
            if self.distance(home, next) >= self.distance(hole, next) {
                self.entries[hole] = self.entries[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.entries[hole] = EMPTY;
        self.length -= 1;
    }

    fn resize(&mut self, length: usize) {
        let entries = (length * 12 / 5).max(ENTRIES_MIN);
        let old = std::mem::replace(&mut self.entries, vec![EMPTY; entries]);
        for entry in old.into_iter().filter(|entry| !entry.is_empty()) {
            let at = self.position(entry.hash);
            self.entries[at] = entry;
        }
    }

    /// Copies the lists together if most of their memory is free.
    fn keep_dense(&mut self) {
        if !self.lists.is_sparse() {
            return;
        }
        let old = std::mem::take(&mut self.lists);
        for entry in &mut self.entries {
            if let Some(list) = entry.list() {
                *entry = entry.with_list(self.lists.add(old.get(list)));
            }
        }
    }
}

impl Candidate<'_> {
    fn collect(&self, out: &mut FoundRows) {
        let live = &self.view.rows.live;
        for row in self.view.groups.rows(self.place).filter(|row| live.get(*row)) {
            out.probes.push(self.probe as u32);
            out.found.push(location(self.slot, row));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::DataType;
    use pluvio_foundation::Random;
    use pluvio_foundation::random::SeededRandom;

    use super::*;
    use crate::codec::key::{self, Leading};

    fn groups(random: &SeededRandom, grouping: &Grouping) -> Groups {
        let rows = 1 + random.next_u64() as i64 % 300;
        let numbers = (0..rows).map(|_| random.next_u64() as i64 % 500);
        let columns: [ArrayRef; 2] = [
            Arc::new(Int64Array::from_iter_values(numbers)),
            Arc::new(Int64Array::from_iter_values(0..rows)),
        ];
        Groups::of(&key::encode(&columns).unwrap(), grouping)
    }

    #[test]
    fn chunks_come_and_go() {
        let random = SeededRandom::new(1);
        let grouping = Grouping::new(1, Leading::new([DataType::Int64].iter()).unwrap());
        let mut index = GroupIndex::default();
        let mut chunks = BTreeMap::<usize, Groups>::new();
        for step in 0..400 {
            let slot = random.next_u64() as usize % 40;
            match chunks.remove(&slot) {
                Some(old) => index.remove(slot, &old),
                None => {
                    let new = groups(&random, &grouping);
                    index.insert(slot, &new);
                    chunks.insert(slot, new);
                }
            }
            index.shrink();
            let mut wanted = BTreeMap::<u32, BTreeSet<Part>>::new();
            for (slot, groups) in &chunks {
                for (hash, place) in groups.iter() {
                    wanted.entry(hash).or_default().insert((*slot as u32, place));
                }
            }
            assert_eq!(index.length, wanted.len(), "step {step}");
            for (hash, wanted) in wanted {
                let entry = index.entries[index.position(hash)];
                let found: BTreeSet<Part> = match entry.list() {
                    None => [(entry.slot, entry.place)].into(),
                    Some(list) => index.lists.get(list).iter().copied().collect(),
                };
                assert_eq!(found, wanted, "step {step}");
            }
        }
    }
}
