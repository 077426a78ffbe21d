//! A graph's thread: waits for its trigger, runs an epoch, commits it, tells the
//! sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use datafusion::execution::SessionState;
use parking_lot::Mutex;
use pluvio_foundation::metrics::Cell;
use pluvio_foundation::{Clock, ErrorKind, Metrics};
use pluvio_keytables::Store;
use pluvio_query::sources::StreamTopic;
use pluvio_query::{EpochStatus, QueryError};
use tokio::sync::Notify;

use super::GraphSpec;
use super::epoch::{Done, Pipeline, put_away_old_records};
use super::intake;
use super::record::ViewRecord;
use super::source::Source;
use super::taking::{Limits, Taking};
use super::view::View;
use crate::compile::ViewPlan;
use crate::shares::{Share, Shares};
use crate::stats::{GraphStats, OperatorStats};

/// How long a failed epoch waits before it is tried again.
const RETRY_MS: u64 = 500;
/// How often a paused job looks at how much waits.
const PAUSED_LOOK_MS: u64 = 500;
/// An epoch may cost one part in so many of the time, over all busy jobs.
const PACE_FACTOR: u64 = 8;
/// Least time between two epochs, if the trigger is not less.
const PACE_US_MIN: u64 = 5_000;
/// How far a span may grow beyond its retention before the graph waits for its
/// sinks.
const SINK_BACKLOG_FACTOR: u64 = 8;

/// What a graph is built from.
pub struct GraphParts {
    pub spec: GraphSpec,
    /// The compiled views, in the order of the spec.
    pub plans: Vec<ViewPlan>,
    /// The streams' topics, in the order of the spec.
    pub topics: Vec<StreamTopic>,
    /// The functions that compute columns of streams.
    pub functions: SessionState,
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub trigger_ms: u64,
    pub trigger_rows: usize,
    pub workers: usize,
    /// What all graphs share.
    pub shares: Arc<Shares>,
    pub signals: Arc<Signals>,
}

/// What a graph tells its sinks.
#[derive(Default)]
pub struct Signals {
    /// Told after every commit.
    pub committed: Notify,
    /// A view takes in what it begins with, and would begin anew after a crash:
    /// sinks wait.
    pub catching_up: AtomicBool,
}

/// What others see of a running graph.
pub struct Shared {
    pub stats: GraphStats,
    /// Of each view, what its operators have done.
    pub operators: Vec<(String, Arc<Vec<OperatorStats>>)>,
    pub position: Mutex<Position>,
    pub error: Mutex<Option<QueryError>>,
    pub state: Mutex<&'static str>,
    /// Of each view, the events that its topics hold and those that it has not
    /// read.
    pub distance: Mutex<Vec<(u64, u64)>>,
    /// Nothing waits: no event, and no window that is due.
    pub settled: AtomicBool,
    stop: AtomicBool,
    /// Somebody waits for what is there now: the trigger does not.
    hurried: AtomicBool,
    wake: Notify,
}

impl Shared {
    /// Lets the graph take what waits, without waiting for its trigger.
    pub fn hurry(&self) {
        if !self.settled.load(Ordering::Acquire) {
            self.hurried.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }
}

/// How far a graph has come.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// The last epoch.
    pub epoch: u64,
    /// For each stream, what all views have read of it; nothing while one takes in
    /// the rows of others.
    pub cuts: Vec<Vec<i64>>,
    /// For each view, what it remembers.
    pub records: Vec<ViewRecord>,
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
        let mut runner = Runner::open(parts)?;
        let now_us = runner.clock.monotonic_us();
        runner.pipeline.refresh(now_us)?;
        if runner.spec.sinks.is_empty() && !runner.spec.is_paused() {
            // What readers see before the first event, and where a view begins that
            // does not read its topics from the beginning. No sink can miss a row.
            if runner.pipeline.catching_up.is_some() {
                runner.epoch(0)?;
            }
            if runner.pipeline.begins() && runner.pipeline.catching_up.is_none() {
                runner.epoch(0)?;
            }
        }
        Ok(Prepared { trigger_ms, runner })
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
        let work = move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runner.run()));
            if ended.is_err() {
                let message =
                    "a panic ended the job: its place is in the log. Please report it with the view's query";
                runner.fail(QueryError::new(ErrorKind::Internal, message));
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(work).map_err(failed)?;
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
    pipeline: Pipeline,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    counters: Counters,
    trigger_us: u64,
    trigger_rows: usize,
    /// How long the last epoch took.
    took_us: u64,
    shares: Arc<Shares>,
    signals: Arc<Signals>,
    /// The last epoch was full: it left events that were waiting when it began.
    behind: bool,
    /// May take for the next epoch while one commits.
    looks_ahead: bool,
    ahead: Option<Portion>,
}

/// What was taken for an epoch, and the share that holds its bytes.
struct Portion {
    taking: Taking,
    share: Share,
}

/// An epoch that is committed.
struct Committed {
    done: Done,
    /// When its commit began and ended, on the clock that never goes back.
    began_us: u64,
    ended_us: u64,
    /// When it ended, in microseconds since 1970.
    at_us: i64,
}

impl Runner {
    fn open(parts: GraphParts) -> Result<Self, QueryError> {
        let GraphParts { spec, plans, topics, store, clock, metrics, .. } = parts;
        let sources = spec.streams.iter().cloned().zip(topics);
        let sources =
            sources.map(|(stream, topic)| Source::new(stream, topic, parts.workers, parts.functions.clone()));
        let sources = sources.collect();
        let pipeline = Pipeline::open(&spec, plans, sources, &store)?;
        parts.signals.catching_up.store(pipeline.catching_up.is_some(), Ordering::Release);
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
            operators: pipeline.views.iter().map(|v| (v.name.clone(), Arc::clone(&v.stats))).collect(),
            position: Mutex::new(position(&pipeline)),
            error: Mutex::new(None),
            state: Mutex::new("running"),
            distance: Mutex::default(),
            settled: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            wake: Notify::new(),
        });
        Ok(Self {
            spec,
            pipeline,
            store,
            clock,
            shared,
            counters,
            trigger_us: parts.trigger_ms.saturating_mul(1000),
            trigger_rows: parts.trigger_rows,
            took_us: 0,
            shares: parts.shares,
            signals: parts.signals,
            behind: false,
            looks_ahead: parts.workers > 1,
            ahead: None,
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
        self.pipeline.release();
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
        let now_us = self.clock.monotonic_us();
        if self.pipeline.refresh(now_us)? {
            *self.shared.position.lock() = position(&self.pipeline);
        }
        let waiting = self.pipeline.waiting();
        *self.shared.distance.lock() =
            (0..self.pipeline.views.len()).map(|view| self.pipeline.distance(view)).collect();
        if self.spec.is_paused() {
            *self.shared.state.lock() = "paused";
            self.pipeline.hold();
            runtime.block_on(self.pause(PAUSED_LOOK_MS));
            return Ok(());
        }
        // A partition that has gone idle lets time move on without an event.
        let closing = self.pipeline.closes(self.clock.now_us(), now_us);
        let begins = self.pipeline.begins();
        let settled = waiting == 0 && !closing && !begins;
        self.shared.settled.store(settled, Ordering::Release);
        if waiting == 0
            && let Some(trouble) = self.pipeline.sources.iter().find_map(Source::trouble)
        {
            return Err(trouble);
        }
        if settled {
            runtime.block_on(self.wait_for_events());
            return Ok(());
        }
        let since = self.clock.monotonic_us().saturating_sub(*last_start_us);
        let hurried = self.shared.hurried.swap(false, Ordering::AcqRel);
        let full = waiting >= self.trigger_rows as u64 || self.behind || hurried;
        let pace_us = self.pace_us();
        if !full && !closing && !begins && since < pace_us {
            runtime.block_on(self.pause((pace_us - since).div_ceil(1000).min(50)));
            return Ok(());
        }
        // Sinks wait for what a view begins with to be complete.
        if self.pipeline.catching_up.is_none() && self.sinks_behind() {
            runtime.block_on(self.pause(20));
            return Ok(());
        }
        *last_start_us = self.clock.monotonic_us();
        let taken = self.epoch(self.trigger_rows)?;
        // What was waiting and did not fit has waited for its trigger already.
        self.behind = taken < waiting;
        *self.shared.state.lock() = "running";
        *self.shared.error.lock() = None;
        Ok(())
    }

    /// Time from the start of one epoch to that of the next: as short as its cost
    /// allows, so that a job that has little to do is quick and a busy one takes
    /// much at once. At most the trigger.
    fn pace_us(&self) -> u64 {
        let jobs = self.shares.busy_jobs();
        let pace_us = self.took_us.saturating_mul(PACE_FACTOR).saturating_mul(jobs as u64);
        pace_us.max(PACE_US_MIN).min(self.trigger_us)
    }

    async fn wait_for_events(&self) {
        let partitions = self.pipeline.sources.iter().flat_map(Source::partitions);
        let mut ends: Vec<_> = partitions.map(|p| p.watch_end()).collect();
        if ends.is_empty() {
            return self.pause(100).await;
        }
        // An append between the look and the watch is seen here.
        let waiting = self.pipeline.waiting() > 0;
        let changed = futures::future::select_all(ends.iter_mut().map(|end| Box::pin(end.changed())));
        let new_partitions = tokio::time::sleep(Duration::from_millis(500));
        if waiting {
            return;
        }
        tokio::select! { _ = changed => {}, () = new_partitions => {}, () = self.shared.wake.notified() => {} }
    }

    /// Whether a sink is so far behind that memory and disk would fill.
    fn sinks_behind(&self) -> bool {
        self.pipeline.views.iter().filter_map(View::span).any(|span| {
            let limit = span.retention().bytes_max.saturating_mul(SINK_BACKLOG_FACTOR).max(64 << 20);
            span.bytes() > limit
        })
    }

    /// Runs and commits an epoch of about so many rows, at least one of each
    /// partition; returns how many events it took. Takes for the next one
    /// meanwhile, if at least as many events are left.
    fn epoch(&mut self, rows: usize) -> Result<u64, QueryError> {
        let started_us = self.clock.monotonic_us();
        if let Some(catching_up) = &mut self.pipeline.catching_up {
            catching_up.fill(self.trigger_rows)?;
        }
        let ahead = self.ahead.take().filter(|ahead| ahead.taking.begins_at(&self.pipeline.intakes));
        let Portion { taking, share } = match ahead {
            Some(ahead) => ahead,
            None => self.take(rows, |limits| self.pipeline.take(limits, self.clock.now_us()))?,
        };
        let left = || self.pipeline.waiting().saturating_sub(taking.events);
        let looks_ahead =
            self.looks_ahead && self.pipeline.may_take_ahead() && left() >= taking.events.max(1);
        let behind = looks_ahead.then(|| taking.intakes.clone());
        let (committed, ahead) = std::thread::scope(|scope| {
            let this = &*self;
            let ahead = behind.map(|behind| {
                scope.spawn(move || this.take(rows, |limits| this.pipeline.take_ahead(&behind, limits)))
            });
            (this.commit(taking, started_us), ahead.map(std::thread::ScopedJoinHandle::join))
        });
        let Committed { mut done, began_us, ended_us, at_us } = committed?;
        drop(share);
        self.took_us = ended_us - started_us;
        self.pipeline.advance(&mut done, ended_us);
        // What could not be taken is taken again, and says then why.
        self.ahead = ahead.and_then(Result::ok).and_then(Result::ok);
        *self.shared.position.lock() = position(&self.pipeline);
        self.tell_sinks();
        let Done { mut status, bytes, appended, .. } = done;
        status.committed_at_us = at_us;
        status.duration_ms = ms(ended_us - started_us);
        status.commit_ms = ms(ended_us - began_us);
        let events = status.events;
        self.tell(status, bytes, &appended);
        Ok(events)
    }

    fn tell_sinks(&self) {
        self.signals.catching_up.store(self.pipeline.catching_up.is_some(), Ordering::Release);
        self.signals.committed.notify_waiters();
    }

    fn take(
        &self,
        rows: usize,
        from: impl FnOnce(Limits) -> Result<Taking, QueryError>,
    ) -> Result<Portion, QueryError> {
        let share = self.shares.enter();
        let taking = from(Limits { rows, bytes: share.bytes() })?;
        Ok(Portion { taking, share })
    }

    /// Runs what was taken and commits it.
    fn commit(&self, taking: Taking, monotonic_us: u64) -> Result<Committed, QueryError> {
        let mut commit = self.store.begin();
        let done = self.pipeline.run(&mut commit, taking, self.clock.now_us(), monotonic_us)?;
        put_away_old_records(&self.spec, &self.store, &mut commit);
        let began_us = self.clock.monotonic_us();
        self.pipeline.make_durable(&done)?;
        commit.commit()?;
        Ok(Committed { done, began_us, ended_us: self.clock.monotonic_us(), at_us: self.clock.now_us() })
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
}

fn position(pipeline: &Pipeline) -> Position {
    let rear = |stream| intake::rear(&pipeline.intakes, stream).unwrap_or_default();
    // A view that lacks rows of others lacks every event.
    let cuts = match pipeline.catching_up {
        Some(_) => Vec::new(),
        None => (0..pipeline.sources.len()).map(rear).collect(),
    };
    Position { epoch: pipeline.epoch, cuts, records: pipeline.records.clone() }
}

#[allow(clippy::cast_precision_loss)]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}
