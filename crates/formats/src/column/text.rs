//! Columns of text and bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, NullBufferBuilder, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};

use super::{Column, Refusal, Value};

/// BINARY: values one behind the other.
pub(crate) struct BinaryColumn {
    bytes: Vec<u8>,
    /// Where each row ends, behind a leading 0.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for BinaryColumn {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0) }
    }
}

impl BinaryColumn {
    /// Adds a value.
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let end = i32::try_from(self.bytes.len() + value.len()).map_err(|_| Refusal::Full)?;
        self.bytes.extend_from_slice(value);
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        let offsets = std::mem::replace(&mut self.offsets, offsets);
        let next = Vec::with_capacity(self.bytes.len());
        let bytes = std::mem::replace(&mut self.bytes, next);
        (OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), self.nulls.finish())
    }
}

impl Column for BinaryColumn {
    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.nulls.truncate(len);
        self.bytes.truncate(usize::try_from(self.end()).unwrap_or(0));
    }

    fn null(&mut self) {
        self.offsets.push(self.end());
        self.nulls.append_null();
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Bytes(bytes) => self.push(bytes),
            Value::Text(text) => self.push(text.as_bytes()),
            _ => Err(Refusal::Type),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let (offsets, bytes, nulls) = self.take();
        Arc::new(BinaryArray::new(offsets, bytes, nulls))
    }
}

/// VARCHAR. Takes text only: a number is no text.
#[derive(Default)]
pub(crate) struct TextColumn(BinaryColumn);

impl Column for TextColumn {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    fn null(&mut self) {
        self.0.null();
    }

    fn text(&mut self, value: &str) -> Result<(), Refusal> {
        self.0.push(value.as_bytes())
    }

    /// Checked once more with all the others, at the end.
    fn ascii(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.0.push(value)
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Text(text) | Value::Symbol { name: text, .. } => self.0.push(text.as_bytes()),
            _ => Err(Refusal::Type),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let (offsets, bytes, nulls) = self.0.take();
        Arc::new(StringArray::new(offsets, bytes, nulls))
    }
}
