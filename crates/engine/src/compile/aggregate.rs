//! GROUP BY: what is grouped, what is computed, and how its state follows rows
//! that may be taken back.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::context::ExecutionProps;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::aggregate::{
    AggregateExprBuilder, AggregateFunctionExpr, LoweredAggregate, LoweredAggregateBuilder,
};
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use pluvio_query::QueryError;

use super::builder::{Builder, Built, Identity, storable};
use super::grouping::grouping_sets;
use super::key::Key;
use super::origin::{Origin, Window, window_of};
use super::plan::Operator;

/// One aggregate function.
#[derive(Debug)]
pub struct Function {
    /// The function; without DISTINCT if that is done before it.
    pub aggregate: Arc<AggregateFunctionExpr>,
    /// FILTER (WHERE …).
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// ORDER BY inside the function.
    pub order_by: Vec<PhysicalSortExpr>,
    /// The types of its arguments.
    pub argument_types: Vec<DataType>,
    /// The types of what it is ordered by.
    pub order_types: Vec<DataType>,
    /// The columns of its state.
    pub state: Vec<Field>,
    /// Whether the state is the result.
    pub state_is_result: bool,
    /// Each value of its argument counts once: which ones there are is kept apart.
    pub distinct: bool,
}

impl Function {
    /// The type in which values of a DISTINCT argument are kept.
    pub fn distinct_type(&self) -> DataType {
        self.argument_types.first().map_or(DataType::Int8, storable)
    }

    /// The columns that must be kept to compute it anew: its arguments, its filter
    /// and what it is ordered by.
    pub fn kept_types(&self) -> impl Iterator<Item = DataType> {
        let filter = self.filter.iter().map(|_| DataType::Boolean);
        self.argument_types.iter().cloned().chain(filter).chain(self.order_types.iter().cloned())
    }
}

/// How a function's state takes a row back: by subtraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Additive {
    /// One number.
    Count,
    /// A sum; the helper at this place counts what was added.
    Sum(usize),
    /// A count and a sum.
    Avg,
}

/// How groups are kept up to date.
#[derive(Debug)]
pub enum Upkeep {
    /// Rows are only added: states are merged.
    Merge,
    /// States are added and subtracted; for each function how. The first helper
    /// counts the group's rows.
    Add(Vec<Additive>),
    /// Rows are kept, and the groups that changed are computed anew.
    Anew,
}

/// What is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// Old results taken back, new ones added.
    Changes,
    /// The new results, and a row taken back for each group that is gone: the
    /// group columns alone count there.
    Replace,
    /// The result of a group once its window is closed.
    OnClose,
}

/// A GROUP BY.
#[derive(Debug)]
pub struct AggregatePlan {
    /// What is grouped by; at least one, a constant if nothing.
    pub groups: Vec<Arc<dyn PhysicalExpr>>,
    /// What is computed.
    pub functions: Vec<Function>,
    /// What is computed besides, to take rows back.
    pub helpers: Vec<Function>,
    /// How groups follow their rows.
    pub upkeep: Upkeep,
    /// What is given out.
    pub emission: Emission,
    /// The window among the group columns.
    pub window: Option<Window>,
    /// Whether no row can come for a closed window.
    pub guarded: bool,
    /// Whether all rows of a window come in one epoch: nothing is kept.
    pub whole: bool,
    /// The result: group columns, then one for each function; the constant group
    /// comes last.
    pub schema: SchemaRef,
    /// The group columns.
    pub group_schema: SchemaRef,
    /// Whether the only group is a constant of ours.
    pub constant: bool,
}

impl AggregatePlan {
    /// All functions, helpers last.
    pub fn all_functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().chain(&self.helpers)
    }

    /// Group columns and state columns, as stored.
    pub fn state_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = Vec::new();
        for (i, field) in self.group_schema.fields().iter().enumerate() {
            fields.push(Field::new(format!("group{i}"), field.data_type().clone(), true));
        }
        for (i, function) in self.all_functions().enumerate() {
            for (j, field) in function.state.iter().enumerate() {
                fields.push(Field::new(format!("state{i}_{j}"), field.data_type().clone(), true));
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Where the group columns are in the result.
    pub fn group_positions(&self) -> Vec<usize> {
        let first = if self.constant { self.functions.len() } else { 0 };
        (first..first + self.groups.len()).collect()
    }
}

/// The nodes of an aggregate's input, and the aggregate.
pub fn aggregate(builder: &mut Builder, node: &Aggregate) -> Result<Built, QueryError> {
    if let Some(built) = grouping_sets(builder, node)? {
        return Ok(built);
    }
    let built = builder.input(&node.input)?;
    built.check_input("an aggregate")?;
    let mut key = Key::of(&node.group_expr, node.input.schema(), &built.origins)?;
    let window = window_of(key.origins.iter().copied());
    let constant = key.or_constant();
    let group_schema = group_schema(node, &key, constant);
    let functions = |apart| node.aggr_expr.iter().map(move |e| function(e, node, apart));
    let mut chosen = functions(true).collect::<Result<Vec<_>, _>>()?;
    let (upkeep, helpers) = upkeep(&chosen, node, built.appends)?;
    let whole = built.whole && window.is_some();
    if whole || matches!(upkeep, Upkeep::Anew) {
        // All rows are at hand: DISTINCT needs nothing of its own.
        chosen = functions(false).collect::<Result<_, _>>()?;
    }
    let functions = chosen;
    let schema = result_schema(node, &functions, &group_schema, constant);
    let edge = |origin: &Origin| if let Origin::Edge(_) = origin { *origin } else { Origin::Other };
    let mut origins: Vec<Origin> = key.origins.iter().map(edge).collect();
    origins.extend(functions.iter().map(|_| Origin::Other));
    let waits = builder.on_close && window.is_some() && !whole;
    builder.waits |= waits;
    let plan = AggregatePlan {
        groups: key.columns,
        functions,
        helpers,
        upkeep,
        emission: if waits { Emission::OnClose } else { Emission::Changes },
        window,
        guarded: built.guarded,
        whole,
        schema: Arc::clone(&schema),
        group_schema,
        constant,
    };
    let identity = Identity::at(plan.group_positions());
    let last = schema.fields().last().filter(|_| constant);
    let carried = last.map(|field| (Arc::clone(field), Origin::Other));
    let node = builder.add(Operator::Aggregate(Box::new(plan)), vec![built.node]);
    let mut result = Built::new(node, schema, origins);
    result.guarded = built.guarded || window.is_some();
    result.whole = waits || whole;
    result.appends = result.whole;
    result.identity = Some(identity);
    result.carried = carried.into_iter().collect();
    Ok(result)
}

/// The group columns as they are kept.
fn group_schema(node: &Aggregate, key: &Key, constant: bool) -> SchemaRef {
    let name = |i: usize| if constant { "$all" } else { node.schema.field(i).name() };
    let fields = key.types.iter().enumerate().map(|(i, t)| Field::new(name(i), t.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The result: group columns in the plan's types and functions, or functions and
/// the constant group.
fn result_schema(node: &Aggregate, functions: &[Function], groups: &SchemaRef, constant: bool) -> SchemaRef {
    let results = functions.iter().map(|f| f.aggregate.field().as_ref().clone().with_nullable(true));
    let fields: Vec<Field> = match constant {
        true => results.chain(groups.fields().iter().map(|f| f.as_ref().clone())).collect(),
        false => {
            let logical = node.schema.fields()[..groups.fields().len()].iter();
            logical.map(|f| f.as_ref().clone().with_nullable(true)).chain(results).collect()
        }
    };
    Arc::new(Schema::new(fields))
}

/// How these functions follow their rows, and what must be computed for it.
fn upkeep(
    functions: &[Function],
    node: &Aggregate,
    appends: bool,
) -> Result<(Upkeep, Vec<Function>), QueryError> {
    if functions.iter().any(|f| !f.order_by.is_empty()) {
        return Ok((Upkeep::Anew, Vec::new()));
    }
    if appends {
        return Ok((Upkeep::Merge, Vec::new()));
    }
    let mut helpers = vec![count_of(&[lit(1_i64)], None, node)?];
    let mut ways = Vec::with_capacity(functions.len());
    for function in functions {
        let way = match function.aggregate.fun().name() {
            _ if function.aggregate.is_distinct() => None,
            "count" => Some(Additive::Count),
            "sum" => Some(Additive::Sum(helpers.len())),
            "avg" => Some(Additive::Avg),
            _ => None,
        };
        let Some(way) = way else { return Ok((Upkeep::Anew, Vec::new())) };
        if way == Additive::Sum(helpers.len()) {
            let arguments = function.aggregate.expressions();
            let helper = count_of(&arguments, function.filter.clone(), node)?;
            helpers.push(Function { distinct: function.distinct, ..helper });
        }
        ways.push(way);
    }
    Ok((Upkeep::Add(ways), helpers))
}

fn count_of(
    arguments: &[Arc<dyn PhysicalExpr>],
    filter: Option<Arc<dyn PhysicalExpr>>,
    node: &Aggregate,
) -> Result<Function, QueryError> {
    let schema = Arc::clone(node.input.schema().inner());
    let count = AggregateExprBuilder::new(count_udaf(), arguments.to_vec()).schema(schema).alias("$count");
    finished(Arc::new(count.build()?), filter, Vec::new(), false, node)
}

/// A function; `apart` allows that DISTINCT is done before it.
fn function(expression: &Expr, node: &Aggregate, apart: bool) -> Result<Function, QueryError> {
    let input = node.input.schema();
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let LoweredAggregate { aggregate, filter, order_bys } =
        LoweredAggregateBuilder::new(expression, input, input.as_arrow(), &props, &context).build()?;
    let arguments = aggregate.expressions();
    let is_plain = |t: DataType| !t.is_nested();
    let apart = apart
        && aggregate.is_distinct()
        && order_bys.is_empty()
        && arguments.len() == 1
        && arguments[0].data_type(input.as_arrow()).is_ok_and(is_plain);
    if !apart && order_bys.is_empty() {
        return finished(aggregate, filter, order_bys, false, node);
    }
    // The same function over values that come once each, or in their order.
    let plain = AggregateExprBuilder::new(Arc::new(aggregate.fun().clone()), arguments)
        .schema(Arc::clone(input.inner()))
        .alias(aggregate.name())
        .with_distinct(aggregate.is_distinct() && !apart)
        .with_ignore_nulls(aggregate.ignore_nulls())
        .build()?;
    finished(Arc::new(plain), filter, order_bys, apart, node)
}

fn finished(
    aggregate: Arc<AggregateFunctionExpr>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    order_by: Vec<PhysicalSortExpr>,
    distinct: bool,
    node: &Aggregate,
) -> Result<Function, QueryError> {
    let state: Vec<Field> = aggregate.state_fields()?.iter().map(|f| f.as_ref().clone()).collect();
    let plain = ["sum", "count", "min", "max"].contains(&aggregate.fun().name());
    let same_type = state.len() == 1 && state[0].data_type() == aggregate.field().data_type();
    let state_is_result = plain && same_type && !aggregate.is_distinct();
    let input = node.input.schema().as_arrow();
    let type_of = |e: &Arc<dyn PhysicalExpr>| e.data_type(input);
    let argument_types = aggregate.expressions().iter().map(type_of).collect::<Result<_, _>>()?;
    let order_types = order_by.iter().map(|sort| type_of(&sort.expr)).collect::<Result<_, _>>()?;
    Ok(Function {
        aggregate,
        filter,
        order_by,
        argument_types,
        order_types,
        state,
        state_is_result,
        distinct,
    })
}
