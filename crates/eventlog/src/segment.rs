//! One segment: a file of whole batches, one after the other, from a base
//! offset on. The newest segment of a partition is written to, the others are
//! closed and never change. Compaction puts another segment in a closed one's
//! place; the old one is retired: it keeps its open file, whose name it lost.

use crate::LogError;
use crate::error::IoContext;
use crate::index::Index;
use crate::shared::Shared;
use parking_lot::Mutex;
use pluvio_foundation::{DiskFile, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const HINTS: usize = 4;
const SIDECAR_BYTES_MAX: u64 = 64 << 20;

/// A range of the file that holds no readable batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) path: PathBuf,
    bytes: AtomicU64,
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    used: AtomicBool,
    pub(crate) places: Mutex<Places>,
}

/// Where things are in the file.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// In memory while written to; else loaded when needed.
    pub(crate) index: Option<Index>,
    /// Whether batches are still added.
    pub(crate) growing: bool,
    /// Damage found so far, by position.
    pub(crate) damage: Vec<Damage>,
    /// Largest timestamp and last append, milliseconds, once known.
    pub(crate) times_ms: Option<(i64, i64)>,
    /// When this program began to write to it, milliseconds.
    pub(crate) growing_since_ms: i64,
    /// Whether another segment took its place.
    retired: bool,
    /// Whether it was told that events are missing at its end.
    pub(crate) gap_told: bool,
    /// Where the last reads ended: offset and position.
    hints: [(i64, u64); HINTS],
    next_hint: usize,
}

impl Places {
    /// The position of the batch with this base offset, if a read ended there.
    pub(crate) fn hint(&self, offset: i64) -> Option<u64> {
        let known = self.hints.iter().find(|(known, position)| *known == offset && *position > 0);
        known.map(|(_, position)| *position)
    }

    pub(crate) fn add_hint(&mut self, offset: i64, position: u64) {
        self.hints[self.next_hint] = (offset, position);
        self.next_hint = (self.next_hint + 1) % HINTS;
    }

    /// The damage that starts at or spans `position`.
    pub(crate) fn damage_at(&self, position: u64) -> Option<Damage> {
        self.damage.iter().find(|damage| (damage.from..damage.to).contains(&position)).copied()
    }

    /// Whether another segment took its place: its names are not its own.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Where the next damage at or after `position` starts.
    pub(crate) fn damage_after(&self, position: u64) -> Option<u64> {
        self.damage.iter().map(|damage| damage.from).filter(|from| *from >= position).min()
    }
}

impl Segment {
    pub(crate) fn new(base_offset: i64, path: PathBuf, bytes: u64) -> Self {
        Self {
            base_offset,
            path,
            bytes: AtomicU64::new(bytes),
            file: Mutex::default(),
            used: AtomicBool::new(false),
            places: Mutex::default(),
        }
    }

    /// Bytes of whole batches (and known damage).
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Lets readers see the file up to here.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Release);
    }

    pub(crate) fn sidecar_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    /// The open file, opened if need be.
    pub(crate) fn file(self: &Arc<Self>, shared: &Shared) -> Result<Arc<dyn DiskFile>, LogError> {
        self.used.store(true, Ordering::Relaxed);
        let mut slot = self.file.lock();
        if let Some(file) = slot.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = shared.disk.open(&self.path, OpenMode::Write).doing("open", &self.path)?;
        let file: Arc<dyn DiskFile> = Arc::from(file);
        *slot = Some(Arc::clone(&file));
        drop(slot);
        shared.open_files.add(self, Self::release_file);
        Ok(file)
    }

    /// Makes the file; it must not exist.
    pub(crate) fn create(self: &Arc<Self>, shared: &Shared) -> std::io::Result<()> {
        let file = shared.disk.open(&self.path, OpenMode::CreateNew)?;
        self.used.store(true, Ordering::Relaxed);
        *self.file.lock() = Some(Arc::from(file));
        shared.open_files.add(self, Self::release_file);
        Ok(())
    }

    fn release_file(&self) -> bool {
        let mut slot = self.file.lock();
        if self.used.swap(false, Ordering::Relaxed) || self.places.lock().retired {
            return false;
        }
        slot.take();
        true
    }

    /// Keeps the open file and the index from now on, because the names will
    /// be another segment's. `None` if the index is not in memory: load it and
    /// ask again. False, and nothing changed, if the segment is damaged.
    pub(crate) fn retire(&self, shared: &Shared) -> Result<Option<bool>, LogError> {
        let mut slot = self.file.lock();
        if slot.is_none() {
            let file = shared.disk.open(&self.path, OpenMode::Write).doing("open", &self.path)?;
            *slot = Some(Arc::from(file));
        }
        let mut places = self.places.lock();
        if places.index.is_none() {
            return Ok(None);
        }
        places.retired = places.damage.is_empty();
        Ok(Some(places.retired))
    }

    /// Takes [`Segment::retire`] back.
    pub(crate) fn unretire(&self) {
        self.places.lock().retired = false;
    }

    /// Whether damage was found in it.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.places.lock().damage.is_empty()
    }

    fn release_index(&self) -> bool {
        let mut places = self.places.lock();
        if !places.growing && !places.retired {
            places.index = None;
        }
        true
    }

    /// Ends the growing: the index may be let go from now on.
    pub(crate) fn close(self: &Arc<Self>, shared: &Shared) {
        let mut places = self.places.lock();
        places.growing = false;
        places.times_ms = places.index.as_ref().map(|index| (index.max_timestamp_ms, index.last_append_ms));
        drop(places);
        shared.indexes.add(self, Self::release_index);
    }

    /// Takes the index of a segment that is, or may be, written to.
    pub(crate) fn keep_growing(&self, index: Index, now_ms: i64) {
        let mut places = self.places.lock();
        places.growing = true;
        places.growing_since_ms = now_ms;
        places.index = Some(index);
    }

    /// Keeps a loaded index at hand for a while.
    pub(crate) fn keep_index(self: &Arc<Self>, shared: &Shared, index: Index) {
        let mut places = self.places.lock();
        places.times_ms = Some((index.max_timestamp_ms, index.last_append_ms));
        places.index = Some(index);
        drop(places);
        shared.indexes.add(self, Self::release_index);
    }

    /// The sidecar's index, if there is a usable one.
    pub(crate) fn read_sidecar(&self, shared: &Shared) -> Option<Index> {
        let file = shared.disk.read(&self.sidecar_path(), SIDECAR_BYTES_MAX).ok()?;
        Index::decode(&file, self.base_offset).filter(|index| index.covered_bytes <= self.bytes())
    }

    /// Writes the index down. Not synced: a start without it is only slower.
    pub(crate) fn write_sidecar(&self, shared: &Shared) -> Result<(), LogError> {
        // Locked to the end, so that the segment is not retired meanwhile.
        let places = self.places.lock();
        let index = places.index.as_ref().filter(|_| !places.retired);
        let Some(bytes) = index.map(Index::encode) else { return Ok(()) };
        write_unsynced(shared, &self.sidecar_path(), &bytes)
    }
}

/// Writes a small file that can be made again if a crash tears it.
pub(crate) fn write_unsynced(shared: &Shared, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let file = shared.disk.open(path, OpenMode::Create).doing("open", path)?;
    file.truncate(0).doing("truncate", path)?;
    file.write_all_at(bytes, 0).doing("write", path)
}
