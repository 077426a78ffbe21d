//! The key columns of some rows in the form that hashes and compares fastest.
//!
//! A single integer or temporal column is used as it is, a single Utf8 column
//! as its strings; everything else is encoded row by row as in
//! [`crate::codec::key`]. A NULL in a single-column key is kept apart, so that
//! the fast forms never look at null bits.

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use crate::codec::key::{self, EncodedKeys};
use crate::error::{Result, TableError};
use crate::options::KEY_BYTES_MAX;

/// Which form the keys of a table take in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyShape {
    /// One column of 8-byte integers or times.
    Word64,
    /// One column of 4-byte integers or times.
    Word32,
    /// One Utf8 column.
    Text,
    /// Anything else, encoded.
    Encoded,
}

impl KeyShape {
    /// The form for key columns of these types.
    pub(crate) fn of(types: &[&DataType]) -> Self {
        match types {
            [DataType::Utf8] => Self::Text,
            [one] if !one.is_floating() => match one.primitive_width() {
                Some(8) => Self::Word64,
                Some(4) => Self::Word32,
                _ => Self::Encoded,
            },
            _ => Self::Encoded,
        }
    }
}

/// The key values of some rows.
#[derive(Debug)]
pub(crate) enum KeyColumn {
    /// See [`KeyShape::Word64`].
    Word64(ScalarBuffer<u64>),
    /// See [`KeyShape::Word32`].
    Word32(ScalarBuffer<u32>),
    /// See [`KeyShape::Text`].
    Text(StringArray),
    /// See [`KeyShape::Encoded`].
    Encoded(EncodedKeys),
}

/// The keys of some rows.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The values; what stands at a null row means nothing.
    pub(crate) column: KeyColumn,
    /// The null rows of a single-column key that is not encoded.
    pub(crate) nulls: Option<NullBuffer>,
}

impl Keys {
    /// The keys in the given arrays, which are of the table's key types.
    pub(crate) fn of(shape: KeyShape, columns: &[ArrayRef]) -> Result<Self> {
        let first = columns.first().ok_or(TableError::Internal("a key without columns"))?;
        let column = match shape {
            KeyShape::Word64 => {
                let data = first.to_data();
                KeyColumn::Word64(ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len()))
            }
            KeyShape::Word32 => {
                let data = first.to_data();
                KeyColumn::Word32(ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len()))
            }
            KeyShape::Text => KeyColumn::Text(first.as_string::<i32>().clone()),
            KeyShape::Encoded => {
                return Ok(Self { column: KeyColumn::Encoded(key::encode(columns)?), nulls: None });
            }
        };
        Ok(Self { column, nulls: first.nulls().filter(|nulls| nulls.null_count() > 0).cloned() })
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        match &self.column {
            KeyColumn::Word64(values) => values.len(),
            KeyColumn::Word32(values) => values.len(),
            KeyColumn::Text(values) => values.len(),
            KeyColumn::Encoded(values) => values.len(),
        }
    }

    /// Bytes held beyond the columns themselves.
    pub(crate) fn extra_bytes(&self) -> usize {
        match &self.column {
            KeyColumn::Encoded(keys) => keys.memory_bytes(),
            _ => 0,
        }
    }

    /// Fails if a key is longer than the keyed store takes.
    pub(crate) fn check_lengths(&self) -> Result<()> {
        // The encoding of a text adds a marker, an end, and a byte per zero byte.
        let KeyColumn::Text(texts) = &self.column else { return Ok(()) };
        for text in texts.iter().flatten() {
            if text.len() * 2 + 3 <= KEY_BYTES_MAX {
                continue;
            }
            let bytes = text.len() + text.bytes().filter(|byte| *byte == 0).count() + 3;
            if bytes > KEY_BYTES_MAX {
                return Err(TableError::TooLarge {
                    what: "a row's key".to_owned(),
                    bytes: bytes as u64,
                    limit: KEY_BYTES_MAX as u64,
                    hint: "use a shorter key (a hash or a number instead of a long text)",
                });
            }
        }
        Ok(())
    }
}

/// One form of keys, for code that is compiled once per form.
pub(crate) trait KeyValues: Sized {
    /// The keys, if they have this form.
    fn of(column: &KeyColumn) -> Option<&Self>;
    /// The hash of a row's key: for memory only, it differs between processes.
    fn hash(&self, row: usize, random: &RandomState) -> u64;
    /// Whether two rows have the same key.
    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool;
    /// Something read from where a row's key stands.
    fn touch(&self, row: usize) -> u64;
}

impl KeyValues for ScalarBuffer<u64> {
    fn of(column: &KeyColumn) -> Option<&Self> {
        if let KeyColumn::Word64(values) = column { Some(values) } else { None }
    }

    #[inline]
    fn hash(&self, row: usize, random: &RandomState) -> u64 {
        random.hash_one(self[row])
    }

    #[inline]
    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self[row] == other[other_row]
    }

    #[inline]
    fn touch(&self, row: usize) -> u64 {
        self[row]
    }
}

impl KeyValues for ScalarBuffer<u32> {
    fn of(column: &KeyColumn) -> Option<&Self> {
        if let KeyColumn::Word32(values) = column { Some(values) } else { None }
    }

    #[inline]
    fn hash(&self, row: usize, random: &RandomState) -> u64 {
        random.hash_one(self[row])
    }

    #[inline]
    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self[row] == other[other_row]
    }

    #[inline]
    fn touch(&self, row: usize) -> u64 {
        self[row].into()
    }
}

impl KeyValues for StringArray {
    fn of(column: &KeyColumn) -> Option<&Self> {
        if let KeyColumn::Text(values) = column { Some(values) } else { None }
    }

    #[inline]
    fn hash(&self, row: usize, random: &RandomState) -> u64 {
        random.hash_one(self.value(row).as_bytes())
    }

    #[inline]
    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self.value(row) == other.value(other_row)
    }

    #[inline]
    fn touch(&self, row: usize) -> u64 {
        u64::from(self.values().get(self.value_offsets()[row] as usize).copied().unwrap_or(0))
    }
}

impl KeyValues for EncodedKeys {
    fn of(column: &KeyColumn) -> Option<&Self> {
        if let KeyColumn::Encoded(values) = column { Some(values) } else { None }
    }

    #[inline]
    fn hash(&self, row: usize, random: &RandomState) -> u64 {
        random.hash_one(self.get(row))
    }

    #[inline]
    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self.get(row) == other.get(other_row)
    }

    #[inline]
    fn touch(&self, row: usize) -> u64 {
        self.get(row).first().copied().unwrap_or(0).into()
    }
}

/// Calls a generic function with the keys in their own form.
macro_rules! with_key_form {
    ($keys:expr, |$values:ident| $body:expr) => {
        match &$keys.column {
            $crate::hot::keys::KeyColumn::Word64($values) => $body,
            $crate::hot::keys::KeyColumn::Word32($values) => $body,
            $crate::hot::keys::KeyColumn::Text($values) => $body,
            $crate::hot::keys::KeyColumn::Encoded($values) => $body,
        }
    };
}
pub(crate) use with_key_form;
