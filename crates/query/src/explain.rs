//! `EXPLAIN CREATE MATERIALIZED VIEW …`: the operators that a view would have, as rows
//! like those of `pluvio.operators`. Nothing is made.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::logical_expr::LogicalPlan;

use crate::sql::CreateView;
use crate::system_rows::places;
use crate::{QueryError, Session, define};

/// A plan that gives the rows.
///
/// # Errors
/// What keeps the view from being made.
pub(crate) async fn plan(session: &Session, view: &CreateView) -> Result<LogicalPlan, QueryError> {
    let operators = define::shape(session, view).await?.operators;
    let numbers: Int64Array = (0..).take(operators.len()).collect::<Vec<i64>>().into();
    let inputs: StringArray = operators.iter().map(|(_, inputs)| Some(places(inputs))).collect();
    let what: StringArray = operators.iter().map(|(what, _)| Some(what)).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("operator", Arc::new(numbers)), ("inputs", Arc::new(inputs)), ("what", Arc::new(what))];
    let rows = RecordBatch::try_from_iter(columns)?;
    Ok(session.context().read_batch(rows)?.into_unoptimized_plan())
}
