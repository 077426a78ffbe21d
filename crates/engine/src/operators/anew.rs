//! GROUP BY over rows that may be taken back, with functions that cannot take
//! back: the rows that matter are kept, and the groups that an epoch touched are
//! computed anew.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{SortColumn, lexsort_to_indices, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_keytables::{Commit, KeyTable, Store, fingerprints};
use pluvio_query::QueryError;

use super::aggregate::{Groups, Touched};
use super::arrangement::Arrangement;
use super::delta::{Delta, batch_of, gather, sum};
use super::join::evaluate;
use super::keys::{number, numbered};
use super::states::{accumulators, constant_group};
use crate::compile::{AggregatePlan, Window};

/// The kept rows: for each function its arguments, its filter and what it is
/// ordered by.
pub struct Anew {
    rows: Arrangement,
    /// Without groups: one row once the first result was given out.
    begun: Option<Arc<KeyTable>>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
    row: SchemaRef,
    /// Types of the group columns.
    key_types: Vec<DataType>,
}

impl Anew {
    /// Opens what is kept under `name`.
    pub fn open(plan: &AggregatePlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let mut columns: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut fields = Vec::new();
        for function in &plan.functions {
            let order = function.order_by.iter().map(|sort| Arc::clone(&sort.expr));
            columns.extend(function.aggregate.expressions());
            columns.extend(function.filter.iter().cloned());
            columns.extend(order);
            fields.extend(function.kept_types());
        }
        let fields = fields.into_iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, true));
        let row: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let key_types: Vec<_> = plan.group_schema.fields().iter().map(|f| f.data_type().clone()).collect();
        let rows = match plan.whole {
            true => Arrangement::nothing(&row),
            false => Arrangement::open(store, &format!("{name}/rows"), &key_types, &row, false)?,
        };
        let begun = match plan.constant {
            true => {
                Some(store.create_table(&format!("{name}/begun"), Arc::clone(&plan.group_schema), &[0])?)
            }
            false => None,
        };
        Ok(Self { rows, begun, columns, row, key_types })
    }

    /// Whether nothing was given out yet.
    pub fn is_empty(&self) -> bool {
        self.begun.as_ref().map_or_else(|| self.rows.is_empty(), |begun| begun.is_empty())
    }

    /// Adds rows and takes rows back; the groups touched, before and after.
    pub fn touch(
        &self,
        plan: &AggregatePlan,
        commit: &mut Commit,
        epoch: u64,
        deltas: &[Delta],
    ) -> Result<Option<Touched>, QueryError> {
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas.iter().filter(|delta| delta.len() > 0) {
            let keys = evaluate(&plan.groups, &delta.rows)?;
            let columns = keys.into_iter().chain(evaluate(&self.columns, &delta.rows)?).collect();
            kept.push(delta.with_rows(batch_of(&self.with_keys(plan), columns, delta.len())?));
        }
        let groups = plan.groups.len();
        let delta = gather(kept)?;
        let (touched, places) = match &delta {
            Some(delta) => number(&self.key_types, &delta.rows.columns()[..groups])?,
            None => (constant_group(plan)?, Vec::new()),
        };
        let count = touched[0].len();
        let found = self.rows.rows(&touched)?;
        let old = numbered(&found.rows, found.probes.values())?;
        let mut all = vec![old.clone()];
        if let Some(delta) = delta {
            let rows = batch_of(&self.row, delta.rows.columns()[groups..].to_vec(), delta.len())?;
            let rows = delta.with_rows(rows);
            self.rows.apply(commit, epoch, &delta.rows.columns()[..groups], &rows)?;
            all.push(numbered(&rows, &places)?);
        }
        let new = gather(all)?.map(sum).transpose()?;
        let mut before = self.compute(plan, Some(&old), count)?;
        if let Some(begun) = self.begun.as_ref().filter(|begun| begun.is_empty()) {
            before.0 = BooleanArray::from(vec![false; count]);
            commit.upsert(begun, batch_of(&plan.group_schema, touched.clone(), count)?);
        }
        let after = self.compute(plan, new.as_ref(), count)?;
        Ok(Some(Touched { keys: touched, before, after }))
    }

    /// Removes the rows of closed windows; gives their groups and results if they
    /// are asked for.
    pub fn close(
        &self,
        plan: &AggregatePlan,
        commit: &mut Commit,
        window: Window,
        bound_us: i64,
        results_too: bool,
    ) -> Result<Option<Groups>, QueryError> {
        let closed = |edges: &ArrayRef| super::closed(edges, window.edge, bound_us);
        let Some((at, rows)) = self.rows.take_out(commit, window.place, closed)? else { return Ok(None) };
        if !results_too {
            return Ok(None);
        }
        let (touched, places) = number(&self.key_types, &at[..plan.groups.len()])?;
        let (_, results) = self.compute(plan, Some(&numbered(&rows, &places)?), touched[0].len())?;
        Ok(Some((touched, results)))
    }

    fn with_keys(&self, plan: &AggregatePlan) -> SchemaRef {
        let fields = plan.group_schema.fields().iter().chain(self.row.fields()).cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Which groups have rows, and all functions over them.
    fn compute(
        &self,
        plan: &AggregatePlan,
        delta: Option<&Delta>,
        count: usize,
    ) -> Result<(BooleanArray, Vec<ArrayRef>), QueryError> {
        let width = self.row.fields().len();
        let mut there = vec![plan.constant; count];
        let rows = match delta {
            Some(delta) => delta.copied()?,
            None => {
                let empty = Delta::added(RecordBatch::new_empty(Arc::clone(&self.row)));
                numbered(&empty, &[])?.rows
            }
        };
        let place = datafusion::common::cast::as_uint32_array(rows.column(width))?;
        place.values().iter().for_each(|place| there[*place as usize] = true);
        let names: ArrayRef = Arc::new(fingerprints(&rows.columns()[..width], rows.num_rows())?);
        let mut next = 0;
        let mut results = Vec::with_capacity(plan.functions.len());
        for (function, mut accumulator) in plan.functions.iter().zip(accumulators(plan)?) {
            let arguments = function.aggregate.expressions().len();
            let mut order: Vec<SortColumn> = Vec::new();
            let first_order = next + arguments + usize::from(function.filter.is_some());
            for (i, sort) in function.order_by.iter().enumerate() {
                let values = Arc::clone(rows.column(first_order + i));
                order.push(SortColumn { values, options: Some(sort.options) });
            }
            // Equals come in one order, whatever order they came in.
            order.push(SortColumn { values: Arc::clone(&names), options: None });
            let sorted = lexsort_to_indices(&order, None)?;
            let column = |i: usize| take(rows.column(i), &sorted, None);
            let values = (next..next + arguments).map(column).collect::<Result<Vec<_>, _>>()?;
            let mask = function.filter.as_ref().map(|_| column(next + arguments)).transpose()?;
            let mask = mask.as_ref().map(|mask| as_boolean_array(mask)).transpose()?;
            // With a filter, a group without a row does not count as one that had some.
            let no_row = BooleanArray::from(Vec::<bool>::new());
            let mask = if sorted.is_empty() { Some(&no_row) } else { mask };
            let places: Vec<usize> =
                sorted.values().iter().map(|row| place.value(*row as usize) as usize).collect();
            accumulator.update_batch(&values, &places, mask, count)?;
            results.push(accumulator.evaluate(EmitTo::All)?);
            next = first_order + function.order_by.len();
        }
        Ok((there.into(), results))
    }
}
