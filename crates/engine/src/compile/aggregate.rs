//! GROUP BY: what is grouped, what is computed, and which group column is a
//! window.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::physical_expr::expressions::{cast, lit};
use pluvio_query::QueryError;

use super::chain::{Chain, Step, storable};
use super::expressions::physical;
use super::origin::{Edge, Origin, origin_of};

/// The group column that is a window's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its place among the group columns.
    pub group: usize,
    /// Which edge it is.
    pub edge: Edge,
}

/// One aggregate function.
#[derive(Debug)]
pub struct Function {
    /// The function.
    pub aggregate: Arc<AggregateFunctionExpr>,
    /// FILTER (WHERE …).
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of its state.
    pub state: Vec<Field>,
    /// Whether the state is the result.
    pub state_is_result: bool,
}

/// A GROUP BY.
#[derive(Debug)]
pub struct AggregatePlan {
    /// What is grouped by; at least one, a constant if nothing.
    pub groups: Vec<Arc<dyn PhysicalExpr>>,
    /// What is computed.
    pub functions: Vec<Function>,
    /// The window among the group columns.
    pub window: Option<Window>,
    /// The result: group columns, then one for each function.
    pub schema: SchemaRef,
    group_schema: SchemaRef,
    /// Whether the only group is a constant of ours.
    constant: bool,
}

impl AggregatePlan {
    /// The group columns.
    pub fn group_schema(&self) -> &SchemaRef {
        &self.group_schema
    }

    /// Group columns and state columns, as stored.
    pub fn state_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = Vec::new();
        for (i, field) in self.group_schema.fields().iter().enumerate() {
            fields.push(Field::new(format!("group{i}"), field.data_type().clone(), true));
        }
        for (i, function) in self.functions.iter().enumerate() {
            for (j, field) in function.state.iter().enumerate() {
                fields.push(Field::new(format!("state{i}_{j}"), field.data_type().clone(), true));
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Where the carried group columns begin after `steps`, whose last output has
    /// `width` columns of its own.
    pub fn carried_from(&self, steps: &[Step], width: usize) -> usize {
        match steps.iter().any(|s| matches!(s, Step::Project { .. })) {
            true => width,
            // Straight behind the aggregate the group columns come first, unless
            // the constant one, which no query sees, stands behind.
            false if self.constant => self.functions.len(),
            false => 0,
        }
    }

    /// Whether the only group is a constant of ours, put behind the results.
    pub fn is_constant(&self) -> bool {
        self.constant
    }
}

/// The chain of an aggregate's input, ending in the aggregate.
pub fn aggregate(node: &Aggregate) -> Result<Chain, QueryError> {
    let mut chain = Chain::of(&node.input)?;
    chain.refuse_after_aggregate("an aggregate")?;
    let input = node.input.schema();
    let mut groups = Vec::new();
    let mut fields = Vec::new();
    let mut origins = Vec::new();
    let mut window = None;
    for (i, expression) in node.group_expr.iter().enumerate() {
        if matches!(expression, Expr::GroupingSet(_)) {
            return Err(QueryError::unsupported(
                "GROUPING SETS, ROLLUP and CUBE are not supported in a continuous query",
            ));
        }
        let physical = physical(expression, input)?;
        let data_type = physical.data_type(input.as_arrow())?;
        let stored = storable(&data_type);
        let physical = cast(physical, input.as_arrow(), stored.clone())?;
        groups.push(physical);
        fields.push(Field::new(node.schema.field(i).name(), stored, true));
        origins.push(Origin::Group(i));
        if let Origin::Edge(edge) = origin_of(expression, input, &chain.origins) {
            window = window.or(Some(Window { group: i, edge }));
        }
    }
    let constant = groups.is_empty();
    if constant {
        groups.push(lit(0_i8));
        fields.push(Field::new("$all", DataType::Int8, true));
    }
    let group_schema = Arc::new(Schema::new(fields.clone()));
    let functions = node.aggr_expr.iter().map(|e| function(e, node)).collect::<Result<Vec<_>, _>>()?;
    let results = functions.iter().map(|f| f.aggregate.field().as_ref().clone().with_nullable(true));
    let fields: Vec<Field> = match constant {
        true => results.chain(fields).collect(),
        false => fields.into_iter().chain(results).collect(),
    };
    origins.extend(functions.iter().map(|_| Origin::Other));
    let schema = Arc::new(Schema::new(fields));
    let plan = AggregatePlan { groups, functions, window, schema, group_schema, constant };
    chain.set_aggregate(plan, origins);
    Ok(chain)
}

fn function(expression: &Expr, node: &Aggregate) -> Result<Function, QueryError> {
    let input = node.input.schema();
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let lowered =
        LoweredAggregateBuilder::new(expression, input, input.as_arrow(), &props, &context).build()?;
    if !lowered.order_bys.is_empty() {
        return Err(QueryError::unsupported(format!(
            "{expression}: ORDER BY inside an aggregate is not supported in a continuous query"
        )));
    }
    let state: Vec<Field> = lowered.aggregate.state_fields()?.iter().map(|f| f.as_ref().clone()).collect();
    let plain = ["sum", "count", "min", "max"].contains(&lowered.aggregate.fun().name());
    let same_type = state.len() == 1 && state[0].data_type() == lowered.aggregate.field().data_type();
    let state_is_result = plain && same_type && !lowered.aggregate.is_distinct();
    Ok(Function { aggregate: lowered.aggregate, filter: lowered.filter, state, state_is_result })
}
