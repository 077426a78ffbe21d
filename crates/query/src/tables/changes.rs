//! What a stream of changes comes to: the rows that are there after all its
//! events, as the engine's changelog operator keeps them.
//!
//! Rule: events count in the order of their offsets, partition after partition.
//! By key, a row replaces the one before it and a deletion takes it away. Without
//! a key, a row that goes takes one like it away; if there is none, it is passed
//! over.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use pluvio_keytables::fingerprints;

use crate::QueryError;

/// The rows that are there.
#[derive(Default)]
pub struct Standing {
    batches: Vec<RecordBatch>,
    /// By name, the places of the rows that are there: batch and row.
    there: HashMap<[u8; 16], Vec<(usize, u32)>, ahash::RandomState>,
}

impl Standing {
    /// Takes changes in; `key` are the key's columns, if there is one.
    ///
    /// # Errors
    /// A column that cannot be part of a key.
    pub fn add(
        &mut self,
        rows: RecordBatch,
        weights: Option<&[i64]>,
        key: &[usize],
    ) -> Result<(), QueryError> {
        let columns: Vec<ArrayRef> = match key {
            [] => rows.columns().to_vec(),
            key => key.iter().map(|place| Arc::clone(rows.column(*place))).collect(),
        };
        let names = fingerprints(&columns, rows.num_rows())?;
        let batch = self.batches.len();
        for (row, place) in (0..rows.num_rows()).zip(0_u32..) {
            let Ok(name) = <[u8; 16]>::try_from(names.value(row)) else { continue };
            let comes = weights.is_none_or(|weights| weights[row] > 0);
            let there = self.there.entry(name).or_default();
            match (comes, key.is_empty()) {
                (true, true) => there.push((batch, place)),
                (true, false) => *there = vec![(batch, place)],
                (false, true) => drop(there.pop()),
                (false, false) => there.clear(),
            }
            if there.is_empty() {
                self.there.remove(&name);
            }
        }
        self.batches.push(rows);
        Ok(())
    }

    /// The rows, in the order in which they came.
    ///
    /// # Errors
    /// Arrow's.
    pub fn rows(self) -> Result<Option<RecordBatch>, QueryError> {
        let Some(first) = self.batches.first() else { return Ok(None) };
        let mut starts = Vec::with_capacity(self.batches.len());
        let mut count = 0_u32;
        for batch in &self.batches {
            starts.push(count);
            count += u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        }
        let mut places: Vec<u32> =
            self.there.values().flatten().map(|(batch, row)| starts[*batch] + row).collect();
        places.sort_unstable();
        let all = concat_batches(first.schema_ref(), &self.batches)?;
        Ok(Some(take_record_batch(&all, &UInt32Array::from(places))?))
    }
}
