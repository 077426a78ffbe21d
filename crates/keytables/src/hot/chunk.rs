//! Some rows of a hot table: immutable once made.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::datatypes::DataType;

use super::groups::Groups;
use super::keys::{KeyColumn, Keys};
use crate::codec::row::RowLayout;
use crate::error::{Result, TableError};
use crate::options::CHUNK_ROWS_MAX;

/// Rows with their keys.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// All columns of the table.
    pub(crate) batch: RecordBatch,
    /// The keys, row by row.
    pub(crate) keys: Keys,
    /// Which rows belong together, in a grouped table.
    pub(crate) groups: Option<Groups>,
    /// Bytes held.
    pub(crate) bytes: usize,
}

impl Chunk {
    /// A chunk of rows that own their memory.
    pub(crate) fn new(batch: RecordBatch, layout: &RowLayout) -> Result<Self> {
        let keys = Keys::of(layout.shape, &layout.key_columns(&batch))?;
        let groups = match (&layout.grouping, &keys.column) {
            (Some(grouping), KeyColumn::Encoded(encoded)) => Some(Groups::of(encoded, grouping)),
            _ => None,
        };
        let bytes = batch.get_array_memory_size()
            + keys.extra_bytes()
            + groups.as_ref().map_or(0, Groups::memory_bytes);
        Ok(Self { batch, keys, groups, bytes })
    }

    /// How many rows, dead ones included.
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }
}

/// Cuts a batch into chunks of at most [`CHUNK_ROWS_MAX`] rows. Memory that the
/// batch only borrows from something larger is copied out of it.
pub(crate) fn chunks_of(batch: &RecordBatch, layout: &RowLayout) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(batch.num_rows().div_ceil(CHUNK_ROWS_MAX));
    let mut start = 0;
    while start < batch.num_rows() {
        let rows = CHUNK_ROWS_MAX.min(batch.num_rows() - start);
        chunks.push(Chunk::new(owned(&batch.slice(start, rows))?, layout)?);
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
