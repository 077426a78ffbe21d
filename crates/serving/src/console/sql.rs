//! The SQL box: `POST /sql` with `{"sql": …}`.
//!
//! Answers `{"results": [{"columns", "kinds", "rows", "more"} or {"tag"}, …]}`,
//! or `{"error": {"message", "line", "column"}}` with status 400. A result shows
//! its first rows only; reading stops there.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pluvio_foundation::ErrorKind;
use pluvio_query::{Outcome, QueryError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, json};

/// Rows of one result.
const ROWS_MAX: usize = 1000;
/// Statements of one request.
const RESULTS_MAX: usize = 100;
/// Characters of one text.
const TEXT_CHARS_MAX: usize = 2000;
/// Cells of one result: a wide table shows fewer rows.
const CELLS_MAX: usize = 20_000;

/// What to run.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    sql: String,
}

/// Runs statements in a session of their own.
pub(super) async fn run(State(shared): State<Shared>, Json(request): Json<Request>) -> Response {
    match results(&shared, &request.sql).await {
        Ok(results) => Json(json!({ "results": results })).into_response(),
        Err(error) => {
            let place = error.position();
            let error = json!({
                "message": error.message(),
                "line": place.map(|place| place.line),
                "column": place.map(|place| place.column),
            });
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
        }
    }
}

async fn results(shared: &Shared, sql: &str) -> Result<Vec<Value>, QueryError> {
    let outcomes = shared.platform.session()?.execute(sql).await?;
    if outcomes.len() > RESULTS_MAX {
        let message =
            format!("{} statements at once; all ran, but only {RESULTS_MAX} can be shown", outcomes.len());
        return Err(QueryError::new(ErrorKind::TooLarge, message));
    }
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        results.push(match outcome {
            Outcome::Done { tag } => json!({ "tag": tag }),
            Outcome::Rows(batches) => rows(batches).await?,
        });
    }
    Ok(results)
}

async fn rows(mut batches: SendableRecordBatchStream) -> Result<Value, QueryError> {
    let (columns, kinds) = json::columns(&batches.schema());
    let rows_max = ROWS_MAX.min(CELLS_MAX / columns.len().max(1));
    let mut rows = Vec::new();
    let mut more = false;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let room = rows_max - rows.len();
        rows.extend(json::rows(&batch, room, TEXT_CHARS_MAX)?);
        if batch.num_rows() > room {
            more = true;
            break;
        }
    }
    Ok(json!({ "columns": columns, "kinds": kinds, "rows": rows, "more": more }))
}
