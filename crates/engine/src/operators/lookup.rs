//! A lookup at work: the keys of the whole batch, one multi-get, gather.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{and, not, prep_null_mask_filter};
use datafusion::common::cast::as_boolean_array;
use pluvio_keytables::KeyTable;
use pluvio_query::QueryError;

use crate::compile::{Lookup, LookupJoin};

/// A lookup and its table.
pub struct LookupRunner {
    pub lookup: Lookup,
    pub table: Arc<KeyTable>,
}

impl LookupRunner {
    /// The rows joined with what was found, and which of them are the result's.
    pub fn run(&self, batch: &RecordBatch) -> Result<(RecordBatch, BooleanArray), QueryError> {
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
        let mut joined = self.joined(batch, &found.columns)?;
        if let Some(condition) = &self.lookup.condition {
            let holds = condition.evaluate(&joined)?.into_array(rows)?;
            let holds = prep_null_mask_filter(as_boolean_array(&holds)?);
            matched = and(&matched, &holds)?;
            if self.lookup.join == LookupJoin::Left && matched.true_count() < rows {
                joined = self.joined(batch, &blank(&found.columns, &matched)?)?;
            }
        }
        Ok(match self.lookup.join {
            LookupJoin::Left => (joined, BooleanArray::from(vec![true; rows])),
            LookupJoin::Inner => (joined, matched),
            LookupJoin::Semi => (batch.clone(), matched),
            LookupJoin::Anti => (batch.clone(), not(&matched)?),
        })
    }

    fn joined(&self, batch: &RecordBatch, table: &[ArrayRef]) -> Result<RecordBatch, QueryError> {
        let (stream, carried) = batch.columns().split_at(self.lookup.stream_width);
        let (first, second) = if self.lookup.table_first { (table, stream) } else { (stream, table) };
        let columns = first.iter().chain(second).chain(carried).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.lookup.schema), columns, &options)?)
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
