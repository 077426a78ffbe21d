//! A row's key columns as bytes that sort as the columns do, nulls first.
//!
//! ```text
//! key     for each key column: 0x00 if null, else 0x01 and
//!   boolean             u8
//!   integer, temporal   big-endian, sign bit flipped if signed
//!   float               big-endian; all bits flipped if negative, else the sign bit
//!   fixed binary        its bytes
//!   string, binary      its bytes with 0x00 written as 0x00 0xFF, then 0x00 0x00
//! ```
//!
//! NULL is a key value like any other, equal to itself. Floats are equal when
//! their bits are.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};

use super::builder::Accumulator;
use super::column::{Cells, Column};
use super::storage_type;
use crate::error::{Result, TableError};
use crate::options::KEY_BYTES_MAX;

/// Encoded keys, one per row.
#[derive(Debug, Default, Clone)]
pub(crate) struct EncodedKeys {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl EncodedKeys {
    /// How many keys.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The key of a row.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }

    /// Adds a key.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Sorts rows by their keys.
    pub(crate) fn sort(&self, rows: &mut [usize]) {
        let mut order: Vec<(u128, usize)> =
            rows.iter().map(|row| (beginning(self.get(*row)), *row)).collect();
        order.sort_unstable_by(|(a, left), (b, right)| {
            a.cmp(b).then_with(|| self.get(*left).cmp(self.get(*right)))
        });
        rows.iter_mut().zip(order).for_each(|(row, (_, next))| *row = next);
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.ends.capacity() * 4 + self.bytes.capacity()
    }
}

/// The first bytes of a key, in a form that sorts as they do: most keys differ in
/// them.
pub(crate) fn beginning(key: &[u8]) -> u128 {
    let mut first = [0; 16];
    let length = key.len().min(first.len());
    first[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(first)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bool,
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    Raw(usize),
    Bytes,
}

fn form(data_type: &DataType) -> Result<Form> {
    let stored = storage_type(data_type).ok_or(TableError::Internal("a key column without a stored type"))?;
    Ok(match &stored {
        DataType::Boolean => Form::Bool,
        DataType::FixedSizeBinary(width) => Form::Raw(usize::try_from(*width).unwrap_or(0)),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => Form::Bytes,
        other => {
            let width = other
                .primitive_width()
                .ok_or(TableError::Internal("a key column of a type that is no key"))?;
            match other {
                _ if other.is_unsigned_integer() => Form::Unsigned(width),
                _ if other.is_floating() => Form::Float(width),
                _ => Form::Signed(width),
            }
        }
    })
}

/// The leading columns of a key: their encoding is where the key's begins, and
/// tells itself where it ends.
#[derive(Debug, Clone)]
pub(crate) struct Leading {
    forms: Vec<Form>,
}

impl Leading {
    /// Leading columns of these types.
    pub(crate) fn new<'a>(types: impl Iterator<Item = &'a DataType>) -> Result<Self> {
        Ok(Self { forms: types.map(form).collect::<Result<_>>()? })
    }

    /// The part of an encoded key that is theirs.
    pub(crate) fn of<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        let mut end = 0;
        for form in &self.forms {
            let is_null = key.get(end) == Some(&0);
            end += 1;
            if is_null {
                continue;
            }
            end += match form {
                Form::Bool => 1,
                Form::Unsigned(width) | Form::Signed(width) | Form::Float(width) | Form::Raw(width) => *width,
                Form::Bytes => encoded_length(key.get(end..).unwrap_or_default()),
            };
        }
        &key[..end.min(key.len())]
    }
}

/// How long the text at the beginning of these bytes is, with its end.
fn encoded_length(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(zero) = bytes[from..].iter().position(|byte| *byte == 0) {
        from += zero + 2;
        if from >= bytes.len() || bytes[from - 1] == 0 {
            break;
        }
    }
    from
}

/// Encodes the keys of all rows.
pub(crate) fn encode(columns: &[ArrayRef]) -> Result<EncodedKeys> {
    let forms = columns.iter().map(|column| form(column.data_type())).collect::<Result<Vec<_>>>()?;
    let opened = columns.iter().map(Column::of).collect::<Result<Vec<_>>>()?;
    let rows = columns.first().map_or(0, |column| column.len());
    let mut keys = EncodedKeys { ends: Vec::with_capacity(rows), bytes: Vec::with_capacity(rows * 12) };
    for row in 0..rows {
        let start = keys.bytes.len();
        for (column, form) in opened.iter().zip(&forms) {
            if column.is_null(row) {
                keys.bytes.push(0);
            } else {
                keys.bytes.push(1);
                write_cell(&column.cells, *form, row, &mut keys.bytes);
            }
        }
        let length = keys.bytes.len() - start;
        if length > KEY_BYTES_MAX {
            return Err(too_long("a row's key", length as u64, KEY_BYTES_MAX as u64));
        }
        let end = u32::try_from(keys.bytes.len()).map_err(|_| {
            too_long("all keys of a batch together", keys.bytes.len() as u64, u64::from(u32::MAX))
        })?;
        keys.ends.push(end);
    }
    Ok(keys)
}

fn too_long(what: &str, bytes: u64, limit: u64) -> TableError {
    let hint = "use a shorter key (a hash or a number instead of a long text), or smaller batches";
    TableError::TooLarge { what: what.to_owned(), bytes, limit, hint }
}

fn write_cell(cells: &Cells, form: Form, row: usize, out: &mut Vec<u8>) {
    match cells {
        Cells::Bool(values) => out.push(u8::from(values.value(row))),
        Cells::Fixed { width, bytes } => write_fixed(&bytes[row * width..(row + 1) * width], form, out),
        Cells::Bytes32 { offsets, bytes } => {
            write_bytes(&bytes[offsets[row] as usize..offsets[row + 1] as usize], out);
        }
        Cells::Bytes64 { offsets, bytes } => {
            write_bytes(&bytes[offsets[row] as usize..offsets[row + 1] as usize], out);
        }
        _ => {}
    }
}

fn write_fixed(value: &[u8], form: Form, out: &mut Vec<u8>) {
    let start = out.len();
    if let Form::Raw(_) = form {
        out.extend_from_slice(value);
        return;
    }
    out.extend(value.iter().rev());
    let written = &mut out[start..];
    match form {
        Form::Signed(_) => written[0] ^= 0x80,
        Form::Float(_) if written[0] & 0x80 != 0 => written.iter_mut().for_each(|byte| *byte = !*byte),
        Form::Float(_) => written[0] ^= 0x80,
        _ => {}
    }
}

fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    for (position, part) in value.split(|byte| *byte == 0).enumerate() {
        if position > 0 {
            out.extend_from_slice(&[0, 0xff]);
        }
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&[0, 0]);
}

/// Collects encoded keys into columns.
#[derive(Debug)]
pub(crate) struct KeyDecoder {
    forms: Vec<Form>,
    columns: Vec<Accumulator>,
    scratch: Vec<u8>,
}

impl KeyDecoder {
    /// For key columns of these fields.
    pub(crate) fn new<'a>(fields: impl Iterator<Item = &'a FieldRef>) -> Result<Self> {
        let (mut forms, mut columns) = (Vec::new(), Vec::new());
        for field in fields {
            forms.push(form(field.data_type())?);
            columns.push(Accumulator::new(field.data_type())?);
        }
        Ok(Self { forms, columns, scratch: Vec::new() })
    }

    /// Adds one row.
    pub(crate) fn read(&mut self, key: &[u8]) -> Result<()> {
        let mut rest = key;
        for (column, form) in self.columns.iter_mut().zip(&self.forms) {
            match take(&mut rest, 1)?[0] {
                0 => column.append_null(),
                1 => read_cell(column, *form, &mut rest, &mut self.scratch)?,
                _ => return Err(TableError::corrupt_row("a key has an unknown marker")),
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(TableError::corrupt_row("a key has bytes left over")) }
    }

    /// The columns so far; the decoder starts over.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        self.columns.iter_mut().map(Accumulator::finish).collect()
    }
}

fn read_cell(column: &mut Accumulator, form: Form, rest: &mut &[u8], scratch: &mut Vec<u8>) -> Result<()> {
    scratch.clear();
    match form {
        Form::Bool => column.append_fixed(take(rest, 1)?),
        Form::Raw(width) => column.append_fixed(take(rest, width)?),
        Form::Bytes => {
            read_bytes(rest, scratch)?;
            column.append_bytes(scratch)
        }
        Form::Unsigned(width) | Form::Signed(width) | Form::Float(width) => {
            scratch.extend_from_slice(take(rest, width)?);
            match form {
                Form::Signed(_) => scratch[0] ^= 0x80,
                Form::Float(_) if scratch[0] & 0x80 == 0 => {
                    scratch.iter_mut().for_each(|byte| *byte = !*byte)
                }
                Form::Float(_) => scratch[0] ^= 0x80,
                _ => {}
            }
            scratch.reverse();
            column.append_fixed(scratch)
        }
    }
}

fn read_bytes(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<()> {
    loop {
        let zero = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        out.extend_from_slice(take(rest, zero)?);
        match take(rest, 2)? {
            [0, 0] => return Ok(()),
            [0, 0xff] => out.push(0),
            _ => return Err(TableError::corrupt_row("a text in a key is not ended")),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, left) =
        rest.split_at_checked(length).ok_or_else(|| TableError::corrupt_row("a key ends too early"))?;
    *rest = left;
    Ok(taken)
}
