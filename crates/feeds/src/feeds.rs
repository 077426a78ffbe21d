//! All feeds: makes what runs agree with the catalog.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;
use pluvio_catalog::{Catalog, Definition, StreamDef};
use pluvio_eventlog::EventLog;
use pluvio_foundation::{Clock, Disk, Metrics, RealDisk};

use crate::context::{Context, Spec};
use crate::status::Board;
use crate::stop::Stop;
use crate::{FeedError, FeedStatus, checkpoint, runner};

/// How feeds run.
#[derive(Debug, Clone)]
pub struct FeedsOptions {
    /// How often files are looked at, in milliseconds; less often if looking
    /// takes long.
    pub poll_interval_ms: u64,
    /// How often a feed that has moved writes its checkpoint, in milliseconds.
    pub checkpoint_interval_ms: u64,
    /// After how long without growing a file that was renamed or removed counts
    /// as complete, in milliseconds: its last line is taken without a line end.
    pub rotated_quiet_ms: u64,
    /// After how long a feed that failed is tried again, in milliseconds.
    pub retry_ms: u64,
}

impl Default for FeedsOptions {
    fn default() -> Self {
        Self {
            poll_interval_ms: 200,
            checkpoint_interval_ms: 5_000,
            rotated_quiet_ms: 10_000,
            retry_ms: 1_000,
        }
    }
}

/// The feeds of a process. Each has a thread.
#[derive(Debug)]
pub struct Feeds {
    log: Arc<EventLog>,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    options: FeedsOptions,
    running: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    context: Arc<Context>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Waits for the feed's end, which was asked for.
    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(stream = %self.context.spec.stream, "a feed's thread ended badly");
        }
    }
}

impl Feeds {
    /// Feeds into `log` that keep their checkpoints in `folder`, which is theirs
    /// alone. Nothing runs until [`Self::reconcile`].
    pub fn new(log: Arc<EventLog>, folder: PathBuf, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self::with_options(log, folder, clock, metrics, FeedsOptions::default())
    }

    /// The same, with other intervals.
    pub fn with_options(
        log: Arc<EventLog>,
        folder: PathBuf,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        options: FeedsOptions,
    ) -> Self {
        let (disk, running) = (Arc::new(RealDisk), Mutex::default());
        Self { log, folder, disk, clock, metrics, options, running }
    }

    /// Starts the feeds of streams that have none running, stops those whose
    /// stream is gone or has another definition, and forgets the checkpoints of
    /// streams that are gone. Blocks until what stops has stopped.
    ///
    /// # Errors
    /// The folder cannot be used, or no thread be started; the other feeds run.
    pub fn reconcile(&self, catalog: &Catalog) -> Result<(), FeedError> {
        let definitions = catalog.all();
        let specs = definitions.iter().filter_map(|definition| match definition.as_ref() {
            Definition::Stream(stream) => spec(stream),
            _ => None,
        });
        let wanted: BTreeMap<String, Spec> = specs.map(|spec| (spec.stream.clone(), spec)).collect();
        let mut running = self.running.lock();
        let stays = |it: &Running| wanted.get(&it.context.spec.stream) == Some(&it.context.spec);
        let mut ended: Vec<Running> = running.extract_if(.., |_, it| !stays(it)).map(|(_, it)| it).collect();
        ended.iter().for_each(|it| it.context.stop.ask());
        for it in &mut ended {
            it.join();
            self.release(&it.context);
        }
        let folder = &self.folder;
        self.disk.create_dir_all(folder).map_err(|error| FeedError::io("make", folder, error))?;
        let streams: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let forgotten = checkpoint::forget_others(&self.disk, folder, &streams);
        for (name, spec) in wanted {
            if let Entry::Vacant(place) = running.entry(name) {
                place.insert(self.start(spec)?);
            }
        }
        forgotten
    }

    fn start(&self, spec: Spec) -> Result<Running, FeedError> {
        let context = Arc::new(Context {
            log: Arc::clone(&self.log),
            clock: Arc::clone(&self.clock),
            disk: Arc::clone(&self.disk),
            checkpoint: self.folder.join(checkpoint::file_name(&spec.stream)),
            options: self.options.clone(),
            stop: Stop::default(),
            board: Board::new(&self.metrics, &spec.stream),
            spec,
        });
        let own = Arc::clone(&context);
        let thread = Builder::new().name("feed".into()).spawn(move || runner::run(&own));
        let thread = thread.map_err(|error| FeedError::io("start a thread for", &self.folder, error))?;
        Ok(Running { context, thread: Some(thread) })
    }

    /// Retention need not wait for a feed that is gone.
    fn release(&self, context: &Context) {
        context.board.clear();
        if let Some(topic) = self.log.topic(&context.spec.topic) {
            topic.partitions().iter().for_each(|partition| checkpoint::hold(context, partition, None));
        }
    }

    /// Ends all feeds: what was received is appended, and checkpoints are
    /// written. Blocks.
    pub fn stop(&self) {
        let mut running = std::mem::take(&mut *self.running.lock());
        running.values().for_each(|it| it.context.stop.ask());
        running.values_mut().for_each(Running::join);
    }

    /// How each feed is doing, by the name of its stream.
    pub fn status(&self) -> Vec<FeedStatus> {
        let running = self.running.lock();
        let status = |it: &Running| {
            let spec = &it.context.spec;
            it.context.board.status(&spec.stream, spec.def.connector())
        };
        running.values().map(status).collect()
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spec(stream: &StreamDef) -> Option<Spec> {
    let def = stream.feed.as_deref().filter(|_| stream.kafka.is_none())?;
    Some(Spec {
        stream: stream.name.clone(),
        topic: stream.topic.clone(),
        columns: stream.columns.clone(),
        def: def.clone(),
    })
}
