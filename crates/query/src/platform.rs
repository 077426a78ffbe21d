//! The platform: the stores, the catalog and the engine put together, shared by
//! every session.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use pluvio_catalog::Catalog;
use pluvio_eventlog::EventLog;
use pluvio_foundation::{Clock, ErrorKind, Metrics};
use pluvio_keytables::{Span, Store};
use tokio::sync::Mutex;

use crate::context::functions_state;
use crate::functions::Functions;
use crate::ports::{FeedsSlot, JobsSlot};
use crate::session::Session;
use crate::sources::Sources;
use crate::tables::Resolver;
use crate::tables::system::SystemTables;
use crate::threads::QueryThreads;
use crate::{Feeding, Jobs, Lakes, QueryError};

/// What a platform is set up with.
#[derive(Debug, Clone)]
pub struct PlatformOptions {
    /// The data folder.
    pub data_dir: PathBuf,
    /// The lake's folder.
    pub lake_dir: PathBuf,
    /// Memory all ad-hoc queries together may take, in bytes.
    pub query_memory_bytes: usize,
    /// Partitions of a topic that a stream makes.
    pub default_partitions: u32,
    /// Most time between two commits of a sink that does not say otherwise, in
    /// milliseconds.
    pub lake_commit_interval_ms: u64,
    /// Uncommitted bytes at which such a sink commits early.
    pub lake_commit_bytes: u64,
    /// Functions of the user's own.
    pub functions: Functions,
}

/// Everything a session needs.
#[derive(Debug)]
pub struct Platform {
    options: PlatformOptions,
    catalog: Arc<Catalog>,
    log: Arc<EventLog>,
    sources: Arc<Sources>,
    store: Arc<Store>,
    lakes: Arc<Lakes>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    movers: Slot,
    runtime: Arc<RuntimeEnv>,
    pub(crate) query_threads: QueryThreads,
    /// Held while rows are checked and changed, or definitions are.
    pub(crate) writing: Mutex<()>,
}

#[derive(Default)]
struct Slot {
    jobs: JobsSlot,
    feeds: FeedsSlot,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.jobs.get().is_some() { "engine" } else { "no engine" })
    }
}

impl Platform {
    /// Puts the parts together. The engine comes by [`Self::attach`].
    ///
    /// # Errors
    /// The query runtime cannot be set up.
    pub fn new(
        options: PlatformOptions,
        catalog: Arc<Catalog>,
        log: Arc<EventLog>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Arc<Self>, QueryError> {
        let pool = Arc::new(FairSpillPool::new(options.query_memory_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
        let lakes = Arc::new(Lakes::new(options.lake_dir.clone()));
        let sources = Arc::new(Sources::new(Arc::clone(&log), functions_state(&options.functions)?));
        let (movers, writing) = (Slot::default(), Mutex::new(()));
        let query_threads = QueryThreads::default();
        Ok(Arc::new(Self {
            options,
            catalog,
            log,
            sources,
            store,
            lakes,
            clock,
            metrics,
            movers,
            runtime,
            query_threads,
            writing,
        }))
    }

    /// Gives the platform its engine, once. The caller owns it.
    pub fn attach(&self, jobs: &Arc<dyn Jobs>) {
        if self.movers.jobs.set(Arc::downgrade(jobs)).is_err() {
            tracing::warn!("the engine was attached twice; the first one stays");
        }
    }

    /// Gives the platform its feeds, once. The caller owns them.
    pub fn attach_feeds(&self, feeds: &Arc<dyn Feeding>) {
        if self.movers.feeds.set(Arc::downgrade(feeds)).is_err() {
            tracing::warn!("the feeds were attached twice; the first ones stay");
        }
    }

    /// Makes jobs and feeds agree with the catalog. Blocks.
    ///
    /// # Errors
    /// What cannot be started; the rest goes on.
    pub fn reconcile(&self) -> Result<(), QueryError> {
        let jobs = self.jobs()?.reconcile();
        let feeds = self.feeds().map_or(Ok(()), |feeds| feeds.reconcile(&self.catalog));
        jobs.and(feeds)
    }

    pub(crate) fn feeds(&self) -> Option<Arc<dyn Feeding>> {
        self.movers.feeds.get().and_then(Weak::upgrade)
    }

    /// A new session over the live catalog.
    ///
    /// # Errors
    /// The session cannot be set up.
    pub fn session(self: &Arc<Self>) -> Result<Session, QueryError> {
        Session::new(self, Arc::clone(&self.catalog), None)
    }

    /// The engine.
    ///
    /// # Errors
    /// There is none yet.
    pub fn jobs(&self) -> Result<Arc<dyn Jobs>, QueryError> {
        let missing = || QueryError::new(ErrorKind::Unavailable, "the engine is not running; try again");
        self.movers.jobs.get().and_then(Weak::upgrade).ok_or_else(missing)
    }

    pub(crate) fn resolver(&self, catalog: &Arc<Catalog>) -> Arc<Resolver> {
        let (sources, store) = (Arc::clone(&self.sources), Arc::clone(&self.store));
        Arc::new(Resolver::new(Arc::clone(catalog), sources, store, Arc::clone(&self.lakes)))
    }

    pub(crate) fn system_tables(self: &Arc<Self>) -> Arc<SystemTables> {
        Arc::new(SystemTables { platform: Arc::downgrade(self) })
    }

    pub(crate) fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    pub(crate) fn dead_letter_spans(&self) -> Vec<Arc<Span>> {
        self.store
            .spans()
            .into_iter()
            .filter(|s| s.name().starts_with(crate::dead_letters::SPAN_PREFIX))
            .collect()
    }

    /// The options.
    pub fn options(&self) -> &PlatformOptions {
        &self.options
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The event log.
    pub fn log(&self) -> &Arc<EventLog> {
        &self.log
    }

    /// The topics of streams, ours and elsewhere.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// The real-time tables.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The lake tables.
    pub fn lakes(&self) -> &Arc<Lakes> {
        &self.lakes
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The numbers.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
