//! The decoder every format offers, and how to get one.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::avro::{self, AvroOptions};
use crate::debezium::{self, DebeziumOptions};
use crate::error::FormatError;
use crate::event::{EventDecoder, EventOptions, RowContext};
use crate::json::JsonOptions;
use crate::protobuf::{self, ProtobufOptions};
use crate::tabular::Tabular;
use crate::{csv, json, raw};

/// How the value of an event is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object (RFC 8259) per event; fields find their column by name.
    Json,
    /// The same, told more.
    JsonWith(JsonOptions),
    /// One Debezium envelope in JSON per event: the row before a change goes, the
    /// row after it comes.
    Debezium(DebeziumOptions),
    /// One line of delimited text per event; fields find their column by place.
    Csv(CsvOptions),
    /// One binary Avro record per event; fields find their column by name.
    Avro(AvroOptions),
    /// One Protobuf message per event; fields find their column by name.
    Protobuf(ProtobufOptions),
    /// One column that takes the value as it is: text (which must be UTF-8) or
    /// binary.
    Raw,
}

/// How delimited text is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Between two fields.
    pub delimiter: u8,
    /// Around a field that holds the delimiter or the quote itself, where the
    /// quote is doubled.
    pub quote: u8,
    /// What an unquoted field says to mean NULL. A quoted field is never NULL.
    pub nulls: Vec<String>,
}

impl Default for CsvOptions {
    /// Commas, double quotes, NULL as an empty field or `NA`.
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', nulls: vec![String::new(), "NA".to_owned()] }
    }
}

/// What to do with a field whose value does not fit its column. A malformed
/// event is always rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Reject the whole event.
    DeadLetter,
    /// Put NULL in its place; in a NOT NULL column reject the whole event.
    Null,
}

/// An event that became no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Which event: its index among those pushed since the last `finish`.
    pub ordinal: u32,
    /// What is wrong with it, and where.
    pub reason: String,
}

/// What the pushed events became. Every event is in one of `ordinals` and
/// `errors`, except one that a format of changes ignores; only such a format
/// makes two rows of one event.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order of the events.
    pub batch: RecordBatch,
    /// For each row of `batch`, the index of its event; ascending, twice in a
    /// row where an event became two.
    pub ordinals: Vec<u32>,
    /// For each row, whether it comes (+1) or goes (-1); `None`: all come.
    pub weights: Option<Vec<i64>>,
    /// The rejected events; ascending.
    pub errors: Vec<RowError>,
}

/// Turns events into one Arrow batch.
///
/// Contract: events are pushed in order; `finish` gives the batch of all events
/// pushed since the last one and leaves the decoder empty, also when it fails.
/// A batch's ordinals count from 0.
pub trait Decoder: Send {
    /// Decodes one event's value; `None` is an event without one (a tombstone).
    fn push(&mut self, value: Option<&[u8]>);

    /// Decodes one event with what it has beside its value; the same as
    /// [`Decoder::push`] where no column comes from there.
    fn push_with(&mut self, value: Option<&[u8]>, _context: &RowContext<'_>) {
        self.push(value);
    }

    /// How many events were pushed since the last `finish`.
    fn pushed(&self) -> usize;

    /// The batch so far; starts the next one with room for as many rows.
    ///
    /// # Errors
    /// [`FormatError::BatchTooLarge`] if a column outgrew 2 GiB: nothing of the
    /// batch is kept, push fewer events at a time.
    fn finish(&mut self) -> Result<Decoded, FormatError>;
}

/// A decoder of `format` into `schema`.
///
/// # Errors
/// [`FormatError::UnsupportedColumn`] names a column whose type the format
/// cannot fill; [`FormatError::Invalid`] says what else is wrong with the schema
/// or the options.
pub fn decoder(
    format: &Format,
    schema: SchemaRef,
    on_error: OnError,
) -> Result<Box<dyn Decoder>, FormatError> {
    Ok(match format {
        Format::Json => {
            let documents = json::Documents::new(JsonOptions::default(), &schema, on_error)?;
            Box::new(Tabular::new(schema, documents))
        }
        Format::JsonWith(options) => {
            let documents = json::Documents::new(*options, &schema, on_error)?;
            Box::new(Tabular::new(schema, documents))
        }
        Format::Csv(options) => {
            let lines = csv::Lines::new(options.clone(), &schema, on_error)?;
            Box::new(Tabular::new(schema, lines))
        }
        Format::Avro(options) => {
            let records = avro::Records::new(options, &schema, on_error)?;
            Box::new(Tabular::new(schema, records))
        }
        Format::Protobuf(options) => {
            let messages = protobuf::Messages::new(options, &schema, on_error)?;
            Box::new(Tabular::new(schema, messages))
        }
        Format::Debezium(options) => Box::new(debezium::DebeziumDecoder::new(options, schema, on_error)?),
        Format::Raw => Box::new(raw::RawDecoder::new(schema)?),
    })
}

/// The same, with columns that come from the event around its value and a say on
/// events without one. Costs nothing more where `options` ask for nothing more.
///
/// # Errors
/// As [`decoder`]; and [`FormatError::Invalid`] if the sources are not one per
/// column.
pub fn event_decoder(
    format: &Format,
    schema: SchemaRef,
    on_error: OnError,
    options: &EventOptions,
) -> Result<Box<dyn Decoder>, FormatError> {
    if options.is_plain() {
        return decoder(format, schema, on_error);
    }
    Ok(Box::new(EventDecoder::new(format, schema, on_error, options)?))
}
