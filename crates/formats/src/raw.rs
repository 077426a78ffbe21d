//! The raw decoder: the value of an event as it is, in one column.

use arrow::datatypes::{DataType, SchemaRef};

use crate::column::{BinaryColumn, Column, Refusal, column};
use crate::decode::{Decoded, Decoder};
use crate::error::FormatError;
use crate::rows::{Rejection, Rows};

/// Where the values go.
enum Target {
    Text(Box<dyn Column>),
    Binary(BinaryColumn),
}

/// See [`Format::Raw`](crate::Format::Raw).
pub(crate) struct RawDecoder {
    schema: SchemaRef,
    nullable: bool,
    target: Target,
    rows: Rows,
}

impl RawDecoder {
    /// A decoder for a schema of one column.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, FormatError> {
        let [field] = &schema.fields()[..] else {
            let count = schema.fields().len();
            let message = format!("format raw fills exactly one column, the schema has {count}");
            return Err(FormatError::Invalid(message));
        };
        let target = match (field.data_type(), column(field.data_type())) {
            (DataType::Binary, _) => Target::Binary(BinaryColumn::default()),
            (DataType::Utf8, Some(column)) => Target::Text(column),
            _ => {
                return Err(FormatError::UnsupportedColumn {
                    column: field.name().clone(),
                    data_type: field.data_type().to_string(),
                    format: "format raw",
                    supported: "VARCHAR (Utf8) or BINARY",
                });
            }
        };
        let nullable = field.is_nullable();
        Ok(Self { schema, nullable, target, rows: Rows::default() })
    }

    fn row(&mut self, value: Option<&[u8]>) -> Result<(), Rejection> {
        let taken = match (value, &mut self.target) {
            (None, _) if !self.nullable => {
                let name = self.schema.field(0).name();
                return Err(Rejection::Event(format!(
                    "no value (a tombstone), but column `{name}` is NOT NULL"
                )));
            }
            (None, Target::Text(column)) => {
                column.null();
                Ok(())
            }
            (None, Target::Binary(column)) => {
                column.null();
                Ok(())
            }
            (Some(bytes), Target::Text(column)) => {
                let text = std::str::from_utf8(bytes).map_err(|error| {
                    Rejection::Event(format!("byte {}: not valid UTF-8", error.valid_up_to()))
                })?;
                column.text(text)
            }
            (Some(bytes), Target::Binary(column)) => column.push(bytes),
        };
        taken.map_err(|_: Refusal| Rejection::BatchFull)
    }
}

impl Decoder for RawDecoder {
    fn push(&mut self, value: Option<&[u8]>) {
        let verdict = self.row(value);
        self.rows.enter(verdict);
    }

    fn pushed(&self) -> usize {
        self.rows.pushed()
    }

    fn finish(&mut self) -> Result<Decoded, FormatError> {
        let array = match &mut self.target {
            Target::Text(column) => column.finish(),
            Target::Binary(column) => column.finish(),
        };
        self.rows.finish(&self.schema, vec![array])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Field, Schema};

    fn raw(data_type: DataType, nullable: bool) -> Result<RawDecoder, FormatError> {
        RawDecoder::new(Arc::new(Schema::new(vec![Field::new("value", data_type, nullable)])))
    }

    #[test]
    fn text_must_be_utf8() {
        let mut decoder = raw(DataType::Utf8, true).unwrap();
        for value in [Some(&b"one"[..]), Some(b"ab\xff"), None, Some("zwölf".as_bytes())] {
            decoder.push(value);
        }
        assert_eq!(decoder.pushed(), 4);
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.ordinals, [0, 2, 3]);
        assert_eq!(decoded.errors[0].ordinal, 1);
        assert_eq!(decoded.errors[0].reason, "byte 2: not valid UTF-8");
        let values = decoded.batch.column(0).as_string::<i32>();
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some("one"), None, Some("zwölf")]);
        assert_eq!(decoder.pushed(), 0);
    }

    #[test]
    fn binary_takes_anything() {
        let mut decoder = raw(DataType::Binary, false).unwrap();
        decoder.push(Some(b"ab\xff"));
        decoder.push(None);
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.batch.column(0).as_binary::<i32>().value(0), b"ab\xff");
        assert_eq!(decoded.batch.column(0).len(), 1);
        assert_eq!(decoded.errors[0].reason, "no value (a tombstone), but column `value` is NOT NULL");
    }

    #[test]
    fn one_column_of_text_or_bytes() {
        let message = raw(DataType::Int64, true).err().unwrap().to_string();
        assert_eq!(
            message,
            "column `value` has type Int64, which format raw cannot fill; use VARCHAR (Utf8) or BINARY"
        );
        assert!(RawDecoder::new(Arc::new(Schema::empty())).is_err());
    }
}
