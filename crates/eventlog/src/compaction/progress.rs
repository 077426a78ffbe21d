//! The file `compaction` in a partition's folder: up to which offset the
//! partition was compacted.
//!
//! Content, inside the frame of [`crate::sealed`], kind `PLCO`: 8 bytes offset.
//! Without it all is compacted anew.

use crate::LogError;
use crate::partition::Partition;
use crate::sealed::{self, Sealer};
use crate::segment::write_unsynced;
use bytes::{Buf, BufMut};
use std::sync::atomic::Ordering;

const FILE_NAME: &str = "compaction";
const KIND: [u8; 4] = *b"PLCO";
const FILE_BYTES_MAX: u64 = 1 << 10;
/// What `compacted_to` says before the file was read.
pub(crate) const UNKNOWN: i64 = -1;

impl Partition {
    /// Events before this offset were compacted.
    pub(super) fn compacted_to(&self) -> i64 {
        let known = self.compacted_to.load(Ordering::Acquire);
        if known != UNKNOWN {
            return known;
        }
        let file = self.shared.disk.read(&self.folder().join(FILE_NAME), FILE_BYTES_MAX).ok();
        let mut content = file.as_deref().and_then(|file| sealed::open(KIND, file)).unwrap_or_default();
        let offset = content.try_get_i64().unwrap_or(0).clamp(0, self.end_offset());
        self.compacted_to.store(offset, Ordering::Release);
        offset
    }

    pub(super) fn set_compacted_to(&self, offset: i64) -> Result<(), LogError> {
        self.compacted_to.store(offset, Ordering::Release);
        let mut sealer = Sealer::new(KIND, 8);
        sealer.content().put_i64(offset);
        write_unsynced(&self.shared, &self.folder().join(FILE_NAME), &sealer.finish())
    }
}
