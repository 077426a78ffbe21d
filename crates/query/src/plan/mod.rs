//! Planning of continuous queries: the same analysis as any query's, then only
//! those optimizer rules that keep the shapes the engine knows. (Others turn one
//! aggregate into two, or a plain join into something else, which a batch may do
//! and a job with durable state may not.)

mod as_of;
mod first_rows;
mod lateral;
mod not_in;

use futures::future::BoxFuture;
use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement};

use self::as_of::AsOf;
pub use self::as_of::as_of_marker;
use self::first_rows::first_rows;
use self::lateral::LateralUnnest;
use self::not_in::NotIn;
use crate::QueryError;

/// Plans the query of a materialized view.
///
/// # Errors
/// What the planner finds wrong, with its place in the text where known.
pub fn plan_continuous(
    context: &SessionContext,
    query: Box<Query>,
) -> BoxFuture<'_, Result<LogicalPlan, QueryError>> {
    Box::pin(async move {
        let statement = DfStatement::Statement(Box::new(Statement::Query(query)));
        let state = context.state();
        let plan = state.statement_to_plan(statement).await?;
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        let plan = first_rows(plan)?;
        let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
            Arc::new(RewriteSetComparison::new()),
            Arc::new(SimplifyExpressions::new()),
            Arc::new(ReplaceDistinctWithAggregate::new()),
            Arc::new(DecorrelatePredicateSubquery::new()),
            Arc::new(NotIn { correlated_only: false }),
            Arc::new(ScalarSubqueryToJoin::new()),
            Arc::new(DecorrelateLateralJoin::new()),
            Arc::new(EliminateCrossJoin::new()),
            // Before the next: it would put a condition that is never true below an
            // aggregate of all rows, which has a row even so.
            Arc::new(EliminateFilter::new()),
            Arc::new(PushDownFilter::new()),
            Arc::new(ExtractEquijoinPredicate::new()),
            Arc::new(OptimizeProjections::new()),
        ];
        // now() must not become a constant: a job runs for longer than its planning.
        let mut options = ConfigOptions::default();
        // A subquery's one value may change: it is joined, not computed beforehand.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let config = OptimizerContext::new_with_config_options(Arc::new(options));
        let config = config.without_query_execution_start_time();
        Ok(Optimizer::with_rules(rules).optimize(plan, &config, |_, _| {})?)
    })
}

/// The analyzer rules of any query: DataFusion's, and ours before them.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(LateralUnnest), Arc::new(AsOf)];
    rules.extend(Analyzer::new().rules);
    rules
}

/// The optimizer rules of a batch query: DataFusion's, and ours among them.
pub fn batch_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let subqueries = DecorrelatePredicateSubquery::new();
    let place = rules.iter().position(|rule| rule.name() == subqueries.name());
    let place = place.map_or(0, |place| place + 1);
    rules.insert(place, Arc::new(NotIn { correlated_only: true }));
    rules
}
