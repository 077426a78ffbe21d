//! How the events of a stream are written down, and what of them becomes rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Column;

/// How the events of a stream are written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatDef {
    /// One JSON document an event.
    Json,
    /// One delimited line an event.
    Csv {
        /// The delimiter.
        delimiter: char,
        /// The text that stands for NULL, besides the empty field.
        null: Option<String>,
    },
    /// The whole value in the one column.
    Raw,
    /// One binary Avro record an event.
    Avro {
        /// The writer's schema, as JSON.
        schema: String,
    },
    /// One Protobuf message an event.
    Protobuf {
        /// What defines it.
        schema: ProtobufDef,
        /// Its name.
        message: String,
    },
    /// One change of a database's row in JSON, as Debezium tells it.
    Debezium,
}

/// What defines Protobuf messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtobufDef {
    /// A serialized `FileDescriptorSet`.
    Descriptor(Vec<u8>),
    /// The text of a `.proto` file, and of those that it imports, by their path.
    Text {
        /// The text.
        text: String,
        /// What it imports.
        imports: BTreeMap<String, String>,
    },
}

/// How values are read beyond their format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecodingDef {
    /// A schema's id stands in front of each value, as producers that use a
    /// schema registry write it.
    #[serde(skip_serializing_if = "is_default")]
    pub schema_id: bool,
    /// A JSON document without a declared field is a dead letter.
    #[serde(skip_serializing_if = "is_default")]
    pub refuse_missing: bool,
    /// A JSON document with a field that no column declares is a dead letter.
    #[serde(skip_serializing_if = "is_default")]
    pub refuse_unknown: bool,
    /// JSON values of another type than their column are converted.
    #[serde(skip_serializing_if = "is_default")]
    pub convert: bool,
    /// What a number in a TIMESTAMP column counts.
    #[serde(skip_serializing_if = "is_default")]
    pub epoch: EpochDef,
}

/// What a number in a TIMESTAMP column counts since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochDef {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    #[default]
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// Where a stream's column comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnFrom {
    /// The event's value.
    #[default]
    Value,
    /// The event's whole key.
    Key,
    /// The field of the column's name in the key, a JSON object.
    KeyField,
    /// The last header of this name.
    Header(String),
    /// The number of the partition.
    Partition,
    /// The offset.
    Offset,
    /// When the event was written.
    Timestamp,
}

/// A column that is computed from the stream's others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputedColumn {
    /// The column.
    pub column: Column,
    /// Its expression.
    pub expression: String,
}

/// What an event is to the stream's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changes {
    /// A row that comes.
    #[default]
    Append,
    /// Rows that come and go, each as a whole.
    Rows,
    /// A row that replaces the one of its key; without a value, the key goes.
    Upsert,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
