//! The file that takes the place of a run of closed segments. As long as
//! nothing fell out of a single segment nothing is written; what was unchanged
//! before the first loss is then copied as it is.

use crate::error::IoContext;
use crate::index::Index;
use crate::partition::Partition;
use crate::scan::gap_mark;
use crate::{LogError, layout};
use pluvio_foundation::{DiskFile, OpenMode};
use pluvio_wire_kafka::records::{BatchHeader, set_leader_epoch};
use std::path::PathBuf;

const BUFFER_BYTES: usize = 1 << 20;

/// A segment in the making.
pub(super) struct Output<'a> {
    partition: &'a Partition,
    pub(super) path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    buffer: Vec<u8>,
    written: u64,
    /// The offset that a batch without a gap before it would have.
    expected: i64,
    pub(super) index: Index,
}

impl<'a> Output<'a> {
    /// Takes the place of the segments from `base_offset` to before `end`.
    pub(super) fn new(partition: &'a Partition, base_offset: i64, end: i64) -> Self {
        Self {
            partition,
            path: layout::compacting(&partition.folder(), base_offset, end),
            file: None,
            buffer: Vec::new(),
            written: 0,
            expected: base_offset,
            index: Index::new(base_offset),
        }
    }

    /// Bytes of the batches so far.
    pub(super) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether anything is written, and so anything is to be replaced.
    pub(super) fn is_begun(&self) -> bool {
        self.file.is_some()
    }

    /// Makes the file, which begins with what was the same so far in `source`.
    pub(super) fn begin(&mut self, source: &dyn DiskFile) -> Result<(), LogError> {
        if self.is_begun() {
            return Ok(());
        }
        let file = self.partition.shared.disk.open(&self.path, OpenMode::Create).doing("open", &self.path)?;
        file.truncate(0).doing("truncate", &self.path)?;
        self.file = Some(file);
        let mut left = std::mem::take(&mut self.written);
        while left > 0 {
            let count = BUFFER_BYTES.min(usize::try_from(left).unwrap_or(BUFFER_BYTES));
            let mut chunk = vec![0; count];
            source.read_exact_at(&mut chunk, self.written).doing("read", &self.path)?;
            left -= count as u64;
            self.buffer = chunk;
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a batch.
    pub(super) fn put(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), LogError> {
        let position = self.bytes();
        self.index.push(header, position);
        let gap = header.base_offset != self.expected;
        self.expected = header.last_offset() + 1;
        if !self.is_begun() {
            self.written += batch.len() as u64;
            return Ok(());
        }
        let from = self.buffer.len();
        self.buffer.extend_from_slice(batch);
        set_leader_epoch(&mut self.buffer[from..], if gap { gap_mark(header.base_offset) } else { 0 });
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let shared = &self.partition.shared;
        let Some(file) = &self.file else { return Ok(()) };
        shared.space.admit(self.buffer.len(), &*shared.disk, &*shared.clock)?;
        file.write_all_at(&self.buffer, self.written).doing("write", &self.path)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes what was put durable, though not under its final name.
    pub(super) fn finish(&mut self) -> Result<(), LogError> {
        self.flush()?;
        match &self.file {
            Some(file) => file.sync().doing("sync", &self.path),
            None => Ok(()),
        }
    }

    /// Removes the file again.
    pub(super) fn discard(self) {
        if self.is_begun() {
            // What is left is removed at the next start.
            let _ = self.partition.shared.disk.remove_file(&self.path);
        }
    }
}
