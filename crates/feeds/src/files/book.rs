//! What is known of each file: how far it was taken, and how to know it again.

use std::collections::HashMap;

use pluvio_wire_kafka::records::Record;
use serde::{Deserialize, Serialize};

use crate::mark::{FileId, Head, Mark};
use crate::scan::header;

/// The header with a file's path.
pub(crate) const FILE: &str = "file";
/// The header with the place behind a line.
pub(crate) const POSITION: &str = "position";
/// Most files that are remembered though they are not there any more.
const GONE_MAX: usize = 10_000;

/// How far a file was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub id: FileId,
    /// The path under which it was first found: the events' header, and what
    /// chooses their partition.
    pub path: String,
    /// How often it began anew.
    pub generation: u64,
    /// Up to where it was taken, in bytes.
    pub position: u64,
    /// Its bytes before that, at most the first 1024.
    pub head: Head,
    /// Whether `position` is inside of a line that is left out.
    #[serde(default)]
    pub skipping: bool,
}

impl Known {
    fn progress(&self) -> (u64, u64) {
        (self.generation, self.position)
    }
}

/// The positions of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Positions {
    /// Whether the files were listed that were there at first.
    pub began: bool,
    /// Oldest first.
    pub files: Vec<Known>,
}

/// Files that were known before and are not being followed.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// With the turn in which each came.
    known: HashMap<FileId, (u64, Known)>,
    turns: u64,
}

impl Book {
    pub fn new(files: Vec<Known>) -> Self {
        let mut book = Self::default();
        files.into_iter().for_each(|known| book.put(known));
        book
    }

    /// Takes in what a marked event says.
    pub fn note(&mut self, mark: Mark, record: &Record<'_>) {
        let Mark::File { generation, id, head } = mark else { return };
        let position = header(record, POSITION).and_then(|text| text.parse().ok());
        let (Some(path), Some(position)) = (header(record, FILE), position) else { return };
        let path = path.to_owned();
        self.put(Known { id, path, generation, position, head, skipping: false });
    }

    /// Remembers a file, unless it is known to be further on.
    pub fn put(&mut self, known: Known) {
        self.turns += 1;
        match self.known.get_mut(&known.id) {
            Some((_, before)) if before.progress() >= known.progress() => {}
            Some(before) => *before = (self.turns, known),
            None => _ = self.known.insert(known.id, (self.turns, known)),
        }
    }

    /// Forgets the oldest of too many. Not before all files that are there were
    /// taken out.
    pub fn shrink(&mut self) {
        let over = self.known.len().saturating_sub(GONE_MAX);
        let oldest: Vec<FileId> = self.files().into_iter().take(over).map(|known| known.id).collect();
        oldest.into_iter().for_each(|id| self.forget(id));
    }

    /// Takes a file out, to follow it.
    pub fn take(&mut self, id: FileId) -> Option<Known> {
        self.known.remove(&id).map(|(_, known)| known)
    }

    /// The file of this path and inode on a device that has another number now,
    /// as after a restart of the machine. Whether it is the same its first bytes
    /// must tell.
    pub fn moved_device(&self, path: &str, id: FileId) -> Option<Known> {
        let is_it = |known: &&Known| {
            let renumbered = known.id.inode == id.inode && known.id.device != id.device;
            renumbered && known.path == path && known.head.length > 0
        };
        let found = self.known.values().map(|(_, known)| known).filter(is_it);
        found.max_by_key(|known| known.progress()).map(|known| Known { id, ..known.clone() })
    }

    /// All, oldest first.
    pub fn files(&self) -> Vec<&Known> {
        let mut files: Vec<_> = self.known.values().collect();
        files.sort_by_key(|(turn, _)| *turn);
        files.into_iter().map(|(_, known)| known).collect()
    }

    pub fn forget(&mut self, id: FileId) {
        self.known.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(inode: u64, generation: u64, position: u64) -> Known {
        let (id, head) = (FileId { device: 1, inode }, Head { length: 1, hash: 1 });
        Known { id, path: "/a".into(), generation, position, head, skipping: false }
    }

    #[test]
    fn the_furthest_is_known() {
        let mut book = Book::default();
        for (generation, position) in [(0, 50), (0, 40), (1, 5), (0, 70), (1, 3)] {
            book.put(known(7, generation, position));
        }
        assert_eq!(book.files(), [&known(7, 1, 5)]);
        assert_eq!(book.take(FileId { device: 1, inode: 7 }), Some(known(7, 1, 5)));
        assert_eq!(book.take(FileId { device: 1, inode: 7 }), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut book = Book::new((0..GONE_MAX as u64 + 5).map(|inode| known(inode, 0, 1)).collect());
        book.shrink();
        assert_eq!(book.files().len(), GONE_MAX);
        let left = |inode| book.files().iter().any(|known| known.id.inode == inode);
        assert!(!left(4) && left(5));
    }

    #[test]
    fn a_device_may_get_another_number() {
        let book = Book::new(vec![known(7, 2, 9)]);
        let id = FileId { device: 3, inode: 7 };
        assert_eq!(book.moved_device("/a", id), Some(Known { id, ..known(7, 2, 9) }));
        assert_eq!(book.moved_device("/b", id), None);
        assert_eq!(book.moved_device("/a", FileId { device: 1, inode: 7 }), None);
    }
}
