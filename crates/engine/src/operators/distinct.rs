//! DISTINCT inside an aggregate function: which values a group has, and how
//! often. A function then sees a value when it comes for the first time, and
//! again when its last one goes.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pluvio_keytables::{Commit, KeyTable, Store};
use pluvio_query::QueryError;
use pluvio_query::tables::COPIES;

use super::delta::{Counted, Delta, batch_of, counted, sum};

/// The values of one function's argument, by group.
pub struct DistinctState {
    table: Arc<KeyTable>,
    stored: SchemaRef,
}

/// Values that appear in their groups, or go.
pub struct Seen {
    /// The values.
    pub values: ArrayRef,
    /// For each, its group's place.
    pub places: Vec<usize>,
}

impl DistinctState {
    /// Opens what is kept under `name`, for groups of these columns.
    pub fn open(store: &Store, name: &str, groups: &SchemaRef, value: &DataType) -> Result<Self, QueryError> {
        let fields = groups.fields().iter().enumerate();
        let mut fields: Vec<Field> =
            fields.map(|(i, f)| Field::new(format!("group{i}"), f.data_type().clone(), true)).collect();
        fields.push(Field::new("value", value.clone(), true));
        fields.push(Field::new(COPIES, DataType::Int64, true));
        let stored: SchemaRef = Arc::new(Schema::new(fields));
        let key: Vec<usize> = (0..=groups.fields().len()).collect();
        let table = store.create_table(name, Arc::clone(&stored), &key)?;
        Ok(Self { table, stored })
    }

    /// The stored table.
    pub fn table(&self) -> &Arc<KeyTable> {
        &self.table
    }

    /// Counts values in and out: those that appear, and those that go. `groups`
    /// are the distinct groups, `places` each value's group.
    pub fn run(
        &self,
        commit: &mut Commit,
        groups: &[ArrayRef],
        values: &ArrayRef,
        places: &[u32],
        weights: &[i64],
    ) -> Result<(Seen, Seen), QueryError> {
        let place: ArrayRef = Arc::new(UInt32Array::from(places.to_vec()));
        let schema = Arc::new(Schema::new(vec![
            Field::new("place", DataType::UInt32, false),
            Field::new("value", values.data_type().clone(), true),
        ]));
        let rows = batch_of(&schema, vec![place, Arc::clone(values)], places.len())?;
        let each = sum(Delta { rows, weights: Some(weights.to_vec().into()) })?;
        let place = each.rows.column(0).as_primitive::<datafusion::arrow::datatypes::UInt32Type>();
        let values = each.rows.column(1);
        let mut at = groups.iter().map(|group| take(group, place, None)).collect::<Result<Vec<_>, _>>()?;
        at.push(cast(values, self.stored.field(groups.len()).data_type())?);
        let stored = self.table.lookup(&at, Some(&[groups.len() + 1]))?;
        let Counted { fresh, set, counts, gone } = counted(&stored.columns[0], &each)?;
        if !set.is_empty() {
            let set = UInt32Array::from(set);
            let mut columns = at.iter().map(|c| take(c, &set, None)).collect::<Result<Vec<_>, _>>()?;
            columns.push(Arc::new(Int64Array::from(counts)));
            commit.upsert(&self.table, RecordBatch::try_new(Arc::clone(&self.stored), columns)?);
        }
        if !gone.is_empty() {
            let places = UInt32Array::from(gone.clone());
            let columns = at.iter().map(|c| take(c, &places, None)).collect::<Result<Vec<_>, _>>()?;
            let schema = Arc::new(self.stored.project(&(0..=groups.len()).collect::<Vec<_>>())?);
            commit.delete(&self.table, RecordBatch::try_new(schema, columns)?);
        }
        let seen = |rows: Vec<u32>| -> Result<Seen, QueryError> {
            let places = rows.iter().map(|row| place.value(*row as usize) as usize).collect();
            Ok(Seen { values: take(values, &UInt32Array::from(rows), None)?, places })
        };
        Ok((seen(fresh)?, seen(gone)?))
    }
}
