//! A stream of changes, made sound: what comes behind sees a row go only if it
//! was there.
//!
//! Rule: as that of a batch that reads the stream. By key, a row replaces the one
//! before it and a deletion takes it away. Without a key, a row that goes takes
//! one like it away; if there is none, it is told of.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use pluvio_keytables::{Commit, KeyTable, Store, fingerprints};
use pluvio_query::QueryError;
use pluvio_query::rows::loose;
use pluvio_query::tables::{COPIES, ROW};

use super::Epoch;
use super::delta::{Delta, batch_of, consolidate, gather, gather_as, take_rows};
use super::keys::number;
use crate::compile::ChangelogPlan;

/// The rows that are there.
pub struct ChangelogState {
    plan: ChangelogPlan,
    table: Arc<KeyTable>,
    stored: SchemaRef,
}

impl ChangelogState {
    /// Opens what is kept under `name`.
    pub fn open(mut plan: ChangelogPlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        plan.row = loose(&plan.row);
        let name = format!("{name}/rows");
        let (stored, key) = match plan.key.as_slice() {
            [] => {
                let fields = vec![
                    Field::new(ROW, DataType::FixedSizeBinary(16), true),
                    Field::new(COPIES, DataType::Int64, true),
                ];
                (Arc::new(Schema::new(fields)), vec![0])
            }
            key => (Arc::clone(&plan.row), key.to_vec()),
        };
        let table = store.create_table(&name, Arc::clone(&stored), &key)?;
        Ok(Self { plan, table, stored })
    }

    /// Takes changes in, in the order in which they came; gives those that are
    /// sound.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        deltas: Vec<Delta>,
    ) -> Result<Vec<Delta>, QueryError> {
        let Some(delta) = gather_as(&self.plan.row, deltas)? else { return Ok(Vec::new()) };
        let given = match self.plan.key.is_empty() {
            true => self.by_row(commit, epoch, delta)?,
            false => self.by_key(commit, &delta)?,
        };
        Ok(given.into_iter().collect())
    }

    /// The last change of each key counts.
    fn by_key(&self, commit: &mut Commit, delta: &Delta) -> Result<Option<Delta>, QueryError> {
        let columns: Vec<ArrayRef> =
            self.plan.key.iter().map(|place| Arc::clone(delta.rows.column(*place))).collect();
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let (keys, numbers) = number(&types, &columns)?;
        let count = keys.first().map_or(0, |key| key.len());
        let mut last = vec![0_u32; count];
        for (row, number) in (0_u32..).zip(&numbers) {
            last[*number as usize] = row;
        }
        let all: Vec<usize> = (0..self.stored.fields().len()).collect();
        let old = self.table.lookup(&keys, Some(&all))?;
        let comes: BooleanArray = last.iter().map(|row| Some(delta.weight(*row as usize) > 0)).collect();
        let new = take_rows(&delta.rows, &UInt32Array::from(last))?;
        let new = filter_record_batch(&new, &comes)?;
        let goes: BooleanArray =
            (0..count).map(|key| Some(!comes.value(key) && old.found.value(key))).collect();
        let key_schema = Arc::new(self.stored.project(self.table.key())?);
        let gone = filter_record_batch(&batch_of(&key_schema, keys, count)?, &goes)?;
        let before = filter_record_batch(&batch_of(&self.stored, old.columns, count)?, &old.found)?;
        commit.delete(&self.table, gone);
        commit.upsert(&self.table, batch_of(&self.stored, new.columns().to_vec(), new.num_rows())?);
        // A row that is written again as it was changes nothing.
        gather(vec![Delta::taken_back(before), Delta::added(new)])?.map(consolidate).transpose()
    }

    /// Counts each row in and out.
    fn by_row(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        delta: Delta,
    ) -> Result<Option<Delta>, QueryError> {
        let names: ArrayRef = Arc::new(fingerprints(delta.rows.columns(), delta.len())?);
        let (distinct, of) = number(&[names.data_type().clone()], std::slice::from_ref(&names))?;
        let stored = self.table.lookup(&distinct, Some(&[1]))?;
        let before = stored.columns[0].as_primitive::<Int64Type>();
        let was: Vec<i64> =
            (0..before.len()).map(|i| if before.is_valid(i) { before.value(i) } else { 0 }).collect();
        let mut counts = was.clone();
        let mut sound = vec![true; delta.len()];
        for (row, place) in of.into_iter().enumerate() {
            let place = place as usize;
            let left = counts[place] + delta.weight(row);
            match left < 0 {
                true => sound[row] = false,
                false => counts[place] = left,
            }
        }
        let told = "the row that goes is not there: its coming was never told";
        for row in (0..delta.len()).filter(|row| !sound[*row]) {
            epoch.failed.push((delta.rows.slice(row, 1), told.to_owned()));
        }
        let columns = distinct.into_iter().chain([Arc::new(Int64Array::from(counts.clone())) as ArrayRef]);
        let rows = RecordBatch::try_new(Arc::clone(&self.stored), columns.collect())?;
        let rows_where = |wanted: &dyn Fn(i64, i64) -> bool| {
            let mask: BooleanArray =
                was.iter().zip(&counts).map(|(was, is)| Some(wanted(*was, *is))).collect();
            filter_record_batch(&rows, &mask)
        };
        commit.delete(&self.table, rows_where(&|was, is| was > 0 && is == 0)?.project(&[0])?);
        commit.upsert(&self.table, rows_where(&|was, is| was != is && is > 0)?);
        Ok(Some(consolidate(delta.filter(&sound.into())?)?))
    }
}
