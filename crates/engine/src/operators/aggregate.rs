//! GROUP BY with durable state.
//!
//! The state is a keyed table of its own: the group columns are its key, the
//! functions' intermediate states its values. An epoch interns its rows' groups,
//! feeds the rows to fresh accumulators, merges the stored states of the groups
//! it touched, and gives back their new states and results: each group is read
//! and written once an epoch however many events hit it, and every aggregate
//! function that can merge is supported without code of ours.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{cast, filter, filter_record_batch};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::cast::{as_boolean_array, as_timestamp_microsecond_array};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use pluvio_keytables::KeyTable;
use pluvio_query::QueryError;

use crate::compile::{AggregatePlan, Function, Window};

/// What an epoch did to the groups.
pub struct Touched {
    /// Group columns and new states, for the state table.
    pub states: RecordBatch,
    /// Group columns and results, in the plan's schema.
    pub results: RecordBatch,
}

/// An aggregate and its stored state.
pub struct AggregateState {
    plan: AggregatePlan,
    table: Arc<KeyTable>,
    state_schema: SchemaRef,
    result_schema: SchemaRef,
}

impl AggregateState {
    /// The aggregate over its state table.
    pub fn new(plan: AggregatePlan, table: Arc<KeyTable>) -> Self {
        let fields = plan.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let result_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let state_schema = plan.state_schema();
        Self { plan, table, state_schema, result_schema }
    }

    /// The window among the groups.
    pub fn window(&self) -> Option<Window> {
        self.plan.window
    }

    /// The state table.
    pub fn table(&self) -> &Arc<KeyTable> {
        &self.table
    }

    /// Splits off the rows whose window had closed by `watermark_us`.
    pub fn split_late(
        &self,
        batch: RecordBatch,
        watermark_us: Option<i64>,
    ) -> Result<(RecordBatch, Option<RecordBatch>), QueryError> {
        let (Some(window), Some(watermark_us)) = (self.plan.window, watermark_us) else {
            return Ok((batch, None));
        };
        if !window.edge.on_event_time {
            return Ok((batch, None));
        }
        let edges = self.plan.groups[window.group].evaluate(&batch)?.into_array(batch.num_rows())?;
        let late = closed(&edges, window, watermark_us)?;
        if late.true_count() == 0 {
            return Ok((batch, None));
        }
        let in_time = datafusion::arrow::compute::not(&late)?;
        Ok((filter_record_batch(&batch, &in_time)?, Some(filter_record_batch(&batch, &late)?)))
    }

    /// Adds the rows to their groups.
    pub fn add(&self, batches: &[RecordBatch]) -> Result<Option<Touched>, QueryError> {
        let ordering = GroupOrdering::None;
        let mut groups = new_group_values(Arc::clone(self.plan.group_schema()), &ordering)?;
        let mut accumulators = self.accumulators()?;
        let mut places = Vec::new();
        for batch in batches {
            let rows = batch.num_rows();
            let column = |e: &Arc<dyn PhysicalExpr>| e.evaluate(batch)?.into_array(rows);
            let keys = self.plan.groups.iter().map(column).collect::<datafusion::error::Result<Vec<_>>>()?;
            groups.intern(&keys, &mut places)?;
            for (function, accumulator) in self.plan.functions.iter().zip(&mut accumulators) {
                let arguments = function.aggregate.expressions();
                let arguments =
                    arguments.iter().map(column).collect::<datafusion::error::Result<Vec<_>>>()?;
                let mask = function.filter.as_ref().map(column).transpose()?;
                let mask = mask.as_ref().map(|m| as_boolean_array(m)).transpose()?;
                accumulator.update_batch(&arguments, &places, mask, groups.len())?;
            }
        }
        if groups.is_empty() {
            return Ok(None);
        }
        let keys = groups.emit(EmitTo::All)?;
        self.merge_stored(&keys, &mut accumulators)?;
        let mut states = Vec::with_capacity(accumulators.len());
        for accumulator in &mut accumulators {
            states.push(accumulator.state(EmitTo::All)?);
        }
        self.touched(&keys, states).map(Some)
    }

    /// The result over no rows at all, which SQL wants where nothing is grouped
    /// by; `None` if there is a GROUP BY, or a stored state already.
    pub fn over_nothing(&self) -> Result<Option<Touched>, QueryError> {
        if !self.plan.is_constant() || !self.table.is_empty() {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let key = |e: &Arc<dyn PhysicalExpr>| e.evaluate(&row)?.into_array(1);
        let keys = self.plan.groups.iter().map(key).collect::<datafusion::error::Result<Vec<_>>>()?;
        let state = |f: &Function| -> datafusion::error::Result<Vec<ArrayRef>> {
            let state = f.aggregate.create_accumulator()?.state()?;
            state.iter().map(datafusion::scalar::ScalarValue::to_array).collect()
        };
        let states = self.plan.functions.iter().map(state).collect::<datafusion::error::Result<Vec<_>>>()?;
        self.touched(&keys, states).map(Some)
    }

    fn touched(&self, keys: &[ArrayRef], states: Vec<Vec<ArrayRef>>) -> Result<Touched, QueryError> {
        let results = self.evaluate(&states, keys[0].len())?;
        Ok(Touched { states: self.state_batch(keys, states)?, results: self.result_batch(keys, results)? })
    }

    /// Fails if a group or an argument of these rows cannot be computed.
    pub fn check(&self, batch: &RecordBatch) -> Result<(), QueryError> {
        let rows = batch.num_rows();
        for group in &self.plan.groups {
            group.evaluate(batch)?.into_array(rows)?;
        }
        for function in &self.plan.functions {
            for argument in function.aggregate.expressions().iter().chain(&function.filter) {
                argument.evaluate(batch)?.into_array(rows)?;
            }
        }
        Ok(())
    }

    /// The groups whose windows are closed by `watermark_us`: their keys and
    /// results.
    pub fn close(&self, watermark_us: i64) -> Result<Option<Touched>, QueryError> {
        let Some(window) = self.plan.window else { return Ok(None) };
        let mut closing = Vec::new();
        for batch in self.table.snapshot().batches(None)? {
            let mask = closed(batch.column(window.group), window, watermark_us)?;
            if mask.true_count() > 0 {
                closing.push(filter_record_batch(&batch, &mask)?);
            }
        }
        let Some(states) = super::concat(closing)? else { return Ok(None) };
        let groups = self.plan.groups.len();
        let mut place = groups;
        let mut columns = Vec::new();
        for function in &self.plan.functions {
            columns.push(states.columns()[place..place + function.state.len()].to_vec());
            place += function.state.len();
        }
        let results = self.evaluate(&columns, states.num_rows())?;
        let results = self.result_batch(&states.columns()[..groups], results)?;
        Ok(Some(Touched { states, results }))
    }

    /// Which of these window edges belong to windows closed by `bound_us`.
    pub fn closed(&self, edges: &ArrayRef, bound_us: i64) -> Result<BooleanArray, QueryError> {
        match self.plan.window {
            Some(window) => closed(edges, window, bound_us),
            None => Ok(BooleanArray::from(vec![false; edges.len()])),
        }
    }

    fn accumulators(&self) -> Result<Vec<Box<dyn GroupsAccumulator>>, QueryError> {
        let accumulator = |f: &Function| -> Result<Box<dyn GroupsAccumulator>, QueryError> {
            if f.aggregate.groups_accumulator_supported() {
                return Ok(f.aggregate.create_groups_accumulator()?);
            }
            let aggregate = Arc::clone(&f.aggregate);
            Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
        };
        self.plan.functions.iter().map(accumulator).collect()
    }

    /// Merges what is stored of these groups.
    fn merge_stored(
        &self,
        keys: &[ArrayRef],
        accumulators: &mut [Box<dyn GroupsAccumulator>],
    ) -> Result<(), QueryError> {
        let count = keys[0].len();
        let stored = self.table.lookup(keys, None)?;
        if stored.found.true_count() == 0 || self.plan.functions.is_empty() {
            return Ok(());
        }
        let places: Vec<usize> = (0..count).filter(|i| stored.found.value(*i)).collect();
        let all = places.len() == count;
        let mut column = keys.len();
        for (function, accumulator) in self.plan.functions.iter().zip(accumulators) {
            let states = &stored.columns[column..column + function.state.len()];
            column += function.state.len();
            let found = |c: &ArrayRef| if all { Ok(Arc::clone(c)) } else { filter(c, &stored.found) };
            let states = states.iter().map(found).collect::<Result<Vec<_>, _>>()?;
            accumulator.merge_batch(&states, &places, count)?;
        }
        Ok(())
    }

    /// The results of complete states.
    fn evaluate(&self, states: &[Vec<ArrayRef>], count: usize) -> Result<Vec<ArrayRef>, QueryError> {
        let places: Vec<usize> = (0..count).collect();
        let mut results = Vec::with_capacity(states.len());
        let mut fresh = self.accumulators()?;
        for ((function, state), accumulator) in self.plan.functions.iter().zip(states).zip(&mut fresh) {
            if function.state_is_result {
                results.push(Arc::clone(&state[0]));
                continue;
            }
            accumulator.merge_batch(state, &places, count)?;
            results.push(accumulator.evaluate(EmitTo::All)?);
        }
        Ok(results)
    }

    fn state_batch(&self, keys: &[ArrayRef], states: Vec<Vec<ArrayRef>>) -> Result<RecordBatch, QueryError> {
        let columns = keys.iter().cloned().chain(states.into_iter().flatten());
        let typed = |(column, field): (ArrayRef, &Arc<datafusion::arrow::datatypes::Field>)| {
            cast(&column, field.data_type())
        };
        let columns = columns.zip(self.state_schema.fields()).map(typed).collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.state_schema), columns)?)
    }

    fn result_batch(&self, keys: &[ArrayRef], results: Vec<ArrayRef>) -> Result<RecordBatch, QueryError> {
        let columns: Vec<ArrayRef> = match self.plan.is_constant() {
            true => results.into_iter().chain(keys.iter().cloned()).collect(),
            false => keys.iter().cloned().chain(results).collect(),
        };
        Ok(RecordBatch::try_new(Arc::clone(&self.result_schema), columns)?)
    }
}

/// Which windows end at or before the watermark.
fn closed(edges: &ArrayRef, window: Window, watermark_us: i64) -> Result<BooleanArray, QueryError> {
    let edges: &TimestampMicrosecondArray = as_timestamp_microsecond_array(edges)?;
    Ok(BooleanArray::from_unary(edges, |edge| edge.saturating_add(window.edge.to_end_us) <= watermark_us))
}
