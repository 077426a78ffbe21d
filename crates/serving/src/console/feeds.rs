//! Feeds: what a page watches beyond the status. One task per feed runs its
//! query, however many pages watch, and ends when nobody does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use futures::StreamExt;
use pluvio_catalog::{Definition, ViewDef};
use pluvio_query::{Outcome, QueryError};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::charts::{Chart, quoted};
use super::hub::Hub;
use super::json;

/// Rows shown of a view.
const ROWS_MAX: usize = 20;
/// Columns shown of a view.
const COLUMNS_MAX: usize = 24;
/// Characters shown of a text.
const TEXT_CHARS_MAX: usize = 200;
/// A feed rests this many times as long as its query took: a twentieth of a core.
const REST: u32 = 20;

/// What can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Feed {
    /// A view's chart.
    Chart(String),
    /// A view's newest rows.
    Rows(String),
}

impl Feed {
    fn period(&self) -> Duration {
        match self {
            Self::Chart(_) => Duration::from_secs(1),
            Self::Rows(_) => Duration::from_millis(500),
        }
    }

    fn view(&self) -> &str {
        match self {
            Self::Chart(view) | Self::Rows(view) => view,
        }
    }
}

/// Feeds `sender` until nobody listens.
pub(super) async fn run(hub: Arc<Hub>, feed: Feed, sender: watch::Sender<Utf8Bytes>) {
    loop {
        let started = Instant::now();
        match message(&hub, &feed).await {
            Ok(Some(message)) => {
                sender.send_replace(message.to_string().into());
            }
            Ok(None) => {}
            // The view may not be ready yet, or just dropped; the jobs table of
            // the page says what is wrong with it.
            Err(error) => tracing::debug!(?feed, %error, "a console feed has no rows"),
        }
        let rest = feed.period().max(started.elapsed() * REST);
        tokio::select! {
            () = sender.closed() => {}
            () = tokio::time::sleep(rest) => {}
        }
        if hub.retire(&feed, &sender) {
            return;
        }
    }
}

async fn message(hub: &Hub, feed: &Feed) -> Result<Option<Value>, QueryError> {
    let Some(definition) = hub.platform.catalog().get(feed.view()) else { return Ok(None) };
    let Definition::View(view) = definition.as_ref() else { return Ok(None) };
    match feed {
        Feed::Rows(_) => newest_rows(hub, view).await.map(Some),
        Feed::Chart(_) => {
            let chart = Chart::of(view);
            let rows = match chart.query(&view.name) {
                Some(query) => pairs(hub, &query).await?,
                None => Vec::new(),
            };
            Ok(Some(chart.message(&view.name, rows, hub.platform.clock().now_ms())))
        }
    }
}

/// The first two columns of a query's rows.
async fn pairs(hub: &Hub, query: &str) -> Result<Vec<(Value, Value)>, QueryError> {
    let mut pairs = Vec::new();
    for row in read(hub, query).await?.2 {
        if let Value::Array(mut cells) = row {
            let second = cells.pop().unwrap_or_default();
            pairs.push((cells.pop().unwrap_or_default(), second));
        }
    }
    Ok(pairs)
}

async fn newest_rows(hub: &Hub, view: &ViewDef) -> Result<Value, QueryError> {
    let names: Vec<_> = view.columns.iter().take(COLUMNS_MAX).map(|column| quoted(&column.name)).collect();
    // An append-only view gives its newest rows first by itself.
    let order = match Chart::of(view) {
        Chart::Line { time, .. } if matches!(view.kind, pluvio_catalog::ViewKind::Keyed { .. }) => {
            format!("ORDER BY {} DESC", quoted(&time))
        }
        Chart::Bars { measure, .. } => format!("ORDER BY {} DESC NULLS LAST", quoted(&measure)),
        _ => String::new(),
    };
    let query = format!("SELECT {} FROM {} {order} LIMIT {ROWS_MAX}", names.join(", "), quoted(&view.name));
    let (columns, kinds, batches) = read_batches(hub, &query).await?;
    // Unordered batches come newest first, the rows of each as they arrived.
    let each = |mut rows: Vec<Value>| {
        if order.is_empty() {
            rows.reverse();
        }
        rows
    };
    let rows: Vec<_> = batches.into_iter().flat_map(each).collect();
    Ok(json!({ "type": "rows", "view": view.name, "columns": columns, "kinds": kinds, "rows": rows }))
}

/// Columns' names, their kinds, and rows or batches of rows.
type Read<T> = (Vec<String>, Vec<&'static str>, Vec<T>);

/// A query's rows as the page wants them.
pub(super) async fn read(hub: &Hub, query: &str) -> Result<Read<Value>, QueryError> {
    let (columns, kinds, batches) = read_batches(hub, query).await?;
    Ok((columns, kinds, batches.into_iter().flatten().collect()))
}

async fn read_batches(hub: &Hub, query: &str) -> Result<Read<Vec<Value>>, QueryError> {
    let Some(Outcome::Rows(mut batches)) = hub.session.execute(query).await?.pop() else {
        return Ok((Vec::new(), Vec::new(), Vec::new()));
    };
    let (columns, kinds) = json::columns(&batches.schema());
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        rows.push(json::rows(&batch?, usize::MAX, TEXT_CHARS_MAX)?);
    }
    Ok((columns, kinds, rows))
}
