//! Changes: rows with a weight, +1 for a row that is added, −1 for one that is
//! taken back, more for several.

use std::collections::HashMap;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::{concat, concat_batches, filter_record_batch, take};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use pluvio_keytables::fingerprints;
use pluvio_query::QueryError;
pub use pluvio_query::rows::{batch_of, copies, never_there, take_rows};

/// Some changes.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows.
    pub rows: RecordBatch,
    /// Each row's weight; every row is added once if there are none.
    pub weights: Option<Int64Array>,
}

impl Delta {
    /// Rows that are added.
    pub fn added(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// Rows that are taken back.
    pub fn taken_back(rows: RecordBatch) -> Self {
        let weights = Int64Array::from(vec![-1; rows.num_rows()]);
        Self { rows, weights: Some(weights) }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// A row's weight.
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    /// The rows at these places.
    pub fn take(&self, places: &UInt32Array) -> Result<Self, QueryError> {
        let weights = self.weights.as_ref().map(|weights| take_weights(weights, places)).transpose()?;
        Ok(Self { rows: take_rows(&self.rows, places)?, weights })
    }

    /// The rows for which `mask` is true.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self, QueryError> {
        let places: UInt32Array =
            (0_u32..).zip(mask).filter_map(|(i, m)| (m == Some(true)).then_some(i)).collect();
        if places.len() == self.len() {
            return Ok(self.clone());
        }
        match &self.weights {
            None => Ok(Self::added(filter_record_batch(&self.rows, mask)?)),
            Some(_) => self.take(&places),
        }
    }

    /// The same weights on other rows.
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        Self { rows, weights: self.weights.clone() }
    }

    /// The first `width` columns.
    pub fn narrow(&self, width: usize, schema: &SchemaRef) -> Result<Self, QueryError> {
        let columns = self.rows.columns()[..width].to_vec();
        Ok(self.with_rows(batch_of(schema, columns, self.len())?))
    }

    /// The rows, each as often as its weight says.
    ///
    /// # Errors
    /// As [`copies`].
    pub fn copied(&self) -> Result<RecordBatch, QueryError> {
        match &self.weights {
            None => Ok(self.rows.clone()),
            Some(weights) => take_rows(&self.rows, &copies(weights)?),
        }
    }

    /// Whether some row is taken back.
    pub fn takes_back(&self) -> bool {
        self.weights.as_ref().is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0))
    }
}

fn take_weights(weights: &Int64Array, places: &UInt32Array) -> Result<Int64Array, QueryError> {
    let taken = take(weights, places, None)?;
    Ok(taken.as_primitive::<Int64Type>().clone())
}

/// All changes as one; `None` if there are none.
pub fn gather(mut deltas: Vec<Delta>) -> Result<Option<Delta>, QueryError> {
    deltas.retain(|delta| delta.len() > 0);
    if deltas.len() < 2 {
        return Ok(deltas.pop());
    }
    let rows = concat_batches(&deltas[0].rows.schema(), deltas.iter().map(|delta| &delta.rows))?;
    if deltas.iter().all(|delta| delta.weights.is_none()) {
        return Ok(Some(Delta::added(rows)));
    }
    let weights: Vec<i64> =
        deltas.iter().flat_map(|delta| (0..delta.len()).map(|row| delta.weight(row))).collect();
    Ok(Some(Delta { rows, weights: Some(weights.into()) }))
}

/// All changes as one, with the columns of `schema`, which stand first in them.
pub fn gather_as(schema: &SchemaRef, deltas: Vec<Delta>) -> Result<Option<Delta>, QueryError> {
    let width = schema.fields().len();
    let narrow = |delta: Delta| delta.narrow(width, schema);
    gather(deltas.into_iter().map(narrow).collect::<Result<_, _>>()?)
}

/// What becomes of kept counts: places of rows.
#[derive(Default)]
pub struct Counted {
    /// Rows that were not there.
    pub fresh: Vec<u32>,
    /// Rows that are there now, and how often.
    pub set: Vec<u32>,
    pub counts: Vec<i64>,
    /// Rows that are not there any more.
    pub gone: Vec<u32>,
}

/// Adds the changes of distinct rows to how often each was there, NULL for never.
///
/// # Errors
/// A row was taken back that was never there.
pub fn counted(before: &ArrayRef, delta: &Delta) -> Result<Counted, QueryError> {
    let before = before.as_primitive::<Int64Type>();
    let mut counted = Counted::default();
    for (row, place) in (0..delta.len()).zip(0_u32..) {
        let old = if before.is_valid(row) { before.value(row) } else { 0 };
        match old + delta.weight(row) {
            0 if old == 0 => {}
            0 => counted.gone.push(place),
            count if count > 0 => {
                if old == 0 {
                    counted.fresh.push(place);
                }
                counted.set.push(place);
                counted.counts.push(count);
            }
            _ => return Err(never_there()),
        }
    }
    Ok(counted)
}

/// Each row once, with the sum of its weights, where rows are taken back; those
/// that come to nothing go.
pub fn consolidate(delta: Delta) -> Result<Delta, QueryError> {
    if delta.takes_back() { sum(delta) } else { Ok(delta) }
}

/// Each row once, with the sum of its weights; those that come to nothing go.
pub fn sum(delta: Delta) -> Result<Delta, QueryError> {
    let rows = fingerprints(delta.rows.columns(), delta.len())?;
    let mut places: HashMap<&[u8], usize, ahash::RandomState> = HashMap::default();
    let mut kept: Vec<(u32, i64)> = Vec::with_capacity(delta.len());
    for row in 0..delta.len() {
        let place = *places.entry(rows.value(row)).or_insert_with(|| {
            kept.push((u32::try_from(row).unwrap_or(u32::MAX), 0));
            kept.len() - 1
        });
        kept[place].1 += delta.weight(row);
    }
    kept.retain(|(_, weight)| *weight != 0);
    if kept.len() == delta.len() {
        return Ok(delta);
    }
    let places: UInt32Array = kept.iter().map(|(row, _)| *row).collect();
    let weights = kept.iter().map(|(_, weight)| *weight).collect();
    Ok(Delta { rows: take_rows(&delta.rows, &places)?, weights: Some(weights) })
}

/// Arrays one after the other.
pub fn concat_arrays(parts: &[&ArrayRef]) -> Result<ArrayRef, QueryError> {
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
    Ok(concat(&parts)?)
}
