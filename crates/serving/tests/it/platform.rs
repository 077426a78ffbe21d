//! A platform in a temporary folder. Its engine runs nothing: it keeps the
//! views' storage, so that a test can put rows into them itself.

use std::sync::{Arc, Mutex};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::LogicalPlan;
use pluvio_catalog::{Catalog, Column, Definition, ViewKind};
use pluvio_eventlog::{EventLog, LogOptions};
use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_keytables::{SpanRetention, Store, StoreOptions};
use pluvio_query::functions::Functions;
use pluvio_query::{
    EpochStatus, JobStatus, Jobs, Outcome, Platform, PlatformOptions, Progress, QueryError, ViewShape,
    ViewTerms,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A platform and the folder it lives in.
pub struct Fixture {
    pub platform: Arc<Platform>,
    pub jobs: Arc<Remembered>,
    pub stop: watch::Sender<bool>,
    _folder: TempDir,
}

/// Jobs that do nothing but say what they were told to.
pub struct Remembered {
    catalog: Arc<Catalog>,
    store: Arc<Store>,
    pub jobs: Mutex<Vec<JobStatus>>,
}

impl Fixture {
    /// An empty platform.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (disk, clock, metrics) = (Arc::new(RealDisk), Arc::new(SystemClock), Metrics::default());
        let catalog = Arc::new(Catalog::open(folder.path(), disk.clone()).unwrap());
        let log_options = LogOptions { background: false, ..LogOptions::default() };
        let random = Arc::new(SystemRandom::default());
        let log_folder = folder.path().join("log");
        let log =
            EventLog::open(&log_folder, disk.clone(), clock.clone(), random, metrics.clone(), log_options)
                .unwrap();
        let store_options = StoreOptions { background: false, ..StoreOptions::default() };
        let store_folder = folder.path().join("tables");
        let store = Store::open(&store_folder, disk, clock.clone(), metrics.clone(), store_options).unwrap();
        let options = PlatformOptions {
            data_dir: folder.path().to_owned(),
            lake_dir: folder.path().join("lake"),
            query_memory_bytes: 64 << 20,
            default_partitions: 1,
            lake_commit_interval_ms: 1_000,
            lake_commit_bytes: 1 << 20,
            functions: Functions::default(),
        };
        let jobs =
            Arc::new(Remembered { catalog: catalog.clone(), store: store.clone(), jobs: Mutex::default() });
        let platform = Platform::new(options, catalog, log, store, clock, metrics).unwrap();
        platform.attach(&(jobs.clone() as Arc<dyn Jobs>));
        Self { platform, jobs, stop: watch::channel(false).0, _folder: folder }
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) -> Vec<Outcome> {
        match self.platform.session().unwrap().execute(sql).await {
            Ok(outcomes) => outcomes,
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Appends rows to a view that only grows.
    pub fn append(&self, view: &str, tag: u64, rows: RecordBatch) {
        let store = self.platform.store();
        let mut commit = store.begin();
        commit.append(&store.span(view).unwrap(), tag, rows);
        commit.commit().unwrap();
    }

    /// A free port.
    pub async fn listen(&self) -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }
}

impl Jobs for Remembered {
    fn shape(&self, _: &Catalog, plan: &LogicalPlan, terms: ViewTerms) -> Result<ViewShape, QueryError> {
        let column = |field: &Arc<Field>| Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: true,
        };
        let columns = plan.schema().fields().iter().map(column).collect();
        let grouped = plan.display_indent().to_string().contains("Aggregate") && !terms.emit_on_window_close;
        let kind =
            if grouped { ViewKind::Keyed { key: vec![0] } } else { ViewKind::Append { time_column: None } };
        Ok(ViewShape { columns, kind, reads: Vec::new(), operators: Vec::new() })
    }

    fn reconcile(&self) -> Result<(), QueryError> {
        for definition in self.catalog.all() {
            let Definition::View(view) = definition.as_ref() else { continue };
            let field = |column: &Column| Field::new(&column.name, column.data_type.clone(), column.nullable);
            let schema = Arc::new(Schema::new(view.columns.iter().map(field).collect::<Vec<_>>()));
            match &view.kind {
                ViewKind::Keyed { key } => drop(self.store.create_table(&view.name, schema, key)?),
                ViewKind::Append { .. } => {
                    let retention = SpanRetention { age_ms: None, bytes_max: view.retention_bytes };
                    drop(self.store.create_span(&view.name, schema, retention)?);
                }
            }
        }
        Ok(())
    }

    fn forget(&self, _: &str) -> Result<(), QueryError> {
        Ok(())
    }

    fn jobs(&self) -> Vec<JobStatus> {
        self.jobs.lock().unwrap().clone()
    }

    fn progress(&self) -> Vec<Progress> {
        Vec::new()
    }

    fn operators(&self) -> Vec<pluvio_query::OperatorStatus> {
        Vec::new()
    }

    fn epochs(&self) -> Vec<EpochStatus> {
        Vec::new()
    }
}

/// A running view's state.
pub fn job(name: &str, rows_in: u64, rows_out: u64) -> JobStatus {
    JobStatus {
        name: name.to_owned(),
        kind: "view",
        state: "running",
        graph: name.to_owned(),
        epoch: 7,
        rows_in,
        rows_out,
        lag: 11,
        done_percent: Some(98.5),
        latency_ms_p50: Some(12.5),
        latency_ms_p99: Some(40.0),
        trigger_ms: 100,
        error: None,
    }
}
