//! Groups by their functions' intermediate states.
//!
//! An epoch's rows go into fresh accumulators, the stored states of the groups it
//! touched are merged into them, or, where rows are taken back, added to and
//! subtracted from.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::kernels::numeric::{add_wrapping, sub_wrapping};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{cast, filter, filter_record_batch, is_null, kernels::nullif::nullif, not};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::scalar::ScalarValue;
use pluvio_keytables::{Commit, KeyTable, Lookup, Store};
use pluvio_query::QueryError;

use super::aggregate::{Groups, Touched};
use super::closed;
use super::delta::{Delta, batch_of, concat_arrays, copies, take_rows};
use super::distinct::{DistinctState, Seen};
use super::join::evaluate;
use crate::compile::{Additive, AggregatePlan, Emission, Function, Upkeep, Window};

type Accumulators = Vec<Box<dyn GroupsAccumulator>>;

/// Stored states by group.
pub struct States {
    table: Arc<KeyTable>,
    schema: SchemaRef,
    /// For each function with DISTINCT, the values it has seen.
    distinct: Vec<Option<DistinctState>>,
}

impl States {
    /// Opens what is kept under `name`.
    pub fn open(plan: &AggregatePlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let schema = plan.state_schema();
        let key: Vec<usize> = (0..plan.groups.len()).collect();
        let table = store.create_table(&format!("{name}/groups"), Arc::clone(&schema), &key)?;
        let distinct = plan.all_functions().enumerate().map(|(i, function)| {
            if !function.distinct {
                return Ok(None);
            }
            let argument = function.distinct_type();
            let name = format!("{name}/distinct{i}");
            DistinctState::open(store, &name, &plan.group_schema, &argument).map(Some)
        });
        let distinct = distinct.collect::<Result<Vec<_>, QueryError>>()?;
        Ok(Self { table, schema, distinct })
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Adds rows to their groups, and takes rows back from them.
    pub fn touch(
        &self,
        plan: &AggregatePlan,
        commit: &mut Commit,
        deltas: &[Delta],
    ) -> Result<Option<Touched>, QueryError> {
        let mut groups = new_group_values(Arc::clone(&plan.group_schema), &GroupOrdering::None)?;
        let mut added = accumulators(plan)?;
        let mut taken_back =
            if deltas.iter().any(Delta::takes_back) { accumulators(plan)? } else { Vec::new() };
        let mut values: Vec<Values> = plan.all_functions().map(|_| Values::default()).collect();
        for delta in deltas {
            for (rows, sign) in parts(delta)? {
                let accumulators = if sign > 0 { &mut added } else { &mut taken_back };
                feed(plan, &rows, &mut *groups, accumulators, &mut values, sign)?;
            }
        }
        if plan.constant && groups.is_empty() {
            groups.intern(&constant_group(plan)?, &mut Vec::new())?;
        }
        if groups.is_empty() {
            return Ok(None);
        }
        let keys = groups.emit(EmitTo::All)?;
        let count = keys[0].len();
        for (i, (values, distinct)) in values.iter().zip(&self.distinct).enumerate() {
            let (Some(distinct), Some(all)) = (distinct, values.all()?) else { continue };
            let (appear, go) = distinct.run(commit, &keys, &all, &values.places, &values.weights)?;
            // With a filter, a group without a value does not count as one that had some.
            let all = |seen: &Seen| BooleanArray::from(vec![true; seen.places.len()]);
            let mask = all(&appear);
            added[i].update_batch(&[appear.values], &appear.places, Some(&mask), count)?;
            if !go.places.is_empty() {
                if taken_back.is_empty() {
                    taken_back = accumulators(plan)?;
                }
                let mask = all(&go);
                taken_back[i].update_batch(&[go.values], &go.places, Some(&mask), count)?;
            }
        }
        if plan.whole {
            let states = added.iter_mut().map(|a| Ok(a.evaluate(EmitTo::All)?));
            let none = BooleanArray::from(vec![false; count]);
            let all = BooleanArray::from(vec![true; count]);
            let after = states.collect::<Result<_, QueryError>>()?;
            return Ok(Some(Touched { keys, before: (none, Vec::new()), after: (all, after) }));
        }
        let stored = self.table.lookup(&keys, None)?;
        let (before, states) = match &plan.upkeep {
            Upkeep::Add(ways) => self.add(plan, ways, &keys, &stored, added, taken_back)?,
            _ => self.merge(plan, &keys, &stored, added)?,
        };
        let found = stored.found;
        let there = match &plan.upkeep {
            Upkeep::Add(_) if !plan.constant => {
                let rows = states[plan.functions.len()][0].as_primitive::<Int64Type>();
                BooleanArray::from_unary(rows, |rows| rows != 0)
            }
            _ => BooleanArray::from(vec![true; count]),
        };
        let after = results(plan, &states, count)?;
        self.write(commit, &keys, states, &there)?;
        Ok(Some(Touched { keys, before: (found, before), after: (there, after) }))
    }

    /// The states after rows were added: the stored ones merged into them.
    fn merge(
        &self,
        plan: &AggregatePlan,
        keys: &[ArrayRef],
        stored: &Lookup,
        mut added: Accumulators,
    ) -> Result<(Vec<ArrayRef>, Vec<Vec<ArrayRef>>), QueryError> {
        let count = keys[0].len();
        let before = self.before(plan, stored, count)?;
        let places: Vec<usize> = (0..count).filter(|i| stored.found.value(*i)).collect();
        let all = places.len() == count;
        let mut states = Vec::with_capacity(added.len());
        let mut column = keys.len();
        for (function, accumulator) in plan.all_functions().zip(&mut added) {
            if !places.is_empty() {
                let old = &stored.columns[column..column + function.state.len()];
                let found = |c: &ArrayRef| if all { Ok(Arc::clone(c)) } else { filter(c, &stored.found) };
                let old = old.iter().map(found).collect::<Result<Vec<_>, _>>()?;
                accumulator.merge_batch(&old, &places, count)?;
            }
            column += function.state.len();
            states.push(complete(function, accumulator, count)?);
        }
        Ok((before, states))
    }

    /// The states after rows were added and taken back: stored + added − taken.
    fn add(
        &self,
        plan: &AggregatePlan,
        ways: &[Additive],
        keys: &[ArrayRef],
        stored: &Lookup,
        mut added: Accumulators,
        mut taken_back: Accumulators,
    ) -> Result<(Vec<ArrayRef>, Vec<Vec<ArrayRef>>), QueryError> {
        let count = keys[0].len();
        let before = self.before(plan, stored, count)?;
        let mut states: Vec<Vec<ArrayRef>> = Vec::with_capacity(added.len());
        let mut column = keys.len();
        for (i, function) in plan.all_functions().enumerate() {
            let more = complete(function, &mut added[i], count)?;
            let less = match taken_back.get_mut(i) {
                Some(accumulator) => Some(complete(function, accumulator, count)?),
                None => None,
            };
            let mut state = Vec::with_capacity(more.len());
            for (j, more) in more.iter().enumerate() {
                let old = or_zero(&stored.columns[column + j])?;
                let more = cast(&or_zero(more)?, old.data_type())?;
                let mut sum = add_wrapping(&old, &more)?;
                if let Some(less) = &less {
                    let less = cast(&or_zero(&less[j])?, old.data_type())?;
                    sum = sub_wrapping(&sum, &less)?;
                }
                state.push(sum);
            }
            column += function.state.len();
            states.push(state);
        }
        // A sum or an average over nothing is NULL.
        for (i, way) in ways.iter().enumerate() {
            let counted = match way {
                Additive::Count => continue,
                Additive::Sum(helper) => Arc::clone(&states[plan.functions.len() + helper][0]),
                Additive::Avg => cast(&states[i][0], &DataType::Int64)?,
            };
            let none = BooleanArray::from_unary(counted.as_primitive::<Int64Type>(), |counted| counted == 0);
            for column in &mut states[i] {
                *column = nullif(column, &none)?;
            }
        }
        Ok((before, states))
    }

    /// The results of the stored states, if somebody wants them.
    fn before(
        &self,
        plan: &AggregatePlan,
        stored: &Lookup,
        count: usize,
    ) -> Result<Vec<ArrayRef>, QueryError> {
        if plan.emission != Emission::Changes {
            return Ok(Vec::new());
        }
        results(plan, &by_function(plan, &stored.columns), count)
    }

    fn write(
        &self,
        commit: &mut Commit,
        keys: &[ArrayRef],
        states: Vec<Vec<ArrayRef>>,
        there: &BooleanArray,
    ) -> Result<(), QueryError> {
        let columns = keys.iter().cloned().chain(states.into_iter().flatten());
        let typed = |(column, field): (ArrayRef, &Arc<Field>)| cast(&column, field.data_type());
        let columns = columns.zip(self.schema.fields()).map(typed).collect::<Result<Vec<_>, _>>()?;
        let states = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        if there.true_count() == there.len() {
            commit.upsert(&self.table, states);
            return Ok(());
        }
        let gone = filter_record_batch(&states, &not(there)?)?;
        commit.delete(&self.table, gone.project(&(0..keys.len()).collect::<Vec<_>>())?);
        commit.upsert(&self.table, filter_record_batch(&states, there)?);
        Ok(())
    }

    /// Removes the groups of closed windows; gives their keys and results if they
    /// are asked for.
    pub fn close(
        &self,
        plan: &AggregatePlan,
        commit: &mut Commit,
        window: Window,
        bound_us: i64,
        results_too: bool,
    ) -> Result<Option<Groups>, QueryError> {
        for distinct in self.distinct.iter().flatten() {
            if let Some(rows) = closed_rows(distinct.table(), window, bound_us)? {
                commit.delete(distinct.table(), rows.project(distinct.table().key())?);
            }
        }
        let Some(rows) = closed_rows(&self.table, window, bound_us)? else { return Ok(None) };
        let groups = plan.groups.len();
        commit.delete(&self.table, rows.project(&(0..groups).collect::<Vec<_>>())?);
        if !results_too {
            return Ok(None);
        }
        let results = results(plan, &by_function(plan, rows.columns()), rows.num_rows())?;
        Ok(Some((rows.columns()[..groups].to_vec(), results)))
    }
}

/// Of a stored row's columns, the state of each function.
fn by_function(plan: &AggregatePlan, columns: &[ArrayRef]) -> Vec<Vec<ArrayRef>> {
    let mut rest = &columns[plan.groups.len()..];
    let mut states = Vec::with_capacity(plan.functions.len());
    for function in plan.all_functions() {
        let (state, behind) = rest.split_at(function.state.len());
        states.push(state.to_vec());
        rest = behind;
    }
    states
}

/// The rows of closed windows in a table whose first columns are the groups.
fn closed_rows(table: &KeyTable, window: Window, bound_us: i64) -> Result<Option<RecordBatch>, QueryError> {
    let mut rows = Vec::new();
    for batch in table.snapshot().scan(None) {
        let batch = batch?;
        let mask = closed(batch.column(window.place), window.edge, bound_us)?;
        if mask.true_count() > 0 {
            rows.push(filter_record_batch(&batch, &mask)?);
        }
    }
    super::concat(rows)
}

/// The arguments of a function with DISTINCT, on their way to be counted.
#[derive(Default)]
struct Values {
    parts: Vec<ArrayRef>,
    places: Vec<u32>,
    weights: Vec<i64>,
}

impl Values {
    /// All of them; `None` if there are none.
    fn all(&self) -> Result<Option<ArrayRef>, QueryError> {
        let parts: Vec<&ArrayRef> = self.parts.iter().collect();
        if parts.is_empty() { Ok(None) } else { concat_arrays(&parts).map(Some) }
    }
}

/// The rows that are added and those that are taken back, each as often as its
/// weight says.
fn parts(delta: &Delta) -> Result<Vec<(RecordBatch, i64)>, QueryError> {
    let Some(weights) = &delta.weights else { return Ok(vec![(delta.rows.clone(), 1)]) };
    if weights.values().iter().all(|weight| *weight == 1) {
        return Ok(vec![(delta.rows.clone(), 1)]);
    }
    let repeated = |sign: i64| -> Result<(RecordBatch, i64), QueryError> {
        let times: Int64Array = weights.values().iter().map(|weight| (weight * sign).max(0)).collect();
        let places: UInt32Array = copies(&times)?;
        Ok((take_rows(&delta.rows, &places)?, sign))
    };
    Ok(vec![repeated(1)?, repeated(-1)?])
}

fn feed(
    plan: &AggregatePlan,
    rows: &RecordBatch,
    groups: &mut dyn GroupValues,
    accumulators: &mut Accumulators,
    values: &mut [Values],
    sign: i64,
) -> Result<(), QueryError> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let mut places = Vec::new();
    groups.intern(&evaluate(&plan.groups, rows)?, &mut places)?;
    for (i, function) in plan.all_functions().enumerate() {
        let arguments = evaluate(&function.aggregate.expressions(), rows)?;
        let mask = function.filter.as_ref().map(|f| evaluate(std::slice::from_ref(f), rows)).transpose()?;
        let mask = mask.as_ref().map(|m| as_boolean_array(&m[0])).transpose()?;
        if !function.distinct {
            accumulators[i].update_batch(&arguments, &places, mask, groups.len())?;
            continue;
        }
        let values = &mut values[i];
        let wanted = |row: &usize| mask.is_none_or(|mask| mask.is_valid(*row) && mask.value(*row));
        let before = values.places.len();
        values.places.extend(
            (0..rows.num_rows()).filter(wanted).map(|row| u32::try_from(places[row]).unwrap_or(u32::MAX)),
        );
        values.weights.resize(values.places.len(), sign);
        if values.places.len() > before {
            values.parts.push(match mask {
                Some(mask) => filter(&arguments[0], mask)?,
                None => Arc::clone(&arguments[0]),
            });
        }
    }
    Ok(())
}

/// Fresh accumulators for all functions.
pub fn accumulators(plan: &AggregatePlan) -> Result<Accumulators, QueryError> {
    plan.all_functions().map(accumulator).collect()
}

fn accumulator(function: &Function) -> Result<Box<dyn GroupsAccumulator>, QueryError> {
    if function.aggregate.groups_accumulator_supported() {
        return Ok(function.aggregate.create_groups_accumulator()?);
    }
    let aggregate = Arc::clone(&function.aggregate);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

/// The constant group's column.
pub fn constant_group(plan: &AggregatePlan) -> Result<Vec<ArrayRef>, QueryError> {
    let row = batch_of(&Arc::new(Schema::empty()), Vec::new(), 1)?;
    evaluate(&plan.groups, &row)
}

/// The states of all groups, those that had no row included.
fn complete(
    function: &Function,
    accumulator: &mut Box<dyn GroupsAccumulator>,
    count: usize,
) -> Result<Vec<ArrayRef>, QueryError> {
    let none: Vec<ArrayRef> =
        function.argument_types.iter().map(datafusion::arrow::array::new_empty_array).collect();
    // With a filter, a group without a row does not count as one that had some.
    let no_row = BooleanArray::from(Vec::<bool>::new());
    accumulator.update_batch(&none, &[], Some(&no_row), count)?;
    Ok(accumulator.state(EmitTo::All)?)
}

/// The results of complete states.
pub fn results(
    plan: &AggregatePlan,
    states: &[Vec<ArrayRef>],
    count: usize,
) -> Result<Vec<ArrayRef>, QueryError> {
    let places: Vec<usize> = (0..count).collect();
    let mut results = Vec::with_capacity(states.len());
    for (function, state) in plan.functions.iter().zip(states) {
        if function.state_is_result {
            results.push(Arc::clone(&state[0]));
            continue;
        }
        let mut fresh = accumulator(function)?;
        let typed = |(column, field): (&ArrayRef, &Field)| cast(column, field.data_type());
        let state = state.iter().zip(&function.state).map(typed).collect::<Result<Vec<_>, _>>()?;
        fresh.merge_batch(&state, &places, count)?;
        results.push(fresh.evaluate(EmitTo::All)?);
    }
    Ok(results)
}

/// The numbers with 0 for NULL.
fn or_zero(numbers: &ArrayRef) -> Result<ArrayRef, QueryError> {
    if numbers.null_count() == 0 {
        return Ok(Arc::clone(numbers));
    }
    let zero = ScalarValue::new_zero(numbers.data_type())?.to_scalar()?;
    Ok(zip(&is_null(numbers)?, &zero, numbers)?)
}
