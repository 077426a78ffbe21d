//! CREATE, DROP and ALTER: storage first, then the catalog, then the engine. A
//! crash in between leaves storage that the same statement finds again.

mod alter;
mod stream;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use pluvio_catalog::{
    Catalog, Changes, Definition, SinkDef, SinkTarget, StreamDef, TableDef, ViewDef, ViewKind,
};
use pluvio_eventlog::TopicSetting;
use pluvio_foundation::ErrorKind;

use crate::plan::plan_continuous;
use crate::session::{Outcome, Session};
use crate::sql::{Command, CreateView, Parsed};
use crate::{Platform, QueryError, ViewShape, ViewTerms};

const RETENTION_BYTES: u64 = 64 << 20;
/// Most time between two transactions of a sink that does not say otherwise.
const KAFKA_COMMIT_INTERVAL_MS: u64 = 1_000;
/// Bytes of events at which such a sink commits early.
const KAFKA_COMMIT_BYTES: u64 = 16 << 20;

/// Executes a definition.
pub(crate) async fn run(session: &Session, parsed: Parsed) -> Result<Outcome, QueryError> {
    let _writing = session.platform().writing.lock().await;
    let tag = change(session, parsed).await?;
    let platform = Arc::clone(session.platform());
    blocking(move || platform.reconcile()).await?;
    Ok(Outcome::done(tag))
}

/// Makes the change without telling the engine; used for whole scripts too.
pub(crate) async fn change(session: &Session, parsed: Parsed) -> Result<&'static str, QueryError> {
    let lenient = parsed.lenient;
    let tag = tag(&parsed.command);
    let result = match parsed.command {
        Command::Drop { kind, name } => drop(session, kind, &name).await,
        Command::AlterJob(change) => alter::alter(session, *change).await,
        command => {
            let definition = definition(session, command, &parsed.sql).await?;
            create(session.platform(), definition)
        }
    };
    match result {
        Err(e) if lenient && matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => Ok(tag),
        Err(e) => Err(e),
        Ok(()) => Ok(tag),
    }
}

fn tag(command: &Command) -> &'static str {
    match command {
        Command::CreateStream(_) => "CREATE STREAM",
        Command::CreateTable(_) => "CREATE TABLE",
        Command::CreateView(_) => "CREATE MATERIALIZED VIEW",
        Command::CreateSink(_) => "CREATE SINK",
        Command::Drop { kind: "stream", .. } => "DROP STREAM",
        Command::Drop { kind: "table", .. } => "DROP TABLE",
        Command::Drop { kind: "sink", .. } => "DROP SINK",
        Command::Drop { .. } => "DROP MATERIALIZED VIEW",
        Command::AlterJob(_) => "ALTER JOB",
        Command::Copy(_) | Command::Flush | Command::Explain(_) | Command::Sql(_) => "OK",
    }
}

/// The definition a CREATE asks for, checked against the session's catalog.
pub(crate) async fn definition(
    session: &Session,
    command: Command,
    sql: &str,
) -> Result<Definition, QueryError> {
    match command {
        Command::CreateStream(create) => stream::definition(session, *create).await.map(Definition::Stream),
        Command::CreateTable(table) => {
            for place in &table.key {
                let column = &table.columns[*place];
                crate::tables::check_key_type(&column.name, &column.data_type)?;
            }
            Ok(Definition::Table(table))
        }
        Command::CreateView(view) => view_definition(session, view, sql).await.map(Definition::View),
        Command::CreateSink(sink) => sink_definition(session, sink).map(Definition::Sink),
        _ => Err(QueryError::invalid("not a CREATE statement")),
    }
}

/// What the engine makes of a view.
pub(crate) async fn shape(session: &Session, view: &CreateView) -> Result<ViewShape, QueryError> {
    // The query was parsed in place, so the planner's places are the file's.
    let plan = plan_continuous(session.context(), view.query.clone()).await;
    let terms = ViewTerms { emit_on_window_close: view.emit_on_window_close, ttl_ms: view.ttl_ms };
    let jobs = session.platform().jobs()?;
    let shape = plan.and_then(|plan| jobs.shape(session.catalog(), &plan, terms));
    shape.map_err(|e| e.at(view.query_start))
}

async fn view_definition(session: &Session, view: CreateView, sql: &str) -> Result<ViewDef, QueryError> {
    let ViewShape { columns, kind, reads, .. } = shape(session, &view).await?;
    let options = view.options;
    let def = ViewDef {
        name: view.name,
        query: view.query_text,
        emit_on_window_close: view.emit_on_window_close,
        columns,
        kind,
        reads,
        retention_ms: options.retention_ms,
        retention_bytes: options.retention_bytes.unwrap_or(RETENTION_BYTES),
        trigger_ms: options.trigger_ms,
        start: view.start,
        paused: false,
        parallelism: options.parallelism,
        max_drift_ms: options.max_drift_ms,
        allowed_lateness_ms: options.allowed_lateness_ms,
        unknown_key: options.unknown_key.unwrap_or_default(),
        ttl_ms: view.ttl_ms,
        sql: sql.to_owned(),
    };
    if let Some(start) = &def.start {
        alter::check_start(session, &def, start)?;
    }
    Ok(def)
}

fn sink_definition(session: &Session, mut sink: SinkDef) -> Result<SinkDef, QueryError> {
    let catalog = session.catalog();
    match catalog.get(&sink.from).as_deref() {
        Some(Definition::View(view)) => match &view.kind {
            ViewKind::Append { .. } => check_named_key(&sink)?,
            ViewKind::Keyed { key } => check_changes(&sink, view, key)?,
        },
        Some(other) => {
            let message =
                format!("a sink reads a materialized view; \"{}\" is a {}", sink.from, other.kind());
            return Err(QueryError::invalid(message));
        }
        None => {
            return Err(QueryError::new(
                ErrorKind::NotFound,
                format!("there is no materialized view \"{}\"", sink.from),
            ));
        }
    }
    match &sink.to {
        SinkTarget::Lake { lake, .. } => check_lake(catalog, &sink.name, lake)?,
        SinkTarget::Kafka(target) => check_key(catalog, &sink.from, target.key.as_deref())?,
    }
    let options = session.platform().options();
    // 0 stands for what the statement left open.
    let (interval_ms, bytes) = match &sink.to {
        SinkTarget::Lake { .. } => (options.lake_commit_interval_ms, options.lake_commit_bytes),
        SinkTarget::Kafka(_) => (KAFKA_COMMIT_INTERVAL_MS, KAFKA_COMMIT_BYTES),
    };
    if sink.commit_interval_ms == 0 {
        sink.commit_interval_ms = interval_ms;
    }
    if sink.commit_bytes == 0 {
        sink.commit_bytes = bytes;
    }
    Ok(sink)
}

/// Rows that are only added have no key of their own, and changes are told by key.
fn check_named_key(sink: &SinkDef) -> Result<(), QueryError> {
    match &sink.to {
        SinkTarget::Kafka(target) if target.changes == Changes::Upsert && target.key.is_none() => {
            Err(QueryError::invalid(format!(
                "\"{}\" only adds rows, which have no key: changes = 'upsert' needs key = 'column' here",
                sink.from
            )))
        }
        _ => Ok(()),
    }
}

/// A sink of a view that updates its rows must tell its changes.
fn check_changes(sink: &SinkDef, view: &ViewDef, key: &[usize]) -> Result<(), QueryError> {
    let SinkTarget::Kafka(target) = &sink.to else {
        return Err(QueryError::unsupported(format!(
            "\"{}\" updates its rows, and a lake takes rows that are only added: a query without GROUP BY, or with \
             EMIT ON WINDOW CLOSE",
            sink.from
        )));
    };
    let message = match target.changes {
        Changes::Rows if target.key.is_none() => return Ok(()),
        Changes::Upsert if target.key.is_some() => {
            "the key of its changes is the view's own: leave \"key\" out"
        }
        Changes::Rows => "the key of its changes is the view's own: leave \"key\" out",
        Changes::Upsert if key.iter().all(|place| *place < view.columns.len()) => return Ok(()),
        Changes::Upsert => {
            "its key is not among its columns: select all columns of GROUP BY, or use format = 'debezium'"
        }
        Changes::Append => {
            "tell its changes with changes = 'upsert' or format = 'debezium', or make a view with EMIT ON WINDOW CLOSE"
        }
    };
    Err(QueryError::invalid(format!("\"{}\" updates its rows: {message}", sink.from)))
}

fn check_lake(catalog: &Catalog, name: &str, lake: &str) -> Result<(), QueryError> {
    let same = |d: &Definition| matches!(d, Definition::Sink(s) if s.lake() == Some(lake) && s.name != name);
    let Some(other) = catalog.all().into_iter().find(|d| same(d)) else { return Ok(()) };
    let message = format!("the lake table '{lake}' is written by the sink \"{}\" already", other.name());
    Err(QueryError::new(ErrorKind::AlreadyExists, message))
}

fn check_key(catalog: &Catalog, view: &str, key: Option<&str>) -> Result<(), QueryError> {
    let (Some(key), Some(found)) = (key, catalog.get(view)) else { return Ok(()) };
    match found.as_ref() {
        Definition::View(view) if !view.columns.iter().any(|column| column.name == key) => {
            let names: Vec<_> = view.columns.iter().map(|column| column.name.as_str()).collect();
            let message = format!("\"{}\" has no column {key:?}; it has {}", view.name, names.join(", "));
            Err(QueryError::invalid(message))
        }
        _ => Ok(()),
    }
}

/// Makes storage and the catalog's entry.
pub(crate) fn create(platform: &Platform, definition: Definition) -> Result<(), QueryError> {
    match &definition {
        Definition::Stream(stream) => create_topic(platform, stream)?,
        Definition::Table(table) => create_table(platform, table)?,
        Definition::View(_) | Definition::Sink(_) => {}
    }
    platform.catalog().add(definition)?;
    Ok(())
}

fn create_topic(platform: &Platform, stream: &StreamDef) -> Result<(), QueryError> {
    if stream.kafka.is_some() || platform.log().topic(&stream.topic).is_some() {
        return Ok(());
    }
    let mut config = platform.log().options().topic.clone();
    if let Some(retention_ms) = stream.retention_ms {
        config.retention_ms = Some(retention_ms);
        config.give(TopicSetting::RetentionMs);
    }
    if let Some(bytes) = stream.retention_bytes {
        config.retention_bytes = Some(bytes);
        config.segment_bytes = config.segment_bytes.min((bytes / 4).max(1 << 20));
        config.give(TopicSetting::RetentionBytes);
        config.give(TopicSetting::SegmentBytes);
    }
    platform.log().create_topic(&stream.topic, stream.partitions, config)?;
    Ok(())
}

fn create_table(platform: &Platform, table: &TableDef) -> Result<(), QueryError> {
    if platform.catalog().get(&table.name).is_none() {
        platform.store().create_table(&table.name, table.schema(), &table.key)?;
    }
    Ok(())
}

async fn drop(session: &Session, kind: &'static str, name: &str) -> Result<(), QueryError> {
    let platform = session.platform();
    let found = platform.catalog().check_removable(name)?;
    if found.kind() != kind {
        let message = format!("\"{name}\" is a {}: use DROP {}", found.kind(), found.kind().to_uppercase());
        return Err(QueryError::invalid(message));
    }
    platform.catalog().remove(name)?;
    let (jobs, gone, platform) = (platform.jobs()?, name.to_owned(), Arc::clone(platform));
    blocking(move || {
        platform.reconcile()?;
        // A table is ours, the rest is the engine's.
        if kind == "table" { Ok(platform.store().drop_table(&gone)?) } else { jobs.forget(&gone) }
    })
    .await
}

/// Runs a blocking call off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
    let failed = |e: tokio::task::JoinError| QueryError::new(ErrorKind::Internal, e.to_string());
    tokio::task::spawn_blocking(call).await.map_err(failed)?
}

/// The keyed table that rows may be written to by hand.
pub(crate) fn writable(
    session: &Session,
    name: &str,
) -> Result<std::sync::Arc<dyn TableProvider>, QueryError> {
    let catalog = session.catalog();
    match catalog.get(name).as_deref() {
        Some(Definition::Table(_)) => {}
        Some(Definition::Stream(_)) => {
            let message = format!("\"{name}\" is a stream: events that arrived are not changed or deleted");
            return Err(QueryError::unsupported(message));
        }
        Some(other) => {
            let message = format!("\"{name}\" is a {}: only its job writes it", other.kind());
            return Err(QueryError::unsupported(message));
        }
        None => return Err(QueryError::new(ErrorKind::NotFound, format!("there is no table \"{name}\""))),
    }
    let missing = || QueryError::new(ErrorKind::NotFound, format!("there is no table \"{name}\""));
    session.platform().resolver(catalog).provider(name).ok_or_else(missing)
}
