//! The rows of the system tables.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::compute::{concat, filter_record_batch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use pluvio_catalog::{Column, Definition, ViewKind};

use crate::tables::system::Columns;
use crate::{Platform, QueryError, sql::sql_name};

type Result = std::result::Result<Columns, QueryError>;

pub(crate) fn text<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn whole(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn count(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(values.map(|v| i64::try_from(v).unwrap_or(i64::MAX)).collect::<Int64Array>())
}

fn float(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn time(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>())
}

pub(crate) fn jobs(platform: &Platform) -> Result {
    let jobs = platform.jobs()?.jobs();
    Ok(vec![
        ("name", text(jobs.iter().map(|j| Some(&j.name)))),
        ("kind", text(jobs.iter().map(|j| Some(j.kind)))),
        ("state", text(jobs.iter().map(|j| Some(j.state)))),
        ("graph", text(jobs.iter().map(|j| Some(&j.graph)))),
        ("epoch", whole(jobs.iter().map(|j| Some(j.epoch)))),
        ("rows_in", count(jobs.iter().map(|j| j.rows_in))),
        ("rows_out", count(jobs.iter().map(|j| j.rows_out))),
        ("lag_events", count(jobs.iter().map(|j| j.lag))),
        ("done_percent", float(jobs.iter().map(|j| j.done_percent))),
        ("latency_ms_p50", float(jobs.iter().map(|j| j.latency_ms_p50))),
        ("latency_ms_p99", float(jobs.iter().map(|j| j.latency_ms_p99))),
        ("trigger_ms", count(jobs.iter().map(|j| j.trigger_ms))),
        ("error", text(jobs.iter().map(|j| j.error.as_ref()))),
    ])
}

pub(crate) fn feeds(platform: &Platform) -> Result {
    let feeds = platform.feeds().map(|feeds| feeds.feeds()).unwrap_or_default();
    Ok(vec![
        ("stream", text(feeds.iter().map(|f| Some(&f.stream)))),
        ("kind", text(feeds.iter().map(|f| Some(f.kind)))),
        ("state", text(feeds.iter().map(|f| Some(f.state)))),
        ("events", count(feeds.iter().map(|f| f.events))),
        ("bytes", count(feeds.iter().map(|f| f.bytes))),
        ("skipped", count(feeds.iter().map(|f| f.skipped))),
        ("source", text(feeds.iter().map(|f| Some(&f.source)))),
        ("error", text(feeds.iter().map(|f| f.error.as_ref()))),
    ])
}

pub(crate) fn epochs(platform: &Platform) -> Result {
    let epochs = platform.jobs()?.epochs();
    Ok(vec![
        ("graph", text(epochs.iter().map(|e| Some(&e.graph)))),
        ("epoch", whole(epochs.iter().map(|e| Some(e.epoch)))),
        ("committed_at", time(epochs.iter().map(|e| Some(e.committed_at_us)))),
        ("events", count(epochs.iter().map(|e| e.events))),
        ("rows", count(epochs.iter().map(|e| e.rows))),
        ("dead_letters", count(epochs.iter().map(|e| e.dead_letters))),
        ("duration_ms", float(epochs.iter().map(|e| Some(e.duration_ms)))),
        ("commit_ms", float(epochs.iter().map(|e| Some(e.commit_ms)))),
        ("watermark", time(epochs.iter().map(|e| e.watermark_us))),
    ])
}

/// Places of operators, as people read them.
pub(crate) fn places(of: &[usize]) -> String {
    of.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn operators(platform: &Platform) -> Result {
    let operators = platform.jobs()?.operators();
    Ok(vec![
        ("view", text(operators.iter().map(|o| Some(&o.view)))),
        ("operator", whole(operators.iter().map(|o| i64::try_from(o.operator).ok()))),
        ("inputs", text(operators.iter().map(|o| Some(places(&o.inputs))))),
        ("what", text(operators.iter().map(|o| Some(&o.what)))),
        ("rows_in", count(operators.iter().map(|o| o.rows_in))),
        ("rows_out", count(operators.iter().map(|o| o.rows_out))),
        ("busy_ms", count(operators.iter().map(|o| o.busy_us / 1000))),
    ])
}

/// What jobs keep: of each view, its rows and what its operators remember.
pub(crate) fn state(platform: &Platform) -> Result {
    let tables = platform.store().tables();
    let kept: Vec<_> =
        tables.iter().filter_map(|table| Some((state_of(platform, table.name())?, table))).collect();
    Ok(vec![
        ("view", text(kept.iter().map(|(of, _)| Some(&of.0)))),
        ("operator", whole(kept.iter().map(|(of, _)| of.1))),
        ("keeps", text(kept.iter().map(|(of, _)| Some(&of.2)))),
        ("rows", count(kept.iter().map(|(_, table)| table.len() as u64))),
        ("memory_bytes", count(kept.iter().map(|(_, table)| table.bytes()))),
        (
            "all_in_memory",
            Arc::new(kept.iter().map(|(_, table)| Some(!table.is_partial())).collect::<BooleanArray>()),
        ),
    ])
}

/// Of a stored table, the view, the operator and what it holds; `None` for a
/// table of the user's.
fn state_of(platform: &Platform, table: &str) -> Option<(String, Option<i64>, String)> {
    let Some((view, rest)) = table.split_once("$state/") else {
        let is_view = matches!(platform.catalog().get(table)?.as_ref(), Definition::View(_));
        return is_view.then(|| (table.to_owned(), None, "result".to_owned()));
    };
    let (operator, keeps) = rest.split_once('/')?;
    Some((view.to_owned(), operator.parse().ok(), keeps.to_owned()))
}

pub(crate) fn metrics(platform: &Platform) -> Result {
    let readings = platform.metrics().readings();
    Ok(vec![
        ("name", text(readings.iter().map(|r| Some(r.name)))),
        ("label", text(readings.iter().map(|r| Some(&r.label)))),
        ("value", Arc::new(readings.iter().map(|r| Some(r.value)).collect::<UInt64Array>())),
    ])
}

pub(crate) fn topics(platform: &Platform) -> Result {
    let topics = platform.log().topics();
    let sum = |f: fn(&pluvio_eventlog::Partition) -> i64| {
        let values: Vec<_> =
            topics.iter().map(|t| t.partitions().iter().map(|p| f(p)).sum()).map(Some).collect();
        whole(values.into_iter())
    };
    let configs: Vec<_> = topics.iter().map(|t| t.config()).collect();
    let bytes = |bytes: u64| Some(bytes.cast_signed());
    Ok(vec![
        ("name", text(topics.iter().map(|t| Some(t.name().to_owned())))),
        ("partitions", whole(topics.iter().map(|t| i64::try_from(t.partitions().len()).ok()))),
        ("events", sum(|p| p.end_offset() - p.start_offset())),
        ("appended", sum(pluvio_eventlog::Partition::end_offset)),
        ("bytes", sum(|p| p.bytes().cast_signed())),
        ("durability", text(configs.iter().map(|c| Some(c.durability().name())))),
        ("flush_messages", count(configs.iter().map(|c| c.flush_messages))),
        ("flush_ms", whole(configs.iter().map(|c| Some(c.flush_ms)))),
        ("cleanup_policy", text(configs.iter().map(|c| Some(c.cleanup.name())))),
        ("retention_ms", whole(configs.iter().map(|c| c.retention_ms))),
        ("retention_bytes", whole(configs.iter().map(|c| c.retention_bytes.and_then(bytes)))),
        ("segment_bytes", whole(configs.iter().map(|c| bytes(c.segment_bytes)))),
        ("timestamp_type", text(configs.iter().map(|c| Some(c.timestamp.name())))),
        ("internal", Arc::new(topics.iter().map(|t| Some(t.is_internal())).collect::<BooleanArray>())),
    ])
}

pub(crate) fn partitions(platform: &Platform) -> Result {
    let topics = platform.log().topics();
    let all: Vec<_> =
        topics.iter().flat_map(|t| t.partitions().into_iter().map(move |p| (t.name(), p))).collect();
    Ok(vec![
        ("topic", text(all.iter().map(|(t, _)| Some(*t)))),
        ("partition", Arc::new(all.iter().map(|(_, p)| Some(p.index())).collect::<Int32Array>())),
        ("start_offset", whole(all.iter().map(|(_, p)| Some(p.start_offset())))),
        ("end_offset", whole(all.iter().map(|(_, p)| Some(p.end_offset())))),
        ("durable_offset", whole(all.iter().map(|(_, p)| Some(p.durable_offset())))),
        ("bytes", count(all.iter().map(|(_, p)| p.bytes()))),
    ])
}

/// The columns of the spans that hold dead letters; the engine writes them.
pub(crate) fn dead_letters(platform: &Platform) -> Result {
    let schema = crate::dead_letters::schema();
    let mut batches = Vec::new();
    for span in platform.dead_letter_spans() {
        batches.extend(span.snapshot(None)?.into_iter().map(|(_, rows)| rows));
    }
    batches.reverse();
    let batches = without_repeats(batches)?;
    let column = |i: usize| -> std::result::Result<ArrayRef, QueryError> {
        let empty = datafusion::arrow::array::new_empty_array(schema.field(i).data_type());
        let mut arrays = vec![empty.as_ref()];
        arrays.extend(batches.iter().map(|b| b.column(i).as_ref()));
        Ok(concat(&arrays)?)
    };
    crate::dead_letters::COLUMNS.iter().enumerate().map(|(i, name)| Ok((*name, column(i)?))).collect()
}

/// Several groups of jobs may read one stream, and each keeps the events it could
/// not decode: one event with one reason is one dead letter.
fn without_repeats(batches: Vec<RecordBatch>) -> std::result::Result<Vec<RecordBatch>, QueryError> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let (topics, reasons) = (batch.column(2).as_string::<i32>(), batch.column(5).as_string::<i32>());
        let partitions = batch.column(3).as_primitive::<Int32Type>();
        let offsets = batch.column(4).as_primitive::<Int64Type>();
        let first = |row: usize| {
            offsets.is_null(row)
                || seen.insert((
                    topics.value(row).to_owned(),
                    partitions.value(row),
                    offsets.value(row),
                    reasons.value(row).to_owned(),
                ))
        };
        let mask: Vec<bool> = (0..batch.num_rows()).map(first).collect();
        kept.push(filter_record_batch(&batch, &mask.into())?);
    }
    Ok(kept)
}

fn definitions(platform: &Platform, kind: &str) -> Vec<Arc<Definition>> {
    platform.catalog().all().into_iter().filter(|d| d.kind() == kind).collect()
}

fn names_and_sql(all: &[Arc<Definition>]) -> Columns {
    vec![
        ("name", text(all.iter().map(|d| Some(d.name().to_owned())))),
        ("definition", text(all.iter().map(|d| Some(d.sql().to_owned())))),
    ]
}

pub(crate) fn streams(platform: &Platform) -> Result {
    let all = definitions(platform, "stream");
    let mut columns = names_and_sql(&all);
    let topic = |d: &Arc<Definition>| match d.as_ref() {
        Definition::Stream(s) => Some(s.topic.clone()),
        _ => None,
    };
    columns.insert(1, ("topic", text(all.iter().map(topic))));
    Ok(columns)
}

pub(crate) fn tables(platform: &Platform) -> Result {
    let all = definitions(platform, "table");
    let mut columns = names_and_sql(&all);
    let rows =
        |d: &Arc<Definition>| platform.store().table(d.name()).and_then(|t| i64::try_from(t.len()).ok());
    columns.insert(1, ("rows", whole(all.iter().map(rows))));
    Ok(columns)
}

pub(crate) fn views(platform: &Platform) -> Result {
    let all = definitions(platform, "materialized view");
    let mut columns = names_and_sql(&all);
    let kind = |d: &Arc<Definition>| match d.as_ref() {
        Definition::View(v) => Some(match v.kind {
            ViewKind::Append { .. } => "append",
            ViewKind::Keyed { .. } => "keyed",
        }),
        _ => None,
    };
    let rows = |d: &Arc<Definition>| {
        let store = platform.store();
        let keyed = store.table(d.name()).map(|t| t.len() as u64);
        let span = || store.span(d.name()).map(|s| s.len_rows());
        keyed.or_else(span).and_then(|n| i64::try_from(n).ok())
    };
    columns.insert(1, ("kind", text(all.iter().map(kind))));
    columns.insert(2, ("rows", whole(all.iter().map(rows))));
    Ok(columns)
}

pub(crate) fn sinks(platform: &Platform) -> Result {
    let all = definitions(platform, "sink");
    let lakes: Vec<_> = all
        .iter()
        .map(|d| match d.as_ref() {
            Definition::Sink(s) => {
                (s.lake().map(str::to_owned), s.lake().and_then(|l| platform.lakes().get(l)))
            }
            _ => (None, None),
        })
        .collect();
    let mut columns = names_and_sql(&all);
    let number = |f: fn(&pluvio_lake::LakeTable) -> i64| {
        whole(lakes.iter().map(|(_, table)| table.as_ref().map(|t| f(t))).collect::<Vec<_>>().into_iter())
    };
    columns.insert(1, ("lake", text(lakes.iter().map(|(name, _)| name.clone()))));
    columns.insert(2, ("version", number(|t| t.version())));
    columns.insert(3, ("rows", number(|t| t.rows().cast_signed())));
    columns.insert(4, ("bytes", number(|t| t.bytes().cast_signed())));
    columns.insert(
        5,
        (
            "path",
            text(
                lakes
                    .iter()
                    .map(|(name, _)| name.as_ref().map(|n| platform.lakes().path(n).display().to_string())),
            ),
        ),
    );
    Ok(columns)
}

pub(crate) fn columns(platform: &Platform) -> Result {
    let mut all: Vec<(String, usize, Column)> = Vec::new();
    for definition in platform.catalog().all() {
        let columns: Vec<Column> = match definition.as_ref() {
            Definition::Stream(d) => d.readable_columns(),
            Definition::Table(d) => d.columns.clone(),
            Definition::View(d) => d.columns.clone(),
            Definition::Sink(_) => Vec::new(),
        };
        let name = definition.name();
        all.extend(columns.into_iter().enumerate().map(|(i, c)| (name.to_owned(), i + 1, c)));
    }
    Ok(vec![
        ("relation", text(all.iter().map(|(name, _, _)| Some(name)))),
        ("position", whole(all.iter().map(|(_, i, _)| i64::try_from(*i).ok()))),
        ("name", text(all.iter().map(|(_, _, c)| Some(&c.name)))),
        ("type", text(all.iter().map(|(_, _, c)| Some(sql_name(&c.data_type))))),
        ("nullable", Arc::new(all.iter().map(|(_, _, c)| Some(c.nullable)).collect::<BooleanArray>())),
    ])
}
