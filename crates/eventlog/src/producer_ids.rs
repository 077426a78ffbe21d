//! The file `producer-ids`: which producer ids were handed out.
//!
//! Content, inside the frame of [`crate::sealed`], kind `PLID`: 8 bytes, the
//! first id of the next block. A block is taken durably before any id of it is
//! handed out, so no id is handed out twice, whatever crashes.

use crate::LogError;
use crate::error::IoContext;
use crate::sealed::{self, Sealer};
use bytes::{Buf, BufMut};
use parking_lot::Mutex;
use pluvio_foundation::{Clock, Disk};
use std::path::{Path, PathBuf};

const KIND: [u8; 4] = *b"PLID";
const FILE_NAME: &str = "producer-ids";
const FILE_BYTES_MAX: u64 = 1 << 10;
const BLOCK_IDS: i64 = 1_000;

/// The counter.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// Goes on after the last block taken. An unreadable file is reported and
    /// the count goes on far above any id ever counted to.
    pub(crate) fn open(
        root: &Path,
        disk: &dyn Disk,
        clock: &dyn Clock,
        reports: &mut Vec<String>,
    ) -> Result<Self, LogError> {
        let path = root.join(FILE_NAME);
        let next = if disk.exists(&path) {
            let file = disk.read(&path, FILE_BYTES_MAX).doing("read", &path)?;
            match sealed::open(KIND, &file).filter(|content| content.len() == 8) {
                Some(mut content) => content.get_i64(),
                None => {
                    let next = clock.now_us();
                    let shown = path.display();
                    reports.push(format!("{shown} is damaged; producer ids go on from {next}"));
                    next
                }
            }
        } else {
            0
        };
        Ok(Self { path, block: Mutex::new(Block { next, end: next }) })
    }

    /// An id never handed out before.
    pub(crate) fn take(&self, disk: &dyn Disk) -> Result<i64, LogError> {
        let mut block = self.block.lock();
        if block.next == block.end {
            let end = block.end + BLOCK_IDS;
            let mut sealer = Sealer::new(KIND, 8);
            sealer.content().put_i64(end);
            disk.replace(&self.path, &sealer.finish()).doing("write", &self.path)?;
            block.end = end;
        }
        block.next += 1;
        Ok(block.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pluvio_foundation::random::SeededRandom;
    use pluvio_testkit::{ManualClock, SimDisk};
    use std::collections::HashSet;

    #[test]
    fn never_twice_over_crashes() {
        let root = Path::new("/");
        let clock = ManualClock::default();
        let mut disk = SimDisk::new();
        let mut seen = HashSet::new();
        for life in 0..10 {
            let ids = ProducerIds::open(root, &disk, &clock, &mut Vec::new()).unwrap();
            for _ in 0..life * 300 {
                assert!(seen.insert(ids.take(&disk).unwrap()));
            }
            disk = disk.crash(&SeededRandom::new(life));
        }
        disk.flip_bit(Path::new("/producer-ids"), 12, 1).unwrap();
        let mut reports = Vec::new();
        let ids = ProducerIds::open(root, &disk, &clock, &mut reports).unwrap();
        assert!(seen.insert(ids.take(&disk).unwrap()));
        assert_eq!(reports.len(), 1);
    }
}
