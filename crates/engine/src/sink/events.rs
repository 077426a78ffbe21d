//! Rows and changes as events, on their way into batches, by partition.

use std::collections::HashMap;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use pluvio_catalog::{Changes, KafkaSinkDef};
use pluvio_formats::{Change, changes_of, encode_debezium, encode_json};
use pluvio_foundation::hash::kafka_key_hash;
use pluvio_query::tables::WEIGHT;
use pluvio_query::{QueryError, event_values};
use pluvio_wire_kafka::WireError;
use pluvio_wire_kafka::records::BatchBuilder;

/// A batch is closed at this size, before compression.
const BATCH_BYTES: usize = 512 << 10;

/// See the module.
pub struct Events {
    open: Vec<Vec<BatchBuilder>>,
    /// Where events without a key go at present.
    turn: usize,
    now_ms: i64,
}

impl Events {
    /// Events of rows up to this epoch, for a topic of so many partitions.
    pub fn new(partitions: usize, epoch: u64, now_ms: i64) -> Self {
        let turn = usize::try_from(epoch).unwrap_or(0);
        Self { open: (0..partitions).map(|_| Vec::new()).collect(), turn, now_ms }
    }

    /// Adds rows, or changes of rows with this key.
    ///
    /// # Errors
    /// A value that the format cannot hold.
    pub fn add(
        &mut self,
        target: &KafkaSinkDef,
        key: Option<&[usize]>,
        rows: &RecordBatch,
    ) -> Result<(), QueryError> {
        match (target.changes, key) {
            (Changes::Append, _) | (_, None) => self.add_rows(target, rows),
            (changes, Some(key)) => self.add_changes(target, changes, key, rows),
        }
    }

    fn add_rows(&mut self, target: &KafkaSinkDef, rows: &RecordBatch) -> Result<(), QueryError> {
        let keys = target.key.as_ref().and_then(|key| rows.column_by_name(key));
        let values = match target.changes {
            Changes::Rows => {
                let all: Vec<Change> = (0..rows.num_rows()).map(Change::Insert).collect();
                debezium(rows, &all, target, self.now_ms)?
            }
            Changes::Append | Changes::Upsert => event_values(&target.format, rows)?,
        };
        for (row, value) in values.iter().enumerate() {
            let key = match keys {
                Some(column) if !column.is_null(row) => Some(array_value_to_string(column, row)?),
                _ => None,
            };
            self.push(key.as_deref(), Some(value));
        }
        Ok(())
    }

    fn add_changes(
        &mut self,
        target: &KafkaSinkDef,
        how: Changes,
        key: &[usize],
        changes: &RecordBatch,
    ) -> Result<(), QueryError> {
        let width = changes.schema_ref().index_of(WEIGHT)?;
        let weights = changes.column(width).as_primitive::<Int64Type>();
        let rows = changes.project(&(0..width).collect::<Vec<_>>())?;
        // A key that is not among the columns cannot be told.
        let keys = match key.iter().all(|place| *place < width) {
            true => Some(key_texts(&rows.project(key)?)?),
            false => None,
        };
        let changed = match &keys {
            Some(keys) => by_key(keys, weights),
            None => changes_of(weights.values())?,
        };
        let values = match how {
            Changes::Rows => debezium(&rows, &changed, target, self.now_ms)?,
            Changes::Append | Changes::Upsert => event_values(&target.format, &rows)?,
        };
        for (place, change) in changed.into_iter().enumerate() {
            let (row, comes) = match change {
                Change::Insert(row) | Change::Update { after: row, .. } => (row, true),
                Change::Delete(row) => (row, false),
            };
            let value = match how {
                Changes::Rows => Some(&values[place]),
                Changes::Append | Changes::Upsert => comes.then(|| &values[row]),
            };
            self.push(keys.as_ref().map(|keys| keys[row].as_str()), value.map(Vec::as_slice));
        }
        Ok(())
    }

    /// Adds an event: one with a key where every Kafka client would put it, others
    /// to one partition after the other, batch by batch.
    fn push(&mut self, key: Option<&str>, value: Option<&[u8]>) {
        let is_full =
            |batches: &Vec<BatchBuilder>| batches.last().is_some_and(|batch| batch.bytes() >= BATCH_BYTES);
        let count = self.open.len();
        let partition = match key {
            Some(key) => kafka_key_hash(key.as_bytes()) as usize % count,
            None => {
                self.turn += usize::from(is_full(&self.open[self.turn % count]));
                self.turn % count
            }
        };
        let batches = &mut self.open[partition];
        if batches.is_empty() || is_full(batches) {
            batches.push(BatchBuilder::new(self.now_ms));
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(key.map(str::as_bytes), value, self.now_ms, &[]);
        }
    }

    /// The batches, sealed, each with its partition.
    ///
    /// # Errors
    /// A batch that is too large.
    pub fn finish(
        self,
        mut seal: impl FnMut(i32, BatchBuilder) -> Result<Bytes, WireError>,
    ) -> Result<Vec<(i32, Bytes)>, QueryError> {
        let mut sealed = Vec::new();
        for (partition, batches) in self.open.into_iter().enumerate() {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            for batch in batches {
                let bytes = seal(partition, batch).map_err(|e| QueryError::new(e.kind(), e.to_string()))?;
                sealed.push((partition, bytes));
            }
        }
        Ok(sealed)
    }
}

/// The key of each row: its text if it is one column, else a JSON object.
fn key_texts(keys: &RecordBatch) -> Result<Vec<String>, QueryError> {
    match keys.columns() {
        [one] => (0..keys.num_rows()).map(|row| Ok(array_value_to_string(one, row)?)).collect(),
        _ => Ok(encode_json(keys)?.iter().map(str::to_owned).collect()),
    }
}

/// One change for each key: a row that goes and one that comes are an update.
fn by_key(keys: &[String], weights: &Int64Array) -> Vec<Change> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut changes: Vec<Change> = Vec::new();
    for (row, key) in keys.iter().enumerate() {
        let comes = weights.value(row) > 0;
        let place = *places.entry(key).or_insert(changes.len());
        match (changes.get(place).copied(), comes) {
            (None, true) => changes.push(Change::Insert(row)),
            (None, false) => changes.push(Change::Delete(row)),
            (Some(Change::Delete(before)), true) => changes[place] = Change::Update { before, after: row },
            (Some(Change::Insert(after)), false) => changes[place] = Change::Update { before: row, after },
            (Some(Change::Update { before, .. }), true) => {
                changes[place] = Change::Update { before, after: row }
            }
            (Some(_), _) => {}
        }
    }
    changes
}

fn debezium(
    rows: &RecordBatch,
    changes: &[Change],
    target: &KafkaSinkDef,
    now_ms: i64,
) -> Result<Vec<Vec<u8>>, QueryError> {
    let events = encode_debezium(rows, changes, &target.topic, now_ms)?;
    Ok(events.iter().map(|event| event.as_bytes().to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_for_each_key() {
        let keys: Vec<String> = ["a", "b", "a", "c", "b"].iter().map(|key| (*key).to_owned()).collect();
        let weights = Int64Array::from(vec![-1, 1, 1, -1, -1]);
        let expected = [
            Change::Update { before: 0, after: 2 },
            Change::Update { before: 4, after: 1 },
            Change::Delete(3),
        ];
        assert_eq!(by_key(&keys, &weights), expected);
    }
}
