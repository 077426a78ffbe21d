//! A graph's thread: waits for its trigger, runs an epoch, commits it, tells the
//! sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use pluvio_foundation::metrics::Cell;
use pluvio_foundation::{Clock, ErrorKind, Metrics};
use pluvio_keytables::{Commit, Span, SpanRetention, Store};
use pluvio_query::sources::StreamTopic;
use pluvio_query::{EpochStatus, QueryError, dead_letters};
use tokio::sync::Notify;

use super::outputs::{DeadLetter, Outputs, Place, dead_letter_rows, row_text};
use super::source::{Source, Taken};
use super::view::{View, isolate, without_rows};
use super::{EpochRecord, GraphSpec, dead_letters_name, record_name};
use crate::compile::{Input, ViewPlan};
use crate::operators::Touched;
use crate::stats::GraphStats;

/// How long a failed epoch waits before it is tried again.
const RETRY_MS: u64 = 500;
/// Bytes of dead letters a graph keeps.
const DEAD_LETTER_BYTES: u64 = 16 << 20;
/// How far a span may grow beyond its retention before the graph waits for its
/// sinks.
const SINK_BACKLOG_FACTOR: u64 = 8;

/// What a graph is built from.
pub struct GraphParts {
    pub spec: GraphSpec,
    /// The compiled views, in the order of the spec.
    pub plans: Vec<ViewPlan>,
    /// The stream's topic.
    pub topic: StreamTopic,
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub trigger_ms: u64,
    pub trigger_rows: usize,
    pub workers: usize,
    /// Told after every commit.
    pub committed: Arc<Notify>,
}

/// What others see of a running graph.
pub struct Shared {
    pub stats: GraphStats,
    pub record: Mutex<EpochRecord>,
    pub error: Mutex<Option<QueryError>>,
    pub state: Mutex<&'static str>,
    pub lag: AtomicU64,
    /// Nothing waits: no event, and no window that is due.
    pub settled: AtomicBool,
    stop: AtomicBool,
    wake: Notify,
}

/// A running graph.
pub struct GraphHandle {
    pub spec: GraphSpec,
    pub shared: Arc<Shared>,
    pub trigger_ms: u64,
    thread: Option<JoinHandle<()>>,
}

impl GraphHandle {
    /// Opens the graph's storage, so that sinks can follow it; nothing runs yet.
    ///
    /// # Errors
    /// Storage that does not fit the definitions.
    pub fn prepare(parts: GraphParts) -> Result<Prepared, QueryError> {
        let trigger_ms = parts.trigger_ms;
        Ok(Prepared { trigger_ms, runner: Runner::open(parts)? })
    }

    /// Ends the thread after the epoch at hand.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(graph = %self.spec.name, "the graph's thread ended by a panic");
        }
    }
}

/// A graph with its storage open.
pub struct Prepared {
    trigger_ms: u64,
    runner: Runner,
}

impl Prepared {
    /// Starts the graph's thread.
    ///
    /// # Errors
    /// The thread cannot start.
    pub fn start(self) -> Result<GraphHandle, QueryError> {
        let Self { trigger_ms, mut runner } = self;
        let (spec, shared) = (runner.spec.clone(), Arc::clone(&runner.shared));
        let failed =
            |e: std::io::Error| QueryError::new(ErrorKind::Io, format!("cannot start a thread: {e}"));
        let name = format!("graph {}", spec.name);
        let thread = std::thread::Builder::new().name(name).spawn(move || runner.run()).map_err(failed)?;
        Ok(GraphHandle { spec, shared, trigger_ms, thread: Some(thread) })
    }
}

struct Counters {
    events: Arc<Cell>,
    bytes: Arc<Cell>,
    rows: Arc<Cell>,
    dead_letters: Arc<Cell>,
    epochs: Arc<Cell>,
}

struct Runner {
    spec: GraphSpec,
    source: Source,
    views: Vec<View>,
    dead_letters: Arc<Span>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    record: EpochRecord,
    shared: Arc<Shared>,
    counters: Counters,
    trigger_us: u64,
    trigger_rows: usize,
    committed: Arc<Notify>,
    /// The last epoch was full: it left events that were waiting when it began.
    behind: bool,
    /// Views that join a graph whose epochs have begun: they start with the rows
    /// their input still keeps.
    newcomers: Vec<usize>,
}

/// What an epoch's stream part gave.
struct Epoch {
    outputs: Outputs,
    record: EpochRecord,
    events: u64,
    bytes: u64,
    appended: Vec<(i64, u32)>,
    active: Vec<usize>,
}

impl Runner {
    fn open(parts: GraphParts) -> Result<Self, QueryError> {
        let GraphParts { spec, plans, topic, store, clock, metrics, .. } = parts;
        let mut views: Vec<View> = Vec::new();
        let mut inputs = Vec::new();
        for (def, plan) in spec.views.iter().zip(plans) {
            let input = plan.input.clone();
            views.push(View::open(def, plan, &store, matches!(input, Input::Stream(_)))?);
            inputs.push(input);
        }
        for (i, input) in inputs.iter().enumerate() {
            if let Some(upstream) = views.iter().position(|v| v.name == input.name()) {
                views[upstream].downstream.push(i);
            }
        }
        let mut commit = store.begin();
        views.iter().try_for_each(|v| v.begin(&mut commit))?;
        if !commit.is_empty() {
            commit.commit()?;
        }
        let record = match store.note(&record_name(&spec.name)) {
            Some(bytes) => EpochRecord::decode(&bytes)?,
            None => EpochRecord::new(),
        };
        let is_new = |i: &usize| record.epoch > 0 && !record.views.contains_key(&views[*i].name);
        let newcomers = (0..views.len()).filter(is_new).collect();
        let retention = SpanRetention { age_ms: None, bytes_max: DEAD_LETTER_BYTES };
        let dead_letters =
            store.create_span(&dead_letters_name(&spec.name), dead_letters::schema(), retention)?;
        let cell = |name| metrics.cell(name, &spec.name);
        let counters = Counters {
            events: cell("engine_events"),
            bytes: cell("engine_bytes"),
            rows: cell("engine_rows"),
            dead_letters: cell("engine_dead_letters"),
            epochs: cell("engine_epochs"),
        };
        let shared = Arc::new(Shared {
            stats: GraphStats::new(),
            record: Mutex::new(record.clone()),
            error: Mutex::new(None),
            state: Mutex::new("running"),
            lag: AtomicU64::new(0),
            settled: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: Notify::new(),
        });
        Ok(Self {
            source: Source::new(spec.stream.clone(), topic, parts.workers),
            spec,
            views,
            dead_letters,
            store,
            clock,
            record,
            shared,
            counters,
            trigger_us: parts.trigger_ms.saturating_mul(1000),
            trigger_rows: parts.trigger_rows,
            committed: parts.committed,
            behind: false,
            newcomers,
        })
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn run(&mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            self.fail(QueryError::new(ErrorKind::Internal, "no runtime for the graph's timers"));
            return;
        };
        let mut last_start_us = 0;
        while !self.stopping() {
            match self.turn(&runtime, &mut last_start_us) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::DiskFull | ErrorKind::Unavailable) => {
                    *self.shared.state.lock() = "waiting";
                    let before = self.shared.error.lock().replace(error.clone());
                    // Once for each reason, however long it lasts.
                    if before.is_none_or(|before| before.message() != error.message()) {
                        tracing::warn!(graph = %self.spec.name, %error, "the epoch waits and is tried again");
                    }
                    runtime.block_on(self.pause(RETRY_MS));
                }
                Err(error) => return self.fail(error),
            }
        }
        *self.shared.state.lock() = "stopped";
        self.source.hold(&self.spec.name, None);
    }

    fn fail(&self, error: QueryError) {
        tracing::error!(graph = %self.spec.name, %error, "the jobs of this graph have failed");
        *self.shared.state.lock() = "failed";
        *self.shared.error.lock() = Some(error);
    }

    async fn pause(&self, ms: u64) {
        let sleep = tokio::time::sleep(Duration::from_millis(ms));
        tokio::select! { () = sleep => {}, () = self.shared.wake.notified() => {} }
    }

    /// Waits for the trigger and runs one epoch, if there is anything to do.
    fn turn(&mut self, runtime: &tokio::runtime::Runtime, last_start_us: &mut u64) -> Result<(), QueryError> {
        self.source.refresh(&mut self.record, self.clock.monotonic_us())?;
        let waiting = self.source.waiting(&self.record);
        self.shared.lag.store(self.source.lag(&self.record), Ordering::Relaxed);
        // A partition that has gone idle lets time move on without an event.
        let watermark_us = self.source.watermark_us(&self.record, self.clock.monotonic_us());
        let closing = self.views.iter().any(|v| self.to_close(v, watermark_us).is_some());
        let settled = waiting == 0 && !closing && self.newcomers.is_empty();
        self.shared.settled.store(settled, Ordering::Release);
        if waiting == 0
            && let Some(trouble) = self.source.trouble()
        {
            return Err(trouble);
        }
        if settled {
            runtime.block_on(self.wait_for_events());
            return Ok(());
        }
        let since = self.clock.monotonic_us().saturating_sub(*last_start_us);
        let full = waiting >= self.trigger_rows as u64 || self.behind;
        if !full && !closing && since < self.trigger_us {
            runtime.block_on(self.pause((self.trigger_us - since).div_ceil(1000).min(50)));
            return Ok(());
        }
        if self.sinks_behind() {
            runtime.block_on(self.pause(20));
            return Ok(());
        }
        *last_start_us = self.clock.monotonic_us();
        let before = self.record.cut.clone();
        self.epoch()?;
        // What was waiting and did not fit has waited for its trigger already.
        self.behind = self.record.taken_since(&before) < waiting;
        *self.shared.state.lock() = "running";
        *self.shared.error.lock() = None;
        Ok(())
    }

    async fn wait_for_events(&self) {
        if self.source.partitions().is_empty() {
            return self.pause(100).await;
        }
        let mut ends: Vec<_> = self.source.partitions().iter().map(|p| p.watch_end()).collect();
        // An append between the look and the watch is seen here.
        let waiting = self.source.waiting(&self.record) > 0;
        let changed = futures::future::select_all(ends.iter_mut().map(|end| Box::pin(end.changed())));
        let new_partitions = tokio::time::sleep(Duration::from_millis(500));
        if waiting {
            return;
        }
        tokio::select! { _ = changed => {}, () = new_partitions => {}, () = self.shared.wake.notified() => {} }
    }

    /// Whether a sink is so far behind that memory and disk would fill.
    fn sinks_behind(&self) -> bool {
        self.views.iter().filter_map(View::span).any(|span| {
            let limit = span.retention().bytes_max.saturating_mul(SINK_BACKLOG_FACTOR).max(64 << 20);
            span.bytes() > limit
        })
    }

    /// The boundary up to which this view has windows to close.
    fn to_close(&self, view: &View, watermark_us: Option<i64>) -> Option<i64> {
        let boundary = view.boundary(watermark_us)?;
        let closed = self.record.views.get(&view.name).and_then(|v| v.closed_us);
        (closed < Some(boundary)).then_some(boundary)
    }

    fn epoch(&mut self) -> Result<(), QueryError> {
        let started_us = self.clock.monotonic_us();
        let mut epoch = self.take()?;
        let number = epoch.record.epoch;
        let mut commit = self.store.begin();
        self.start_newcomers(&mut epoch.outputs)?;
        self.close_windows(&mut epoch, &mut commit)?;
        let rows = self.apply(&mut epoch, &mut commit)?;
        let dead = self.write_dead_letters(&mut epoch, &mut commit)?;
        let now_us = self.clock.monotonic_us();
        epoch.active.iter().for_each(|i| self.source.mark_active(*i, now_us));
        epoch.record.watermark_us = self.source.watermark_us(&epoch.record, now_us);
        commit.note(&record_name(&self.spec.name), Some(epoch.record.encode()?.into()));
        let commit_us = self.clock.monotonic_us();
        self.source.make_durable(&epoch.record.cut)?;
        commit.commit()?;
        let done_us = self.clock.monotonic_us();
        self.newcomers.clear();
        self.record = epoch.record;
        *self.shared.record.lock() = self.record.clone();
        self.source.hold(&self.spec.name, Some(&self.record));
        self.committed.notify_waiters();
        let status = EpochStatus {
            graph: self.spec.name.clone(),
            epoch: number.cast_signed(),
            committed_at_us: self.clock.now_us(),
            events: epoch.events,
            rows,
            dead_letters: dead,
            duration_ms: ms(done_us - started_us),
            commit_ms: ms(done_us - commit_us),
            watermark_us: self.record.watermark_us,
        };
        self.tell(status, epoch.bytes, &epoch.appended);
        Ok(())
    }

    fn tell(&self, status: EpochStatus, bytes: u64, appended: &[(i64, u32)]) {
        self.counters.events.add(status.events);
        self.counters.bytes.add(bytes);
        self.counters.rows.add(status.rows);
        self.counters.dead_letters.add(status.dead_letters);
        self.counters.epochs.add(1);
        let now_ms = status.committed_at_us / 1000;
        let latency =
            |(at, events): &(i64, u32)| (u64::try_from(now_ms - at).unwrap_or(0), u64::from(*events));
        let latencies: Vec<_> = appended.iter().map(latency).collect();
        self.shared.stats.add(status, &latencies);
    }

    /// Reads the stream and runs the stateless part, partitions in parallel.
    fn take(&self) -> Result<Epoch, QueryError> {
        let views = &self.views;
        let work = |taken: Taken| -> Result<(Outputs, Taken), QueryError> {
            let mut outputs = Outputs::new(views.len());
            let partition = i32::try_from(taken.partition).unwrap_or(i32::MAX);
            for piece in &taken.pieces {
                let place = Place { partition, offsets: &piece.offsets };
                if piece.rows.num_rows() > 0 {
                    for (i, _) in views.iter().enumerate().filter(|(_, v)| v.reads_stream) {
                        outputs.feed(views, i, piece.rows.clone(), Some(&place));
                    }
                }
                outputs.dead_letters.extend(piece.rejected.iter().map(|r| DeadLetter {
                    partition: Some(partition),
                    offset: Some(r.offset),
                    reason: r.reason.clone(),
                    value: String::from_utf8_lossy(&r.preview).into_owned(),
                }));
            }
            Ok((outputs, taken))
        };
        let mut record = self.record.clone();
        record.epoch += 1;
        let mut epoch = Epoch {
            outputs: Outputs::new(views.len()),
            record,
            events: 0,
            bytes: 0,
            appended: Vec::new(),
            active: Vec::new(),
        };
        for (outputs, taken) in self.source.take(&self.record, self.trigger_rows, work)? {
            epoch.outputs.merge(outputs);
            epoch.record.cut[taken.partition] = taken.next_offset;
            epoch.active.push(taken.partition);
            for piece in taken.pieces {
                let time = &mut epoch.record.event_time_us[taken.partition];
                *time = (*time).max(self.source.event_time_us(&piece));
                epoch.events += piece.events as u64;
                epoch.bytes += piece.bytes as u64;
                epoch.appended.extend(piece.appended);
            }
        }
        epoch.record.events += epoch.events;
        Ok(epoch)
    }

    fn start_newcomers(&self, outputs: &mut Outputs) -> Result<(), QueryError> {
        for (i, view) in self.views.iter().enumerate() {
            let Some(span) = view.span() else { continue };
            let fresh: Vec<_> = view.downstream.iter().filter(|d| self.newcomers.contains(d)).collect();
            if fresh.is_empty() || self.newcomers.contains(&i) {
                continue;
            }
            for (_, rows) in span.snapshot(None)? {
                fresh.iter().for_each(|d| outputs.feed(&self.views, **d, rows.clone(), None));
            }
        }
        Ok(())
    }

    /// Closes windows by the watermark of the epoch before: their states are
    /// complete in the store, and this epoch's rows for them are late.
    fn close_windows(&self, epoch: &mut Epoch, commit: &mut Commit) -> Result<(), QueryError> {
        for (i, view) in self.views.iter().enumerate() {
            let Some(boundary) = self.to_close(view, self.record.watermark_us) else { continue };
            let rows = view.close(commit, boundary)?;
            epoch.record.views.entry(view.name.clone()).or_default().closed_us = Some(boundary);
            if let Some(rows) = rows {
                for next in &view.downstream {
                    epoch.outputs.feed(&self.views, *next, rows.clone(), None);
                }
                epoch.outputs.batches[i].insert(0, rows);
            }
        }
        Ok(())
    }

    /// Runs the aggregates and puts every view's rows into the commit; returns
    /// how many rows readers see changed.
    fn apply(&self, epoch: &mut Epoch, commit: &mut Commit) -> Result<u64, QueryError> {
        let mut rows = 0;
        for (i, view) in self.views.iter().enumerate() {
            let batches = std::mem::take(&mut epoch.outputs.batches[i]);
            let closed_us = epoch.record.views.get(&view.name).and_then(|v| v.closed_us);
            let mut out = 0;
            match &view.aggregate {
                None => {
                    for batch in batches {
                        out += batch.num_rows() as u64;
                        view.append(commit, epoch.record.epoch, batch);
                    }
                }
                Some(_) => {
                    let (emitted, input): (Vec<_>, Vec<_>) =
                        batches.into_iter().partition(|b| view.is_stored(b));
                    for batch in emitted {
                        out += batch.num_rows() as u64;
                        view.append(commit, epoch.record.epoch, batch);
                    }
                    if let Some(touched) = self.aggregate(view, input, closed_us, &mut epoch.outputs)? {
                        out += view.update(commit, touched)?;
                    }
                }
            }
            let entry = epoch.record.views.entry(view.name.clone()).or_default();
            entry.rows_in += epoch.outputs.rows_in[i];
            entry.rows_out += out;
            rows += out;
        }
        Ok(rows)
    }

    fn aggregate(
        &self,
        view: &View,
        input: Vec<datafusion::arrow::array::RecordBatch>,
        closed_us: Option<i64>,
        outputs: &mut Outputs,
    ) -> Result<Option<Touched>, QueryError> {
        let Some(aggregate) = &view.aggregate else { return Ok(None) };
        let mut in_time = Vec::with_capacity(input.len());
        for batch in input {
            let (batch, late) = aggregate.split_late(batch, closed_us)?;
            if let Some(late) = late {
                let reason = format!("{}: late: its window was closed by the watermark", view.name);
                for row in 0..late.num_rows() {
                    let value = row_text(&late.slice(row, 1));
                    outputs.dead_letters.push(DeadLetter {
                        partition: None,
                        offset: None,
                        reason: reason.clone(),
                        value,
                    });
                }
            }
            if batch.num_rows() > 0 {
                in_time.push(batch);
            }
        }
        match aggregate.add(&in_time) {
            Ok(touched) => Ok(touched),
            Err(_) => {
                // A row whose arguments cannot be computed: find it, leave it out.
                let mut good = Vec::new();
                for batch in in_time {
                    let (mut done, mut failed) = (Vec::new(), Vec::new());
                    isolate(batch.clone(), 0, &|rows| aggregate.check(&rows), &mut done, &mut failed);
                    let bad: Vec<usize> = failed.iter().map(|(row, _, _)| *row).collect();
                    for (_, rows, error) in failed {
                        let reason = format!("{}: {}", view.name, error.message());
                        outputs.dead_letters.push(DeadLetter {
                            partition: None,
                            offset: None,
                            reason,
                            value: row_text(&rows),
                        });
                    }
                    good.push(without_rows(&batch, &bad)?);
                }
                aggregate.add(&good)
            }
        }
    }

    fn write_dead_letters(&self, epoch: &mut Epoch, commit: &mut Commit) -> Result<u64, QueryError> {
        let letters = std::mem::take(&mut epoch.outputs.dead_letters);
        if letters.is_empty() {
            return Ok(0);
        }
        let stream = self.source.stream();
        let rows = dead_letter_rows(&letters, self.clock.now_us(), &stream.name, &stream.topic)?;
        commit.append(&self.dead_letters, epoch.record.epoch, rows);
        epoch.record.dead_letters += letters.len() as u64;
        Ok(letters.len() as u64)
    }
}

#[allow(clippy::cast_precision_loss)]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}
