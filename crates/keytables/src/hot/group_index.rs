//! Which chunks have rows of a group.
//!
//! An open-addressing table with one entry per group and chunk. Where an entry
//! belongs is told by the highest bits of its hash, so that the groups of a
//! chunk, which stand by hash, come and go in one pass over the table, and a
//! larger table is filled in order from the smaller one. Entries carry their
//! hash: only a lookup compares keys.
//!
//! A lookup goes in blocks, and in each step touches the memory that the next
//! step needs for the whole block, so that cache misses overlap (as in
//! [`super::probe`]).

use super::Rows;
use super::groups::{Grouping, Groups, Place};
use super::index::{Location, Slots, location};
use super::keys::KeyColumn;
use crate::codec::key::EncodedKeys;

/// Keys looked up together.
const BLOCK: usize = 128;
const ENTRIES_MIN: usize = 16;
const EMPTY: Entry = Entry { hash: 0, slot: u32::MAX, place: 0 };

/// A group of the chunk in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: u32,
    slot: u32,
    place: Place,
}

impl Entry {
    fn is_empty(self) -> bool {
        self.slot == EMPTY.slot
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GroupIndex {
    entries: Vec<Entry>,
    length: usize,
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
        self.entries.capacity() * size_of::<Entry>()
    }

    /// Adds the groups of the chunk in a slot.
    pub(crate) fn insert(&mut self, slot: usize, groups: &Groups) {
        let length = self.length + groups.len();
        if length * 8 > self.entries.len() * 5 {
            self.resize(length);
        }
        for (hash, place) in groups.iter() {
            self.put(Entry { hash, slot: slot as u32, place });
        }
        self.length = length;
    }

    /// Removes the groups of the chunk in a slot.
    pub(crate) fn remove(&mut self, slot: usize, groups: &Groups) {
        for (hash, place) in groups.iter() {
            self.take(Entry { hash, slot: slot as u32, place });
        }
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
        for (hash, row) in hashes.into_iter().zip(block) {
            let mut at = self.home(hash);
            while !self.entries[at].is_empty() {
                let Entry { hash: its, slot, place } = self.entries[at];
                if its == hash
                    && let Some(view) = &views[slot as usize]
                {
                    let slot = slot as usize;
                    out.push(Candidate { probe: row, slot, place, view, first: 0, key: &[] });
                }
                at = self.after(at);
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

    fn put(&mut self, entry: Entry) {
        let mut at = self.home(entry.hash);
        while !self.entries[at].is_empty() {
            at = self.after(at);
        }
        self.entries[at] = entry;
    }

    /// Removes an entry and moves later ones back, so that there are no gaps.
    fn take(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            return;
        }
        let mut hole = self.home(entry.hash);
        while self.entries[hole] != entry {
            if self.entries[hole].is_empty() {
                return;
            }
            hole = self.after(hole);
        }
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
        old.into_iter().filter(|entry| !entry.is_empty()).for_each(|entry| self.put(entry));
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
