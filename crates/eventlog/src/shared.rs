//! What all partitions of a log use together.

use crate::backlog::Backlog;
use crate::buffers::Buffers;
use crate::checkpoint::{self, Known};
use crate::error::IoContext;
use crate::open_files::OpenFiles;
use crate::partition::Partition;
use crate::space::SpaceGuard;
use crate::sync::SyncQueue;
use crate::tail::TailBudget;
use crate::topic::Topic;
use crate::{LogError, LogOptions};
use parking_lot::{Mutex, RwLock};
use pluvio_foundation::metrics::Cell;
use pluvio_foundation::{Clock, Disk, Metrics, Random};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Most lines the report keeps; what is worse than that needs the program's log.
const REPORT_LINES_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) metrics: Metrics,
    pub(crate) options: LogOptions,
    pub(crate) space: SpaceGuard,
    pub(crate) tails: TailBudget,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) open_files: OpenFiles,
    pub(crate) indexes: OpenFiles,
    pub(crate) syncs: SyncQueue,
    pub(crate) backlog: Backlog,
    pub(crate) cells: Cells,
    /// The topics by name. Cleared when the log is dropped, which breaks the
    /// circle of references through the partitions.
    pub(crate) topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// The same by id; changed together.
    pub(crate) topics_by_id: RwLock<HashMap<[u8; 16], Arc<Topic>>>,
    pub(crate) topics_version: AtomicU64,
    /// The checkpoint file as it was last written.
    checkpoint: Mutex<Vec<u8>>,
    reports: Mutex<Vec<String>>,
    closed: AtomicBool,
}

/// Numbers of the log as a whole.
#[derive(Debug)]
pub(crate) struct Cells {
    pub(crate) fsyncs: Arc<Cell>,
    pub(crate) fsync_us: Arc<Cell>,
    pub(crate) refused_disk_full: Arc<Cell>,
    pub(crate) quarantined_bytes: Arc<Cell>,
    pub(crate) failed_partitions: Arc<Cell>,
    pub(crate) removed_segments: Arc<Cell>,
    pub(crate) compacted_bytes: Arc<Cell>,
}

/// Most segment indexes kept in memory beside those being written.
const INDEXES_MAX: usize = 256;

impl Shared {
    pub(crate) fn new(
        root: PathBuf,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        options: LogOptions,
    ) -> Self {
        let cell = |name| metrics.cell(name, "");
        let cells = Cells {
            fsyncs: cell("log_fsyncs"),
            fsync_us: cell("log_fsync_us"),
            refused_disk_full: cell("log_appends_refused_disk_full"),
            quarantined_bytes: cell("log_quarantined_bytes"),
            failed_partitions: cell("log_failed_partitions"),
            removed_segments: cell("log_removed_segments"),
            compacted_bytes: cell("log_compacted_bytes"),
        };
        let buffers = Arc::new(Buffers::default());
        Self {
            space: SpaceGuard::new(root.clone(), options.disk_reserve_bytes),
            tails: TailBudget::new(
                options.tail_bytes_total,
                metrics.cell("log_tail_bytes", ""),
                Arc::clone(&buffers),
            ),
            buffers,
            open_files: OpenFiles::new(options.open_files_max),
            indexes: OpenFiles::new(INDEXES_MAX),
            syncs: SyncQueue::default(),
            backlog: Backlog::new(options.unsynced_bytes_per_topic, options.unsynced_bytes_total),
            topics: RwLock::default(),
            topics_by_id: RwLock::default(),
            topics_version: AtomicU64::new(0),
            checkpoint: Mutex::default(),
            reports: Mutex::default(),
            closed: AtomicBool::new(false),
            root,
            disk,
            clock,
            random,
            metrics,
            options,
            cells,
        }
    }

    pub(crate) fn add_topic(&self, topic: &Arc<Topic>) {
        self.topics.write().insert(topic.name().to_owned(), Arc::clone(topic));
        self.topics_by_id.write().insert(topic.id(), Arc::clone(topic));
        self.topics_version.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_topic(&self, topic: &Topic) {
        self.topics.write().remove(topic.name());
        self.topics_by_id.write().remove(&topic.id());
        self.topics_version.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn forget_topics(&self) {
        self.topics.write().clear();
        self.topics_by_id.write().clear();
    }

    /// Tells the operator, now and whenever the report is asked for.
    pub(crate) fn report(&self, line: String) {
        tracing::warn!("{line}");
        let mut reports = self.reports.lock();
        if reports.len() < REPORT_LINES_MAX {
            reports.push(line);
        }
    }

    /// All partitions of all topics.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.topics.read().values().flat_map(|topic| topic.partitions()).collect()
    }

    /// Writes down what is durable, if that changed since the last time.
    pub(crate) fn write_checkpoint(&self) -> Result<(), LogError> {
        let mut written = self.checkpoint.lock();
        let mut entries = Vec::new();
        for partition in self.partitions() {
            let known =
                Known { start_offset: partition.start_offset(), durable_offset: partition.durable_offset() };
            if known != Known::default() {
                entries.push((partition.topic.id, partition.index(), known));
            }
        }
        let bytes = checkpoint::encode(&entries);
        if bytes != *written {
            let path = self.root.join(checkpoint::FILE_NAME);
            self.disk.replace(&path, &bytes).doing("write", &path)?;
            *written = bytes;
        }
        Ok(())
    }

    pub(crate) fn reports(&self) -> Vec<String> {
        self.reports.lock().clone()
    }

    pub(crate) fn check_open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Marks the log closed; true for the first caller.
    pub(crate) fn close(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        self.backlog.wake();
        first
    }
}
