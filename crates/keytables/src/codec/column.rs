//! A column laid open for reading cell by cell, whatever its Arrow type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::storage_type;
use crate::error::{Result, TableError};

/// The values of a column, without its nulls.
#[derive(Debug)]
pub(crate) enum Cells {
    /// No values at all.
    Null,
    /// One bit each.
    Bool(BooleanBuffer),
    /// `width` bytes each, as Arrow holds them (little-endian).
    Fixed { width: usize, bytes: Buffer },
    /// Byte strings with 32-bit offsets.
    Bytes32 { offsets: OffsetBuffer<i32>, bytes: Buffer },
    /// Byte strings with 64-bit offsets.
    Bytes64 { offsets: OffsetBuffer<i64>, bytes: Buffer },
    /// Lists with 32-bit offsets.
    List32 { offsets: OffsetBuffer<i32>, child: Box<Column> },
    /// Lists with 64-bit offsets.
    List64 { offsets: OffsetBuffer<i64>, child: Box<Column> },
    /// Lists of one length.
    FixedList { size: usize, first: usize, child: Box<Column> },
    /// Several columns side by side.
    Struct(Vec<Column>),
}

/// A column: which rows are null, and the values of the others.
#[derive(Debug)]
pub(crate) struct Column {
    nulls: Option<NullBuffer>,
    /// The values.
    pub(crate) cells: Cells,
}

impl Column {
    /// Lays an array open; casts it to its stored type first if need be.
    pub(crate) fn of(array: &ArrayRef) -> Result<Self> {
        let stored = storage_type(array.data_type())
            .ok_or(TableError::Internal("a column without a stored type passed the schema check"))?;
        if stored == *array.data_type() {
            return Self::of_stored(array);
        }
        let array =
            cast(array, &stored).map_err(TableError::arrow("converting a column to its stored type"))?;
        Self::of_stored(&array)
    }

    fn of_stored(array: &ArrayRef) -> Result<Self> {
        let cells = match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Bool(array.as_boolean().values().clone()),
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                Cells::Bytes32 { offsets: array.offsets().clone(), bytes: array.values().clone() }
            }
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                Cells::Bytes32 { offsets: array.offsets().clone(), bytes: array.values().clone() }
            }
            DataType::LargeUtf8 => {
                let array = array.as_string::<i64>();
                Cells::Bytes64 { offsets: array.offsets().clone(), bytes: array.values().clone() }
            }
            DataType::LargeBinary => {
                let array = array.as_binary::<i64>();
                Cells::Bytes64 { offsets: array.offsets().clone(), bytes: array.values().clone() }
            }
            DataType::FixedSizeBinary(width) => fixed(array, usize::try_from(*width).unwrap_or(0))?,
            DataType::Struct(_) => {
                Cells::Struct(array.as_struct().columns().iter().map(Self::of).collect::<Result<_>>()?)
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let entries: ArrayRef = Arc::new(map.entries().clone());
                Cells::List32 { offsets: map.offsets().clone(), child: Box::new(Self::of(&entries)?) }
            }
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => list(array)?,
            other => match other.primitive_width() {
                Some(width) => fixed(array, width)?,
                None => return Err(TableError::Internal("a column of an unknown stored type")),
            },
        };
        let nulls = if matches!(cells, Cells::Null) {
            Some(NullBuffer::new_null(array.len()))
        } else {
            array.nulls().cloned()
        };
        Ok(Self { nulls, cells })
    }

    /// Whether the cell is null.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

fn fixed(array: &ArrayRef, width: usize) -> Result<Cells> {
    let data = array.to_data();
    let bytes =
        data.buffers().first().ok_or(TableError::Internal("a fixed-width column without a buffer"))?;
    Ok(Cells::Fixed { width, bytes: bytes.slice_with_length(data.offset() * width, data.len() * width) })
}

fn list(array: &ArrayRef) -> Result<Cells> {
    if let Some(list) = array.as_list_opt::<i32>() {
        let child = Box::new(Column::of(list.values())?);
        return Ok(Cells::List32 { offsets: list.offsets().clone(), child });
    }
    if let Some(list) = array.as_list_opt::<i64>() {
        let child = Box::new(Column::of(list.values())?);
        return Ok(Cells::List64 { offsets: list.offsets().clone(), child });
    }
    let list = array.as_fixed_size_list();
    let first = usize::try_from(list.value_offset(0)).unwrap_or(0);
    let size = usize::try_from(list.value_length()).unwrap_or(0);
    Ok(Cells::FixedList { size, first, child: Box::new(Column::of(list.values())?) })
}
