//! A lake table and its state in memory.
//!
//! Architecture invariant: one [`LakeTable`] is the table's only committer. A
//! lock file keeps other processes and handles out; within it, one mutex orders
//! all commits, so that appends, compaction and retention never conflict.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake::DeltaTable;
use parking_lot::Mutex;
use pluvio_foundation::metrics::Cell;

use crate::error::LakeError;
use crate::files::FileSet;
use crate::options::LakeOptions;
use crate::pins::Pins;
use crate::snapshot::LakeSnapshot;
use crate::writer::LakeWriter;

const LOCK_FILE: &str = "_pluvio.lock";

/// A Delta table on the local disk.
///
/// Async methods need a tokio runtime of either flavour.
#[derive(Debug)]
pub struct LakeTable {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// What writers give and readers get.
    pub(crate) declared: SchemaRef,
    /// What the files hold.
    pub(crate) stored: SchemaRef,
    pub(crate) options: LakeOptions,
    pub(crate) committer: tokio::sync::Mutex<Committer>,
    /// Held throughout [`LakeTable::maintain`], so that only one runs.
    pub(crate) maintenance: tokio::sync::Mutex<Maintenance>,
    pub(crate) view: Mutex<View>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) cells: Cells,
    /// Locked as long as the table is open.
    pub(crate) _lock: File,
}

/// The log's end, held by whoever commits.
#[derive(Debug)]
pub(crate) struct Committer {
    pub delta: DeltaTable,
    /// A commit was begun and its outcome is not known: read the log again.
    pub uncertain: bool,
    /// Files that left the table and still lie on the disk, oldest first.
    pub removed: VecDeque<RemovedFile>,
}

/// A file that left the table.
#[derive(Debug)]
pub(crate) struct RemovedFile {
    /// Path relative to the table's folder.
    pub path: String,
    /// When.
    pub time_ms: i64,
    /// The first version without it.
    pub version: i64,
}

/// What only maintenance needs to know.
#[derive(Debug)]
pub(crate) struct Maintenance {
    /// The newest checkpoint's version, -1 if there is none.
    pub checkpoint: i64,
}

/// The newest committed version, as everyone sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub version: i64,
    pub files: FileSet,
    pub epochs: Arc<HashMap<String, i64>>,
}

#[derive(Debug)]
pub(crate) struct Cells {
    rows: Arc<Cell>,
    bytes: Arc<Cell>,
    files: Arc<Cell>,
    version: Arc<Cell>,
    pub commits: Arc<Cell>,
}

impl Cells {
    pub(crate) fn new(options: &LakeOptions, table: &str) -> Self {
        let cell = |name| options.metrics.cell(name, table);
        Self {
            rows: cell("lake_rows"),
            bytes: cell("lake_bytes"),
            files: cell("lake_files"),
            version: cell("lake_version"),
            commits: cell("lake_commits"),
        }
    }

    fn show(&self, view: &View) {
        self.rows.set(view.files.rows);
        self.bytes.set(view.files.bytes);
        self.files.set(view.files.files.len() as u64);
        self.version.set(u64::try_from(view.version).unwrap_or(0));
    }
}

impl LakeTable {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table's folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The columns, as declared: what [`LakeWriter::write`] takes and what a
    /// snapshot's provider gives.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.declared)
    }

    /// The newest committed version; 0 is the empty table.
    pub fn version(&self) -> i64 {
        self.view.lock().version
    }

    /// Number of committed rows.
    pub fn rows(&self) -> u64 {
        self.view.lock().files.rows
    }

    /// Number of files that hold them.
    pub fn files(&self) -> u64 {
        self.view.lock().files.files.len() as u64
    }

    /// Length of those files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.view.lock().files.bytes
    }

    /// The last epoch of `job` that the table holds; `None` if it holds none.
    /// This is read from the table's log, so it is true after any crash.
    pub fn committed_epoch(&self, job: &str) -> Option<i64> {
        self.view.lock().epochs.get(job).copied()
    }

    /// A writer for one job. Several jobs may write at once, each with its own.
    pub fn writer(self: &Arc<Self>, job: &str) -> LakeWriter {
        LakeWriter::new(Arc::clone(self), job)
    }

    /// Everything committed now, pinned: later commits do not change it, and
    /// its files stay on the disk until the provider and its plans are dropped.
    ///
    /// # Errors
    /// None at present; storage that is not local will have some.
    pub async fn snapshot(&self) -> Result<LakeSnapshot, LakeError> {
        Ok(self.pinned_snapshot())
    }

    pub(crate) fn publish(&self, view: View) {
        self.cells.show(&view);
        *self.view.lock() = view;
    }
}

/// Takes the table's lock, or says who else must hold it.
pub(crate) fn lock(folder: &Path) -> Result<File, LakeError> {
    let path = folder.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| LakeError::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LakeError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(LakeError::io("lock", &path, error)),
    }
}
