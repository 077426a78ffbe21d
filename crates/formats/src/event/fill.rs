//! Filling columns from what an event has beside its value.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, Fields, Schema};

use super::{ColumnSource, RowContext};
use crate::column::{Column, Refusal, TYPED_TYPES, Value, take_text, typed_column};
use crate::decode::OnError;
use crate::error::FormatError;
use crate::fault::{refuse, refuse_null};
use crate::json::{Documents, JsonOptions};
use crate::reason::quoted;
use crate::rows::Rejection;
use crate::tabular::Reader;

/// Nothing can be malformed here.
type Reject = crate::fault::Reject<std::convert::Infallible>;

/// Columns that are filled from the event around the value.
pub(super) struct Surroundings {
    columns: Vec<SurroundingColumn>,
    /// The columns that come from fields of the key, if there are any.
    key: Option<Documents>,
    on_error: OnError,
    /// Rows so far.
    rows: usize,
}

struct SurroundingColumn {
    source: ColumnSource,
    field: FieldRef,
    column: Box<dyn Column>,
}

impl Surroundings {
    /// Empty columns; `fields` come with their sources, of which none is the
    /// value.
    pub(super) fn new(fields: Vec<(FieldRef, ColumnSource)>, on_error: OnError) -> Result<Self, FormatError> {
        let (key_fields, others): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|(_, source)| *source == ColumnSource::KeyField);
        let key = match key_fields.is_empty() {
            true => None,
            false => {
                let fields: Fields = key_fields.into_iter().map(|(field, _)| field).collect();
                let schema = Arc::new(Schema::new(fields));
                Some(Documents::new(JsonOptions::default(), &schema, on_error)?)
            }
        };
        let mut columns = Vec::with_capacity(others.len());
        for (field, source) in others {
            let column = typed_column(field.data_type()).filter(|_| fits(&source, field.data_type()));
            let column = column.ok_or_else(|| FormatError::UnsupportedColumn {
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                format: name(&source),
                supported: supported(&source),
            })?;
            columns.push(SurroundingColumn { source, field, column });
        }
        Ok(Self { columns, key, on_error, rows: 0 })
    }

    /// Adds the row of an event, or leaves no trace of it.
    pub(super) fn push(&mut self, context: &RowContext<'_>) -> Result<(), Rejection> {
        let row = self.rows;
        let filled = self.fill(context, row);
        match filled {
            Ok(()) => self.rows += 1,
            Err(_) => self.truncate(row),
        }
        filled
    }

    fn fill(&mut self, context: &RowContext<'_>, row: usize) -> Result<(), Rejection> {
        for column in &mut self.columns {
            let filled = column.fill(context, self.on_error);
            filled.map_err(|reject| reject.verdict(|never| match never {}))?;
        }
        let Some(key) = &mut self.key else { return Ok(()) };
        let read = match context.key {
            Some(document) => key.read_whole(document, row),
            None => Err(Rejection::Event("no key, expected a JSON object".to_owned())),
        };
        read.map_err(|rejection| match rejection {
            Rejection::Event(reason) => Rejection::Event(format!("key: {reason}")),
            full => full,
        })
    }

    /// Takes back the rows from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.rows = len;
        self.columns.iter_mut().for_each(|column| column.column.truncate(len));
        if let Some(key) = &mut self.key {
            key.truncate(len);
        }
    }

    /// The arrays of the columns: first those from fields of the key, then the
    /// others, each in the order of the schema.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        let mut arrays = self.key.as_mut().map_or(Vec::new(), Documents::finish);
        arrays.extend(self.columns.iter_mut().map(|column| column.column.finish()));
        arrays
    }
}

impl SurroundingColumn {
    fn fill(&mut self, context: &RowContext<'_>, on_error: OnError) -> Result<(), Reject> {
        let Self { source, field, column } = self;
        let column = column.as_mut();
        let (bytes, value) = match source {
            ColumnSource::Key => (context.key, None),
            ColumnSource::Header(name) => (context.headers.last_value(name), None),
            ColumnSource::Partition => (None, Some(Value::Integer(context.partition.into()))),
            ColumnSource::Offset => (None, Some(Value::Integer(context.offset.into()))),
            ColumnSource::Timestamp => {
                let raw = context.timestamp_ms;
                (None, Some(Value::Instant { us: i128::from(raw) * 1000, raw }))
            }
            ColumnSource::Value | ColumnSource::KeyField => (None, None),
        };
        let taken = match (bytes, value) {
            (_, Some(value)) => column.value(value),
            (Some(bytes), _) => take_bytes(column, field.data_type(), bytes),
            (None, None) => {
                refuse_null(field)?;
                column.null();
                return Ok(());
            }
        };
        if let Err(refusal) = taken {
            refuse(field, on_error, refusal, || value.map_or_else(|| found(bytes), |value| value.found()))?;
            column.null();
        }
        Ok(())
    }
}

/// Offers bytes as what the column takes.
fn take_bytes(column: &mut dyn Column, data_type: &DataType, bytes: &[u8]) -> Result<(), Refusal> {
    match (data_type, std::str::from_utf8(bytes)) {
        (DataType::Binary, _) => column.value(Value::Bytes(bytes)),
        (_, Ok(text)) => take_text(column, text),
        (_, Err(_)) => Err(Refusal::Type),
    }
}

fn found(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => quoted(text),
        Err(_) => format!("{} bytes that are not UTF-8", bytes.len()),
    }
}

fn fits(source: &ColumnSource, data_type: &DataType) -> bool {
    match source {
        ColumnSource::Partition | ColumnSource::Offset => data_type.is_integer(),
        ColumnSource::Timestamp => data_type.is_integer() || matches!(data_type, DataType::Timestamp(..)),
        _ => true,
    }
}

fn name(source: &ColumnSource) -> &'static str {
    match source {
        ColumnSource::Value => "the value",
        ColumnSource::Key | ColumnSource::KeyField => "the key",
        ColumnSource::Header(_) => "a header",
        ColumnSource::Partition => "the partition",
        ColumnSource::Offset => "the offset",
        ColumnSource::Timestamp => "the timestamp",
    }
}

fn supported(source: &ColumnSource) -> &'static str {
    match source {
        ColumnSource::Partition | ColumnSource::Offset => "INT or BIGINT",
        ColumnSource::Timestamp => "TIMESTAMP (microseconds) or BIGINT",
        _ => TYPED_TYPES,
    }
}
