//! Joins as of a time, of which SQL only knows the marker that `sql/as_of.rs` left
//! in their condition.
//!
//! *Of event time* (`ASOF JOIN`, or `FOR SYSTEM_TIME AS OF` over a stream or a view
//! that keeps event time): each row of the right side learns the time of the next
//! one of the same key, and so from when to when it is the partner. Of rows with
//! the same key and time the last counts, in the order of all columns.
//!
//! *Of processing time* (`FOR SYSTEM_TIME AS OF` over a table or a view that is kept
//! by key): a lookup. A batch looks at the rows that are there.
//!
//! Both are plain joins behind this rule, the same for a batch and a job.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::lead;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprFunctionExt, Join, JoinType, LogicalPlan, LogicalPlanBuilder,
    Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableScan, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::QueryError;
use crate::sql::MARKER;
use crate::tables::{AppendProvider, KeyedProvider, StreamProvider};

/// The column that tells when the next row of a key begins.
const NEXT: &str = "$next";

/// The rule.
#[derive(Debug)]
pub struct AsOf;

impl AnalyzerRule for AsOf {
    fn name(&self) -> &'static str {
        "as_of"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewrite = |plan| match plan {
            LogicalPlan::Join(join) if is_marked(&join) => Ok(Transformed::yes(of_join(join)?)),
            other => Ok(Transformed::no(other)),
        };
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn is_marked(join: &Join) -> bool {
    let marker = |e: &Expr| Ok(matches!(e, Expr::ScalarFunction(f) if f.func.name() == MARKER));
    join.filter.as_ref().is_some_and(|filter| filter.exists(marker).unwrap_or(false))
}

fn of_join(join: Join) -> Result<LogicalPlan> {
    let mut instant = None;
    let mut conditions: Vec<Expr> = join.on.iter().map(|(l, r)| l.clone().eq(r.clone())).collect();
    for condition in join.filter.clone().into_iter().flat_map(split_conjunction_owned) {
        match condition {
            Expr::ScalarFunction(f) if f.func.name() == MARKER => instant = Some(f.args.into_iter().next()),
            other => conditions.push(other),
        }
    }
    let Some(instant) = instant else { return Err(spelling("OR does not stand beside them")) };
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Err(unsupported("a join as of a time is a JOIN or a LEFT JOIN"));
    }
    match instant {
        None => by_event_time(&join, conditions),
        Some(instant) => by_system_time(join, conditions, instant),
    }
}

/// `FOR SYSTEM_TIME AS OF instant`.
fn by_system_time(mut join: Join, mut conditions: Vec<Expr>, instant: Expr) -> Result<LogicalPlan> {
    let Some(scan) = scan_of(&join.right) else {
        return Err(unsupported("FOR SYSTEM_TIME AS OF follows the name of a table, a stream or a view"));
    };
    let name = scan.table_name.table().to_owned();
    let provider = source_as_provider(&scan.source)?;
    let event_time = time_of(&join.left, &instant) == Some(Time::Event);
    if let Some(keyed) = provider.downcast_ref::<KeyedProvider>() {
        if keyed.is_view() && event_time {
            return Err(unsupported(format!(
                "\"{name}\" keeps only the newest row of each key: FOR SYSTEM_TIME AS OF a column of processing time \
                 (or PROCTIME()) looks that up; for the row as of an event's own time, ASOF JOIN the stream that the \
                 view is made from"
            )));
        }
        let lookup = provider_as_source(Arc::new(keyed.as_lookup()));
        join.right = Arc::new(with_source(&join.right, &lookup)?);
        return joined(&join.left, join.right.as_ref().clone(), &join, conditions);
    }
    let time = if let Some(stream) = provider.downcast_ref::<StreamProvider>() {
        if stream.stream().has_changes() {
            return Err(unsupported(format!(
                "\"{name}\" is a stream of changes: a row that is replaced is taken back, so that it cannot be joined as \
                 of an earlier time. Read the topic as a stream of events that stay (without PRIMARY KEY and changes), \
                 and FOR SYSTEM_TIME AS OF or ASOF JOIN finds the version of each time"
            )));
        }
        stream.stream().watermark.as_ref().map(|watermark| watermark.column.clone())
    } else if let Some(view) = provider.downcast_ref::<AppendProvider>() {
        view.time_column().map(str::to_owned)
    } else {
        None
    };
    let Some(time) = time else {
        return Err(unsupported(format!(
            "\"{name}\" has no event time: FOR SYSTEM_TIME AS OF wants a table, a view that is kept by key, or a \
             stream with a WATERMARK; ASOF JOIN compares any two columns"
        )));
    };
    if !event_time {
        return Err(unsupported(format!(
            "\"{name}\" is joined by its event time, so FOR SYSTEM_TIME AS OF names the event time of the other side \
             (its WATERMARK column); ASOF JOIN compares any two columns, and a view that is kept by key can be \
             looked up as of processing time"
        )));
    }
    let place = join.right.schema().index_of_column_by_name(None, &time);
    let Some(place) = place else { return Err(unsupported("the event time is not among the columns")) };
    let (relation, field) = join.right.schema().qualified_field(place);
    let time = Expr::Column(Column::new(relation.cloned(), field.name()));
    conditions.push(instant.gt_eq(time));
    by_event_time(&join, conditions)
}

/// Each left row with the right row that stands nearest in time.
fn by_event_time(join: &Join, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let (mut keys, mut times) = (Vec::new(), Vec::new());
    for condition in &conditions {
        let Some(compared) = Compared::of(condition, left, right) else {
            return Err(spelling(&format!("{condition} is neither; further conditions go into WHERE")));
        };
        if compared.operator == Operator::Eq { &mut keys } else { &mut times }.push(compared);
    }
    let [time] = times.as_slice() else {
        return Err(spelling(&format!("there are {} comparisons", times.len())));
    };
    let backward = matches!(time.operator, Operator::GtEq | Operator::Gt);
    // The next row takes over where this one's comparison ends.
    let until = match time.operator {
        Operator::GtEq => Operator::Lt,
        Operator::Gt => Operator::LtEq,
        Operator::LtEq => Operator::Gt,
        _ => Operator::GtEq,
    };
    let mut order = vec![time.right.clone().sort(backward, false)];
    let others = right.columns().into_iter().map(Expr::Column).filter(|column| *column != time.right);
    order.extend(others.map(|column| column.sort(true, false)));
    let next = lead(time.right.clone(), Some(1), None)
        .partition_by(keys.iter().map(|key| key.right.clone()).collect())
        .order_by(order)
        .build()?
        .alias(NEXT);
    let rows = LogicalPlanBuilder::from(join.right.as_ref().clone());
    let rows = rows.filter(time.right.clone().is_not_null())?.window([next])?.build()?;
    let next = Expr::Column(Column::from_name(NEXT));
    let in_time =
        Expr::BinaryExpr(BinaryExpr::new(Box::new(time.left.clone()), until, Box::new(next.clone())));
    let conditions = conditions.into_iter().chain([next.is_null().or(in_time)]).collect();
    joined(&join.left, rows, join, conditions)
}

/// The join of two sides, with the columns that it had.
fn joined(left: &LogicalPlan, right: LogicalPlan, join: &Join, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(left.clone())
        .join_on(right, join.join_type, conditions)?
        .project(columns)?
        .build()
}

/// A comparison of the left side with the right one.
struct Compared {
    left: Expr,
    operator: Operator,
    right: Expr,
}

impl Compared {
    fn of(condition: &Expr, left: &DFSchema, right: &DFSchema) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
        let known =
            matches!(op, Operator::Eq | Operator::GtEq | Operator::Gt | Operator::LtEq | Operator::Lt);
        let is_of = |e: &Expr, schema: &DFSchema| {
            let columns = e.column_refs();
            !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
        };
        let (a, b) = (a.as_ref().clone(), b.as_ref().clone());
        match known {
            true if is_of(&a, left) && is_of(&b, right) => Some(Self { left: a, operator: *op, right: b }),
            true if is_of(&a, right) && is_of(&b, left) => {
                Some(Self { left: b, operator: op.swap()?, right: a })
            }
            _ => None,
        }
    }
}

/// What a column of time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Event,
    Processing,
}

/// Which time an expression over a plan is, if it comes straight from a stream or a
/// view.
fn time_of(plan: &LogicalPlan, expression: &Expr) -> Option<Time> {
    match expression {
        Expr::Cast(cast) => time_of(plan, &cast.expr),
        Expr::Alias(alias) => time_of(plan, &alias.expr),
        Expr::Column(column) => time_at(plan, plan.schema().maybe_index_of_column(column)?),
        Expr::ScalarFunction(function) if function.func.name() == "now" => Some(Time::Processing),
        _ => None,
    }
}

fn time_at(plan: &LogicalPlan, place: usize) -> Option<Time> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => time_at(&alias.input, place),
        LogicalPlan::Filter(filter) => time_at(&filter.input, place),
        LogicalPlan::Projection(projection) => time_of(&projection.input, projection.expr.get(place)?),
        LogicalPlan::Join(join) => {
            let width = join.left.schema().fields().len();
            match place.checked_sub(width) {
                Some(place) => time_at(&join.right, place),
                None => time_at(&join.left, place),
            }
        }
        LogicalPlan::TableScan(scan) => {
            let name = scan.projected_schema.field(place).name();
            let provider = source_as_provider(&scan.source).ok()?;
            if let Some(stream) = provider.downcast_ref::<StreamProvider>() {
                let stream = stream.stream();
                let event = stream.watermark.as_ref().is_some_and(|watermark| watermark.column == *name);
                let processing = stream.processing_time.as_ref() == Some(name);
                return event.then_some(Time::Event).or(processing.then_some(Time::Processing));
            }
            let view = provider.downcast_ref::<AppendProvider>()?;
            (view.time_column() == Some(name)).then_some(Time::Event)
        }
        _ => None,
    }
}

/// The scan that a plan is, but for its name.
fn scan_of(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => scan_of(&alias.input),
        LogicalPlan::TableScan(scan) => Some(scan),
        _ => None,
    }
}

/// The same plan over another source of the same columns.
fn with_source(
    plan: &LogicalPlan,
    source: &Arc<dyn datafusion::logical_expr::TableSource>,
) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            Ok(LogicalPlan::TableScan(TableScan { source: Arc::clone(source), ..scan.clone() }))
        }
        other => {
            let inputs = other.inputs().into_iter().map(|input| with_source(input, source));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            other.with_new_exprs(other.expressions(), inputs)
        }
    }
}

fn spelling(wrong: &str) -> datafusion::error::DataFusionError {
    unsupported(format!(
        "ASOF JOIN takes equalities and one comparison by >=, >, <= or < between its sides, all with AND: {wrong}"
    ))
}

fn unsupported(message: impl Into<String>) -> datafusion::error::DataFusionError {
    QueryError::unsupported(message).into()
}

/// The function that stands for a join as of a time until its names are known.
pub fn as_of_marker() -> ScalarUDF {
    ScalarUDF::from(Marker { signature: Signature::one_of(signatures(), Volatility::Volatile) })
}

fn signatures() -> Vec<datafusion::logical_expr::TypeSignature> {
    use datafusion::logical_expr::TypeSignature;
    vec![TypeSignature::Nullary, TypeSignature::Any(1)]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    signature: Signature,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        MARKER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("a join as of a time stands in JOIN … ON")
    }
}
