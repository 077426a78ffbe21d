//! Spans: the newest rows of an append-only view, in order of their tags.
//!
//! Rows stand in segment files ([`segment`]) and, the newest `bytes_max` bytes
//! of them, in memory. Retention lets the oldest tags go first, by age and by
//! size, but never rows that a holder still needs: those leave memory only, and
//! are read back from their segment when asked for. Tags never go back.
//!
//! Holds are durable: a new or released one before [`Span::hold`] returns, an
//! advance with the next commit. After a restart a holder may thus find more than it needs,
//! never less.

pub(crate) mod retention;
pub(crate) mod segment;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};
use pluvio_foundation::{Clock, Disk};

use crate::error::Result;
use crate::options::SpanRetention;
use crate::store::Inner;
use segment::{Place, SegmentWriter};

/// One append that is still kept.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) tag: u64,
    pub(crate) time_ms: i64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) place: Place,
    /// The rows, unless they are only on disk.
    pub(crate) batch: Option<RecordBatch>,
}

#[derive(Debug, Default)]
pub(crate) struct SpanState {
    pub(crate) entries: VecDeque<Entry>,
    /// How many of the oldest entries are only on disk.
    pub(crate) on_disk: usize,
    pub(crate) rows: u64,
    /// Bytes of all entries.
    pub(crate) kept_bytes: u64,
    /// Bytes of the entries in memory.
    pub(crate) memory_bytes: u64,
    pub(crate) last_tag: Option<u64>,
    pub(crate) holds: BTreeMap<String, u64>,
    /// The oldest segment file that exists.
    pub(crate) oldest_segment: u64,
}

/// The newest rows of an append-only view. Cheap to share.
#[derive(Debug)]
pub struct Span {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) retention: RwLock<SpanRetention>,
    pub(crate) dropped: AtomicBool,
    pub(crate) state: RwLock<SpanState>,
    pub(crate) writer: Mutex<SegmentWriter>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) folder: PathBuf,
    pub(crate) store: Weak<Inner>,
}

impl Span {
    /// The span's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How long rows are kept.
    pub fn retention(&self) -> SpanRetention {
        *self.retention.read()
    }

    /// Rows kept, in memory or held on disk.
    pub fn len_rows(&self) -> u64 {
        self.state.read().rows
    }

    /// Bytes of the rows in memory.
    pub fn bytes(&self) -> u64 {
        self.state.read().memory_bytes
    }

    /// The last tag ever appended, even if its rows are gone.
    pub fn last_tag(&self) -> Option<u64> {
        self.state.read().last_tag
    }

    /// All kept rows with a tag greater than `after_tag` (all if none), in the
    /// order of their appends: the newest last. Rows that are only on disk are
    /// read from there, which is the only way this fails.
    pub fn snapshot(&self, after_tag: Option<u64>) -> Result<Vec<(u64, RecordBatch)>> {
        self.read(after_tag, u64::MAX)
    }

    /// Like [`Span::snapshot`], but only the oldest of those rows: whole tags
    /// until `bytes_max` is reached, at least one tag. What a slow reader uses
    /// to catch up in bounded memory.
    pub fn read(&self, after_tag: Option<u64>, bytes_max: u64) -> Result<Vec<(u64, RecordBatch)>> {
        let (entries, files) = {
            let state = self.state.read();
            let start = after_tag.map_or(0, |tag| state.entries.partition_point(|entry| entry.tag <= tag));
            let mut entries: Vec<Entry> = Vec::new();
            let mut bytes = 0_u64;
            for entry in state.entries.range(start..) {
                if bytes >= bytes_max && entries.last().is_some_and(|last| last.tag != entry.tag) {
                    break;
                }
                bytes = bytes.saturating_add(entry.bytes);
                entries.push(entry.clone());
            }
            // Opened under the lock, so that retention cannot delete them first.
            let on_disk = entries.iter().filter(|entry| entry.batch.is_none());
            let files =
                segment::open_all(&*self.disk, &self.folder, on_disk.map(|entry| entry.place.segment))?;
            (entries, files)
        };
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let batch = match entry.batch {
                Some(batch) => batch,
                None => segment::read_back(&files, &self.folder, entry.place)?,
            };
            found.push((entry.tag, batch));
        }
        Ok(found)
    }

    /// Keeps rows with a tag greater than `after_tag` from being evicted until
    /// the holder says otherwise; none releases. A new or released hold is durable
    /// on return, an advance with the next commit.
    pub fn hold(&self, holder: &str, after_tag: Option<u64>) {
        let before = {
            let mut state = self.state.write();
            match after_tag {
                Some(tag) => state.holds.insert(holder.to_owned(), tag),
                None => state.holds.remove(holder),
            }
        };
        if before == after_tag {
            return;
        }
        let Some(store) = self.store.upgrade() else { return };
        store.holds.lock().insert((self.id, holder.to_owned()), after_tag);
        // An advance that is lost only keeps more than is needed.
        let is_advance = matches!((before, after_tag), (Some(before), Some(after)) if after > before);
        if !is_advance && let Err(error) = store.commit_holds() {
            tracing::warn!(span = self.name, holder, %error, "a changed hold is not durable yet");
        }
        self.evict();
    }

    /// Lets go what retention no longer keeps, in memory and on disk.
    pub(crate) fn evict(&self) {
        let needed = {
            let mut state = self.state.write();
            state.evict(&self.retention(), self.clock.now_ms());
            state.entries.front().map(|entry| entry.place.segment)
        };
        self.delete_segments(needed);
    }

    /// Deletes whole segment files before the one needed. A failure is retried
    /// with the next eviction.
    fn delete_segments(&self, needed: Option<u64>) {
        if self.dropped.load(Ordering::Acquire) {
            return;
        }
        let writer = self.writer.lock();
        let keep_from = needed.unwrap_or(u64::MAX).min(writer.end.segment);
        let first = self.state.read().oldest_segment;
        if first >= keep_from {
            return;
        }
        match segment::delete(&*self.disk, &self.folder, first..keep_from) {
            Ok(()) => self.state.write().oldest_segment = keep_from,
            Err(error) => tracing::warn!(span = self.name, %error, "old span segments were not deleted"),
        }
    }
}
