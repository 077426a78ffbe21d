//! Cursors: DECLARE, FETCH and CLOSE, forward only. A cursor holds a running
//! query and lives until it is closed or its connection ends.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CloseCursor, FetchDirection, Value, ValueWithSpan};
use futures::StreamExt;
use parking_lot::Mutex;
use pgwire::api::results::{FieldInfo, QueryResponse, Response, SendableRowStream, Tag};
use pgwire::error::PgWireResult;

use super::names::identifier;
use super::sqlstate;

/// Most cursors open on one connection.
const CURSORS_MAX: usize = 100;

/// The open cursors of one connection.
#[derive(Default)]
pub(super) struct Cursors {
    open: Mutex<HashMap<String, Cursor>>,
}

/// One cursor; whoever fetches from it holds its rows.
#[derive(Clone)]
struct Cursor {
    fields: Arc<Vec<FieldInfo>>,
    rows: Arc<tokio::sync::Mutex<SendableRowStream>>,
}

impl Cursors {
    /// Opens a cursor over rows.
    pub(super) fn declare(&self, name: &str, rows: QueryResponse) -> PgWireResult<Response> {
        let mut open = self.open.lock();
        if open.contains_key(name) {
            return Err(sqlstate::error("42P03", format!("cursor \"{name}\" already exists")));
        }
        if open.len() == CURSORS_MAX {
            let message = format!("{CURSORS_MAX} cursors are open already; close one first");
            return Err(sqlstate::error("54000", message));
        }
        let (fields, rows) = (rows.row_schema, Arc::new(tokio::sync::Mutex::new(rows.data_rows)));
        open.insert(name.to_owned(), Cursor { fields, rows });
        Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
    }

    /// The columns of a cursor; none if it does not exist.
    pub(super) fn fields(&self, name: &str) -> Option<Vec<FieldInfo>> {
        self.open.lock().get(name).map(|cursor| cursor.fields.to_vec())
    }

    /// The next rows of a cursor, read as the client takes them.
    pub(super) fn fetch(&self, name: &str, direction: &FetchDirection) -> PgWireResult<Response> {
        let rows_max = rows_wanted(direction)?;
        let Cursor { fields, rows } = self.open.lock().get(name).cloned().ok_or_else(|| missing(name))?;
        let next = move |left: usize| {
            let rows = Arc::clone(&rows);
            async move {
                let row = if left == 0 { None } else { rows.lock().await.next().await };
                row.map(|row| (row, left - 1))
            }
        };
        let mut response = QueryResponse::new(fields, futures::stream::unfold(rows_max, next));
        response.set_command_tag("FETCH");
        Ok(Response::Query(response))
    }

    /// Closes one cursor or all.
    pub(super) fn close(&self, which: &CloseCursor) -> PgWireResult<Response> {
        let mut open = self.open.lock();
        match which {
            CloseCursor::All => open.clear(),
            CloseCursor::Specific { name } => {
                let name = identifier(name);
                open.remove(&name).ok_or_else(|| missing(&name))?;
            }
        }
        Ok(Response::Execution(Tag::new("CLOSE CURSOR")))
    }
}

fn missing(name: &str) -> pgwire::error::PgWireError {
    sqlstate::error(sqlstate::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

fn rows_wanted(direction: &FetchDirection) -> PgWireResult<usize> {
    let limit = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => return Ok(1),
        FetchDirection::All | FetchDirection::ForwardAll => return Ok(usize::MAX),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => limit,
        _ => return Err(sqlstate::error("55000", "a cursor can only be read forward")),
    };
    count(limit).ok_or_else(|| sqlstate::error(sqlstate::SYNTAX_ERROR, "FETCH needs a whole number of rows"))
}

fn count(limit: &ValueWithSpan) -> Option<usize> {
    match &limit.value {
        Value::Number(text, _) => text.parse().ok(),
        _ => None,
    }
}
