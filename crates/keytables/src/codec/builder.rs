//! Columns built cell by cell from stored bytes.

use arrow::array::{ArrayRef, BooleanBufferBuilder, make_array};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::storage_type;
use crate::error::{Result, TableError};

#[derive(Debug)]
enum Values {
    Null,
    Bool(BooleanBufferBuilder),
    Fixed { width: usize, bytes: MutableBuffer },
    Bytes { large: bool, ends: Vec<i64>, bytes: Vec<u8> },
    List { large: bool, ends: Vec<i64>, child: Box<Accumulator> },
    FixedList { size: usize, child: Box<Accumulator> },
    Struct(Vec<Accumulator>),
}

/// One column being built.
#[derive(Debug)]
pub(crate) struct Accumulator {
    wanted: DataType,
    stored: DataType,
    valid: BooleanBufferBuilder,
    null_count: usize,
    values: Values,
}

impl Accumulator {
    /// For a column of this type.
    pub(crate) fn new(wanted: &DataType) -> Result<Self> {
        let stored = storage_type(wanted)
            .ok_or(TableError::Internal("a type without a stored form passed the check"))?;
        let values = Self::empty(&stored)?;
        let valid = BooleanBufferBuilder::new(0);
        Ok(Self { wanted: wanted.clone(), stored, valid, null_count: 0, values })
    }

    fn empty(stored: &DataType) -> Result<Values> {
        let child = |data_type: &DataType| Self::new(data_type).map(Box::new);
        Ok(match stored {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Utf8 | DataType::Binary => {
                Values::Bytes { large: false, ends: Vec::new(), bytes: Vec::new() }
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                Values::Bytes { large: true, ends: Vec::new(), bytes: Vec::new() }
            }
            DataType::List(field) | DataType::Map(field, _) => {
                Values::List { large: false, ends: Vec::new(), child: child(field.data_type())? }
            }
            DataType::LargeList(field) => {
                Values::List { large: true, ends: Vec::new(), child: child(field.data_type())? }
            }
            DataType::FixedSizeList(field, size) => Values::FixedList {
                size: usize::try_from(*size).unwrap_or(0),
                child: child(field.data_type())?,
            },
            DataType::Struct(fields) => Values::Struct(
                fields.iter().map(|field| Self::new(field.data_type())).collect::<Result<_>>()?,
            ),
            DataType::FixedSizeBinary(width) => {
                Values::Fixed { width: usize::try_from(*width).unwrap_or(0), bytes: MutableBuffer::new(0) }
            }
            other => match other.primitive_width() {
                Some(width) => Values::Fixed { width, bytes: MutableBuffer::new(0) },
                None => return Err(TableError::Internal("no builder for a stored type")),
            },
        })
    }

    /// Adds a null.
    pub(crate) fn append_null(&mut self) {
        self.valid.append(false);
        self.null_count += 1;
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.append(false),
            Values::Fixed { width, bytes } => bytes.extend_zeros(*width),
            Values::Bytes { ends, bytes, .. } => ends.push(bytes.len() as i64),
            Values::List { ends, child, .. } => ends.push(child.valid.len() as i64),
            Values::FixedList { size, child } => (0..*size).for_each(|_| child.append_null()),
            Values::Struct(children) => children.iter_mut().for_each(Self::append_null),
        }
    }

    /// Adds a fixed-width value of the column's own width.
    pub(crate) fn append_fixed(&mut self, value: &[u8]) -> Result<()> {
        self.valid.append(true);
        match &mut self.values {
            Values::Fixed { width, bytes } if *width == value.len() => {
                bytes.extend_from_slice(value);
                Ok(())
            }
            Values::Bool(values) if value.len() == 1 => {
                values.append(value[0] != 0);
                Ok(())
            }
            _ => Err(TableError::Internal("a cell of another width than its column")),
        }
    }

    /// Adds a string or binary value.
    pub(crate) fn append_bytes(&mut self, value: &[u8]) -> Result<()> {
        self.valid.append(true);
        match &mut self.values {
            Values::Bytes { ends, bytes, .. } => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as i64);
                Ok(())
            }
            _ => Err(TableError::Internal("bytes for a column that holds none")),
        }
    }

    /// Reads a cell as `value.rs` describes it.
    fn read(&mut self, rest: &mut &[u8]) -> Result<()> {
        match &mut self.values {
            Values::Null => Err(TableError::corrupt_row("a value in a column of nulls")),
            Values::Bool(_) => self.append_fixed(take(rest, 1)?),
            Values::Fixed { width, .. } => {
                let value = take(rest, *width)?;
                self.append_fixed(value)
            }
            Values::Bytes { .. } => {
                let length = read_varint(rest)?;
                self.append_bytes(take(rest, length)?)
            }
            Values::List { ends, child, .. } => {
                read_list(child, rest)?;
                ends.push(child.valid.len() as i64);
                self.valid.append(true);
                Ok(())
            }
            Values::FixedList { size, child } => {
                if read_list(child, rest)? != *size {
                    return Err(TableError::corrupt_row("a fixed-size list of another size"));
                }
                self.valid.append(true);
                Ok(())
            }
            Values::Struct(children) => {
                read_row(children, rest)?;
                self.valid.append(true);
                Ok(())
            }
        }
    }

    /// The column so far; the accumulator starts over.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        let array = make_array(self.finish_stored()?);
        if self.wanted == self.stored {
            return Ok(array);
        }
        cast(&array, &self.wanted).map_err(TableError::arrow("converting a stored column to its type"))
    }

    fn finish_stored(&mut self) -> Result<arrow::array::ArrayData> {
        let length = self.valid.len();
        let mut data = arrow::array::ArrayData::builder(self.stored.clone()).len(length);
        let valid = self.valid.finish();
        if self.null_count > 0 && self.stored != DataType::Null {
            data = data.null_bit_buffer(Some(valid.into_inner()));
        }
        self.null_count = 0;
        data = match &mut self.values {
            Values::Null => data,
            Values::Bool(values) => data.add_buffer(values.finish().into_inner()),
            Values::Fixed { bytes, .. } => {
                data.add_buffer(std::mem::replace(bytes, MutableBuffer::new(0)).into())
            }
            Values::Bytes { large, ends, bytes } => {
                let offsets = offsets(*large, ends)?;
                data.add_buffer(offsets).add_buffer(Buffer::from_vec(std::mem::take(bytes)))
            }
            Values::List { large, ends, child } => {
                data.add_buffer(offsets(*large, ends)?).add_child_data(child.finish_stored()?)
            }
            Values::FixedList { child, .. } => data.add_child_data(child.finish_stored()?),
            Values::Struct(children) => {
                let children = children.iter_mut().map(Self::finish_stored).collect::<Result<_>>()?;
                data.child_data(children)
            }
        };
        data.build()
            .map_err(|error| TableError::corrupt_row(format!("a stored column is not valid: {error}")))
    }
}

fn offsets(large: bool, ends: &mut Vec<i64>) -> Result<Buffer> {
    let ends = std::mem::take(ends);
    let all = std::iter::once(0).chain(ends);
    if large {
        return Ok(Buffer::from_vec(all.collect::<Vec<i64>>()));
    }
    let narrow: std::result::Result<Vec<i32>, _> = all.map(i32::try_from).collect();
    let narrow =
        narrow.map_err(|_| TableError::Internal("more than 2 GiB of one column were read at once"))?;
    Ok(Buffer::from_vec(narrow))
}

/// Reads the cells of one row into their columns.
pub(crate) fn read_row(columns: &mut [Accumulator], rest: &mut &[u8]) -> Result<()> {
    let nulls = take(rest, columns.len().div_ceil(8))?;
    for (position, column) in columns.iter_mut().enumerate() {
        if nulls[position / 8] >> (position % 8) & 1 == 1 {
            column.append_null();
        } else {
            column.read(rest)?;
        }
    }
    Ok(())
}

fn read_list(child: &mut Accumulator, rest: &mut &[u8]) -> Result<usize> {
    let length = read_varint(rest)?;
    let nulls = take(rest, length.div_ceil(8))?;
    for position in 0..length {
        if nulls[position / 8] >> (position % 8) & 1 == 1 {
            child.append_null();
        } else {
            child.read(rest)?;
        }
    }
    Ok(length)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or_else(|| TableError::corrupt_row("a row's value ends too early"))?;
    *rest = left;
    Ok(taken)
}

fn read_varint(rest: &mut &[u8]) -> Result<usize> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(value).map_err(|_| TableError::corrupt_row("a length is too large"));
        }
    }
    Err(TableError::corrupt_row("a length does not end"))
}
