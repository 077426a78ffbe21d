//! A plan as a chain of steps, built from the input outwards.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::NullHandling;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan, logical_plan as logical};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use pluvio_catalog::{Column, ViewKind};
use pluvio_query::QueryError;
use pluvio_query::tables::{AppendProvider, KeyedProvider, StreamProvider};

use super::ViewPlan;
use super::aggregate::{self, AggregatePlan};
use super::expressions::physical;
use super::lookup::{self, Lookup};
use super::origin::{Origin, origin_of};

/// What a view reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A stream.
    Stream(String),
    /// An append-only view.
    View(String),
}

impl Input {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Stream(name) | Self::View(name) => name,
        }
    }
}

/// A stateless step: a batch in, a batch out.
#[derive(Debug)]
pub enum Step {
    /// Keeps the rows for which this is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes columns.
    Project {
        /// One for each column.
        columns: Vec<Arc<dyn PhysicalExpr>>,
        /// The result.
        schema: SchemaRef,
    },
    /// Takes a list apart: a row for each of its elements.
    Unnest(Unnest),
    /// Adds a table's columns.
    Lookup(Lookup),
}

/// A list to be taken apart.
#[derive(Debug)]
pub struct Unnest {
    /// The list's column.
    pub list: usize,
    /// For each column of the result, the column it comes from.
    pub from: Vec<usize>,
    /// What becomes of a row without a list, or with an empty one.
    pub nulls: NullHandling,
    /// The result.
    pub schema: SchemaRef,
}

/// A plan's chain so far.
#[derive(Debug)]
pub struct Chain {
    input: Input,
    steps: Vec<Step>,
    /// The aggregate, once met.
    pub aggregate: Option<AggregatePlan>,
    after: Vec<Step>,
    /// What each column of the present output is.
    pub origins: Vec<Origin>,
    /// The present output; after an aggregate, without the carried group columns.
    schema: SchemaRef,
    /// Tables looked up.
    pub lookups: Vec<String>,
}

impl Chain {
    /// The chain of a plan.
    ///
    /// # Errors
    /// What a job cannot do.
    pub fn of(plan: &LogicalPlan) -> Result<Self, QueryError> {
        let mut chain = match plan {
            LogicalPlan::TableScan(scan) => Self::scan(scan)?,
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input)?,
            LogicalPlan::Projection(projection) => {
                let mut chain = Self::of(&projection.input)?;
                let input = projection.input.schema();
                let columns = projection.expr.iter().map(|e| physical(e, input)).collect::<Result<_, _>>()?;
                chain.origins = projection.expr.iter().map(|e| origin_of(e, input, &chain.origins)).collect();
                chain.push(Step::Project { columns, schema: Arc::clone(plan.schema().inner()) });
                chain
            }
            LogicalPlan::Filter(filter) => {
                let mut chain = Self::of(&filter.input)?;
                chain.push(Step::Filter(physical(&filter.predicate, filter.input.schema())?));
                chain
            }
            LogicalPlan::Unnest(node) => Self::unnest(node)?,
            LogicalPlan::Join(join) => lookup::join(plan, join)?,
            LogicalPlan::Aggregate(node) => aggregate::aggregate(node)?,
            other => return Err(unsupported(other)),
        };
        chain.schema = Arc::clone(plan.schema().inner());
        Ok(chain)
    }

    fn scan(scan: &TableScan) -> Result<Self, QueryError> {
        let provider = source_as_provider(&scan.source)?;
        let (input, time) = if let Some(stream) = provider.downcast_ref::<StreamProvider>() {
            let time = stream.stream().watermark.as_ref().map(|w| w.column.clone());
            (Input::Stream(stream.stream().name.clone()), time)
        } else if let Some(view) = provider.downcast_ref::<AppendProvider>() {
            (Input::View(view.name().to_owned()), view.time_column().map(str::to_owned))
        } else if let Some(table) = provider.downcast_ref::<KeyedProvider>() {
            let what = if table.is_view() { "a view that updates its rows" } else { "a table" };
            return Err(QueryError::unsupported(format!(
                "a continuous query starts from a stream or a view whose rows are only added; \"{}\" is {what}",
                table.name()
            )));
        } else {
            let message = format!("\"{}\" cannot be read by a continuous query", scan.table_name);
            return Err(QueryError::unsupported(message));
        };
        let full = provider.schema();
        let origin = |name: &str| if Some(name) == time.as_deref() { Origin::Time } else { Origin::Other };
        let mut chain = Self {
            input,
            steps: Vec::new(),
            aggregate: None,
            after: Vec::new(),
            origins: full.fields().iter().map(|f| origin(f.name())).collect(),
            schema: full,
            lookups: Vec::new(),
        };
        if let Some(projection) = &scan.projection {
            let column = |i: &usize| -> Arc<dyn PhysicalExpr> {
                Arc::new(PhysicalColumn::new(chain.schema.field(*i).name(), *i))
            };
            let columns = projection.iter().map(column).collect();
            chain.origins = projection.iter().map(|i| chain.origins[*i]).collect();
            chain.push(Step::Project { columns, schema: Arc::clone(scan.projected_schema.inner()) });
        }
        Ok(chain)
    }

    fn unnest(node: &logical::Unnest) -> Result<Self, QueryError> {
        let mut chain = Self::of(&node.input)?;
        chain.refuse_after_aggregate("UNNEST")?;
        let [(list, as_list)] = node.list_type_columns.as_slice() else {
            return Err(QueryError::unsupported(
                "UNNEST takes one list apart at a time in a continuous query",
            ));
        };
        let input = node.input.schema();
        let is_list = matches!(input.field(*list).data_type(), DataType::List(_));
        if !is_list || as_list.depth != 1 || !node.struct_type_columns.is_empty() {
            return Err(QueryError::unsupported("UNNEST takes a list apart, once, in a continuous query"));
        }
        let origin = |from: &usize| match chain.origins[*from] {
            Origin::Edges(edge) if from == list => Origin::Edge(edge),
            _ if from == list => Origin::Other,
            other => other,
        };
        chain.origins = node.dependency_indices.iter().map(origin).collect();
        chain.push(Step::Unnest(Unnest {
            list: *list,
            from: node.dependency_indices.clone(),
            nulls: node.options.null_handling,
            schema: Arc::clone(node.schema.inner()),
        }));
        Ok(chain)
    }

    /// Adds a step at the end. Behind an aggregate, a projection carries the
    /// group columns along at its end, because they are the rows' identity.
    pub fn push(&mut self, step: Step) {
        let Some(aggregate) = &self.aggregate else { return self.steps.push(step) };
        let step = match step {
            Step::Project { mut columns, schema } => {
                let first = aggregate.carried_from(&self.after, self.schema.fields().len());
                let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
                for (i, group) in aggregate.group_schema().fields().iter().enumerate() {
                    columns.push(Arc::new(PhysicalColumn::new(group.name(), first + i)));
                    fields.push(Arc::clone(group));
                }
                Step::Project { columns, schema: Arc::new(datafusion::arrow::datatypes::Schema::new(fields)) }
            }
            other => other,
        };
        self.after.push(step);
    }

    /// Makes the chain end in this aggregate.
    pub fn set_aggregate(&mut self, aggregate: AggregatePlan, origins: Vec<Origin>) {
        self.aggregate = Some(aggregate);
        self.origins = origins;
    }

    /// Fails if rows are updated from here on.
    pub fn refuse_after_aggregate(&self, what: &str) -> Result<(), QueryError> {
        match self.aggregate {
            Some(_) => Err(QueryError::unsupported(format!(
                "{what} on the result of an aggregate is not supported in one view: make a view of the aggregate \
                 with EMIT ON WINDOW CLOSE and read that"
            ))),
            None => Ok(()),
        }
    }

    /// The finished view.
    pub fn finish(self, emit_on_window_close: bool) -> Result<ViewPlan, QueryError> {
        let mut stored: Vec<Column> = Vec::new();
        for field in self.schema.fields() {
            if stored.iter().any(|c| c.name == *field.name()) {
                let message = format!("two columns are called \"{}\"; name one with AS", field.name());
                return Err(QueryError::invalid(message));
            }
            let data_type = storable(field.data_type());
            stored.push(Column { name: field.name().clone(), data_type, nullable: true });
        }
        let visible = stored.len();
        let mut stored_from: Vec<usize> = (0..visible).collect();
        let kind = match &self.aggregate {
            Some(aggregate) if !emit_on_window_close => {
                let first = aggregate.carried_from(&self.after, visible);
                let mut key = Vec::new();
                for (i, group) in aggregate.group_schema().fields().iter().enumerate() {
                    let shown = self.origins.iter().position(|o| *o == Origin::Group(i));
                    key.push(shown.unwrap_or(stored.len()));
                    if shown.is_none() {
                        let data_type = storable(group.data_type());
                        stored.push(Column { name: format!("$key{i}"), data_type, nullable: true });
                        stored_from.push(first + i);
                    }
                }
                ViewKind::Keyed { key }
            }
            _ => {
                let time = self.origins.iter().position(|o| *o == Origin::Time);
                ViewKind::Append { time_column: time.map(|i| self.schema.field(i).name().clone()) }
            }
        };
        Ok(ViewPlan {
            input: self.input,
            steps: self.steps,
            aggregate: self.aggregate,
            after: self.after,
            stored,
            stored_from,
            kind,
            emit_on_window_close,
            lookups: self.lookups,
            visible,
        })
    }
}

/// The type a computed column is stored as: without views and dictionaries.
pub fn storable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => storable(value),
        DataType::Null => DataType::Utf8,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

fn unsupported(plan: &LogicalPlan) -> QueryError {
    let text = match plan {
        LogicalPlan::Sort(_) => "ORDER BY has no meaning in a view that never ends; order when you read it",
        LogicalPlan::Limit(_) => "LIMIT has no meaning in a view that never ends; limit when you read it",
        LogicalPlan::Window(_) => {
            "OVER is not supported in a continuous query yet; use a window table function with GROUP BY"
        }
        LogicalPlan::Union(_) => {
            "UNION is not supported in a continuous query yet; make one view for each side"
        }
        LogicalPlan::Subquery(_) => "a subquery is not supported here; join the table instead",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
            "a continuous query reads a stream or a view: FROM is missing"
        }
        _ => {
            return QueryError::unsupported(format!(
                "{} is not supported in a continuous query",
                plan.display()
            ));
        }
    };
    QueryError::unsupported(text)
}
