//! ALTER JOB and ALTER MATERIALIZED VIEW: a running view is told something else.

use pluvio_catalog::{Definition, StartAt, ViewDef};
use pluvio_foundation::ErrorKind;

use super::blocking;
use crate::plan::plan_continuous;
use crate::session::Session;
use crate::sql::{AlterJob, JobChange, ViewOptions};
use crate::{QueryError, ViewShape, ViewTerms};

/// Makes the change in the catalog; the engine is told afterwards.
pub async fn alter(session: &Session, alter: AlterJob) -> Result<(), QueryError> {
    let found = session.catalog().get(&alter.name);
    let view = match found.as_deref() {
        Some(Definition::View(view)) => view.clone(),
        Some(other) => {
            let message = format!("\"{}\" is a {}: jobs are materialized views", alter.name, other.kind());
            return Err(QueryError::invalid(message));
        }
        None => {
            let message = format!("there is no job \"{}\"; SHOW JOBS lists them", alter.name);
            return Err(QueryError::new(ErrorKind::NotFound, message));
        }
    };
    let changed = match alter.change {
        JobChange::Set(options) => set(view, &options),
        JobChange::Pause => ViewDef { paused: true, ..view },
        JobChange::Resume => ViewDef { paused: false, ..view },
        JobChange::Restart(from) => return restart(session, view, from).await,
        JobChange::Query { query, text, start } => {
            let plan = plan_continuous(session.context(), query).await.map_err(|e| e.at(start))?;
            let jobs = session.platform().jobs()?;
            let shape = jobs.shape(session.catalog(), &plan, ViewTerms::of(&view));
            let ViewShape { columns, kind, reads, .. } = shape.map_err(|e| e.at(start))?;
            if (&columns, &kind) != (&view.columns, &view.kind) || reads != view.reads {
                let message = format!(
                    "the query would change what \"{}\" keeps (its columns, its key or what it reads): create a view \
                     beside it, and drop this one when pluvio.jobs shows that the new one has caught up",
                    view.name
                );
                return Err(QueryError::unsupported(message).at(start));
            }
            let before = view.clone();
            let check = blocking(move || jobs.check_change(&before, &plan)).await;
            check.map_err(|e| e.at(start))?;
            let sql = format!("CREATE MATERIALIZED VIEW {} AS {text}", view.name);
            ViewDef { query: text, sql, ..view }
        }
    };
    session.catalog().replace(Definition::View(changed))?;
    Ok(())
}

fn set(view: ViewDef, options: &ViewOptions) -> ViewDef {
    ViewDef {
        retention_ms: options.retention_ms.or(view.retention_ms),
        retention_bytes: options.retention_bytes.unwrap_or(view.retention_bytes),
        trigger_ms: options.trigger_ms.or(view.trigger_ms),
        parallelism: options.parallelism.or(view.parallelism),
        max_drift_ms: options.max_drift_ms.or(view.max_drift_ms),
        allowed_lateness_ms: options.allowed_lateness_ms.or(view.allowed_lateness_ms),
        unknown_key: options.unknown_key.unwrap_or(view.unknown_key),
        ..view
    }
}

/// The view and all that are made from it forget what they have and begin again.
async fn restart(session: &Session, view: ViewDef, from: Option<StartAt>) -> Result<(), QueryError> {
    let catalog = session.catalog();
    let all = catalog.all();
    let mut names = vec![view.name.clone()];
    // Definitions stand behind what they read.
    for definition in &all {
        let reads = definition.reads().iter().any(|read| names.iter().any(|name| name == read));
        match definition.as_ref() {
            Definition::View(other) if reads => names.push(other.name.clone()),
            Definition::Sink(sink) if reads => {
                let message = format!(
                    "the sink \"{}\" has delivered rows that would come again: drop it first, and make it again behind \
                     the restart",
                    sink.name
                );
                return Err(QueryError::invalid(message));
            }
            _ => {}
        }
    }
    if let Some(from) = from {
        check_start(session, &view, &from)?;
        catalog.replace(Definition::View(ViewDef { start: Some(from), ..view }))?;
    }
    let jobs = session.platform().jobs()?;
    blocking(move || jobs.restart(&names)).await
}

/// Fails if the streams that a view reads cannot be read from there.
pub fn check_start(session: &Session, view: &ViewDef, start: &StartAt) -> Result<(), QueryError> {
    for name in &view.reads {
        let found = session.catalog().get(name);
        if let (Some(Definition::Stream(stream)), StartAt::Time(_)) = (found.as_deref(), start)
            && stream.kafka.is_some()
        {
            let message = format!(
                "the topic of \"{name}\" is elsewhere, and can be read from 'earliest', 'latest' or offsets on, not \
                 from a time"
            );
            return Err(QueryError::unsupported(message));
        }
    }
    Ok(())
}
