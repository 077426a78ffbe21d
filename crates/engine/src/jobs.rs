//! The engine as the query layer sees it: makes what runs agree with the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use pluvio_catalog::{Catalog, SinkDef, StreamDef, ViewDef, ViewKind};
use pluvio_foundation::ErrorKind;
use pluvio_query::sql::parse_query;
use pluvio_query::tables::state_table_name;
use pluvio_query::{
    EpochStatus, JobStatus, Jobs, OperatorStatus, Platform, Progress, QueryError, ViewShape, ViewTerms,
    plan_continuous,
};

use crate::compile::{ViewPlan, compile};
use crate::graph::{
    GraphHandle, GraphParts, GraphSpec, Signals, changes_name, changes_note, dead_letters_name, graphs,
    is_catching_up, record_name,
};
use crate::shares::Shares;
use crate::sink::{SinkHandle, SinkParts};
use crate::stats::OperatorStats;

/// What the names of notes on views that are being forgotten begin with.
const FORGETTING: &str = "forget/";

/// How the engine runs.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Longest time that events wait for an epoch of a job that does not say
    /// otherwise.
    pub trigger_ms: u64,
    /// Rows that start an epoch early, and the most it takes.
    pub trigger_rows: usize,
    /// Threads that decode the partitions of one epoch.
    pub workers: usize,
    /// Bytes of events that all epochs at work may read together.
    pub epoch_bytes: usize,
}

/// The engine.
pub struct Engine {
    platform: Arc<Platform>,
    options: EngineOptions,
    shares: Arc<Shares>,
    runtime: tokio::runtime::Handle,
    running: Mutex<BTreeMap<String, Running>>,
    /// The views of graphs that could not start, and why.
    refused: Mutex<Vec<(GraphSpec, QueryError)>>,
}

struct Running {
    graph: GraphHandle,
    sinks: Vec<SinkHandle>,
}

impl Running {
    fn stop(&mut self) {
        self.graph.stop();
        self.sinks.iter_mut().for_each(SinkHandle::stop);
    }
}

impl Engine {
    /// An engine over the platform. Nothing runs until [`Jobs::reconcile`].
    pub fn new(
        platform: Arc<Platform>,
        options: EngineOptions,
        runtime: tokio::runtime::Handle,
    ) -> Arc<Self> {
        let shares = Shares::new(options.epoch_bytes, options.workers);
        Arc::new(Self {
            platform,
            options,
            shares,
            runtime,
            running: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// Ends all jobs after the epochs at hand; sinks deliver what is committed.
    pub fn stop(&self) {
        let mut running = std::mem::take(&mut *self.running.lock());
        running.values_mut().for_each(Running::stop);
    }

    /// A quantile of all latencies of a graph since its start, in milliseconds.
    pub fn latency_ms(&self, graph: &str, quantile: f64) -> Option<f64> {
        self.running.lock().get(graph)?.graph.shared.stats.latency_ms_total(quantile)
    }

    fn plan(&self, view: &ViewDef) -> Result<ViewPlan, QueryError> {
        let session = self.platform.session()?;
        let query = parse_query(&view.query)?;
        let plan = self.runtime.block_on(plan_continuous(session.context(), query))?;
        compile(&plan, ViewTerms::of(view))
    }

    fn start(&self, spec: GraphSpec) -> Result<Running, QueryError> {
        let plans = spec.views.iter().map(|v| self.plan(v)).collect::<Result<Vec<_>, _>>()?;
        let signals = Arc::new(Signals::default());
        for view in &spec.views {
            if is_catching_up(self.platform.store(), &view.name)? {
                self.forget(&view.name)?;
            }
        }
        let trigger_ms =
            spec.views.iter().filter_map(|v| v.trigger_ms).min().unwrap_or(self.options.trigger_ms);
        let wanted = spec.views.iter().filter_map(|view| view.parallelism).max();
        let workers = wanted.map_or(self.options.workers, |wanted| wanted as usize);
        let platform = &self.platform;
        let sinks = spec.sinks.clone();
        let topics = spec.streams.iter().map(|stream| platform.sources().open(stream));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        // Storage first: a sink must hold its rows before an epoch can let them go.
        let parts = GraphParts {
            spec,
            plans,
            topics,
            functions: platform.sources().functions().clone(),
            store: Arc::clone(platform.store()),
            clock: Arc::clone(platform.clock()),
            metrics: platform.metrics().clone(),
            trigger_ms,
            trigger_rows: self.options.trigger_rows,
            workers,
            shares: Arc::clone(&self.shares),
            signals: Arc::clone(&signals),
        };
        let keys: BTreeMap<String, ViewKind> =
            parts.spec.views.iter().map(|view| (view.name.clone(), view.kind.clone())).collect();
        let prepared = GraphHandle::prepare(parts)?;
        let start_sink = |def: SinkDef| {
            let key = match keys.get(&def.from) {
                Some(ViewKind::Keyed { key }) => Some(key.clone()),
                _ => None,
            };
            SinkHandle::start(SinkParts {
                def,
                key,
                store: Arc::clone(platform.store()),
                lakes: Arc::clone(platform.lakes()),
                clock: Arc::clone(platform.clock()),
                metrics: platform.metrics().clone(),
                signals: Arc::clone(&signals),
            })
        };
        let sinks = sinks.into_iter().map(start_sink).collect::<Result<Vec<_>, _>>()?;
        Ok(Running { graph: prepared.start()?, sinks })
    }
}

impl Jobs for Engine {
    fn shape(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        terms: ViewTerms,
    ) -> Result<ViewShape, QueryError> {
        compile(plan, terms)?.shape(catalog)
    }

    fn check_change(&self, view: &ViewDef, plan: &LogicalPlan) -> Result<(), QueryError> {
        compile(plan, ViewTerms::of(view))?.check_follows(&self.plan(view)?)
    }

    fn restart(&self, views: &[String]) -> Result<(), QueryError> {
        let mut running = self.running.lock();
        stop_if(&mut running, |_, it| it.graph.spec.views.iter().any(|view| views.contains(&view.name)));
        views.iter().try_for_each(|view| self.forget(view))
    }

    fn reconcile(&self) -> Result<(), QueryError> {
        let mut running = self.running.lock();
        // What a crash kept from being forgotten.
        for marker in self.platform.store().note_names(FORGETTING) {
            self.forget(marker.trim_start_matches(FORGETTING))?;
        }
        let wanted: BTreeMap<String, GraphSpec> =
            graphs(self.platform.catalog()).into_iter().map(|g| (g.name.clone(), g)).collect();
        stop_if(&mut running, |name, it| wanted.get(name) != Some(&it.graph.spec));
        let mut first_error = None;
        let mut refused = Vec::new();
        for (name, spec) in wanted {
            if running.contains_key(&name) {
                continue;
            }
            match self.start(spec.clone()) {
                Ok(graph) => {
                    running.insert(name, graph);
                }
                Err(error) => {
                    tracing::error!(graph = %name, %error, "the graph cannot start");
                    first_error.get_or_insert(error.clone());
                    refused.push((spec, error));
                }
            }
        }
        *self.refused.lock() = refused;
        first_error.map_or(Ok(()), Err)
    }

    fn forget(&self, name: &str) -> Result<(), QueryError> {
        let store = self.platform.store();
        let marker = format!("{FORGETTING}{name}");
        let mut begin = store.begin();
        begin.note(&marker, Some(Bytes::new()));
        begin.note(&record_name(name), None);
        begin.note(&changes_note(name), None);
        begin.commit()?;
        let state = state_table_name(name);
        let is_its = |table: &str| table == name || table == state || table.starts_with(&format!("{state}/"));
        for table in store.tables().iter().filter(|table| is_its(table.name())) {
            ignore_missing(store.drop_table(table.name()))?;
        }
        for span in [name.to_owned(), dead_letters_name(name).to_string(), changes_name(name)] {
            ignore_missing(if store.span(&span).is_some() { store.drop_span(&span) } else { Ok(()) })?;
        }
        let mut commit = store.begin();
        commit.note(&marker, None);
        commit.commit()?;
        self.platform.metrics().forget(name);
        Ok(())
    }

    fn jobs(&self) -> Vec<JobStatus> {
        let running = self.running.lock();
        let work =
            running.values().flat_map(|r| view_jobs(r).into_iter().chain(sink_jobs(r)).collect::<Vec<_>>());
        work.chain(self.refused.lock().iter().flat_map(|(spec, error)| refused_jobs(spec, error))).collect()
    }

    fn progress(&self) -> Vec<Progress> {
        let progress = |running: &Running| {
            let (spec, shared) = (&running.graph.spec, &running.graph.shared);
            let failed = match *shared.state.lock() {
                "failed" => shared.error.lock().as_ref().map(ToString::to_string),
                "paused" => Some("it is paused; ALTER JOB … RESUME lets it go on".to_owned()),
                _ => None,
            };
            let position = shared.position.lock().clone();
            // After the position: an epoch ends being settled before its position is seen.
            let settled = shared.settled.load(Ordering::Acquire);
            let cuts = position.cuts.into_iter().chain(std::iter::repeat(Vec::new()));
            let of_stream = |(stream, cut): (&StreamDef, Vec<i64>)| Progress {
                graph: spec.name.clone(),
                stream: stream.clone(),
                epoch: position.epoch,
                cut,
                settled,
                failed: failed.clone(),
            };
            spec.streams.iter().zip(cuts).map(of_stream).collect::<Vec<_>>()
        };
        self.running.lock().values().flat_map(progress).collect()
    }

    fn hurry(&self) {
        self.running.lock().values().for_each(|running| running.graph.shared.hurry());
    }

    fn operators(&self) -> Vec<OperatorStatus> {
        let of_view = |(view, stats): &(String, Arc<Vec<OperatorStats>>)| {
            stats.iter().enumerate().map(|(place, stats)| stats.status(view, place)).collect::<Vec<_>>()
        };
        let running = self.running.lock();
        running.values().flat_map(|r| r.graph.shared.operators.iter().flat_map(of_view)).collect()
    }

    fn epochs(&self) -> Vec<EpochStatus> {
        self.running.lock().values().flat_map(|r| r.graph.shared.stats.epochs()).collect()
    }
}

/// Ends the graphs for which this is so, after their epochs at hand.
fn stop_if(running: &mut BTreeMap<String, Running>, ends: impl Fn(&str, &Running) -> bool) {
    for (_, mut graph) in running.extract_if(.., |name, it| ends(name, it)) {
        graph.stop();
    }
}

fn ignore_missing(result: Result<(), pluvio_keytables::TableError>) -> Result<(), QueryError> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn view_jobs(running: &Running) -> Vec<JobStatus> {
    let shared = &running.graph.shared;
    let position = shared.position.lock().clone();
    let error = shared.error.lock().as_ref().map(ToString::to_string);
    let state = *shared.state.lock();
    let job = |(place, view): (usize, &ViewDef)| {
        let did = position.records.get(place).cloned().unwrap_or_default();
        let (held, left) = shared.distance.lock().get(place).copied().unwrap_or_default();
        JobStatus {
            name: view.name.clone(),
            kind: "view",
            state,
            graph: running.graph.spec.name.clone(),
            epoch: position.epoch.cast_signed(),
            rows_in: did.rows_in,
            rows_out: did.rows_out,
            lag: left,
            done_percent: Some(percent(held, left)),
            latency_ms_p50: shared.stats.latency_ms(0.5),
            latency_ms_p99: shared.stats.latency_ms(0.99),
            trigger_ms: running.graph.trigger_ms,
            error: error.clone(),
        }
    };
    running.graph.spec.views.iter().enumerate().map(job).collect()
}

/// The views of a graph that could not start.
fn refused_jobs(spec: &GraphSpec, error: &QueryError) -> Vec<JobStatus> {
    let job = |view: &ViewDef| JobStatus {
        name: view.name.clone(),
        kind: "view",
        state: "failed",
        graph: spec.name.clone(),
        epoch: 0,
        rows_in: 0,
        rows_out: 0,
        lag: 0,
        done_percent: None,
        latency_ms_p50: None,
        latency_ms_p99: None,
        trigger_ms: view.trigger_ms.unwrap_or(0),
        error: Some(error.to_string()),
    };
    spec.views.iter().map(job).collect()
}

/// How much of what is held has been read, from 0 to 100.
#[allow(clippy::cast_precision_loss)]
fn percent(held: u64, left: u64) -> f64 {
    if left == 0 { 100.0 } else { 100.0 * held.saturating_sub(left) as f64 / held.max(1) as f64 }
}

fn sink_jobs(running: &Running) -> Vec<JobStatus> {
    let position = running.graph.shared.position.lock().clone();
    let views = &running.graph.spec.views;
    let of_view = |name: &str| position.records.get(views.iter().position(|view| view.name == name)?);
    let job = |sink: &SinkHandle| {
        let epoch = sink.shared.epoch.load(Ordering::Relaxed);
        let error = sink.shared.error.lock().as_ref().map(ToString::to_string);
        JobStatus {
            name: sink.def.name.clone(),
            kind: "sink",
            state: if error.is_some() { "waiting" } else { "running" },
            graph: running.graph.spec.name.clone(),
            epoch: epoch.cast_signed(),
            rows_in: of_view(&sink.def.from).map_or(0, |record| record.rows_out),
            rows_out: sink.shared.rows.load(Ordering::Relaxed),
            lag: position.epoch.saturating_sub(epoch),
            done_percent: None,
            latency_ms_p50: None,
            latency_ms_p99: None,
            trigger_ms: sink.def.commit_interval_ms,
            error,
        }
    };
    running.sinks.iter().map(job).collect()
}
