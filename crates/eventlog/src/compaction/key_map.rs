//! The newest offset of each key, under a limit of memory. Keys are kept as
//! 128-bit hashes under a seed of this process, so that nobody can make two
//! keys meet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// What a slot of the table takes: two numbers of the hash, an offset, a byte
/// of the table's own.
const SLOT_BYTES: usize = 25;
const SLOTS_MIN: usize = 16;

/// A key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash(u64, u64);

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Gives back what is a hash already.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Newest offsets by key.
#[derive(Debug)]
pub(super) struct KeyMap {
    offsets: HashMap<KeyHash, i64, BuildHasherDefault<AsItIs>>,
    keys_max: usize,
    seeds: (u64, u64),
}

impl KeyMap {
    /// An empty map that takes at most `bytes_max` bytes, but room for a few
    /// keys at least.
    pub(super) fn new(bytes_max: usize, seeds: (u64, u64)) -> Self {
        let slots = (bytes_max / SLOT_BYTES).max(SLOTS_MIN);
        let slots = if slots.is_power_of_two() { slots } else { slots.next_power_of_two() / 2 };
        // A table grows when seven eighths of it are taken.
        Self { offsets: HashMap::default(), keys_max: slots / 8 * 7, seeds }
    }

    fn hash(&self, key: &[u8]) -> KeyHash {
        let of = |seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        };
        KeyHash(of(self.seeds.0), of(self.seeds.1))
    }

    /// Notes that a key was at this offset, the newest so far; false if there
    /// is no room for one more key.
    pub(super) fn note(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        if let Some(newest) = self.offsets.get_mut(&hash) {
            *newest = offset;
            return true;
        }
        let room = self.offsets.len() < self.keys_max;
        if room {
            self.offsets.insert(hash, offset);
        }
        room
    }

    /// The newest offset noted for a key.
    pub(super) fn newest(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_newest_and_keeps_its_limit() {
        let mut map = KeyMap::new(1 << 10, (1, 2));
        let mut offset = 0_i32;
        while map.note(&offset.to_be_bytes(), i64::from(offset)) {
            offset += 1;
        }
        assert_eq!(offset, 28);
        assert!(map.note(&5_i32.to_be_bytes(), 100));
        let newest = |key: i32| map.newest(&key.to_be_bytes());
        assert_eq!((newest(5), newest(6), newest(28)), (Some(100), Some(6), None));
        let bytes = map.offsets.capacity() / 7 * 8 * SLOT_BYTES;
        assert!(bytes <= 1 << 10, "{bytes}");
    }
}
