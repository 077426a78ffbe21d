//! A whole platform in one process, over any disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use pluvio_catalog::Catalog;
use pluvio_engine::{Engine, EngineOptions};
use pluvio_eventlog::{EventLog, LogOptions};
use pluvio_foundation::{Disk, Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_keytables::{Store, StoreOptions};
use pluvio_query::functions::Functions;
use pluvio_query::{Jobs, Outcome, Platform, PlatformOptions, QueryError, Session};

/// A running platform.
pub struct TestPlatform {
    pub platform: Arc<Platform>,
    pub engine: Arc<Engine>,
}

/// Small epochs, so that a test has many.
pub const EAGER: EngineOptions =
    EngineOptions { trigger_ms: 2, trigger_rows: 40, workers: 2, epoch_bytes: 64 << 20 };

impl TestPlatform {
    /// Opens what a folder of the real disk holds.
    pub async fn open(folder: &Path, options: EngineOptions) -> Self {
        Self::open_on(Arc::new(RealDisk), folder, options).await
    }

    /// Opens what a disk holds; the keyed store lies on the real disk always.
    pub async fn open_on(disk: Arc<dyn Disk>, folder: &Path, options: EngineOptions) -> Self {
        let tables = StoreOptions { background: false, ..StoreOptions::default() };
        Self::open_with(disk, folder, options, tables).await
    }

    /// The same, with other options of the tables.
    pub async fn open_with(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: EngineOptions,
        store_options: StoreOptions,
    ) -> Self {
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
        let log_options = LogOptions { background: false, disk_reserve_bytes: 0, ..LogOptions::default() };
        let random = Arc::new(SystemRandom::default());
        let log_folder = folder.join("log");
        let log =
            EventLog::open(&log_folder, disk.clone(), clock.clone(), random, metrics.clone(), log_options)
                .unwrap();
        let store_folder = folder.join("tables");
        let store =
            Store::open(&store_folder, disk.clone(), clock.clone(), metrics.clone(), store_options).unwrap();
        let catalog = Arc::new(Catalog::open(folder, disk).unwrap());
        let platform_options = PlatformOptions {
            data_dir: folder.to_owned(),
            lake_dir: folder.join("lake"),
            query_memory_bytes: 64 << 20,
            default_partitions: 2,
            lake_commit_interval_ms: 1_000,
            lake_commit_bytes: 1 << 20,
            functions: Functions::default(),
        };
        let platform = Platform::new(platform_options, catalog, log, store, clock, metrics).unwrap();
        let engine = Engine::new(Arc::clone(&platform), options, tokio::runtime::Handle::current());
        platform.attach(&(Arc::clone(&engine) as Arc<dyn Jobs>));
        let starting = Arc::clone(&engine);
        tokio::task::spawn_blocking(move || starting.reconcile()).await.unwrap().unwrap();
        Self { platform, engine }
    }

    /// Executes statements; a refusal fails the test.
    pub async fn run(&self, sql: &str) {
        let session = self.platform.session().unwrap();
        execute(&session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The rows of a query as texts, sorted.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let session = self.platform.session().unwrap();
        let rows = execute(&session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" | ")).collect();
        rows.sort();
        rows
    }

    /// Asks until a query gives these rows: for what comes by the clock alone.
    pub async fn until(&self, sql: &str, expected: &[&str]) {
        let started = Instant::now();
        loop {
            let rows = self.rows(sql).await;
            if rows == expected {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{sql} gives {rows:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the jobs and lets go of the stores, as they are.
    pub async fn stop(self) {
        let stopping = move || {
            self.engine.stop();
            self.platform.log().close();
            drop(self);
        };
        tokio::task::spawn_blocking(stopping).await.unwrap();
    }
}

/// Executes statements and returns the last one's rows as texts.
pub async fn execute(session: &Session, sql: &str) -> Result<Vec<Vec<String>>, QueryError> {
    let mut rows = Vec::new();
    for outcome in session.execute(sql).await? {
        rows = match outcome {
            Outcome::Rows(stream) => {
                let batches: Vec<RecordBatch> = stream.try_collect().await?;
                batches.iter().flat_map(texts).collect()
            }
            Outcome::Done { .. } => Vec::new(),
        };
    }
    Ok(rows)
}

fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let cell = |column: &ArrayFormatter<'_>, row: usize| match column.value(row).to_string() {
        empty if empty.is_empty() => "(empty)".to_owned(),
        text => text,
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect()
}
