//! A hash table of locations, made for looking up many keys at once.
//!
//! One array of 8-byte entries, a power of two long and at most 5/8 full, probed
//! one after the other from where the hash points to. An entry is the hash's
//! highest 16 bits and a 48-bit location; the keys stay where the locations
//! point. Removal moves later entries back, so that there are no tombstones.
//!
//! A lookup of many keys goes in blocks: first all first entries of a block are
//! touched, then the entries compared by tag, then all keys touched, then the
//! keys compared. The processor thus waits for many cache misses at a time
//! instead of one after the other, which is most of what a lookup costs once
//! the table is larger than the caches.

/// A location: 48 bits.
pub(crate) type Location = u64;

/// No location.
pub(crate) const NOWHERE: Location = u64::MAX;

const EMPTY: u64 = u64::MAX;
const LOCATION_BITS: u32 = 48;
const LOCATION_MASK: u64 = (1 << LOCATION_BITS) - 1;
const ENTRIES_MIN: usize = 16;
/// Keys looked up together.
const BLOCK: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ProbeTable {
    entries: Vec<u64>,
    length: usize,
}

/// What the table asks about keys.
pub(crate) trait KeyAt {
    /// The hash of the key at a location.
    fn hash_at(&self, at: Location) -> u64;
    /// Something read from where the key at a location stands.
    fn touch(&self, at: Location) -> u64;
}

fn entry(hash: u64, at: Location) -> u64 {
    hash & !LOCATION_MASK | at
}

impl ProbeTable {
    /// How many locations.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * 8
    }

    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    /// Where an entry with the hash's tag and the right key stands.
    fn position(&self, hash: u64, mut is_it: impl FnMut(Location) -> bool) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let mask = self.mask();
        let mut position = hash as usize & mask;
        loop {
            let found = self.entries[position];
            if found == EMPTY {
                return None;
            }
            if (found ^ hash) >> LOCATION_BITS == 0 && is_it(found & LOCATION_MASK) {
                return Some(position);
            }
            position = (position + 1) & mask;
        }
    }

    /// The location of one key.
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(Location) -> bool) -> Option<Location> {
        self.position(hash, is_it).map(|position| self.entries[position] & LOCATION_MASK)
    }

    /// The locations of the keys with these hashes, appended to `out`;
    /// `is_it(n, at)` tells whether the `n`th of them stands at `at`.
    pub(crate) fn find_many(
        &self,
        hashes: impl ExactSizeIterator<Item = u64>,
        keys: &impl KeyAt,
        mut is_it: impl FnMut(usize, Location) -> bool,
        out: &mut Vec<Location>,
    ) {
        if self.length == 0 {
            out.resize(out.len() + hashes.len(), NOWHERE);
            return;
        }
        let mask = self.mask();
        let mut hashes = hashes;
        let (mut block, mut first) = ([0_u64; BLOCK], [0_u64; BLOCK]);
        let mut done = 0;
        while hashes.len() > 0 {
            let count = hashes.len().min(BLOCK);
            for (hash, first) in block.iter_mut().zip(&mut first).take(count) {
                *hash = hashes.next().unwrap_or(0);
                *first = self.entries[*hash as usize & mask];
            }
            for (hash, first) in block.iter().zip(&mut first).take(count) {
                let mut position = *hash as usize & mask;
                while *first != EMPTY && (*first ^ *hash) >> LOCATION_BITS != 0 {
                    position = (position + 1) & mask;
                    *first = self.entries[position];
                }
                *first = if *first == EMPTY { NOWHERE } else { *first & LOCATION_MASK };
            }
            let mut touched = 0_u64;
            for at in first.iter().take(count).filter(|at| **at != NOWHERE) {
                touched = touched.wrapping_add(keys.touch(*at));
            }
            std::hint::black_box(touched);
            for number in 0..count {
                let at = first[number];
                out.push(if at == NOWHERE || is_it(done + number, at) {
                    at
                } else {
                    // Another key with the same tag stood before.
                    self.find(block[number], |at| is_it(done + number, at)).unwrap_or(NOWHERE)
                });
            }
            done += count;
        }
    }

    /// Points a key to a location; the one it pointed to before, if any.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        at: Location,
        keys: &impl KeyAt,
        is_it: impl FnMut(Location) -> bool,
    ) -> Option<Location> {
        if let Some(position) = self.position(hash, is_it) {
            let before = std::mem::replace(&mut self.entries[position], entry(hash, at));
            return Some(before & LOCATION_MASK);
        }
        self.insert_new(hash, at, keys);
        None
    }

    /// Adds a key that is not there.
    pub(crate) fn insert_new(&mut self, hash: u64, at: Location, keys: &impl KeyAt) {
        self.reserve(1, keys);
        self.put(hash, at);
        self.length += 1;
    }

    fn put(&mut self, hash: u64, at: Location) {
        let mask = self.mask();
        let mut position = hash as usize & mask;
        while self.entries[position] != EMPTY {
            position = (position + 1) & mask;
        }
        self.entries[position] = entry(hash, at);
    }

    /// Moves the key at one location to another.
    pub(crate) fn relocate(&mut self, hash: u64, from: Location, to: Location) {
        if let Some(position) = self.position(hash, |at| at == from) {
            self.entries[position] = entry(hash, to);
        }
    }

    /// Removes a key; where it was.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        keys: &impl KeyAt,
        is_it: impl FnMut(Location) -> bool,
    ) -> Option<Location> {
        let mut hole = self.position(hash, is_it)?;
        let removed = self.entries[hole] & LOCATION_MASK;
        let mask = self.mask();
        let mut next = (hole + 1) & mask;
        while self.entries[next] != EMPTY {
            let home = keys.hash_at(self.entries[next] & LOCATION_MASK) as usize & mask;
            // The entry may fill the hole unless its home lies behind the hole.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.entries[hole] = self.entries[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.entries[hole] = EMPTY;
        self.length -= 1;
        Some(removed)
    }

    /// Makes room for more keys.
    pub(crate) fn reserve(&mut self, more: usize, keys: &impl KeyAt) {
        if (self.length + more) * 8 > self.entries.len() * 5 {
            self.resize((self.length + more) * 8 / 5 + 1, keys);
        }
    }

    /// Gives memory back if much is unused.
    pub(crate) fn shrink(&mut self, keys: &impl KeyAt) {
        if self.entries.len() > 1024 && self.length * 5 < self.entries.len() {
            self.resize(self.length * 2 + 1, keys);
        }
    }

    fn resize(&mut self, entries: usize, keys: &impl KeyAt) {
        let entries = entries.max(ENTRIES_MIN).next_power_of_two();
        let old = std::mem::replace(&mut self.entries, vec![EMPTY; entries]);
        for at in old.into_iter().filter(|entry| *entry != EMPTY).map(|entry| entry & LOCATION_MASK) {
            self.put(keys.hash_at(at), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pluvio_foundation::Random;
    use pluvio_foundation::random::SeededRandom;

    use super::*;

    /// Locations are their own keys, with few hashes and few tags.
    struct Crowded;

    impl KeyAt for Crowded {
        fn hash_at(&self, at: Location) -> u64 {
            ((at % 3) << LOCATION_BITS) | ((at % 5) * 0xfff)
        }

        fn touch(&self, at: Location) -> u64 {
            at
        }
    }

    #[test]
    fn it_equals_a_set_however_crowded() {
        for seed in 0..20 {
            let random = SeededRandom::new(seed);
            let mut table = ProbeTable::default();
            let mut set = BTreeSet::new();
            for step in 0..1500 {
                let key = random.next_u64() % 150;
                let hash = Crowded.hash_at(key);
                if random.next_u64().is_multiple_of(3) {
                    let removed = table.remove(hash, &Crowded, |at| at == key);
                    assert_eq!(removed.is_some(), set.remove(&key), "seed {seed} step {step}");
                } else {
                    let before = table.insert(hash, key, &Crowded, |at| at == key);
                    assert_eq!(before.is_none(), set.insert(key), "seed {seed} step {step}");
                }
                assert_eq!(table.len(), set.len());
                if step % 100 == 0 {
                    table.shrink(&Crowded);
                    let mut found = Vec::new();
                    let hashes = (0..300_usize).map(|key| Crowded.hash_at(key as u64));
                    table.find_many(hashes, &Crowded, |number, at| number as u64 == at, &mut found);
                    let wanted: Vec<u64> =
                        (0..300).map(|key| if set.contains(&key) { key } else { NOWHERE }).collect();
                    assert_eq!(found, wanted, "seed {seed} step {step}");
                }
            }
        }
    }

    #[test]
    fn locations_move() {
        let mut table = ProbeTable::default();
        (0..100).for_each(|key| table.insert_new(Crowded.hash_at(key), key, &Crowded));
        table.relocate(Crowded.hash_at(7), 7, 1007);
        assert_eq!(table.find(Crowded.hash_at(7), |at| at == 1007), Some(1007));
        assert_eq!(table.find(Crowded.hash_at(7), |at| at == 7), None);
    }
}
