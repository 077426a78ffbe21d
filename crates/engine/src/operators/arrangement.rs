//! Rows by key, with how often each is there: what joins and partitions keep.
//!
//! A keyed table of its own: the key columns, then what tells rows of one key
//! apart, then the row. Rows that are only added are numbered by epoch and place;
//! rows that may be taken back are found by their fingerprint and have a count.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array,
    RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::{filter_record_batch, take};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use pluvio_keytables::{Commit, KeyTable, Store, fingerprints};
use pluvio_query::QueryError;
use pluvio_query::tables::{COPIES, ROW};

use super::closed;
use super::delta::{Counted, Delta, batch_of, counted, sum};
use crate::compile::Window;

const ROW_BYTES: i32 = 16;

/// See the module.
pub struct Arrangement {
    /// `None` if nothing needs to be kept.
    table: Option<Arc<KeyTable>>,
    keys: usize,
    appends: bool,
    row: SchemaRef,
    stored: SchemaRef,
}

/// Rows that were found.
pub struct Found {
    /// For each, which of the keys asked for it has.
    pub probes: UInt32Array,
    /// For each, what tells it apart from others of its key, in the order in
    /// which they came if rows are only added.
    pub ids: FixedSizeBinaryArray,
    /// The rows, each with how often it is there.
    pub rows: Delta,
}

impl Arrangement {
    /// Opens or makes it. `appends` tells that rows are only ever added.
    pub fn open(
        store: &Store,
        name: &str,
        key_types: &[DataType],
        row: &SchemaRef,
        appends: bool,
    ) -> Result<Self, QueryError> {
        let keys = key_types.len();
        let mut fields: Vec<Field> = key_types
            .iter()
            .enumerate()
            .map(|(i, t)| Field::new(format!("key{i}"), t.clone(), true))
            .collect();
        fields.push(Field::new(ROW, DataType::FixedSizeBinary(ROW_BYTES), true));
        if !appends {
            fields.push(Field::new(COPIES, DataType::Int64, true));
        }
        let columns = row.fields().iter().enumerate();
        fields.extend(columns.map(|(i, f)| Field::new(format!("c{i}"), f.data_type().clone(), true)));
        let stored: SchemaRef = Arc::new(Schema::new(fields));
        let key: Vec<usize> = (0..=keys).collect();
        let table = store.create_grouped_table(name, Arc::clone(&stored), &key, keys)?;
        Ok(Self { table: Some(table), keys, appends, row: Arc::clone(row), stored })
    }

    /// Keeps nothing: all rows of a key come in one epoch.
    pub fn nothing(row: &SchemaRef) -> Self {
        Self { table: None, keys: 0, appends: true, row: Arc::clone(row), stored: Arc::new(Schema::empty()) }
    }

    /// Whether no row is kept.
    pub fn is_empty(&self) -> bool {
        self.table.as_ref().is_none_or(|table| table.is_empty())
    }

    /// Where the rows' columns begin in the stored table.
    fn first_column(&self) -> usize {
        self.keys + 1 + usize::from(!self.appends)
    }

    /// All rows of these keys, as of the last commit.
    pub fn rows(&self, keys: &[ArrayRef]) -> Result<Found, QueryError> {
        let Some(table) = &self.table else {
            return Ok(Found {
                probes: UInt32Array::from(Vec::<u32>::new()),
                ids: Self::number(0, 0)?,
                rows: Delta::added(RecordBatch::new_empty(Arc::clone(&self.row))),
            });
        };
        let projection: Vec<usize> = (self.keys..self.stored.fields().len()).collect();
        let found = table.lookup_group(keys, Some(&projection))?;
        let ids = found.columns[0].as_fixed_size_binary().clone();
        let weights = (!self.appends).then(|| found.columns[1].as_primitive::<Int64Type>().clone());
        let columns = found.columns[self.first_column() - self.keys..].to_vec();
        let rows = batch_of(&self.row, columns, ids.len())?;
        Ok(Found { probes: found.probes, ids, rows: Delta { rows, weights } })
    }

    /// Names for rows that are added in this epoch, in their order.
    pub fn number(epoch: u64, count: usize) -> Result<FixedSizeBinaryArray, QueryError> {
        let mut ids = FixedSizeBinaryBuilder::with_capacity(count, ROW_BYTES);
        for place in 0..count as u64 {
            let mut id = [0; ROW_BYTES as usize];
            id[..8].copy_from_slice(&epoch.to_be_bytes());
            id[8..].copy_from_slice(&place.to_be_bytes());
            ids.append_value(id)?;
        }
        Ok(ids.finish())
    }

    /// Puts changes into the commit; `keys` are the rows' key columns. Once an
    /// epoch.
    pub fn apply(
        &self,
        commit: &mut Commit,
        epoch: u64,
        keys: &[ArrayRef],
        delta: &Delta,
    ) -> Result<(), QueryError> {
        let Some(table) = self.table.as_ref().filter(|_| delta.len() > 0) else { return Ok(()) };
        if self.appends {
            let ids = Self::number(epoch, delta.len())?;
            return self.add(commit, keys, &ids, &delta.rows);
        }
        let (keys, delta) = self.summed(keys, delta)?;
        let ids = fingerprints(delta.rows.columns(), delta.len())?;
        let mut at = keys.clone();
        at.push(Arc::new(ids.clone()));
        let stored = table.lookup(&at, Some(&[self.keys + 1]))?;
        let Counted { set, counts, gone, .. } = counted(&stored.columns[0], &delta)?;
        if !gone.is_empty() {
            self.remove(commit, &at, &gone.into())?;
        }
        if !set.is_empty() {
            let set: UInt32Array = set.into();
            let mut columns = taken(&at, &set)?;
            columns.push(Arc::new(Int64Array::from(counts)));
            columns.extend(taken(delta.rows.columns(), &set)?);
            commit.upsert(table, RecordBatch::try_new(Arc::clone(&self.stored), columns)?);
        }
        Ok(())
    }

    /// Adds rows under these names.
    pub fn add(
        &self,
        commit: &mut Commit,
        keys: &[ArrayRef],
        ids: &FixedSizeBinaryArray,
        rows: &RecordBatch,
    ) -> Result<(), QueryError> {
        let Some(table) = &self.table else { return Ok(()) };
        let mut columns = keys.to_vec();
        columns.push(Arc::new(ids.clone()));
        columns.extend(rows.columns().iter().cloned());
        commit.upsert(table, RecordBatch::try_new(Arc::clone(&self.stored), columns)?);
        Ok(())
    }

    /// Forgets the rows at these places of `at`, the key columns and the names.
    pub fn remove(
        &self,
        commit: &mut Commit,
        at: &[ArrayRef],
        places: &UInt32Array,
    ) -> Result<(), QueryError> {
        let Some(table) = &self.table else { return Ok(()) };
        let schema = Arc::new(self.stored.project(&(0..=self.keys).collect::<Vec<_>>())?);
        commit.delete(table, RecordBatch::try_new(schema, taken(at, places)?)?);
        Ok(())
    }

    /// Equal rows of the changes as one.
    fn summed(&self, keys: &[ArrayRef], delta: &Delta) -> Result<(Vec<ArrayRef>, Delta), QueryError> {
        let mut fields: Vec<Field> =
            self.stored.fields()[..self.keys].iter().map(|f| f.as_ref().clone()).collect();
        fields.extend(self.row.fields().iter().map(|f| f.as_ref().clone()));
        let columns = keys.iter().chain(delta.rows.columns()).cloned().collect();
        let all = batch_of(&Arc::new(Schema::new(fields)), columns, delta.len())?;
        let weights = (0..delta.len()).map(|row| delta.weight(row)).collect();
        let summed = sum(Delta { rows: all, weights: Some(weights) })?;
        let keys = summed.rows.columns()[..self.keys].to_vec();
        let rows = batch_of(&self.row, summed.rows.columns()[self.keys..].to_vec(), summed.len())?;
        Ok((keys, Delta { rows, weights: summed.weights }))
    }

    /// The columns of a row.
    pub fn row(&self) -> &SchemaRef {
        &self.row
    }

    /// The keys of the rows for whose column the mask is true, as often as there are
    /// such rows.
    pub fn keys_by(
        &self,
        column: usize,
        mask: impl Fn(&ArrayRef) -> Result<BooleanArray, QueryError>,
    ) -> Result<Option<Vec<ArrayRef>>, QueryError> {
        let Some(table) = &self.table else { return Ok(None) };
        let projection: Vec<usize> = (0..self.keys).chain([self.first_column() + column]).collect();
        let mut found = Vec::new();
        for batch in table.snapshot().scan(Some(&projection)) {
            let batch = batch?;
            let mask = mask(batch.column(self.keys))?;
            if mask.true_count() > 0 {
                found.push(filter_record_batch(&batch, &mask)?);
            }
        }
        Ok(super::concat(found)?.map(|all| all.columns()[..self.keys].to_vec()))
    }

    /// The stored rows for whose key column at `place` the mask is true: their
    /// keys and names, and the rows.
    fn select(
        &self,
        place: usize,
        mask: impl Fn(&ArrayRef) -> Result<BooleanArray, QueryError>,
    ) -> Result<Option<(Vec<ArrayRef>, Delta)>, QueryError> {
        let Some(table) = &self.table else { return Ok(None) };
        let mut found = Vec::new();
        for batch in table.snapshot().scan(None) {
            let batch = batch?;
            let mask = mask(batch.column(place))?;
            if mask.true_count() > 0 {
                found.push(filter_record_batch(&batch, &mask)?);
            }
        }
        let Some(all) = super::concat(found)? else { return Ok(None) };
        let at = all.columns()[..=self.keys].to_vec();
        let weights = (!self.appends).then(|| all.column(self.keys + 1).as_primitive::<Int64Type>().clone());
        let rows = batch_of(&self.row, all.columns()[self.first_column()..].to_vec(), all.num_rows())?;
        Ok(Some((at, Delta { rows, weights })))
    }

    /// Forgets the rows for which the mask is true.
    pub fn forget(
        &self,
        commit: &mut Commit,
        mask: impl Fn(&RecordBatch) -> Result<BooleanArray, QueryError>,
    ) -> Result<(), QueryError> {
        let Some(table) = &self.table else { return Ok(()) };
        for batch in table.snapshot().scan(None) {
            let batch = batch?;
            let columns = batch.columns()[self.first_column()..].to_vec();
            let gone = mask(&batch_of(&self.row, columns, batch.num_rows())?)?;
            let places: UInt32Array =
                (0_u32..).zip(gone.values().iter()).filter_map(|(row, gone)| gone.then_some(row)).collect();
            if !places.is_empty() {
                self.remove(commit, &batch.columns()[..=self.keys], &places)?;
            }
        }
        Ok(())
    }

    /// As [`Self::select`]; forgets what it gives.
    pub fn take_out(
        &self,
        commit: &mut Commit,
        place: usize,
        mask: impl Fn(&ArrayRef) -> Result<BooleanArray, QueryError>,
    ) -> Result<Option<(Vec<ArrayRef>, Delta)>, QueryError> {
        let found = self.select(place, mask)?;
        if let Some((at, rows)) = &found {
            let all: UInt32Array = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
            self.remove(commit, at, &all)?;
        }
        Ok(found)
    }

    /// Forgets the rows whose window has ended by `bound_us`.
    pub fn evict(&self, commit: &mut Commit, window: Window, bound_us: i64) -> Result<(), QueryError> {
        self.take_out(commit, window.place, |edges| closed(edges, window.edge, bound_us)).map(|_| ())
    }
}

fn taken(columns: &[ArrayRef], places: &UInt32Array) -> Result<Vec<ArrayRef>, QueryError> {
    Ok(columns.iter().map(|column| take(column, places, None)).collect::<Result<_, _>>()?)
}
