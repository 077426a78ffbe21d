//! What exists, by name: streams, tables, materialized views and sinks, with
//! their schemas and options. Durable: one file, replaced whole.
//!
//! Promises: a name means one thing; what others depend on is not removed; a
//! change is on disk before it is visible. The catalog holds definitions only:
//! it opens no topic, table or lake.

mod definition;
mod error;
mod event;
mod feed;
mod kafka;
mod store;

pub use definition::{
    Column, DecodePolicy, Definition, Delivery, KafkaSinkDef, KafkaSourceDef, SinkDef, SinkTarget, StartAt,
    StreamDef, TableDef, UnknownKey, ViewDef, ViewKind, Watermark,
};
pub use error::CatalogError;
pub use event::{Changes, ColumnFrom, ComputedColumn, DecodingDef, EpochDef, FormatDef, ProtobufDef};
pub use feed::{
    FeedDef, FeedOptionError, FieldDef, FieldKind, FileStart, FilesDef, GeneratedField, GeneratorDef,
    LINE_BYTES_MAX, LinesDef, Network,
};
pub use kafka::{KafkaDef, SaslDef, Secret, TlsDef};
pub use store::Catalog;
