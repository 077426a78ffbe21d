//! Where each key's row is.
//!
//! A location is a chunk's slot and a row in it. The keys themselves stay in the
//! chunks. The hash is seeded per process.

use std::sync::Arc;

use ahash::RandomState;

use super::chunk::Chunk;
use super::keys::{KeyValues, Keys, with_key_form};
use super::probe::{KeyAt, ProbeTable};
pub(crate) use super::probe::{Location, NOWHERE};
use crate::options::CHUNK_ROWS_MAX;

const ROW_BITS: u32 = CHUNK_ROWS_MAX.trailing_zeros();
const _: () = assert!(CHUNK_ROWS_MAX.is_power_of_two());

/// The location of a row, below [`CHUNK_ROWS_MAX`], in a slot.
pub(crate) fn location(slot: usize, row: usize) -> Location {
    (slot as u64) << ROW_BITS | row as u64
}

/// The slot of a location.
pub(crate) fn slot_of(location: Location) -> usize {
    (location >> ROW_BITS) as usize
}

/// The row of a location.
pub(crate) fn row_of(location: Location) -> usize {
    location as usize & (CHUNK_ROWS_MAX - 1)
}

/// The chunks by slot, empty slots included.
pub(crate) type Slots = [Option<Arc<Chunk>>];

/// The index of a set of chunks. Each key is in it at most once.
#[derive(Debug, Default)]
pub(crate) struct Index {
    table: ProbeTable,
    null_at: Option<Location>,
    random: RandomState,
}

/// The keys of all chunks in one form; an empty slot has none.
struct Views<'a, V> {
    slots: Vec<Option<&'a V>>,
    random: &'a RandomState,
}

impl<'a, V: KeyValues> Views<'a, V> {
    /// The views of the same form as `_form`.
    fn new(slots: &'a Slots, random: &'a RandomState, _form: &V) -> Self {
        let slots = slots.iter().map(|slot| slot.as_ref().and_then(|chunk| V::of(&chunk.keys.column)));
        Self { slots: slots.collect(), random }
    }

    #[inline]
    fn same(&self, at: Location, probe: &V, row: usize) -> bool {
        self.slots[slot_of(at)].is_some_and(|keys| keys.same(row_of(at), probe, row))
    }
}

impl<V: KeyValues> KeyAt for Views<'_, V> {
    #[inline]
    fn hash_at(&self, at: Location) -> u64 {
        self.slots[slot_of(at)].map_or(0, |keys| keys.hash(row_of(at), self.random))
    }

    #[inline]
    fn touch(&self, at: Location) -> u64 {
        self.slots[slot_of(at)].map_or(0, |keys| keys.touch(row_of(at)))
    }
}

impl Index {
    /// How many keys.
    pub(crate) fn len(&self) -> usize {
        self.table.len() + usize::from(self.null_at.is_some())
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// The location of each probed key, [`NOWHERE`] if absent.
    pub(crate) fn find(&self, slots: &Slots, probe: &Keys) -> Vec<Location> {
        let mut found = Vec::with_capacity(probe.len());
        with_key_form!(probe, |values| {
            let views = Views::new(slots, &self.random, values);
            let hashes = (0..probe.len()).map(|row| values.hash(row, &self.random));
            self.table.find_many(hashes, &views, |row, at| views.same(at, values, row), &mut found);
        });
        if let Some(nulls) = &probe.nulls {
            let null_at = self.null_at.unwrap_or(NOWHERE);
            for (row, found) in found.iter_mut().enumerate() {
                if nulls.is_null(row) {
                    *found = null_at;
                }
            }
        }
        found
    }

    /// Points the keys of the chunk in `slot` to it; `replaced` hears of every row of
    /// it whose key was elsewhere, and of that location.
    pub(crate) fn insert(&mut self, slots: &Slots, slot: usize, mut replaced: impl FnMut(usize, Location)) {
        let Some(chunk) = slots[slot].as_ref() else { return };
        let keys = &chunk.keys;
        with_key_form!(keys, |values| {
            let views = Views::new(slots, &self.random, values);
            if self.table.len() == 0 {
                self.table.reserve(keys.len(), &views);
            }
            for row in 0..keys.len() {
                let here = location(slot, row);
                let before = if keys.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    self.null_at.replace(here)
                } else {
                    let hash = values.hash(row, &self.random);
                    self.table.insert(hash, here, &views, |at| views.same(at, values, row))
                };
                if let Some(before) = before {
                    replaced(row, before);
                }
            }
        });
    }

    /// Adds those rows of the chunk in `slot`; their keys are not here yet.
    pub(crate) fn insert_live(&mut self, slots: &Slots, slot: usize, live: impl Iterator<Item = usize>) {
        let Some(chunk) = slots[slot].as_ref() else { return };
        let keys = &chunk.keys;
        with_key_form!(keys, |values| {
            let views = Views::new(slots, &self.random, values);
            for row in live {
                let here = location(slot, row);
                if keys.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    self.null_at = Some(here);
                } else {
                    self.table.insert_new(values.hash(row, &self.random), here, &views);
                }
            }
        });
    }

    /// Forgets the probed keys; `removed` hears the row of the probe and the
    /// location of each that was there.
    pub(crate) fn remove(&mut self, slots: &Slots, probe: &Keys, mut removed: impl FnMut(usize, Location)) {
        with_key_form!(probe, |values| {
            let views = Views::new(slots, &self.random, values);
            for row in 0..probe.len() {
                let was = if probe.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    self.null_at.take()
                } else {
                    let hash = values.hash(row, &self.random);
                    self.table.remove(hash, &views, |at| views.same(at, values, row))
                };
                if let Some(at) = was {
                    removed(row, at);
                }
            }
        });
    }

    /// Moves keys: row `row` of `keys` is no longer at `from` but at `to`.
    pub(crate) fn relocate(&mut self, keys: &Keys, moves: impl Iterator<Item = (usize, Location, Location)>) {
        with_key_form!(keys, |values| {
            for (row, from, to) in moves {
                if keys.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    self.null_at = Some(to);
                } else {
                    self.table.relocate(values.hash(row, &self.random), from, to);
                }
            }
        });
    }

    /// Forgets those rows of the chunk in `slot`.
    pub(crate) fn forget(&mut self, slots: &Slots, slot: usize, live: impl Iterator<Item = usize>) {
        let Some(chunk) = slots[slot].as_ref() else { return };
        let keys = &chunk.keys;
        with_key_form!(keys, |values| {
            let views = Views::new(slots, &self.random, values);
            for row in live {
                if keys.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    self.null_at = None;
                    continue;
                }
                let here = location(slot, row);
                self.table.remove(values.hash(row, &self.random), &views, |at| at == here);
            }
        });
    }

    /// Gives memory back after many keys left.
    pub(crate) fn shrink(&mut self, slots: &Slots) {
        let Some(chunk) = slots.iter().flatten().next() else {
            self.table = ProbeTable::default();
            return;
        };
        with_key_form!(chunk.keys, |values| {
            let views = Views::new(slots, &self.random, values);
            self.table.shrink(&views);
        });
    }
}
