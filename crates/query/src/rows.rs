//! Batches of rows, also without columns, and rows that stand there more often than
//! once: what tables and operators share.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use pluvio_foundation::ErrorKind;

use crate::error::QueryError;

/// The schema with every column nullable.
pub fn loose(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch of columns, which may be none.
///
/// # Errors
/// Columns that are not the schema's.
pub fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, QueryError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The rows at these places.
///
/// # Errors
/// Arrow's.
pub fn take_rows(rows: &RecordBatch, places: &UInt32Array) -> Result<RecordBatch, QueryError> {
    let columns = rows.columns().iter().map(|column| take(column, places, None));
    batch_of(&rows.schema(), columns.collect::<Result<_, _>>()?, places.len())
}

/// The places of a batch's rows, each as often as its weight says.
///
/// # Errors
/// A negative weight: a row was taken back that was never there.
pub fn copies(weights: &Int64Array) -> Result<UInt32Array, QueryError> {
    let mut places = Vec::with_capacity(weights.len());
    for (row, weight) in (0_u32..).zip(weights.values()) {
        let times = usize::try_from(*weight).map_err(|_| never_there())?;
        places.extend(std::iter::repeat_n(row, times));
    }
    Ok(places.into())
}

/// A row was taken back that was never there.
pub fn never_there() -> QueryError {
    let message = "a row was taken back that was never there: please report the view's query";
    QueryError::new(ErrorKind::Internal, message)
}
