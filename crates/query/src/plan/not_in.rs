//! `a NOT IN (SELECT b …)`, exactly as SQL means it: no row passes while some `b`
//! is NULL, and no row whose `a` is NULL unless the subquery is empty.
//!
//! DataFusion makes it one join that knows about NULL. Here it becomes joins that
//! need not know: nothing equal, no `b` that is NULL, and nothing at all where `a`
//! is NULL. The last two look at one row for each value that the subquery shares
//! with the outer row, not at all of them.
//!
//! Jobs always take these joins. A batch takes them only where the subquery
//! depends on the outer row, which DataFusion's own join cannot do.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::tables::KeyedProvider;

/// The rule; it stands right behind the one that makes joins of subqueries.
#[derive(Debug)]
pub struct NotIn {
    /// Whether a subquery that does not depend on the outer row is left alone.
    pub correlated_only: bool,
}

impl OptimizerRule for NotIn {
    fn name(&self) -> &'static str {
        "not_in"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        if !join.null_aware || join.join_type != JoinType::LeftAnti || is_table(&join.right)? {
            return Ok(Transformed::no(plan));
        }
        match Parts::of(join) {
            Some(parts) if !(self.correlated_only && parts.shared.is_empty()) => {
                Ok(Transformed::yes(parts.joins(join)?))
            }
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// What stands in such a join's condition.
struct Parts {
    /// `a = b`.
    equal: Expr,
    outer: Expr,
    inner: Expr,
    /// What else ties the subquery to the outer row.
    shared: Vec<Expr>,
}

impl Parts {
    /// The comparison comes first, as the rule before this one writes it.
    fn of(join: &Join) -> Option<Self> {
        let mut conditions = split_conjunction_owned(join.filter.clone()?).into_iter();
        let equal = conditions.next().filter(|_| join.on.is_empty())?;
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &equal else { return None };
        let (outer, inner) = (left.as_ref().clone(), right.as_ref().clone());
        Some(Self { equal, outer, inner, shared: conditions.collect() })
    }

    fn joins(self, join: &Join) -> Result<LogicalPlan> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let mut plan = LogicalPlanBuilder::from(join.left.as_ref().clone()).join_on(
            join.right.as_ref().clone(),
            JoinType::LeftAnti,
            self.shared.iter().cloned().chain([self.equal.clone()]),
        )?;
        if self.inner.nullable(right)? {
            let nulls = LogicalPlanBuilder::from(join.right.as_ref().clone());
            let nulls = self.one_each(nulls.filter(self.inner.clone().is_null())?)?;
            let shared = self.shared.iter().cloned().chain([lit(true)]);
            plan = plan.join_on(nulls, JoinType::LeftAnti, shared)?;
        }
        if self.outer.nullable(left)? {
            let any = self.one_each(LogicalPlanBuilder::from(join.right.as_ref().clone()))?;
            let condition = self.shared.iter().cloned().chain([self.outer.clone().is_null()]);
            plan = plan.join_on(any, JoinType::LeftAnti, condition)?;
        }
        plan.build()
    }

    /// The subquery's rows by what the outer row is compared with besides, once
    /// each.
    fn one_each(&self, rows: LogicalPlanBuilder) -> Result<LogicalPlan> {
        let schema = Arc::clone(rows.schema());
        let mut columns: Vec<Expr> = Vec::new();
        for column in self.shared.iter().flat_map(Expr::column_refs) {
            let column = Expr::Column(column.clone());
            let is_ours = matches!(&column, Expr::Column(c) if schema.has_column(c));
            if is_ours && !columns.contains(&column) {
                columns.push(column);
            }
        }
        if columns.is_empty() {
            columns.push(lit(1_i64));
        }
        rows.aggregate(columns, Vec::<Expr>::new())?.build()
    }
}

/// Whether a plan is just a real-time table, which is looked up: what follows says
/// what to write instead.
fn is_table(plan: &LogicalPlan) -> Result<bool> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_table(&alias.input),
        LogicalPlan::Projection(projection) => is_table(&projection.input),
        LogicalPlan::Filter(filter) => is_table(&filter.input),
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source)?;
            Ok(provider.downcast_ref::<KeyedProvider>().is_some_and(|table| !table.is_view()))
        }
        _ => Ok(false),
    }
}
