//! `FROM t CROSS JOIN UNNEST(t.list) AS u (x)`, and `LEFT JOIN UNNEST(…) ON true`:
//! the list of each row of the left side is taken apart, which DataFusion parses as
//! a subquery that depends on the outer row, and cannot run. Here it becomes what
//! `unnest` in the SELECT list is. A row without elements is left out, or stays
//! with a NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Unnest};
use datafusion::optimizer::AnalyzerRule;

/// The rule.
#[derive(Debug)]
pub struct LateralUnnest;

impl AnalyzerRule for LateralUnnest {
    fn name(&self) -> &'static str {
        "lateral_unnest"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewrite = |plan| match plan {
            LogicalPlan::Join(join) => match unnested(&join)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            other => Ok(Transformed::no(other)),
        };
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn unnested(join: &Join) -> Result<Option<LogicalPlan>> {
    let nulls = match (join.join_type, &join.filter) {
        (JoinType::Inner, _) => NullHandling::Drop,
        (JoinType::Left, None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _))) => {
            NullHandling::PreserveAndExpandEmpty
        }
        _ => return Ok(None),
    };
    if !join.on.is_empty() {
        return Ok(None);
    }
    let onto = Onto { left: &join.left, nulls };
    let Some(plan) = onto.build(&join.right)?.filter(|_| has_list(&join.right)) else { return Ok(None) };
    let plan = LogicalPlanBuilder::from(plan);
    match &join.filter {
        Some(filter) if join.join_type == JoinType::Inner => plan.filter(filter.clone())?.build().map(Some),
        _ => plan.build().map(Some),
    }
}

/// Whether the plan takes exactly one list apart.
fn has_list(plan: &LogicalPlan) -> bool {
    let mut lists = 0;
    let mut next = Some(plan);
    while let Some(plan) = next {
        lists += usize::from(matches!(plan, LogicalPlan::Unnest(_)));
        next = match plan {
            LogicalPlan::Subquery(subquery) => Some(subquery.subquery.as_ref()),
            other => other.inputs().first().copied(),
        };
    }
    lists == 1
}

/// A subquery's steps, put onto the rows that it depends on.
struct Onto<'a> {
    left: &'a Arc<LogicalPlan>,
    nulls: NullHandling,
}

impl Onto<'_> {
    /// The left side's columns, then the plan's; `None` if it reads anything else.
    fn build(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                Ok(Some(self.left.as_ref().clone()))
            }
            LogicalPlan::Subquery(subquery) => self.build(&subquery.subquery),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = self.build(&alias.input)? else { return Ok(None) };
                let own = alias.input.schema().columns().into_iter().zip(alias.schema.columns());
                let own = own.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation, to.name));
                self.project(input, own.collect())
            }
            LogicalPlan::Projection(projection) => {
                let Some(input) = self.build(&projection.input)? else { return Ok(None) };
                self.project(input, computed(projection)?)
            }
            LogicalPlan::Unnest(unnest) => {
                let Some(input) = self.build(&unnest.input)? else { return Ok(None) };
                self.take_apart(input, unnest).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn project(&self, input: LogicalPlan, own: Vec<Expr>) -> Result<Option<LogicalPlan>> {
        let left = self.left.schema().columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(input).project(left.chain(own))?.build().map(Some)
    }

    fn take_apart(&self, input: LogicalPlan, unnest: &Unnest) -> Result<LogicalPlan> {
        let mut options = unnest.options.clone();
        options.null_handling = self.nulls;
        let columns = unnest.exec_columns.clone();
        LogicalPlanBuilder::from(input).unnest_columns_with_options(columns, options)?.build()
    }
}

/// What a projection computes, where the outer row's columns are at hand.
fn computed(projection: &Projection) -> Result<Vec<Expr>> {
    let here = |expression: Expr| {
        Ok(match expression {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    };
    let named = |(expression, column): (&Expr, Column)| {
        let expression = expression.clone().unalias().transform(here)?.data;
        Ok(expression.alias_qualified(column.relation, column.name))
    };
    projection.expr.iter().zip(projection.schema.columns()).map(named).collect()
}
