//! What the latest lookup of a table found in the keyed store, and what it did not.
//!
//! Whoever commits rows of a partial table must know which of their keys are new.
//! Mostly the same keys were looked up right before: then the keyed store need not
//! be asked again. What is remembered holds as long as no commit changes the table:
//! rows that meanwhile leave memory or come to it are the same rows.

use crate::codec::key::EncodedKeys;

/// Most keys that are remembered.
const KEYS_MAX: usize = 1 << 20;
/// Most bytes of keys that are remembered.
const BYTES_MAX: usize = 16 << 20;

/// Keys that were not in memory, ascending, and whether they are in the table.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    version: u64,
    keys: EncodedKeys,
    found: Vec<bool>,
}

impl Recent {
    /// Nothing yet of a table of this version.
    pub(crate) fn new(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// Remembers a key, which is behind all before it.
    pub(crate) fn push(&mut self, key: &[u8], found: bool) {
        if self.found.len() < KEYS_MAX && self.keys.memory_bytes() < BYTES_MAX {
            self.keys.push(key);
            self.found.push(found);
        }
    }

    /// Whether this is worth more than `other`.
    pub(crate) fn replaces(&self, other: Option<&Self>) -> bool {
        !self.found.is_empty()
            && other
                .is_none_or(|other| other.version != self.version || other.found.len() <= self.found.len())
    }

    /// A reader, if the table still has that version.
    pub(crate) fn reader(&self, version: u64) -> Option<Reader<'_>> {
        (self.version == version).then_some(Reader { recent: self, next: 0 })
    }
}

/// Answers for ascending keys.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    recent: &'a Recent,
    next: usize,
}

impl Reader<'_> {
    /// Whether the table has the key; none if that is not remembered.
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<bool> {
        while self.next < self.recent.found.len() && self.recent.keys.get(self.next) < key {
            self.next += 1;
        }
        let is_it = self.next < self.recent.found.len() && self.recent.keys.get(self.next) == key;
        is_it.then(|| self.recent.found[self.next])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_in_order_for_one_version() {
        let mut recent = Recent::new(7);
        recent.push(b"b", true);
        recent.push(b"d", false);
        assert!(recent.reader(8).is_none());
        let mut reader = recent.reader(7).unwrap();
        let answers = [&b"a"[..], b"b", b"c", b"d", b"e"].map(|key| reader.find(key));
        assert_eq!(answers, [None, Some(true), None, Some(false), None]);
        assert!(recent.replaces(None) && !Recent::new(7).replaces(None));
        let mut shorter = Recent::new(7);
        shorter.push(b"x", true);
        assert!(!shorter.replaces(Some(&recent)) && recent.replaces(Some(&shorter)));
    }
}
