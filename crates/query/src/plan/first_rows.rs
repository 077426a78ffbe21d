//! `ORDER BY … LIMIT n` and `DISTINCT ON` in a continuous query: the first rows, of
//! all or of each group, are those whose `ROW_NUMBER()` is small enough, which the
//! engine knows how to keep.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, SkipType,
    SortExpr, lit,
};

use crate::QueryError;

/// The column of a row's place.
const PLACE: &str = "$place";

/// The plan with places instead of limits. A LIMIT without an order stays.
pub fn first_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewrite = |plan| match &plan {
        // What depends on the outer row is refused later, with what to write.
        LogicalPlan::Limit(limit) if !limit.input.all_out_ref_exprs().is_empty() => Ok(Transformed::no(plan)),
        LogicalPlan::Limit(limit) => match limited(limit)? {
            Some(first) => Ok(Transformed::yes(first)),
            None => Ok(Transformed::no(plan)),
        },
        LogicalPlan::Distinct(Distinct::On(on)) if !on.input.all_out_ref_exprs().is_empty() => {
            let message =
                "DISTINCT ON in a subquery that depends on the outer row is not supported; write a JOIN";
            Err(QueryError::unsupported(message).into())
        }
        LogicalPlan::Distinct(Distinct::On(on)) => Ok(Transformed::yes(one_of_each(on)?)),
        _ => Ok(Transformed::no(plan)),
    };
    Ok(plan.transform_up_with_subqueries(rewrite)?.data)
}

fn limited(limit: &Limit) -> Result<Option<LogicalPlan>> {
    let (SkipType::Literal(skip), FetchType::Literal(Some(count))) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Ok(None);
    };
    let bounds = (skip as u64, (skip as u64).saturating_add(count as u64));
    match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => {
            first(sort.input.as_ref().clone(), Vec::new(), sort.expr.clone(), bounds).map(Some)
        }
        // What it is ordered by may not be selected.
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) => {
                let rows = first(sort.input.as_ref().clone(), Vec::new(), sort.expr.clone(), bounds)?;
                let rows = limit.input.with_new_exprs(projection.expr.clone(), vec![rows])?;
                Ok(Some(rows))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn one_of_each(on: &DistinctOn) -> Result<LogicalPlan> {
    let order = on.sort_expr.clone().unwrap_or_default();
    let rows = first(on.input.as_ref().clone(), on.on_expr.clone(), order, (0, 1))?;
    let columns = on.select_expr.iter().cloned().zip(on.schema.columns());
    let columns = columns.map(|(e, column)| e.unalias().alias_qualified(column.relation, column.name));
    LogicalPlanBuilder::from(rows).project(columns)?.build()
}

/// The rows whose place in their partition is above the first bound and not above
/// the second.
fn first(
    rows: LogicalPlan,
    partition: Vec<Expr>,
    order: Vec<SortExpr>,
    (above, last): (u64, u64),
) -> Result<LogicalPlan> {
    let schema = Arc::clone(rows.schema());
    let mut numbered = row_number().order_by(order);
    if !partition.is_empty() {
        numbered = numbered.partition_by(partition);
    }
    let numbered = numbered.build()?.alias(PLACE);
    let place = || Expr::Column(Column::from_name(PLACE));
    let mut wanted = place().lt_eq(lit(last));
    if above > 0 {
        wanted = wanted.and(place().gt(lit(above)));
    }
    let columns = schema.columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(rows).window([numbered])?.filter(wanted)?.project(columns)?.build()
}
