//! Joins of a stream with a real-time table: a lookup by primary key. A view that
//! is kept by key is looked up the same way, as of the epoch before, where the
//! query says so by `FOR SYSTEM_TIME AS OF`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::JoinType;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::cast;
use pluvio_query::QueryError;
use pluvio_query::tables::KeyedProvider;

use super::builder::{Builder, Built};
use super::expressions::{physical, without_casts};
use super::origin::Origin;
use super::plan::Step;

/// Which rows without a match stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupJoin {
    /// None.
    Inner,
    /// All, with NULLs.
    Left,
    /// Only those with a match stay, without the table's columns.
    Semi,
    /// Only those without a match stay, without the table's columns.
    Anti,
}

/// A lookup of table columns by primary key.
#[derive(Debug)]
pub struct Lookup {
    /// The table.
    pub table: String,
    /// Its primary key, computed from the row.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Which of its columns are wanted.
    pub columns: Vec<usize>,
    /// Whether rows without a match stay.
    pub join: LookupJoin,
    /// Conditions on the table's row alone.
    pub filters: Vec<TableFilter>,
    /// A further condition on the joined row.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// Whether the table's columns come first in the output.
    pub table_first: bool,
    /// How many of the stream's columns stand before those that are carried.
    pub stream_width: usize,
    /// The joined row.
    pub schema: SchemaRef,
}

/// A condition on some of a table's columns.
#[derive(Debug)]
pub struct TableFilter {
    /// Which columns.
    pub columns: Vec<usize>,
    /// Their names and types.
    pub schema: SchemaRef,
    /// The condition.
    pub predicate: Arc<dyn PhysicalExpr>,
}

/// The table side of a join: a keyed table, its columns as the plan sees them.
struct Side {
    table: String,
    key: Vec<usize>,
    types: Vec<DataType>,
    columns: Vec<usize>,
    filters: Vec<TableFilter>,
}

impl Side {
    /// The side, if the plan is just a table (renamed, or with fewer columns).
    fn of(plan: &LogicalPlan) -> Result<Option<Self>, QueryError> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input),
            LogicalPlan::Projection(projection) => {
                let Some(mut side) = Self::of(&projection.input)? else { return Ok(None) };
                let mut columns = Vec::new();
                for expression in &projection.expr {
                    let Expr::Column(column) = expression.clone().unalias() else { return Ok(None) };
                    columns.push(side.columns[projection.input.schema().index_of_column(&column)?]);
                }
                side.columns = columns;
                Ok(Some(side))
            }
            LogicalPlan::Filter(filter) => {
                let Some(mut side) = Self::of(&filter.input)? else { return Ok(None) };
                let predicate = physical(&filter.predicate, filter.input.schema())?;
                let schema = Arc::clone(filter.input.schema().inner());
                side.filters.push(TableFilter { columns: side.columns.clone(), schema, predicate });
                Ok(Some(side))
            }
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                let Some(keyed) = provider.downcast_ref::<KeyedProvider>() else { return Ok(None) };
                if !keyed.is_lookup() {
                    return Ok(None);
                }
                let schema = keyed.schema();
                if keyed.key().iter().any(|place| *place >= schema.fields().len()) {
                    return Err(QueryError::unsupported(format!(
                        "the view \"{}\" cannot be looked up: its key is not among its columns. Name all columns of \
                         its GROUP BY or PARTITION BY in its SELECT list, or JOIN it without FOR SYSTEM_TIME",
                        keyed.name()
                    )));
                }
                let columns = scan.projection.clone().unwrap_or_else(|| (0..schema.fields().len()).collect());
                let types = schema.fields().iter().map(|f| f.data_type().clone()).collect();
                let (table, key) = (keyed.name().to_owned(), keyed.key().to_vec());
                Ok(Some(Self { table, key, types, columns, filters: Vec::new() }))
            }
            _ => Ok(None),
        }
    }
}

/// Adds the join to the nodes of its stream side; `None` if neither side is a
/// table.
pub fn join(builder: &mut Builder, plan: &LogicalPlan, join: &Join) -> Result<Option<Built>, QueryError> {
    let (right, left) = (Side::of(&join.right)?, Side::of(&join.left)?);
    let (side, stream, table_plan, table_first, on) = match (right, left) {
        (Some(side), _) => {
            let on: Vec<_> = join.on.clone();
            (side, &join.left, &join.right, false, on)
        }
        (None, Some(side)) => {
            let on = join.on.iter().map(|(l, r)| (r.clone(), l.clone())).collect();
            (side, &join.right, &join.left, true, on)
        }
        (None, None) => return Ok(None),
    };
    let kind = match (join.join_type, table_first) {
        (JoinType::Inner, _) => LookupJoin::Inner,
        (JoinType::Left, false) | (JoinType::Right, true) => LookupJoin::Left,
        (JoinType::LeftSemi, false) | (JoinType::RightSemi, true) => LookupJoin::Semi,
        (JoinType::LeftAnti, false) | (JoinType::RightAnti, true) if !join.null_aware => LookupJoin::Anti,
        (other, _) => {
            return Err(QueryError::unsupported(format!(
                "a {other} join of a stream with the table \"{}\" is not supported; use JOIN, LEFT JOIN, EXISTS or \
                 NOT EXISTS from the stream",
                side.table
            )));
        }
    };
    let mut built = builder.build(stream)?;
    built.check_input("a join")?;
    if !built.appends && built.identity.is_none() {
        return Err(QueryError::unsupported(format!(
            "the table \"{}\" cannot be joined here: these rows may be taken back and have no key, and the table may \
             have changed by then. Join the table before the rows are joined or grouped",
            side.table
        )));
    }
    built.by_key_only = !built.appends;
    let keys = keys(&side, &on, stream, table_plan)?;
    let joined = join.left.schema().join(join.right.schema())?;
    let condition = join.filter.as_ref().map(|f| physical(f, &joined)).transpose()?;
    let (stream_width, width) = (stream.schema().fields().len(), joined.fields().len());
    let mut fields: Vec<_> = joined.as_arrow().fields().iter().map(nullable).collect();
    fields.extend(built.carried.iter().map(|(field, _)| nullable(field)));
    builder.lookups.push(side.table.clone());
    let adds = matches!(kind, LookupJoin::Inner | LookupJoin::Left);
    if adds {
        let tables = vec![Origin::Other; side.columns.len()];
        let at = if table_first { 0 } else { built.origins.len() };
        built.origins.splice(at..at, tables).for_each(drop);
        let shift = |place: &mut usize| match *place < stream_width {
            true if table_first => *place += side.columns.len(),
            true => {}
            false => *place += width - stream_width,
        };
        built.identity.iter_mut().flat_map(|identity| &mut identity.now).for_each(shift);
    }
    let lookup = Lookup {
        table: side.table,
        keys,
        columns: side.columns,
        join: kind,
        filters: side.filters,
        condition,
        table_first,
        stream_width,
        schema: Arc::new(Schema::new(fields)),
    };
    builder.step(&mut built, Step::Lookup(lookup));
    debug_assert!(!adds || plan.schema().fields().len() == width);
    Ok(Some(built))
}

fn nullable(field: &FieldRef) -> Field {
    field.as_ref().clone().with_nullable(true)
}

/// For each key column, the stream's expression that it equals.
fn keys(
    side: &Side,
    on: &[(Expr, Expr)],
    stream: &LogicalPlan,
    table: &LogicalPlan,
) -> Result<Vec<Arc<dyn PhysicalExpr>>, QueryError> {
    let mut keys = Vec::with_capacity(side.key.len());
    let mut used = 0;
    for key in &side.key {
        let equals = on.iter().find(|(_, t)| match without_casts(t) {
            Expr::Column(c) => {
                table.schema().maybe_index_of_column(c).is_some_and(|i| side.columns[i] == *key)
            }
            _ => false,
        });
        let Some((expression, _)) = equals else { return Err(not_whole_key(side)) };
        used += 1;
        let expression = physical(expression, stream.schema())?;
        let target = side.types[*key].clone();
        keys.push(cast(expression, stream.schema().as_arrow(), target)?);
    }
    match used == on.len() {
        true => Ok(keys),
        false => Err(not_whole_key(side)),
    }
}

fn not_whole_key(side: &Side) -> QueryError {
    QueryError::unsupported(format!(
        "the table \"{}\" is joined by its whole primary key and nothing else: ON {}.key = stream.column for every \
         key column; further conditions go into WHERE",
        side.table, side.table
    ))
}
