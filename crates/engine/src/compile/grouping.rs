//! GROUPING SETS, ROLLUP and CUBE: each row once for every set, with NULLs for the
//! columns that the set leaves out, and then one GROUP BY, whose key has the set's
//! number. The empty set is an aggregate of its own: its row is there before any
//! row comes.
//!
//! The number is the one that DataFusion gives: a bit for each column left out,
//! the last column's lowest, and above these how often the same set stood before.
//! `GROUPING(…)` is computed from it.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::powerset;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlanBuilder, cast, lit, when};
use datafusion::scalar::ScalarValue;
use pluvio_query::QueryError;

use super::builder::{Builder, Built, Identity};

/// The list of the sets' numbers, and each of them.
const SET: &str = "$set";

/// The sets of a GROUP BY.
struct Sets {
    /// All columns that are grouped by, each once.
    columns: Vec<Expr>,
    /// For each set its number, and which columns it has.
    sets: Vec<(u64, Vec<bool>)>,
}

/// The nodes of an aggregate by several sets of columns; `None` if it has just one.
pub fn grouping_sets(builder: &mut Builder, node: &Aggregate) -> Result<Option<Built>, QueryError> {
    let [Expr::GroupingSet(sets)] = node.group_expr.as_slice() else { return Ok(None) };
    let sets = Sets::of(sets)?;
    let is_empty = |set: &&(u64, Vec<bool>)| !set.1.contains(&true);
    let mut branches = Vec::new();
    let numbered: Vec<_> = sets.sets.iter().filter(|set| !is_empty(set)).collect();
    if !numbered.is_empty() {
        branches.push(sets.of_columns(node, &numbered)?);
    }
    for (number, _) in sets.sets.iter().filter(is_empty) {
        branches.push(sets.of_all(node, *number)?);
    }
    let mut branches = branches.into_iter();
    let Some(first) = branches.next() else { return Ok(None) };
    let all = branches.try_fold(first, |all, branch| all.union(branch.build()?))?.build()?;
    let mut built = builder.build(&all)?;
    // Together, the columns and the set's number are a key, which UNION cannot know.
    let key = (0..=sets.columns.len()).collect();
    if built.identity.is_none() && !built.appends {
        built.identity = Some(Identity::at(key));
    }
    Ok(Some(built))
}

impl Sets {
    fn of(sets: &GroupingSet) -> Result<Self, QueryError> {
        let columns: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
        let sets: Vec<Vec<Expr>> = match sets {
            GroupingSet::GroupingSets(sets) => sets.clone(),
            GroupingSet::Rollup(columns) => {
                (0..=columns.len()).rev().map(|length| columns[..length].to_vec()).collect()
            }
            GroupingSet::Cube(columns) => {
                powerset(columns)?.into_iter().map(|set| set.into_iter().cloned().collect()).collect()
            }
        };
        let mut numbered: Vec<(u64, Vec<bool>)> = Vec::with_capacity(sets.len());
        let width = u32::try_from(columns.len()).unwrap_or(u32::MAX);
        for set in sets {
            let has: Vec<bool> = columns.iter().map(|column| set.contains(column)).collect();
            let left_out = has.iter().fold(0_u64, |bits, has| bits << 1 | u64::from(!has));
            let before = numbered.iter().filter(|(_, other)| *other == has).count() as u64;
            let number = before.checked_shl(width).filter(|high| high >> width == before);
            let Some(number) = number.filter(|_| width < u64::BITS) else {
                return Err(QueryError::unsupported("GROUPING SETS of so many columns"));
            };
            numbered.push((number | left_out, has));
        }
        Ok(Self { columns, sets: numbered })
    }

    /// The aggregate of all sets that have columns.
    fn of_columns(
        &self,
        node: &Aggregate,
        sets: &[&(u64, Vec<bool>)],
    ) -> Result<LogicalPlanBuilder, QueryError> {
        let input = node.input.schema();
        let data_type = node.schema.field(self.columns.len()).data_type().clone();
        let number = |number: &u64| ScalarValue::UInt64(Some(*number)).cast_to(&data_type);
        let numbers = sets.iter().map(|(of, _)| number(of)).collect::<Result<Vec<_>, _>>()?;
        let list = ScalarValue::List(ScalarValue::new_list_nullable(&numbers, &data_type));
        let names = (0..self.columns.len()).map(|i| format!("$group{i}"));
        let mut columns: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
        columns
            .extend(self.columns.iter().zip(names.clone()).map(|(column, name)| column.clone().alias(name)));
        columns.push(Expr::Literal(list, None).alias(SET));
        let rows = LogicalPlanBuilder::from(node.input.as_ref().clone());
        let rows = rows.project(columns)?.unnest_column(Column::from_name(SET))?;
        let mut columns: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
        for (i, name) in names.clone().enumerate() {
            let without = sets.iter().zip(&numbers).filter(|((_, has), _)| !has[i]);
            let without: Vec<Expr> = without.map(|(_, number)| lit(number.clone())).collect();
            let column = named(&name);
            columns.push(match without.is_empty() {
                true => column,
                false => when(named(SET).in_list(without, true), column).end()?.alias(name),
            });
        }
        columns.push(named(SET));
        let groups: Vec<Expr> = names.map(|name| named(&name)).chain([named(SET)]).collect();
        let grouped = rows.project(columns)?.aggregate(groups.clone(), node.aggr_expr.clone())?;
        renamed(node, grouped, groups)
    }

    /// The aggregate of all rows.
    fn of_all(&self, node: &Aggregate, number: u64) -> Result<LogicalPlanBuilder, QueryError> {
        let rows = LogicalPlanBuilder::from(node.input.as_ref().clone());
        let mut functions = node.aggr_expr.clone();
        if functions.is_empty() {
            functions.push(count(lit(1_i64)));
        }
        let all = rows.aggregate(Vec::<Expr>::new(), functions)?;
        let mut groups = vec![lit(ScalarValue::Null); self.columns.len()];
        groups.push(lit(number));
        renamed(node, all, groups)
    }
}

/// The columns of the aggregate that the query names: groups, the set's number,
/// functions.
fn renamed(
    node: &Aggregate,
    rows: LogicalPlanBuilder,
    groups: Vec<Expr>,
) -> Result<LogicalPlanBuilder, QueryError> {
    let schema = Arc::clone(rows.schema());
    let before = schema.fields().len().saturating_sub(node.aggr_expr.len());
    let results: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let results = results.into_iter().skip(before);
    let columns = groups.into_iter().chain(results).zip(node.schema.iter());
    let columns = columns.map(|(column, (relation, field))| {
        let typed = match column.get_type(&schema)? == *field.data_type() {
            true => column,
            false => cast(column, field.data_type().clone()),
        };
        Ok(typed.alias_qualified(relation.cloned(), field.name()))
    });
    Ok(rows.project(columns.collect::<Result<Vec<_>, QueryError>>()?)?)
}

fn named(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
