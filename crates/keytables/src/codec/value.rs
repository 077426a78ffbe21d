//! A row's non-key columns as bytes.
//!
//! ```text
//! value   version u8 (= 1), row
//! row     ceil(columns / 8) bytes, bit i set = column i is null; then the cells
//!         of the columns that are not, in schema order
//! cell    boolean           u8
//!         fixed width       its bytes, little-endian
//!         string, binary    length varint, bytes
//!         list, map         length varint, ceil(length / 8) bytes of null bits,
//!                           then the cells of the elements that are not null
//!         struct            row
//! varint  7 bits per byte, lowest first, high bit = more follow
//! ```

use arrow::array::{ArrayRef, RecordBatch};

use super::builder::Accumulator;
use super::column::{Cells, Column};
use crate::error::{Result, TableError};

const VERSION: u8 = 1;

/// Writes rows of some columns.
#[derive(Debug)]
pub(crate) struct ValueEncoder {
    columns: Vec<Column>,
}

impl ValueEncoder {
    /// For the columns of `batch` at `positions`.
    pub(crate) fn new(batch: &RecordBatch, positions: &[usize]) -> Result<Self> {
        Self::of(positions.iter().map(|position| batch.column(*position)))
    }

    /// For these columns.
    pub(crate) fn of<'a>(columns: impl Iterator<Item = &'a ArrayRef>) -> Result<Self> {
        Ok(Self { columns: columns.map(Column::of).collect::<Result<_>>()? })
    }

    /// Appends one row as a value.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.write_row(row, out);
    }

    /// Appends one row without the version.
    pub(crate) fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        write_row(&self.columns, row, out);
    }
}

fn write_row(columns: &[Column], row: usize, out: &mut Vec<u8>) {
    write_null_bits(columns.len(), |position| columns[position].is_null(row), out);
    for column in columns {
        if !column.is_null(row) {
            write_cell(&column.cells, row, out);
        }
    }
}

fn write_null_bits(count: usize, is_null: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
    for first in (0..count).step_by(8) {
        let mut byte = 0_u8;
        for position in first..count.min(first + 8) {
            byte |= u8::from(is_null(position)) << (position - first);
        }
        out.push(byte);
    }
}

fn write_cell(cells: &Cells, row: usize, out: &mut Vec<u8>) {
    match cells {
        Cells::Null => {}
        Cells::Bool(values) => out.push(u8::from(values.value(row))),
        Cells::Fixed { width, bytes } => out.extend_from_slice(&bytes[row * width..(row + 1) * width]),
        Cells::Bytes32 { offsets, bytes } => write_bytes(&bytes[range(offsets, row)], out),
        Cells::Bytes64 { offsets, bytes } => write_bytes(&bytes[range(offsets, row)], out),
        Cells::List32 { offsets, child } => write_list(child, range(offsets, row), out),
        Cells::List64 { offsets, child } => write_list(child, range(offsets, row), out),
        Cells::FixedList { size, first, child } => {
            let start = first + row * size;
            write_list(child, start..start + size, out);
        }
        Cells::Struct(columns) => write_row(columns, row, out),
    }
}

fn range<O: arrow::array::OffsetSizeTrait>(
    offsets: &arrow::buffer::OffsetBuffer<O>,
    row: usize,
) -> std::ops::Range<usize> {
    offsets[row].as_usize()..offsets[row + 1].as_usize()
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_list(child: &Column, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
    write_varint(rows.len() as u64, out);
    write_null_bits(rows.len(), |position| child.is_null(rows.start + position), out);
    for row in rows {
        if !child.is_null(row) {
            write_cell(&child.cells, row, out);
        }
    }
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Collects values into columns.
#[derive(Debug)]
pub(crate) struct ValueDecoder {
    columns: Vec<Accumulator>,
}

impl ValueDecoder {
    /// For columns of these fields.
    pub(crate) fn new<'a>(fields: impl Iterator<Item = &'a arrow::datatypes::FieldRef>) -> Result<Self> {
        let columns = fields.map(|field| Accumulator::new(field.data_type())).collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    /// Adds one row.
    pub(crate) fn read(&mut self, value: &[u8]) -> Result<()> {
        let Some((VERSION, mut rest)) = value.split_first().map(|(version, rest)| (*version, rest)) else {
            return Err(TableError::corrupt_row("a row's value has an unknown version"));
        };
        super::builder::read_row(&mut self.columns, &mut rest)?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(TableError::corrupt_row("a row's value has bytes left over"))
        }
    }

    /// The columns so far; the decoder starts over.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        self.columns.iter_mut().map(Accumulator::finish).collect()
    }
}
