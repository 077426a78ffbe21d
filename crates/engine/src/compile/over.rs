//! OVER: functions over the rows of a partition. With a bound on a rank behind
//! it, this is top-N; with the bound 1, deduplication.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Window as WindowNode, WindowFunctionDefinition};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use pluvio_query::QueryError;
use pluvio_query::rows::loose;
use pluvio_query::sessions::SessionEdge;

use super::builder::{Builder, Built, Identity};
use super::expressions::physical;
use super::key::Key;
use super::origin::{Origin, Window, window_of};
use super::plan::Operator;
use super::session::session;

/// A number that tells a row's place in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankKind {
    /// Every row has its own.
    RowNumber,
    /// Equal rows have the same, and the next one leaves a gap.
    Rank,
    /// Equal rows have the same, without gaps.
    DenseRank,
}

/// A function of an OVER node.
#[derive(Debug)]
pub enum RankFunction {
    /// A rank.
    Rank(RankKind),
    /// Any other, evaluated for each partition.
    Other(Arc<dyn WindowExpr>),
}

/// An OVER node: all its functions have the same partitions and order.
#[derive(Debug)]
pub struct OverPlan {
    /// PARTITION BY; at least one, a constant if nothing.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// Types of the partition's columns.
    pub key_types: Vec<DataType>,
    /// ORDER BY.
    pub order: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// The functions, one for each column behind the input's.
    pub functions: Vec<RankFunction>,
    /// Rows with a higher rank than this are of no use; the rank is the function
    /// at this place.
    pub limit: Option<(usize, u64)>,
    /// The input's columns.
    pub row: SchemaRef,
    /// The result.
    pub schema: SchemaRef,
    /// Whether the input only adds rows.
    pub appends: bool,
    /// Whether no row can come for a closed window.
    pub guarded: bool,
    /// The window among the partition's columns.
    pub window: Option<Window>,
    /// Whether all rows of a window come in one epoch: nothing is kept.
    pub whole: bool,
}

impl OverPlan {
    /// Rows beyond this rank are not wanted. Whether there is now one row a
    /// partition, and was not before.
    pub fn limit_to(&mut self, limit: u64) -> bool {
        let rank = |f: &RankFunction| matches!(f, RankFunction::Rank(_));
        let Some(place) = self.functions.iter().position(rank) else { return false };
        let was_one = self.limit.is_some_and(|(_, before)| before <= 1);
        let limit = self.limit.map_or(limit, |(_, before)| before.min(limit));
        self.limit = Some((place, limit));
        let row_number = matches!(self.functions[place], RankFunction::Rank(RankKind::RowNumber));
        row_number && limit <= 1 && !was_one
    }

    /// Whether rows beyond the limit can be forgotten for good: no row before
    /// them ever goes, and nothing else looks at them.
    pub fn forgets(&self) -> bool {
        let ranks = self.functions.iter().all(|f| matches!(f, RankFunction::Rank(_)));
        self.appends && ranks && self.limit.is_some()
    }
}

/// The nodes of the input, and the functions over them.
pub fn window(builder: &mut Builder, node: &WindowNode) -> Result<Built, QueryError> {
    let mut built = builder.build(&node.input)?;
    built.check_input("OVER")?;
    let input = node.input.schema();
    let functions = node.window_expr.iter().map(function_of).collect::<Result<Vec<_>, _>>()?;
    if SessionEdge::of(functions[0]).is_some() {
        return session(builder, &built, node, &functions);
    }
    builder.bound(&mut built);
    let first = &functions[0].params;
    let same = |f: &&WindowFunction| {
        f.params.partition_by == first.partition_by && f.params.order_by == first.order_by
    };
    if !functions.iter().all(same) {
        return Err(QueryError::unsupported(
            "OVER clauses with different PARTITION BY or ORDER BY go into nested SELECTs in a continuous query",
        ));
    }
    let mut key = Key::of(&first.partition_by, input, &built.origins)?;
    let window = window_of(key.origins.iter().copied());
    if let Some(window) = window {
        builder.hold(&mut built, window.edge);
    }
    let whole = built.whole && window.is_some();
    let constant = key.or_constant();
    let order = first.order_by.iter().map(|sort| {
        let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        Ok((physical(&sort.expr, input)?, options))
    });
    let order = order.collect::<Result<Vec<_>, QueryError>>()?;
    let compiled = compiled(node, &functions)?;
    let width = built.schema.fields().len();
    let place = builder.nodes.len();
    let mut all: Vec<Origin> = built.origins.clone();
    let ranks = compiled.iter().filter(|f| matches!(f, RankFunction::Rank(_))).count();
    all.extend(compiled.iter().map(|f| match f {
        RankFunction::Rank(_) if ranks == 1 => Origin::Rank(place),
        _ => Origin::Other,
    }));
    let row_number = compiled.iter().position(|f| matches!(f, RankFunction::Rank(RankKind::RowNumber)));
    let schema = loose(node.schema.inner());
    let plan = OverPlan {
        partition: key.columns,
        key_types: key.types,
        order,
        functions: compiled,
        limit: None,
        row: loose(&built.schema),
        schema: Arc::clone(&schema),
        appends: built.appends,
        guarded: built.guarded,
        window,
        whole,
    };
    builder.add(Operator::Over(Box::new(plan)), vec![built.node]);
    let mut result = Built::new(place, schema, all);
    result.guarded = built.guarded || window.is_some();
    (result.whole, result.appends) = (whole, whole);
    // A row number tells rows of a partition apart. Of all rows together, one is
    // left once the number is bound to one: that is known then, not here.
    if let (Some(mut columns), Some(number), false, 1) =
        (plain_columns(first, input), row_number, constant, ranks)
    {
        columns.push(width + number);
        result.identity = Some(Identity::at(columns));
    }
    Ok(result)
}

/// The functions as they run.
fn compiled(node: &WindowNode, functions: &[&WindowFunction]) -> Result<Vec<RankFunction>, QueryError> {
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let compile = |(expression, function): (&Expr, &&WindowFunction)| match rank_of(function) {
        Some(kind) => Ok(RankFunction::Rank(kind)),
        None => {
            Ok(RankFunction::Other(create_window_expr(expression, node.input.schema(), &props, &context)?))
        }
    };
    node.window_expr.iter().zip(functions).map(compile).collect()
}

/// The columns of PARTITION BY, if it names nothing else.
fn plain_columns(params: &WindowFunctionParams, input: &DFSchema) -> Option<Vec<usize>> {
    let column = |e: &Expr| match e {
        Expr::Column(column) => input.maybe_index_of_column(column),
        _ => None,
    };
    params.partition_by.iter().map(column).collect()
}

fn function_of(expression: &Expr) -> Result<&WindowFunction, QueryError> {
    match expression {
        Expr::Alias(alias) => function_of(&alias.expr),
        Expr::WindowFunction(function) => Ok(function),
        other => Err(QueryError::unsupported(format!("{other} is not a function with OVER"))),
    }
}

fn rank_of(function: &WindowFunction) -> Option<RankKind> {
    let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else { return None };
    match udf.name() {
        "row_number" => Some(RankKind::RowNumber),
        "rank" => Some(RankKind::Rank),
        "dense_rank" => Some(RankKind::DenseRank),
        _ => None,
    }
}
