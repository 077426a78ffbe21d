//! Computed columns: `name AS expression` over a stream's other columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_catalog::StreamDef;

use crate::QueryError;
use crate::sql::parse_expression;

/// Plans an expression over these columns; gives it and its type.
///
/// # Errors
/// What is wrong with it; also if it gives another value each time.
pub fn plan(
    state: &SessionState,
    schema: &SchemaRef,
    text: &str,
) -> Result<(Arc<dyn PhysicalExpr>, DataType), QueryError> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    let expression = state.create_logical_expr_from_sql_expr(parse_expression(text)?, &schema)?;
    if expression.is_volatile() {
        let message = format!("{text} gives another value each time it is read: compute it in a view");
        return Err(QueryError::unsupported(message));
    }
    let physical = state.create_physical_expr(expression, &schema)?;
    let data_type = physical.data_type(schema.as_arrow())?;
    Ok((physical, data_type))
}

/// The expressions of a stream's computed columns.
///
/// # Errors
/// As [`plan`].
pub fn expressions(
    state: &SessionState,
    stream: &StreamDef,
) -> Result<Vec<Arc<dyn PhysicalExpr>>, QueryError> {
    let schema = stream.schema();
    stream.computed.iter().map(|column| Ok(plan(state, &schema, &column.expression)?.0)).collect()
}
