//! `EXPLAIN CREATE MATERIALIZED VIEW …`: the operators that a view would have, as rows
//! like those of `pluvio.operators`. Nothing is made.

use datafusion::arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlan;

use crate::sql::CreateView;
use crate::system_rows::{places, text, whole};
use crate::{QueryError, Session, define};

/// A plan that gives the rows.
///
/// # Errors
/// What keeps the view from being made.
pub(crate) async fn plan(session: &Session, view: &CreateView) -> Result<LogicalPlan, QueryError> {
    let operators = define::shape(session, view).await?.operators;
    let rows = RecordBatch::try_from_iter([
        ("operator", whole((0..).take(operators.len()).map(Some))),
        ("inputs", text(operators.iter().map(|(_, inputs)| Some(places(inputs))))),
        ("what", text(operators.iter().map(|(what, _)| Some(what)))),
    ])?;
    Ok(session.context().read_batch(rows)?.into_unoptimized_plan())
}
