//! A lookup at work: the keys of the whole batch, one multi-get, gather.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{and, not};
use pluvio_keytables::KeyTable;
use pluvio_query::QueryError;
use pluvio_query::rows::loose;

use super::delta::batch_of;
use super::truth;
use crate::compile::{Lookup, LookupJoin};

/// A lookup and its table.
pub struct LookupRunner {
    pub lookup: Lookup,
    pub table: Arc<KeyTable>,
}

/// What a lookup gives.
pub struct Joined {
    /// The rows with the table's columns.
    pub rows: RecordBatch,
    /// Which of them are the result's.
    pub kept: BooleanArray,
    /// Whose key is in the table.
    pub known: BooleanArray,
}

impl LookupRunner {
    /// The rows joined with what was found.
    pub fn run(&self, batch: &RecordBatch) -> Result<Joined, QueryError> {
        let rows = batch.num_rows();
        let key = |e: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| e.evaluate(batch)?.into_array(rows);
        let keys = self.lookup.keys.iter().map(key).collect::<datafusion::error::Result<Vec<_>>>()?;
        let found = self.table.lookup(&keys, Some(&self.lookup.columns))?;
        // SQL's equality: a NULL key matches nothing, not even a NULL.
        let mut matched = found.found;
        for key in &keys {
            if key.null_count() > 0 {
                let valid = datafusion::arrow::compute::is_not_null(key)?;
                matched = and(&matched, &valid)?;
            }
        }
        let known = matched.clone();
        for filter in &self.lookup.filters {
            let columns = self.table.lookup(&keys, Some(&filter.columns))?.columns;
            let rows_of_table = batch_of(&loose(&filter.schema), columns, rows)?;
            let holds = filter.predicate.evaluate(&rows_of_table)?.into_array(rows)?;
            matched = and(&matched, &truth(&holds)?)?;
        }
        let blanked;
        let found_columns = match matched.true_count() < known.true_count() {
            true => {
                blanked = blank(&found.columns, &matched)?;
                &blanked
            }
            false => &found.columns,
        };
        let mut joined = self.joined(batch, found_columns)?;
        if let Some(condition) = &self.lookup.condition {
            let holds = condition.evaluate(&joined)?.into_array(rows)?;
            let holds = truth(&holds)?;
            matched = and(&matched, &holds)?;
            if self.lookup.join == LookupJoin::Left && matched.true_count() < rows {
                joined = self.joined(batch, &blank(&found.columns, &matched)?)?;
            }
        }
        let (rows, kept) = match self.lookup.join {
            LookupJoin::Left => (joined, BooleanArray::from(vec![true; rows])),
            LookupJoin::Inner => (joined, matched),
            LookupJoin::Semi => (batch.clone(), matched),
            LookupJoin::Anti => (batch.clone(), not(&matched)?),
        };
        Ok(Joined { rows, kept, known })
    }

    fn joined(&self, batch: &RecordBatch, table: &[ArrayRef]) -> Result<RecordBatch, QueryError> {
        let (stream, carried) = batch.columns().split_at(self.lookup.stream_width);
        let (first, second) = if self.lookup.table_first { (table, stream) } else { (stream, table) };
        let columns = first.iter().chain(second).chain(carried).cloned().collect();
        batch_of(&self.lookup.schema, columns, batch.num_rows())
    }
}

/// The columns with NULL wherever the row does not match.
fn blank(columns: &[ArrayRef], matched: &BooleanArray) -> Result<Vec<ArrayRef>, QueryError> {
    let blank = |column: &ArrayRef| {
        let null = new_null_array(column.data_type(), column.len());
        Ok(zip(matched, column, &null)?)
    };
    columns.iter().map(blank).collect()
}
