//! What the query layer asks of the engine. The engine implements it; the
//! binary puts the two together. So the layers keep pointing down.

use std::sync::Weak;

use datafusion::logical_expr::LogicalPlan;
use pluvio_catalog::{Catalog, Column, StreamDef, ViewDef, ViewKind};

use crate::QueryError;

/// What the engine makes of a continuous query, before anything runs.
#[derive(Debug, Clone)]
pub struct ViewShape {
    /// The columns readers see.
    pub columns: Vec<Column>,
    /// How the rows are kept.
    pub kind: ViewKind,
    /// Streams, tables and views the query reads.
    pub reads: Vec<String>,
    /// What its operators do, and the places of those that each of them reads.
    pub operators: Vec<(String, Vec<usize>)>,
}

/// A job at one moment.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// The view's or sink's name.
    pub name: String,
    /// `view` or `sink`.
    pub kind: &'static str,
    /// `running`, `paused`, `waiting` (for its stream), `failed` or `stopped`.
    pub state: &'static str,
    /// The group of jobs that commit together, named after its first view.
    pub graph: String,
    /// The last committed epoch.
    pub epoch: i64,
    /// Rows taken in since the job was made.
    pub rows_in: u64,
    /// Rows given out since the job was made.
    pub rows_out: u64,
    /// Events appended to the topics and not yet processed; for a sink, epochs
    /// not yet in the lake.
    pub lag: u64,
    /// How much of what its topics hold it has read, from 0 to 100.
    pub done_percent: Option<f64>,
    /// Half of the newest events were visible within this, in milliseconds.
    pub latency_ms_p50: Option<f64>,
    /// 99 of 100 of the newest events were visible within this, in milliseconds.
    pub latency_ms_p99: Option<f64>,
    /// Longest time that events wait for an epoch, in milliseconds.
    pub trigger_ms: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// A committed epoch.
#[derive(Debug, Clone)]
pub struct EpochStatus {
    /// The group of jobs.
    pub graph: String,
    /// Its number, from 1.
    pub epoch: i64,
    /// When it was committed, Unix microseconds.
    pub committed_at_us: i64,
    /// Events read.
    pub events: u64,
    /// Rows given out, over all views of the group.
    pub rows: u64,
    /// Events that became dead letters.
    pub dead_letters: u64,
    /// Time from reading to visible, in milliseconds.
    pub duration_ms: f64,
    /// Of it, time for the durable write, in milliseconds.
    pub commit_ms: f64,
    /// The watermark after it, Unix microseconds.
    pub watermark_us: Option<i64>,
}

/// An operator of a running view.
#[derive(Debug, Clone)]
pub struct OperatorStatus {
    /// The view.
    pub view: String,
    /// Its place in the view's plan.
    pub operator: usize,
    /// The places of the operators it reads.
    pub inputs: Vec<usize>,
    /// What it does, in words.
    pub what: String,
    /// Changes taken in since the job was started.
    pub rows_in: u64,
    /// Changes given out since then.
    pub rows_out: u64,
    /// Time spent since then, in microseconds.
    pub busy_us: u64,
}

/// How far a group of jobs has come.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The group of jobs.
    pub graph: String,
    /// The stream it reads.
    pub stream: StreamDef,
    /// The last committed epoch.
    pub epoch: u64,
    /// For each partition, the first event that readers do not see yet.
    pub cut: Vec<i64>,
    /// Nothing waits: no event, and no window that is due to be closed.
    pub settled: bool,
    /// Why it has failed for good.
    pub failed: Option<String>,
}

/// What a view says beside its query that decides what it keeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct ViewTerms {
    /// Windows are emitted once, when they are closed.
    pub emit_on_window_close: bool,
    /// How long rows stay that only come, in milliseconds.
    pub ttl_ms: Option<i64>,
}

impl ViewTerms {
    /// Those of a view.
    pub fn of(view: &ViewDef) -> Self {
        Self { emit_on_window_close: view.emit_on_window_close, ttl_ms: view.ttl_ms }
    }
}

/// The engine, as the query layer sees it. All calls may block. What is about
/// running jobs only is refused by default.
pub trait Jobs: Send + Sync {
    /// What the query would keep, or why it cannot run continuously.
    ///
    /// # Errors
    /// An unsupported or wrong plan, with the supported spelling.
    fn shape(&self, catalog: &Catalog, plan: &LogicalPlan, terms: ViewTerms)
    -> Result<ViewShape, QueryError>;

    /// Makes what runs agree with the catalog: starts new jobs, stops removed
    /// ones, applies changed options.
    ///
    /// # Errors
    /// A job that cannot be started; the others go on.
    fn reconcile(&self) -> Result<(), QueryError>;

    /// Stops the jobs that read or write this name, so that it can be dropped.
    ///
    /// # Errors
    /// Storage that cannot be removed.
    fn forget(&self, name: &str) -> Result<(), QueryError>;

    /// Whether a running view can go on with another query, of the same columns
    /// and key, on what it has kept.
    ///
    /// # Errors
    /// Why it cannot.
    fn check_change(&self, _view: &ViewDef, _plan: &LogicalPlan) -> Result<(), QueryError> {
        Err(QueryError::unsupported(NO_JOBS))
    }

    /// Lets these views forget all they have, and begins them again.
    ///
    /// # Errors
    /// Storage that cannot be removed.
    fn restart(&self, _views: &[String]) -> Result<(), QueryError> {
        Err(QueryError::unsupported(NO_JOBS))
    }

    /// All jobs.
    fn jobs(&self) -> Vec<JobStatus>;

    /// How far every group has come.
    fn progress(&self) -> Vec<Progress>;

    /// Lets all jobs take what waits, without waiting for their triggers.
    fn hurry(&self) {}

    /// The operators of all views.
    fn operators(&self) -> Vec<OperatorStatus>;

    /// The newest epochs of all groups, oldest first.
    fn epochs(&self) -> Vec<EpochStatus>;
}

const NO_JOBS: &str = "this process has the role serving and runs no jobs: create and change views and sinks in one \
                       with the role engine or all";

/// In place of an engine in a process that runs no jobs.
#[derive(Debug)]
pub struct NoJobs;

impl Jobs for NoJobs {
    fn shape(&self, _: &Catalog, _: &LogicalPlan, _: ViewTerms) -> Result<ViewShape, QueryError> {
        Err(QueryError::unsupported(NO_JOBS))
    }

    fn reconcile(&self) -> Result<(), QueryError> {
        Ok(())
    }

    fn forget(&self, _: &str) -> Result<(), QueryError> {
        Ok(())
    }

    fn jobs(&self) -> Vec<JobStatus> {
        Vec::new()
    }

    fn progress(&self) -> Vec<Progress> {
        Vec::new()
    }

    fn operators(&self) -> Vec<OperatorStatus> {
        Vec::new()
    }

    fn epochs(&self) -> Vec<EpochStatus> {
        Vec::new()
    }
}

/// What fills a stream's topic besides producers, at one moment.
#[derive(Debug, Clone)]
pub struct FeedRow {
    /// The stream.
    pub stream: String,
    /// `files`, `lines` or `generator`.
    pub kind: &'static str,
    /// `running`, `waiting`, `finished` or `failed`.
    pub state: &'static str,
    /// Events appended since the feed was started.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines that became no event.
    pub skipped: u64,
    /// Where it takes them from.
    pub source: String,
    /// Why it has failed or waits.
    pub error: Option<String>,
}

/// The feeds, as the query layer sees them.
pub trait Feeding: Send + Sync {
    /// Makes what runs agree with the catalog.
    ///
    /// # Errors
    /// A feed that cannot be started; the others go on.
    fn reconcile(&self, catalog: &Catalog) -> Result<(), QueryError>;

    /// All feeds.
    fn feeds(&self) -> Vec<FeedRow>;
}

/// The feeds; none in a process that runs none.
pub(crate) type FeedsSlot = std::sync::OnceLock<Weak<dyn Feeding>>;

/// The engine: not there yet while the platform is being put together, gone once
/// its owner has let go of it.
pub(crate) type JobsSlot = std::sync::OnceLock<Weak<dyn Jobs>>;
