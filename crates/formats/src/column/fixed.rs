//! A column of values of one fixed width.

use arrow::array::{ArrayRef, NullBufferBuilder};
use arrow::buffer::NullBuffer;

use super::{Column, Refusal, Value};
use crate::number::Number;

/// What such a column takes, and the array that it becomes.
pub(super) trait Kind: Send {
    /// A value as it stands in the array.
    type Native: Copy + Default + Send;

    /// A number as a value.
    fn number(&self, _number: &Number<'_>) -> Result<Self::Native, Refusal> {
        Err(Refusal::Type)
    }

    /// A text as a value.
    fn text(&self, _text: &str) -> Result<Self::Native, Refusal> {
        Err(Refusal::Type)
    }

    /// A value that has its type from the format.
    fn value(&self, value: Value<'_>) -> Result<Self::Native, Refusal>;

    /// The array of all values.
    fn array(&self, values: Vec<Self::Native>, nulls: Option<NullBuffer>) -> ArrayRef;
}

/// See the module.
pub(super) struct Fixed<K: Kind> {
    kind: K,
    values: Vec<K::Native>,
    nulls: NullBufferBuilder,
}

impl<K: Kind> Fixed<K> {
    /// An empty column.
    pub(super) fn new(kind: K) -> Self {
        Self { kind, values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    fn push(&mut self, value: K::Native) {
        self.values.push(value);
        self.nulls.append_non_null();
    }
}

impl<K: Kind> Column for Fixed<K> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn null(&mut self) {
        self.values.push(K::Native::default());
        self.nulls.append_null();
    }

    fn number(&mut self, number: &Number<'_>) -> Result<(), Refusal> {
        let value = self.kind.number(number)?;
        self.push(value);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Refusal> {
        let value = self.kind.text(text)?;
        self.push(value);
        Ok(())
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        let value = self.kind.value(value)?;
        self.push(value);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        // Room for as many.
        let next = Vec::with_capacity(self.values.len());
        self.kind.array(std::mem::replace(&mut self.values, next), self.nulls.finish())
    }
}
