//! Pluvio inside another program: the event log, the tables, the jobs and SQL,
//! without doors. The binary is this with doors.
//!
//! Promises: what the platform promises. One process opens a data folder at a
//! time; what [`Pluvio::execute`] and [`Pluvio::append`] have returned from is on
//! disk; [`Pluvio::close`] ends jobs after their epochs, and not to call it loses
//! nothing.
//!
//! Functions of the program's own are given when the platform is opened, and are
//! known to every query, view and computed column: [`Functions`].
//! `examples/functions.rs` has one of each kind.

mod feeds;
mod folder;
mod stores;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use pluvio_config::{Config, Role};
use pluvio_engine::{Engine, EngineOptions};
use pluvio_eventlog::EventLog;
use pluvio_feeds::Feeds;
use pluvio_foundation::{Clock, ErrorKind, Metrics, SystemClock};
use pluvio_query::functions::Functions;
use pluvio_query::{Feeding, Jobs, NoJobs, Outcome, Platform, QueryError};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use feeds::FeedsPort;
pub use folder::{FolderLock, LOCK_FILE};
pub use pluvio_config as config;
pub use pluvio_query as query;
pub use stores::{open_log, open_platform};

/// Threads that decode the partitions of one epoch, unless a job says otherwise.
const WORKERS: usize = 2;

/// An open platform.
pub struct Pluvio {
    platform: Arc<Platform>,
    engine: Arc<Engine>,
    /// In place of the engine where there are no jobs.
    _no_jobs: Arc<dyn Jobs>,
    feeds: Arc<FeedsPort>,
    _feeding: Arc<dyn Feeding>,
    log: Arc<EventLog>,
    metrics: Metrics,
    _lock: FolderLock,
}

impl Pluvio {
    /// Opens the platform of a data folder, made if it is not there, and starts
    /// its jobs. Must be called on a Tokio runtime of several threads.
    ///
    /// # Errors
    /// A folder in use, or data that cannot be read.
    pub async fn open(folder: impl Into<PathBuf>, functions: Functions) -> Result<Self, QueryError> {
        let config = Config { data_dir: folder.into(), ..Config::default() };
        let platform = Self::with_config(&config, functions)?;
        platform.start().await;
        Ok(platform)
    }

    /// The same with every option; nothing runs before [`Self::start`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_config(config: &Config, functions: Functions) -> Result<Self, QueryError> {
        let lock = FolderLock::take(&config.data_dir)?;
        let metrics = Metrics::default();
        let (platform, log) = open_platform(config, &metrics, functions)?;
        let options = EngineOptions {
            trigger_ms: config.trigger_ms,
            trigger_rows: config.trigger_rows,
            epoch_bytes: config.epoch_bytes,
            workers: WORKERS,
        };
        let engine = Engine::new(Arc::clone(&platform), options, tokio::runtime::Handle::current());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = config.data_dir.join("feeds");
        let feeds = Arc::new(FeedsPort(Feeds::new(Arc::clone(&log), folder, clock, metrics.clone())));
        let (no_jobs, feeding): (Arc<dyn Jobs>, Arc<dyn Feeding>) =
            (Arc::new(NoJobs), Arc::clone(&feeds) as Arc<dyn Feeding>);
        if config.role == Role::Serving {
            platform.attach(&no_jobs);
        } else {
            platform.attach(&(Arc::clone(&engine) as Arc<dyn Jobs>));
            platform.attach_feeds(&feeding);
        }
        Ok(Self { platform, engine, _no_jobs: no_jobs, feeds, _feeding: feeding, log, metrics, _lock: lock })
    }

    /// Starts the jobs and feeds of the catalog. One that cannot start says so in
    /// `pluvio.jobs`, `pluvio.feeds` and the process's log; the others run.
    pub async fn start(&self) {
        let platform = Arc::clone(&self.platform);
        match tokio::task::spawn_blocking(move || platform.reconcile()).await {
            Ok(Err(error)) => tracing::error!(%error, "a job could not start; see pluvio.jobs"),
            Err(error) => tracing::error!(%error, "the jobs could not be started"),
            Ok(Ok(())) => {}
        }
    }

    /// Executes statements, one after the other.
    ///
    /// # Errors
    /// The first failure, with its place in the text.
    pub async fn execute(&self, sql: &str) -> Result<(), QueryError> {
        let session = self.platform.session()?;
        for outcome in session.execute(sql).await? {
            if let Outcome::Rows(rows) = outcome {
                rows.try_collect::<Vec<_>>().await?;
            }
        }
        Ok(())
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What is wrong with it, with its place in the text.
    pub async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        let session = self.platform.session()?;
        let mut rows = Vec::new();
        for outcome in session.execute(sql).await? {
            if let Outcome::Rows(stream) = outcome {
                rows = stream.try_collect().await?;
            }
        }
        Ok(rows)
    }

    /// Appends events to a partition of a topic, each a value without a key, as
    /// of now; returns when they are on disk.
    ///
    /// # Errors
    /// There is no such topic or partition; the disk's.
    pub async fn append(&self, topic: &str, partition: usize, values: &[&[u8]]) -> Result<(), QueryError> {
        let found = self.log.topic(topic).and_then(|topic| topic.partitions().into_iter().nth(partition));
        let missing = || format!("the topic \"{topic}\" has no partition {partition}");
        let found = found.ok_or_else(|| QueryError::new(ErrorKind::NotFound, missing()))?;
        let now_ms = SystemClock.now_ms();
        let mut batch = BatchBuilder::new(now_ms);
        values.iter().for_each(|value| batch.push(None, Some(value), now_ms, &[]));
        let invalid = |error: pluvio_wire_kafka::WireError| QueryError::new(error.kind(), error.to_string());
        let bytes = batch.finish(Compression::None, None).map_err(invalid)?;
        let write = move || {
            found.append(bytes)?;
            found.sync(found.end_offset())
        };
        let failed = |error: tokio::task::JoinError| QueryError::new(ErrorKind::Internal, error.to_string());
        Ok(tokio::task::spawn_blocking(write).await.map_err(failed)??)
    }

    /// For sessions.
    pub fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// The jobs.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The event log.
    pub fn log(&self) -> &Arc<EventLog> {
        &self.log
    }

    /// The numbers of its parts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Ends feeds and jobs, these after their epochs, and closes the stores.
    pub async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || {
            self.feeds.0.stop();
            self.engine.stop();
            self.platform.store().close();
            self.log.close();
        });
        if closing.await.is_err() {
            tracing::error!("the stores were not closed cleanly");
        }
    }
}
