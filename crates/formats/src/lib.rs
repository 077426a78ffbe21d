//! Bytes to Arrow and Arrow to bytes: the values of events become columns, rows
//! become documents.
//!
//! Promises: an event is decoded whole or rejected whole with a precise reason,
//! and a rejected event leaves no trace in the batch. The verdict on a document
//! does not depend on which of its fields are declared, unless it is told to
//! refuse unknown ones. What is taken of memory is bounded by the bytes of an
//! event, not by lengths it states. Nothing here does I/O, starts threads or
//! knows where the bytes came from.
//!
//! Formats: JSON, CSV, Avro, Protobuf, Debezium's changes in JSON, and raw bytes.
//! Beside the value, columns may come from an event's key, headers, place and
//! time ([`event_decoder`]). A format of changes gives its rows weights.
//!
//! Time: a `TIMESTAMP` column holds microseconds since 1970-01-01T00:00:00 UTC,
//! with or without a time zone in its type. Text without an offset is UTC; a
//! bare number is epoch milliseconds.

mod avro;
mod column;
mod csv;
mod debezium;
mod decode;
mod encode;
mod error;
mod event;
mod fault;
mod framing;
mod json;
mod number;
mod protobuf;
mod raw;
mod reason;
mod rows;
mod tabular;
mod time;

pub use avro::AvroOptions;
pub use column::EpochUnit;
pub use debezium::{Change, DebeziumOptions, OnMissingBefore, changes_of, encode_debezium};
pub use decode::{CsvOptions, Decoded, Decoder, Format, OnError, RowError, decoder, event_decoder};
pub use encode::{JsonRows, encode_json};
pub use error::FormatError;
pub use event::{ColumnSource, EventOptions, Headers, OnTombstone, RowContext};
pub use framing::{Framing, split_schema_id};
pub use json::{JsonOptions, OnDrift, OnMissing, OnUnknown};
pub use protobuf::{ProtobufOptions, ProtobufSchema, imports_of};
pub use time::{parse_date, parse_timestamp, write_timestamp};
