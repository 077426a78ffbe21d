//! The messages that every page gets: `status` four times a second, `catalog`
//! once a second.

use std::collections::BTreeMap;

use pluvio_catalog::{Definition, ViewDef, ViewKind};
use pluvio_query::JobStatus;
use pluvio_query::dead_letters::SPAN_PREFIX;
use serde_json::{Value, json};

use super::charts::Chart;
use super::feeds::read;
use super::history::{Counts, Point};
use super::hub::Hub;
use super::sampler::{Rates, Sample};

/// Dead letters shown.
const LETTERS_MAX: usize = 20;

/// The append-only view that has given the most rows: the one whose rate and
/// latency the page shows large.
pub(super) fn main_view(hub: &Hub, sample: &Sample) -> Option<String> {
    let append = |job: &&JobStatus| match hub.platform.catalog().get(&job.name).as_deref() {
        Some(Definition::View(view)) => Chart::of(view) == Chart::Rate,
        _ => false,
    };
    let main = sample.jobs.iter().filter(append).max_by_key(|job| job.rows_out);
    let any = || sample.jobs.iter().filter(|job| job.kind == "view").max_by_key(|job| job.rows_out);
    main.or_else(any).map(|job| job.name.clone())
}

/// The rates and states of this moment.
pub(super) fn status(sample: &Sample, rates: &Rates, point: &Point, main: Option<&str>) -> Value {
    let job = |job: &JobStatus| {
        let counts = if job.kind == "sink" { &rates.slow } else { &rates.fast };
        json!({
            "name": job.name,
            "kind": job.kind,
            "state": job.state,
            "graph": job.graph,
            "epoch": job.epoch,
            "rows_in": job.rows_in,
            "rows_out": job.rows_out,
            "in_rate": counts.rate(&format!("in/{}", job.name)),
            "out_rate": counts.rate(&format!("out/{}", job.name)),
            "lag_events": job.lag,
            "latency_ms_p50": job.latency_ms_p50,
            "latency_ms_p99": job.latency_ms_p99,
            "error": job.error,
        })
    };
    json!({
        "type": "status",
        "at": sample.at,
        "main": main,
        "rates": { "events": point.events, "rows": point.rows, "bytes": rates.fast.rate("bytes").unwrap_or_default() },
        "lag_events": lag(&sample.jobs),
        "latency": { "p50": point.p50, "p99": point.p99 },
        "memory_bytes": sample.memory_bytes,
        "lake_rows": sample.sum("lake_rows", |_| true),
        "jobs": sample.jobs.iter().map(job).collect::<Vec<_>>(),
    })
}

/// Events not yet processed: jobs of one group read the same events, so each
/// group counts once. Sinks lag in epochs, not in events.
fn lag(jobs: &[JobStatus]) -> u64 {
    let mut groups = BTreeMap::<&str, u64>::new();
    for job in jobs.iter().filter(|job| job.kind == "view") {
        let lag = groups.entry(&job.graph).or_default();
        *lag = job.lag.max(*lag);
    }
    groups.values().sum()
}

/// The newest dead letters, read again only when there are others.
#[derive(Debug, Default)]
pub(super) struct Letters {
    total: u64,
    newest: Vec<Value>,
}

impl Letters {
    pub(super) async fn refresh(&mut self, hub: &Hub, sample: &Sample) {
        let total = sample.sum("spans_rows", |label| label.starts_with(SPAN_PREFIX));
        if total == self.total {
            return;
        }
        let query = format!(
            "SELECT at, stream, topic, partition, \"offset\", reason, value \
             FROM pluvio.dead_letters ORDER BY at DESC, \"offset\" DESC LIMIT {LETTERS_MAX}"
        );
        match objects(hub, &query).await {
            Some(newest) => (self.total, self.newest) = (total, newest),
            None => tracing::debug!("the dead letters could not be read"),
        }
    }
}

/// What exists.
pub(super) async fn catalog(
    hub: &Hub,
    sample: &Sample,
    counts: &Counts,
    main: Option<&str>,
    letters: &Letters,
) -> Value {
    let query = "SELECT name, partitions, events, bytes, retention_ms, retention_bytes \
                 FROM pluvio.topics WHERE NOT internal ORDER BY name";
    let mut topics = objects(hub, query).await.unwrap_or_default();
    for topic in &mut topics {
        let name = topic["name"].as_str().unwrap_or_default();
        topic["rate"] = json!(counts.rate(&format!("topic/{name}")));
    }
    let definitions = hub.platform.catalog().all();
    let views = definitions.iter().filter_map(|definition| match definition.as_ref() {
        Definition::View(view) => Some(describe(view, sample)),
        _ => None,
    });
    json!({
        "type": "catalog",
        "main": main,
        "topics": topics,
        "views": views.collect::<Vec<_>>(),
        "dead_letters": letters.newest,
        "dead_letters_total": letters.total,
    })
}

fn describe(view: &ViewDef, sample: &Sample) -> Value {
    let (kind, metric) = match view.kind {
        ViewKind::Append { .. } => ("append", "spans_rows"),
        ViewKind::Keyed { .. } => ("keyed", "tables_rows"),
    };
    let rows = sample.sum(metric, |label| label == view.name);
    json!({ "name": view.name, "kind": kind, "rows": rows, "chart": Chart::of(view).kind() })
}

/// A query's rows as JSON objects.
async fn objects(hub: &Hub, query: &str) -> Option<Vec<Value>> {
    let (columns, _, rows) = read(hub, query).await.ok()?;
    let object = |row: Value| match row {
        Value::Array(cells) => columns.iter().cloned().zip(cells).collect(),
        other => other,
    };
    Some(rows.into_iter().map(object).collect())
}
