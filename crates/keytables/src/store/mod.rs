//! The store: opening, tables and spans by name, and what reads the whole of it.

mod background;
mod checkpoint;
pub(crate) mod commit;
mod ddl;
mod load;
mod manifest;
mod memory;
mod metrics;
mod open;
mod publish;
mod replay;
mod resolve;
mod write_rows;
mod write_run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use pluvio_foundation::{Clock, Disk, Metrics};

use crate::cold::Cold;
use crate::error::{Result, TableError};
use crate::hot::chunk::Chunk;
use crate::journal::Journal;
use crate::options::{SpanRetention, StoreOptions};
use crate::span::Span;
use crate::table::KeyTable;
use checkpoint::{Job, Pace};
use commit::Commit;
use load::Loading;
use metrics::StoreMetrics;

/// Largest journal that a last checkpoint is made of: a second's work.
const LAST_CHECKPOINT_BYTES_MAX: u64 = 16 << 20;
/// How long closing waits for the keyed store to end a merge.
const MERGE_WAIT: Duration = Duration::from_secs(2);

/// Changes to the meta data of the keyed store since the last checkpoint began.
pub(crate) type MetaChanges = BTreeMap<Vec<u8>, Option<Bytes>>;

/// What only one commit at a time may touch.
#[derive(Debug)]
pub(crate) struct CommitState {
    journal: Journal,
    /// The last durable sequence number.
    seq: u64,
    meta_changes: MetaChanges,
    /// Tables, by their number, that changed since a frame last told how many rows
    /// they have.
    changed: BTreeMap<u32, Arc<KeyTable>>,
}

/// Tables and spans by name.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    next_id: u32,
    tables: BTreeMap<String, Arc<KeyTable>>,
    spans: BTreeMap<String, Arc<Span>>,
}

/// Everything that tables, spans and commits share.
#[derive(Debug)]
pub(crate) struct Inner {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: StoreOptions,
    metrics: StoreMetrics,
    running: Mutex<Option<Job>>,
    /// The chunks that the running checkpoint writes, with their bytes.
    writing: Mutex<Vec<(Weak<Chunk>, usize)>>,
    /// How many wait for the running checkpoint to end.
    awaited: AtomicU32,
    commit: Mutex<CommitState>,
    publish: RwLock<()>,
    catalog: RwLock<Catalog>,
    notes: RwLock<BTreeMap<String, Bytes>>,
    /// Changed holds that no frame carries yet.
    pub(crate) holds: Mutex<BTreeMap<(u32, String), Option<u64>>>,
    cold: RwLock<Option<Arc<Cold>>>,
    committed: AtomicU64,
    applied: AtomicU64,
    journal_bytes: AtomicU64,
    /// Counts lookups and commits, to know what was used last.
    uses: Arc<AtomicU64>,
    closed: AtomicBool,
    stopping: AtomicBool,
    /// Whether the background thread was asked to look at once.
    wake: Mutex<bool>,
    woken: Condvar,
}

/// Real-time tables and spans in one folder.
#[derive(Debug)]
pub struct Store {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in `dir`, made if absent: replays the journal, cuts off what
    /// a crash left half-written. Rows that are stored are not read for that; tables
    /// that fit into memory are loaded afterwards, in the background or by
    /// [`Store::load`].
    ///
    /// `dir` is used through `disk` for the journal, the spans and the manifest,
    /// and as a real folder for the keyed store. Fails with `Unavailable` while
    /// another store has it open, with `Corrupt` if durable bytes are damaged.
    pub fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        options: StoreOptions,
    ) -> Result<Arc<Self>> {
        let inner = open::open(dir, disk, clock, metrics, options)?;
        let thread = if inner.options.background { Some(background::start(&inner)?) } else { None };
        Ok(Arc::new(Self { inner, thread: Mutex::new(thread) }))
    }

    /// Makes a table; durable on return. One of the same name, columns and key
    /// is returned as it is; any other of that name is `AlreadyExists`.
    pub fn create_table(&self, name: &str, schema: SchemaRef, key: &[usize]) -> Result<Arc<KeyTable>> {
        self.inner.create_table(name, schema, key, key.len())
    }

    /// A table whose rows can also be found by the first `group` of its key
    /// columns ([`KeyTable::lookup_group`]). The group is part of the table like
    /// its key: kept on disk, and the same again or `AlreadyExists`. With all key
    /// columns it is a table as [`Store::create_table`] makes it.
    pub fn create_grouped_table(
        &self,
        name: &str,
        schema: SchemaRef,
        key: &[usize],
        group: usize,
    ) -> Result<Arc<KeyTable>> {
        self.inner.create_table(name, schema, key, group)
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<Arc<KeyTable>> {
        self.inner.catalog.read().tables.get(name).cloned()
    }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<KeyTable>> {
        self.inner.catalog.read().tables.values().cloned().collect()
    }

    /// Removes a table for good; `NotFound` if there is none.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        self.inner.drop_table(name)
    }

    /// Makes a span; durable on return. One of the same name and columns is
    /// returned, and keeps to the retention given now.
    pub fn create_span(&self, name: &str, schema: SchemaRef, retention: SpanRetention) -> Result<Arc<Span>> {
        self.inner.create_span(name, schema, retention)
    }

    /// The span of this name.
    pub fn span(&self, name: &str) -> Option<Arc<Span>> {
        self.inner.catalog.read().spans.get(name).cloned()
    }

    /// All spans, by name.
    pub fn spans(&self) -> Vec<Arc<Span>> {
        self.inner.catalog.read().spans.values().cloned().collect()
    }

    /// Removes a span for good; `NotFound` if there is none.
    pub fn drop_span(&self, name: &str) -> Result<()> {
        self.inner.drop_span(name)
    }

    /// An empty commit to collect changes in.
    pub fn begin(&self) -> Commit {
        Commit::new(Arc::clone(&self.inner))
    }

    /// The last committed value of a note.
    pub fn note(&self, name: &str) -> Option<Bytes> {
        self.inner.notes.read().get(name).cloned()
    }

    /// The names of all notes that begin with `prefix`.
    pub fn note_names(&self, prefix: &str) -> Vec<String> {
        let notes = self.inner.notes.read();
        notes.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// The sequence number of the last commit, 0 before the first.
    pub fn committed_seq(&self) -> u64 {
        self.inner.committed.load(Ordering::Acquire)
    }

    /// Runs `f` while no commit is published: snapshots, lookups and notes taken
    /// in it are of one instant. Keep it short, and do not commit, create, drop
    /// or hold in it: that would wait for itself.
    pub fn read_together<R>(&self, f: impl FnOnce() -> R) -> R {
        let _shared = self.inner.publish.read_recursive();
        f()
    }

    /// Writes everything committed so far to the keyed store and deletes the
    /// journal files that are no longer needed; lets spans and, over the memory
    /// budget, cold rows go.
    pub fn checkpoint(&self) -> Result<()> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(TableError::Closed);
        }
        self.inner.checkpoint(&Pace::unhindered())?;
        self.inner.evict_spans();
        self.inner.keep_budget();
        Ok(())
    }

    /// Brings tables to memory that fit into the budget.
    pub fn load(&self) -> Result<()> {
        let mut loading = Loading::new(&self.inner);
        while loading.step(&self.inner, &Pace::unhindered())? {}
        Ok(())
    }

    /// Ends the store's thread, and makes a last checkpoint if that is a matter of a
    /// second. What is committed is durable with or without it; it only makes the
    /// next start faster. Tables and spans in hand can still be read from memory,
    /// not changed.
    pub fn close(&self) {
        if let Err(error) = self.inner.commit_holds() {
            tracing::debug!(%error, "advances of holds were not kept");
        }
        let was_closed = self.inner.closed.swap(true, Ordering::AcqRel);
        self.stop();
        let short = self.inner.journal_bytes.load(Ordering::Relaxed) <= LAST_CHECKPOINT_BYTES_MAX;
        if !was_closed
            && short
            && let Err(error) = self.inner.checkpoint(&Pace::unhindered())
        {
            tracing::warn!(%error, "the last checkpoint failed; the next start replays the journal instead");
        }
        self.inner.release(Some(MERGE_WAIT));
    }

    fn stop(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        self.inner.wake();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread ended by a panic");
        }
    }
}

impl Drop for Store {
    /// Like a crash that loses nothing: no last checkpoint, but the folder is
    /// free to be opened again.
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::Release);
        self.stop();
        self.inner.release(None);
    }
}

impl Inner {
    /// Lets the keyed store go, so that the folder can be opened again. It ends once
    /// the merge it is at is done: nobody need wait for that whose process ends.
    fn release(&self, longest: Option<Duration>) {
        // Waits for a commit or checkpoint under way.
        let mut running = self.running.lock();
        let _commit = self.commit.lock();
        *running = None;
        for table in self.catalog.read().tables.values() {
            table.cold.close();
        }
        let cold = self.cold.write().take();
        let Some(longest) = longest else { return drop(cold) };
        let (ended, end) = std::sync::mpsc::channel();
        let drop_it = move || {
            drop(cold);
            // Nobody may wait any more.
            let _nobody = ended.send(());
        };
        if std::thread::Builder::new().name("table-close".to_owned()).spawn(drop_it).is_ok()
            && end.recv_timeout(longest).is_err()
        {
            tracing::debug!("the keyed store is still merging and ends by itself");
        }
    }

    /// The keyed store.
    fn cold(&self) -> Result<Arc<Cold>> {
        self.cold.read().clone().ok_or(TableError::Closed)
    }

    /// Has the background thread look at once.
    fn wake(&self) {
        *self.wake.lock() = true;
        self.woken.notify_all();
    }
}
