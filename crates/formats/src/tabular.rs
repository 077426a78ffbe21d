//! A decoder whose every event becomes one row, or none for a reason.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::decode::{Decoded, Decoder};
use crate::error::FormatError;
use crate::rows::{Rejection, Rows};

/// How a format reads an event's value into columns.
pub(crate) trait Reader: Send {
    /// What a value should be, for an event that has none.
    const EXPECTED: &'static str;

    /// Reads a value into row `row`, or leaves no trace of it.
    fn read(&mut self, value: &[u8], row: usize) -> Result<(), Rejection>;

    /// The arrays of all columns, which are empty then.
    fn finish(&mut self) -> Vec<ArrayRef>;
}

/// See the module.
pub(crate) struct Tabular<R> {
    schema: SchemaRef,
    reader: R,
    rows: Rows,
}

impl<R: Reader> Tabular<R> {
    /// A decoder of what `reader` reads into this schema.
    pub(crate) fn new(schema: SchemaRef, reader: R) -> Self {
        Self { schema, reader, rows: Rows::default() }
    }
}

impl<R: Reader> Decoder for Tabular<R> {
    fn push(&mut self, value: Option<&[u8]>) {
        let verdict = match value {
            Some(value) => self.reader.read(value, self.rows.accepted()),
            None => Err(Rejection::Event(format!("no value (a tombstone), expected {}", R::EXPECTED))),
        };
        self.rows.enter(verdict);
    }

    fn pushed(&self) -> usize {
        self.rows.pushed()
    }

    fn finish(&mut self) -> Result<Decoded, FormatError> {
        let columns = self.reader.finish();
        self.rows.finish(&self.schema, columns)
    }
}
