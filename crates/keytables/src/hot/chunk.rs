//! Some rows of a hot table: immutable once made.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::datatypes::DataType;

use super::keys::{KeyShape, Keys};
use crate::error::{Result, TableError};
use crate::options::CHUNK_ROWS_MAX;

/// Rows with their keys.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// All columns of the table.
    pub(crate) batch: RecordBatch,
    /// The keys, row by row.
    pub(crate) keys: Keys,
    /// Bytes held.
    pub(crate) bytes: usize,
}

impl Chunk {
    /// A chunk of rows that own their memory.
    pub(crate) fn new(batch: RecordBatch, shape: KeyShape, key: &[usize]) -> Result<Self> {
        let columns: Vec<ArrayRef> = key.iter().map(|column| batch.column(*column).clone()).collect();
        let keys = Keys::of(shape, &columns)?;
        let bytes = batch.get_array_memory_size() + keys.extra_bytes();
        Ok(Self { batch, keys, bytes })
    }

    /// How many rows, dead ones included.
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }
}

/// Cuts a batch into chunks of at most [`CHUNK_ROWS_MAX`] rows. Memory that the
/// batch only borrows from something larger is copied out of it.
pub(crate) fn chunks_of(batch: &RecordBatch, shape: KeyShape, key: &[usize]) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(batch.num_rows().div_ceil(CHUNK_ROWS_MAX));
    let mut start = 0;
    while start < batch.num_rows() {
        let rows = CHUNK_ROWS_MAX.min(batch.num_rows() - start);
        chunks.push(Chunk::new(owned(&batch.slice(start, rows))?, shape, key)?);
        start += rows;
    }
    Ok(chunks)
}

/// The same rows in memory of their own, copied only where the batch holds much
/// more than it shows.
pub(crate) fn owned(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(owned_column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(batch.schema(), columns).map_err(TableError::arrow("copying rows"))
}

fn owned_column(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Utf8View => return Ok(Arc::new(column.as_string_view().gc())),
        DataType::BinaryView => return Ok(Arc::new(column.as_binary_view().gc())),
        _ => {}
    }
    let data = column.to_data();
    let shown = data.get_slice_memory_size().map_err(TableError::arrow("measuring rows"))?;
    if column.get_buffer_memory_size() <= shown + shown / 4 + 1024 {
        return Ok(column.clone());
    }
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len()).map_err(TableError::arrow("copying rows"))?;
    let mut array = make_array(copy.freeze());
    array.shrink_to_fit();
    Ok(array)
}
