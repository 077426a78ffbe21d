//! A logical plan, from its inputs outwards, as nodes.
//!
//! The columns of a node's rows are those of its logical plan, and behind them
//! those that are *carried*: the parts of the rows' identity that the query does
//! not name.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, new_empty_array};
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, LogicalPlan, Operator as SqlOperator, Projection, TableScan, Union,
    logical_plan as logical,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::scalar::ScalarValue;
use pluvio_query::QueryError;
use pluvio_query::rows::loose;
use pluvio_query::tables::{AppendProvider, KeyedProvider, StreamProvider};

use super::expressions::{check_lasting, physical, without_casts};
use super::origin::{Edge, Origin, origin_of};
use super::plan::{ChangelogPlan, HoldPlan, Node, Operator, Read, Step, Unnest};
use super::{aggregate, join, lookup, over};

/// What is built so far.
#[derive(Debug, Default)]
pub struct Builder {
    pub reads: Vec<Read>,
    pub nodes: Vec<Node>,
    pub lookups: Vec<String>,
    /// EMIT ON WINDOW CLOSE: windows go on from operator to operator when they are
    /// closed, and not before.
    pub on_close: bool,
    /// Some operator waits for windows to be closed.
    pub waits: bool,
    /// How long rows stay that only come, in microseconds.
    pub ttl_us: Option<i64>,
}

/// A node and what is known of its rows.
#[derive(Debug)]
pub struct Built {
    /// The node.
    pub node: usize,
    /// The logical plan's columns.
    pub schema: SchemaRef,
    /// What each of them is.
    pub origins: Vec<Origin>,
    /// Rows are only added, never taken back.
    pub appends: bool,
    /// No row comes for a window that the watermark has closed.
    pub guarded: bool,
    /// All rows of a window come in the epoch that closes it.
    pub whole: bool,
    /// What tells two rows apart, if more than the whole row.
    pub identity: Option<Identity>,
    /// The columns behind those of the logical plan, and what they are.
    pub carried: Vec<(FieldRef, Origin)>,
    /// A table was looked up after rows began to change: only a key can say
    /// which row is meant, because the table may have changed in between.
    pub by_key_only: bool,
}

/// A key of rows.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its columns' positions in the rows of the operator that made it.
    pub made: Vec<usize>,
    /// Their positions in the present rows.
    pub now: Vec<usize>,
}

impl Identity {
    /// A key at these positions.
    pub fn at(positions: Vec<usize>) -> Self {
        Self { made: positions.clone(), now: positions }
    }
}

impl Built {
    /// A new operator's rows: no longer what its inputs' rows were.
    pub fn new(node: usize, schema: SchemaRef, origins: Vec<Origin>) -> Self {
        Self {
            node,
            schema,
            origins,
            appends: false,
            guarded: false,
            whole: false,
            identity: None,
            carried: Vec::new(),
            by_key_only: false,
        }
    }

    /// Fails if an operator with state of its own cannot read these rows.
    pub fn check_input(&self, what: &str) -> Result<(), QueryError> {
        match self.by_key_only {
            true => Err(QueryError::unsupported(format!(
                "{what} cannot read rows that change and then looked up a table: join the table last, or before \
                 the rows are grouped"
            ))),
            false => Ok(()),
        }
    }
}

impl Builder {
    /// The nodes of a plan.
    ///
    /// # Errors
    /// What a job cannot do.
    pub fn build(&mut self, plan: &LogicalPlan) -> Result<Built, QueryError> {
        let mut built = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan)?,
            LogicalPlan::SubqueryAlias(alias) => self.build(&alias.input)?,
            LogicalPlan::Projection(projection) => self.projection(projection)?,
            LogicalPlan::Filter(filter) => self.filter(filter)?,
            LogicalPlan::Unnest(node) => self.unnest(node)?,
            LogicalPlan::Union(union) => self.union(union)?,
            LogicalPlan::Join(node) => match lookup::join(self, plan, node)? {
                Some(built) => built,
                None => join::join(self, plan, node)?,
            },
            LogicalPlan::Aggregate(node) => aggregate::aggregate(self, node)?,
            LogicalPlan::Window(node) => over::window(self, node)?,
            LogicalPlan::EmptyRelation(node) => {
                let options =
                    RecordBatchOptions::new().with_row_count(Some(usize::from(node.produce_one_row)));
                let schema = Arc::clone(node.schema.inner());
                let columns = schema.fields().iter().map(|f| new_empty_array(f.data_type())).collect();
                self.constant(RecordBatch::try_new_with_options(schema, columns, &options)?)
            }
            LogicalPlan::Values(node) => self.values(node)?,
            other => return Err(unsupported(other)),
        };
        built.schema = Arc::clone(plan.schema().inner());
        Ok(built)
    }

    /// The nodes of a plan whose rows are kept, or counted, or put beside others.
    ///
    /// # Errors
    /// What a job cannot do.
    pub fn input(&mut self, plan: &LogicalPlan) -> Result<Built, QueryError> {
        let mut built = self.build(plan)?;
        self.bound(&mut built);
        Ok(built)
    }

    /// Adds a node.
    pub fn add(&mut self, operator: Operator, inputs: Vec<usize>) -> usize {
        self.nodes.push(Node { operator, inputs });
        self.nodes.len() - 1
    }

    /// Adds a step behind a node.
    pub fn step(&mut self, built: &mut Built, step: Step) {
        match &mut self.nodes[built.node].operator {
            Operator::Read(read) => self.reads[*read].steps.push(step),
            Operator::Steps(steps) => steps.push(step),
            _ => built.node = self.add(Operator::Steps(vec![step]), vec![built.node]),
        }
    }

    fn constant(&mut self, rows: RecordBatch) -> Built {
        let schema = rows.schema();
        let origins = vec![Origin::Other; schema.fields().len()];
        let node = self.add(Operator::Values(rows), Vec::new());
        Built { appends: true, guarded: true, ..Built::new(node, schema, origins) }
    }

    fn values(&mut self, node: &logical::Values) -> Result<Built, QueryError> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let value = |expression: &Expr, field: &FieldRef| -> Result<ScalarValue, QueryError> {
            let value = physical(expression, &DFSchema::empty())?.evaluate(&one)?.into_array(1)?;
            Ok(ScalarValue::try_from_array(&value, 0)?.cast_to(field.data_type())?)
        };
        let schema = loose(node.schema.inner());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            let values =
                node.values.iter().map(|row| value(&row[i], field)).collect::<Result<Vec<_>, _>>()?;
            columns.push(ScalarValue::iter_to_array(values)?);
        }
        Ok(self.constant(RecordBatch::try_new(schema, columns)?))
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Built, QueryError> {
        let provider = source_as_provider(&scan.source)?;
        let mut processing = None;
        let mut changes = None;
        let (name, is_stream, time, key) = if let Some(stream) = provider.downcast_ref::<StreamProvider>() {
            let stream = stream.stream();
            processing = stream.processing_time.clone();
            changes = stream.has_changes().then(|| stream.key.clone());
            (stream.name.clone(), true, stream.watermark.as_ref().map(|w| w.column.clone()), None)
        } else if let Some(view) = provider.downcast_ref::<AppendProvider>() {
            (view.name().to_owned(), false, view.time_column().map(str::to_owned), None)
        } else if let Some(table) = provider.downcast_ref::<KeyedProvider>() {
            if !table.is_view() {
                return Err(QueryError::unsupported(format!(
                    "\"{}\" is a table: a continuous query starts from a stream or a view, and JOINs or LEFT JOINs \
                     tables to it by their primary key",
                    table.name()
                )));
            }
            (table.name().to_owned(), false, None, Some(table.key().to_vec()))
        } else {
            let message = format!("\"{}\" cannot be read by a continuous query", scan.table_name);
            return Err(QueryError::unsupported(message));
        };
        let schema = provider.schema();
        let origin = |name: &str| match Some(name) {
            of if of == time.as_deref() => Origin::Time,
            of if of == processing.as_deref() => Origin::Processing,
            _ => Origin::Other,
        };
        let origins = schema.fields().iter().map(|f| origin(f.name())).collect();
        self.reads.push(Read { name, is_stream, steps: Vec::new() });
        let node = self.add(Operator::Read(self.reads.len() - 1), Vec::new());
        let mut built = Built::new(node, Arc::clone(&schema), origins);
        built.appends = key.is_none() && changes.is_none();
        let key = match changes {
            Some(key) => {
                let plan = ChangelogPlan { key: key.clone(), row: Arc::clone(&schema) };
                built.node = self.add(Operator::Changelog(plan), vec![built.node]);
                (!key.is_empty()).then_some(key)
            }
            None => key,
        };
        built.identity = key.filter(|key| key.iter().all(|k| *k < schema.fields().len())).map(Identity::at);
        if let Some(projection) = &scan.projection {
            let column = |i: &usize| -> Arc<dyn PhysicalExpr> {
                Arc::new(PhysicalColumn::new(schema.field(*i).name(), *i))
            };
            let kept: Vec<Option<usize>> = projection.iter().map(|i| Some(*i)).collect();
            let columns = projection.iter().map(column).collect();
            let origins = projection.iter().map(|i| built.origins[*i]).collect();
            self.project(&mut built, &kept, columns, scan.projected_schema.inner());
            built.origins = origins;
        }
        Ok(built)
    }

    fn projection(&mut self, projection: &Projection) -> Result<Built, QueryError> {
        let mut built = self.build(&projection.input)?;
        let input = projection.input.schema();
        let mut columns = Vec::with_capacity(projection.expr.len());
        let mut kept = Vec::with_capacity(projection.expr.len());
        for expression in &projection.expr {
            check_steady(&built, expression)?;
            columns.push(physical(expression, input)?);
            kept.push(column_of(expression, input));
        }
        let origins = projection.expr.iter().map(|e| origin_of(e, input, &built.origins)).collect();
        self.project(&mut built, &kept, columns, projection.schema.inner());
        built.origins = origins;
        Ok(built)
    }

    /// Computes columns; `kept` tells which of them are columns of the input. The
    /// identity's columns that are not among them are carried along.
    fn project(
        &mut self,
        built: &mut Built,
        kept: &[Option<usize>],
        mut columns: Vec<Arc<dyn PhysicalExpr>>,
        schema: &SchemaRef,
    ) {
        let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
        let mut carried = Vec::new();
        if let Some(identity) = &mut built.identity {
            let width = built.schema.fields().len();
            for place in &mut identity.now {
                *place = match kept.iter().position(|k| *k == Some(*place)) {
                    Some(shown) => shown,
                    None => {
                        let (field, origin) = match place.checked_sub(width) {
                            Some(behind) => built.carried[behind].clone(),
                            None => (Arc::clone(&built.schema.fields()[*place]), built.origins[*place]),
                        };
                        columns.push(Arc::new(PhysicalColumn::new(field.name(), *place)));
                        fields.push(Arc::clone(&field));
                        carried.push((field, origin));
                        columns.len() - 1
                    }
                };
            }
        }
        built.carried = carried;
        self.step(built, Step::Project { columns, schema: Arc::new(Schema::new(fields)) });
    }

    fn filter(&mut self, filter: &Filter) -> Result<Built, QueryError> {
        let mut built = self.build(&filter.input)?;
        check_steady(&built, &filter.predicate)?;
        check_lasting(&filter.predicate)?;
        let schema = filter.input.schema();
        for (node, limit) in rank_limits(&filter.predicate, schema, &built.origins) {
            if let Operator::Over(over) = &mut self.nodes[node].operator
                && over.limit_to(limit)
                && let Some(identity) = &mut built.identity
            {
                // With one row a partition, the partition is the key.
                identity.made.pop();
                identity.now.pop();
            }
        }
        self.step(&mut built, Step::Filter(physical(&filter.predicate, schema)?));
        Ok(built)
    }

    fn unnest(&mut self, node: &logical::Unnest) -> Result<Built, QueryError> {
        let mut built = self.build(&node.input)?;
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
        let origin = |from: &usize| match built.origins[*from] {
            Origin::Edges(edge) if from == list => Origin::Edge(edge),
            _ if from == list => Origin::Other,
            other => other,
        };
        built.origins = node.dependency_indices.iter().map(origin).collect();
        // One row becomes several: what told rows apart does not any more.
        built.identity = None;
        built.carried = Vec::new();
        self.step(
            &mut built,
            Step::Unnest(Unnest {
                list: *list,
                from: node.dependency_indices.clone(),
                nulls: node.options.null_handling,
                schema: Arc::clone(node.schema.inner()),
            }),
        );
        Ok(built)
    }

    fn union(&mut self, union: &Union) -> Result<Built, QueryError> {
        let inputs = union.inputs.iter().map(|input| self.input(input)).collect::<Result<Vec<_>, _>>()?;
        inputs.iter().try_for_each(|input| input.check_input("UNION"))?;
        let schema = Arc::clone(union.schema.inner());
        let origin = |i: usize| {
            let first = inputs[0].origins[i];
            let same = inputs.iter().all(|input| input.origins[i] == first);
            if same && !matches!(first, Origin::Rank(_)) { first } else { Origin::Other }
        };
        let origins = (0..schema.fields().len()).map(origin).collect();
        let node = self.add(Operator::Union(Arc::clone(&schema)), inputs.iter().map(|i| i.node).collect());
        let mut built = Built::new(node, schema, origins);
        built.appends = inputs.iter().all(|input| input.appends);
        built.guarded = inputs.iter().all(|input| input.guarded);
        built.whole = inputs.iter().all(|input| input.whole);
        Ok(built)
    }

    /// With EMIT ON WINDOW CLOSE, lets rows wait until the window of this edge is
    /// closed, unless they have waited already.
    pub fn hold(&mut self, built: &mut Built, edge: Edge) {
        let column = built.origins.iter().position(|origin| *origin == Origin::Edge(edge));
        let (true, false, Some(column)) = (self.on_close, built.whole, column) else { return };
        let plan = HoldPlan {
            column,
            edge,
            guarded: built.guarded,
            appends: built.appends,
            row: loose(&built.schema),
        };
        built.node = self.add(Operator::Hold(plan), vec![built.node]);
        built.identity = None;
        built.carried = Vec::new();
        (built.appends, built.guarded, built.whole) = (true, true, true);
        self.waits = true;
    }
}

/// Fails if an expression may give another value when a row is taken back.
fn check_steady(built: &Built, expression: &Expr) -> Result<(), QueryError> {
    if built.appends || !expression.is_volatile() {
        return Ok(());
    }
    Err(QueryError::unsupported(format!(
        "{expression} gives another value each time, and these rows may be taken back: compute it before rows are \
         grouped or joined"
    )))
}

/// The column that an expression is, whatever it is called.
fn column_of(expression: &Expr, schema: &DFSchema) -> Option<usize> {
    match expression {
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// The OVER nodes whose ranks a condition bounds, with the highest rank that it
/// lets through.
fn rank_limits(predicate: &Expr, schema: &DFSchema, origins: &[Origin]) -> Vec<(usize, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = predicate else { return Vec::new() };
    if *op == SqlOperator::And {
        let mut found = rank_limits(left, schema, origins);
        found.extend(rank_limits(right, schema, origins));
        return found;
    }
    let rank = |e: &Expr| match column_of(without_casts(e), schema).map(|i| origins[i]) {
        Some(Origin::Rank(node)) => Some(node),
        _ => None,
    };
    let number = |e: &Expr| match without_casts(e) {
        Expr::Literal(value, _) => match value.cast_to(&DataType::UInt64) {
            Ok(ScalarValue::UInt64(Some(number))) => Some(number),
            _ => None,
        },
        _ => None,
    };
    let limit = match (rank(left), number(right), rank(right), number(left)) {
        (Some(node), Some(number), ..) => match op {
            SqlOperator::Lt => Some((node, number.saturating_sub(1))),
            SqlOperator::LtEq | SqlOperator::Eq => Some((node, number)),
            _ => None,
        },
        (_, _, Some(node), Some(number)) => match op {
            SqlOperator::Gt => Some((node, number.saturating_sub(1))),
            SqlOperator::GtEq | SqlOperator::Eq => Some((node, number)),
            _ => None,
        },
        _ => None,
    };
    limit.into_iter().collect()
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
        LogicalPlan::Limit(_) => {
            "LIMIT has no meaning in a view that never ends; limit when you read it, or keep the first N with \
             ROW_NUMBER() OVER (ORDER BY …) <= N"
        }
        LogicalPlan::Subquery(_) => {
            "a subquery that depends on the outer row is not supported here; write a JOIN, and for the first N of each \
             row's, ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) <= N"
        }
        LogicalPlan::RecursiveQuery(_) => "a recursive query is not supported in a continuous query",
        other => {
            return QueryError::unsupported(format!(
                "{} is not supported in a continuous query",
                other.display()
            ));
        }
    };
    QueryError::unsupported(text)
}
