//! One file's content: what is seen, what is durable, and the writes between.

use pluvio_foundation::Random;
use std::io;

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    what: What,
    /// Covered by a sync that failed: no later sync makes it durable.
    doomed: bool,
}

#[derive(Debug)]
enum What {
    Write { position: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let Some(rest) = usize::try_from(position).ok().and_then(|from| self.seen.get(from..)) else {
            return 0;
        };
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    /// Writes and says by how many bytes the file grew.
    pub(super) fn write(&mut self, bytes: &[u8], position: u64) -> i64 {
        let before = self.seen.len();
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        self.change(What::Write { position, bytes: bytes.to_vec() });
        difference(before, self.seen.len())
    }

    /// Cuts or extends and says by how many bytes the file grew.
    pub(super) fn truncate(&mut self, length: u64) -> i64 {
        let before = self.seen.len();
        self.change(What::Truncate(usize::try_from(length).unwrap_or(usize::MAX)));
        difference(before, self.seen.len())
    }

    fn change(&mut self, what: What) {
        apply(&mut self.seen, &what);
        self.pending.push(Change { what, doomed: false });
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..).filter(|change| !change.doomed) {
            apply(&mut self.durable, &change.what);
        }
    }

    /// Adds what is seen and what is durable to a digest.
    pub(super) fn add_to(&self, digest: &mut Vec<u8>) {
        for content in [&self.seen, &self.durable] {
            digest.extend_from_slice(&content.len().to_be_bytes());
            digest.extend_from_slice(content);
        }
    }

    pub(super) fn doom(&mut self) {
        for change in &mut self.pending {
            change.doomed = true;
        }
    }

    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) -> io::Result<()> {
        let place = usize::try_from(position).unwrap_or(usize::MAX);
        let seen = self.seen.get_mut(place).ok_or(io::ErrorKind::UnexpectedEof)?;
        *seen ^= 1 << (bit & 7);
        match self.durable.get_mut(place) {
            Some(byte) => *byte ^= 1 << (bit & 7),
            // Not durable yet: sync what is seen, so that the flip stays.
            None => self.pending.push(Change {
                what: What::Write { position: place, bytes: vec![self.seen[place]] },
                doomed: false,
            }),
        }
        Ok(())
    }

    /// Leaves what the crash left.
    pub(super) fn crash(&mut self, random: &dyn Random) {
        // A quarter of the crashes keep all, a quarter lose all of a file.
        let mood = random.next_u64() % 4;
        for change in std::mem::take(&mut self.pending) {
            match mood {
                0 => apply(&mut self.durable, &change.what),
                1 => {}
                _ => apply_in_part(&mut self.durable, &change.what, random),
            }
        }
        self.seen = self.durable.clone();
    }
}

fn apply(content: &mut Vec<u8>, what: &What) {
    match what {
        What::Truncate(length) => content.resize(*length, 0),
        What::Write { position, bytes } => {
            let end = position + bytes.len();
            if content.len() < end && !bytes.is_empty() {
                content.resize(end, 0);
            }
            if !bytes.is_empty() {
                content[*position..end].copy_from_slice(bytes);
            }
        }
    }
}

fn apply_in_part(content: &mut Vec<u8>, what: &What, random: &dyn Random) {
    match (random.next_u64() % 4, what) {
        (0, _) => apply(content, what),
        (1, _) | (_, What::Truncate(_)) => {}
        (2, What::Write { position, bytes }) => {
            let kept = usize::try_from(random.next_u64() % (bytes.len() as u64 + 1)).unwrap_or(0);
            apply(content, &What::Write { position: *position, bytes: bytes[..kept].to_vec() });
        }
        (_, What::Write { position, bytes }) => {
            // The length was recorded, but only some sectors were written.
            let end = position + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if random.next_u64().is_multiple_of(2) {
                    let from = position + number * SECTOR_BYTES;
                    content[from..from + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

fn difference(before: usize, after: usize) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
}
