//! The log as a whole: its topics, its threads, its beginning and its end.

use crate::buffers::Buffers;
use crate::checkpoint::{self, Known};
use crate::error::IoContext;
use crate::meta::Meta;
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::recovery::Checkpointed;
use crate::shared::Shared;
use crate::topic::Topic;
use crate::topics::new_topic;
use crate::{LogError, LogOptions, identity, layout, meta, sync};
use crossbeam_channel::{RecvTimeoutError, Sender};
use parking_lot::Mutex;
use pluvio_foundation::{Clock, Disk, Metrics, Random};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Most threads that look through partitions at the start.
const RECOVERY_THREADS_MAX: usize = 8;

/// The event log. One process may have a folder open at a time; nothing here
/// guards against a second one.
#[derive(Debug)]
pub struct EventLog {
    pub(crate) shared: Arc<Shared>,
    id: [u8; 16],
    producer_ids: ProducerIds,
    /// Held while topics are made, changed or deleted.
    pub(crate) changing: Mutex<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Dropped to stop the threads of maintenance and compaction.
    running: Mutex<Option<Sender<()>>>,
}

impl EventLog {
    /// Opens the log in `dir`, made if absent, and recovers what a crash left:
    /// see [`EventLog::recovery_report`].
    ///
    /// Fails with `Io` if the folder cannot be used, and with `DiskFull` if
    /// there is no room to keep what recovery would cut off.
    pub fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        options: LogOptions,
    ) -> Result<Arc<Self>, LogError> {
        layout::make_folder(&*disk, &dir.join(layout::TOPICS))?;
        let shared = Arc::new(Shared::new(dir.to_owned(), disk, clock, random, metrics, options));
        let mut reports = Vec::new();
        let producer_ids = ProducerIds::open(dir, &*shared.disk, &*shared.clock, &mut reports)?;
        let id = identity::open(dir, &*shared.disk, &*shared.random, &mut reports)?;
        reports.into_iter().for_each(|line| shared.report(line));
        remove_deleted(&shared)?;
        open_topics(&shared)?;
        shared.write_checkpoint()?;
        let log = Self {
            shared,
            id,
            producer_ids,
            changing: Mutex::default(),
            threads: Mutex::default(),
            running: Mutex::default(),
        };
        log.start_threads()?;
        Ok(Arc::new(log))
    }

    /// What tells it from all other logs, the same as long as its folder lives.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// What it was opened with.
    pub fn options(&self) -> &LogOptions {
        &self.shared.options
    }

    fn start_threads(&self) -> Result<(), LogError> {
        if !self.shared.options.background {
            return Ok(());
        }
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .doing("start a thread for", &self.shared.root)
        };
        for _ in 0..self.shared.options.sync_threads.max(1) {
            let shared = Arc::clone(&self.shared);
            let syncer = spawn("log-sync", Box::new(move || sync::run(&shared)))?;
            self.threads.lock().push(syncer);
        }
        let (running, stopped) = crossbeam_channel::bounded::<()>(0);
        let stopping = stopped.clone();
        let shared = Arc::clone(&self.shared);
        let maintenance = spawn("log-maintenance", Box::new(move || maintain(&shared, &stopped)))?;
        self.threads.lock().push(maintenance);
        let shared = Arc::clone(&self.shared);
        let compaction = spawn("log-compaction", Box::new(move || compact_on(&shared, &stopping)))?;
        self.threads.lock().push(compaction);
        *self.running.lock() = Some(running);
        Ok(())
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.shared.topics.read().get(name).cloned()
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: [u8; 16]) -> Option<Arc<Topic>> {
        self.shared.topics_by_id.read().get(&id).cloned()
    }

    /// A number that rises whenever a topic is made or deleted, or gets more
    /// partitions.
    pub fn topics_version(&self) -> u64 {
        self.shared.topics_version.load(Ordering::Acquire)
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.shared.topics.read().values().cloned().collect()
    }

    /// Bytes still free where it is, if the system tells.
    pub fn available_bytes(&self) -> Option<u64> {
        self.shared.disk.available_bytes(&self.shared.root).ok()
    }

    /// Bytes of the file system where it is, if the system tells.
    pub fn total_bytes(&self) -> Option<u64> {
        self.shared.disk.total_bytes(&self.shared.root).ok()
    }

    /// An id for an idempotent producer, never handed out before and never
    /// again.
    ///
    /// Fails with `Closed` or `Io`.
    pub fn new_producer_id(&self) -> Result<i64, LogError> {
        self.shared.check_open()?;
        self.producer_ids.take(&*self.shared.disk)
    }

    /// What recovery found at the open, and what reads found damaged since: a
    /// line each, naming topic, partition, offset and file.
    pub fn recovery_report(&self) -> Vec<String> {
        self.shared.reports()
    }

    /// What the log's threads do from time to time, done now: syncs what is
    /// unsynced, writes the checkpoint, removes what is beyond its retention, compacts.
    ///
    /// Fails with the first error, after trying all partitions.
    pub fn tick(&self) -> Result<(), LogError> {
        self.shared.check_open()?;
        for partition in self.shared.syncs.take_dirty() {
            partition.sync_round();
        }
        self.shared.write_checkpoint()?;
        retain_all(&self.shared).and(compact_all(&self.shared))
    }

    /// Makes everything durable, writes what makes the next start quick, and
    /// stops the threads. Appends and waits fail from here on; what is
    /// appended can still be read. Does nothing the second time.
    pub fn close(&self) {
        if !self.shared.close() {
            return;
        }
        self.shared.syncs.stop();
        self.running.lock().take();
        let threads = std::mem::take(&mut *self.threads.lock());
        for joining in threads.into_iter().filter(|joining| joining.thread().id() != thread::current().id()) {
            // A thread that panicked has nothing more to say here.
            let _ = joining.join();
        }
        for partition in self.shared.partitions() {
            partition.close();
            partition.durable_changed.notify_waiters();
        }
        if let Err(error) = self.shared.write_checkpoint() {
            tracing::warn!("at the close of the event log: {error}");
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.close();
        self.shared.forget_topics();
        drop(self.shared.syncs.take_dirty());
    }
}

/// Finishes deletions that a crash interrupted.
fn remove_deleted(shared: &Shared) -> Result<(), LogError> {
    let deleted = shared.root.join(layout::DELETED);
    for name in shared.disk.list(&deleted).doing("list", &deleted)? {
        let path = deleted.join(name);
        shared.disk.remove_dir_all(&path).doing("remove", &path)?;
    }
    Ok(())
}

fn open_topics(shared: &Arc<Shared>) -> Result<(), LogError> {
    let path = shared.root.join(checkpoint::FILE_NAME);
    let file = shared.disk.exists(&path).then(|| shared.disk.read(&path, checkpoint::FILE_BYTES_MAX));
    let file = file.transpose().doing("read", &path)?;
    let known = file.as_deref().and_then(checkpoint::decode);
    if file.is_some() && known.is_none() {
        let line = format!("{} is damaged; the newest segments are checked in full", path.display());
        shared.report(line);
    }
    let folder = shared.root.join(layout::TOPICS);
    for name in shared.disk.list(&folder).doing("list", &folder)? {
        if let Some(meta) = read_topic(shared, &folder.join(&name), &name)? {
            shared.add_topic(&new_topic(shared, meta));
        }
    }
    let mut partitions = Vec::new();
    for topic in shared.topics.read().values() {
        // Most partitions of a wide topic are empty and have no folder.
        let folder = &topic.info.folder;
        let folders: HashSet<String> = shared.disk.list(folder).doing("list", folder)?.into_iter().collect();
        for partition in topic.partitions() {
            let key = (topic.id(), partition.index());
            let known = match &known {
                None => Checkpointed::Lost,
                Some(known) => Checkpointed::Known(known.partitions.get(&key).copied().unwrap_or_default()),
            };
            let absent = known == Checkpointed::Lost || known == Checkpointed::Known(Known::default());
            if !absent || folders.contains(&partition.index().to_string()) {
                partitions.push((partition, known));
            }
        }
    }
    recover_all(shared, &partitions)
}

/// A topic's description. A topic that cannot be read is reported and left
/// alone, so that the others are served.
fn read_topic(shared: &Shared, folder: &Path, name: &str) -> Result<Option<Meta>, LogError> {
    let disk = &shared.disk;
    if !disk.exists(&folder.join(meta::FILE_NAME)) {
        let holds_events = |name: &String| name.parse::<u32>().is_ok();
        if disk.list(folder).doing("list", folder)?.iter().any(holds_events) {
            let shown = folder.display();
            shared.report(format!("{shown} holds events but no {}; it is left alone", meta::FILE_NAME));
        } else {
            // Its creation, or its deletion, was cut short by a crash.
            disk.remove_dir_all(folder).doing("remove", folder)?;
        }
        return Ok(None);
    }
    match Meta::read(&**disk, folder, &shared.options.topic) {
        Ok((meta, version)) if meta.name == name => {
            // Written anew, so that from now on it is known what was given.
            if version < meta::VERSION
                && let Err(error) = meta.write(&**disk, folder)
            {
                tracing::warn!("a topic's description stays in version {version}: {error}");
            }
            Ok(Some(meta))
        }
        Ok((meta, _)) => {
            let shown = folder.display();
            shared.report(format!("{shown} says that it is topic {:?}; it is left alone", meta.name));
            Ok(None)
        }
        Err(error @ LogError::Io { .. }) => Err(error),
        Err(error) => {
            shared.report(format!("{error}; the topic is not served"));
            Ok(None)
        }
    }
}

/// Recovers all partitions, several at a time if the log may have threads.
fn recover_all(shared: &Shared, partitions: &[(Arc<Partition>, Checkpointed)]) -> Result<(), LogError> {
    let threads = if shared.options.background {
        thread::available_parallelism().map_or(1, |count| count.get().min(RECOVERY_THREADS_MAX))
    } else {
        1
    };
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((partition, known)) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
            partition.recover(*known)?;
        }
        Ok(())
    };
    if threads == 1 || partitions.len() < 2 {
        return work();
    }
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

fn retain_all(shared: &Shared) -> Result<(), LogError> {
    let now_ms = shared.clock.now_ms();
    let mut result = Ok(());
    for partition in shared.partitions() {
        if let Err(error) = partition.retain(now_ms) {
            tracing::warn!("retention: {error}");
            result = result.and(Err(error));
        }
    }
    result
}

fn compact_all(shared: &Shared) -> Result<(), LogError> {
    let now_ms = shared.clock.now_ms();
    let mut result = Ok(());
    for partition in shared.partitions() {
        let done = partition.compact(now_ms);
        match done {
            Err(LogError::Closed | LogError::TopicDeleted { .. }) | Ok(()) => {}
            Err(_) if partition.is_deleted() => {}
            Err(error) => {
                tracing::warn!("compaction: {error}");
                result = result.and(Err(error));
            }
        }
    }
    result
}

/// The compaction thread's work, until the other end of `stopped` is dropped.
fn compact_on(shared: &Shared, stopped: &crossbeam_channel::Receiver<()>) {
    let pause = Duration::from_millis(shared.options.retention_check_interval_ms);
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
        // Each failure was told there.
        let _ = compact_all(shared);
    }
}

/// The maintenance thread's work, until the other end of `stopped` is dropped.
fn maintain(shared: &Shared, stopped: &crossbeam_channel::Receiver<()>) {
    let pause = Duration::from_millis(shared.options.checkpoint_interval_ms);
    let interval_us = shared.options.retention_check_interval_ms * 1000;
    let mut due_us = shared.clock.monotonic_us() + interval_us;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
        if let Err(error) = shared.write_checkpoint() {
            tracing::warn!("{error}");
        }
        if shared.clock.monotonic_us() >= due_us {
            // Each failure was told there.
            let _ = retain_all(shared);
            due_us = shared.clock.monotonic_us() + interval_us;
        }
    }
}

/// Where a log keeps its files; for whoever shows or measures them.
impl EventLog {
    /// Memory for batches on their way in and out: what the log lets go of is
    /// there again for what comes next.
    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.shared.buffers
    }

    /// The folder that it was opened in.
    pub fn folder(&self) -> PathBuf {
        self.shared.root.clone()
    }
}
