//! Logical expressions → physical ones, and what they may not hold.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use pluvio_query::QueryError;

/// The physical form of an expression over `schema`.
///
/// # Errors
/// Subqueries, the present, and whatever else cannot be evaluated row by row.
pub fn physical(expression: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, QueryError> {
    let mut subquery = false;
    expression.apply(|e| {
        subquery |= matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
        );
        Ok(TreeNodeRecursion::Continue)
    })?;
    if subquery {
        return Err(QueryError::unsupported(
            "a subquery inside a continuous query's expression is not supported; join the table instead",
        ));
    }
    if asks_for_the_present(expression)? {
        return Err(QueryError::unsupported(
            "a view's rows stay as they are when time passes, so they cannot have now(): give the stream a column that \
             is AS PROCTIME(), the time when the event came, or ask for now() when you read the view",
        ));
    }
    let context = PhysicalPlanningContext::default();
    Ok(create_physical_expr(expression, schema, &ExecutionProps::new(), &context)?)
}

/// The expression below its casts and names.
pub fn without_casts(expression: &Expr) -> &Expr {
    match expression {
        Expr::Cast(cast) => without_casts(&cast.expr),
        Expr::Alias(alias) => without_casts(&alias.expr),
        other => other,
    }
}

/// Fails if a condition asks for the present: it would be asked once, when a row
/// comes, and the row would stay when its time is over.
pub fn check_lasting(condition: &Expr) -> Result<(), QueryError> {
    if !asks_for_the_present(condition)? {
        return Ok(());
    }
    Err(QueryError::unsupported(
        "a view's rows do not go as time passes, so its conditions cannot ask for now(): give the view a time to live, \
         WITH (ttl = '1 hour'), filter when you read it, let WITH (retention = '1 hour') remove what is old, or compare \
         with a column of the stream that is AS PROCTIME(), the time when the event came",
    ))
}

fn asks_for_the_present(expression: &Expr) -> Result<bool, QueryError> {
    let name = |f: &ScalarFunction| ["now", "current_date", "current_time"].contains(&f.func.name());
    Ok(expression.exists(|e| Ok(matches!(e, Expr::ScalarFunction(function) if name(function))))?)
}
