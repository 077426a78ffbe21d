//! The definitions of what can be named. They are stored as JSON, so a field
//! added later needs a serde default.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::event::is_default;
use crate::{Changes, ColumnFrom, ComputedColumn, DecodingDef, FeedDef, FormatDef, KafkaDef};

/// A column: its name, its Arrow type and whether it may be NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The column's name, as SQL normalises it.
    pub name: String,
    /// The type; stored in Arrow's own notation.
    #[serde(with = "type_text")]
    pub data_type: DataType,
    /// Whether NULL is allowed.
    pub nullable: bool,
}

mod type_text {
    use arrow::datatypes::DataType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(data_type: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(data_type)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DataType, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Columns as an Arrow schema.
pub(crate) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let field = |c: &Column| Field::new(&c.name, c.data_type.clone(), c.nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// What becomes of a field of the wrong type. (A document that is not
/// well-formed is a dead letter under either.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecodePolicy {
    /// The event becomes a dead letter.
    DeadLetter,
    /// The field becomes NULL.
    Null,
}

/// What becomes of a row whose key an inner lookup join does not find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownKey {
    /// The row is left out, as SQL's JOIN does.
    #[default]
    Drop,
    /// The row is left out and its event becomes a dead letter.
    DeadLetter,
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The event-time column.
    pub column: String,
    /// How far events may lag behind the newest, in microseconds.
    pub delay_us: i64,
}

/// A topic with a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDef {
    /// The stream's name.
    pub name: String,
    /// The columns decoded from each event.
    pub columns: Vec<Column>,
    /// The topic it reads.
    pub topic: String,
    /// How many partitions the topic gets if the stream makes it.
    pub partitions: u32,
    /// For each column, where it comes from; empty: all from the value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from: Vec<ColumnFrom>,
    /// The columns computed from these; readers see them behind.
    #[serde(default, skip_serializing_if = "is_default")]
    pub computed: Vec<ComputedColumn>,
    /// How events are written.
    pub format: FormatDef,
    /// How values are read beyond that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decoding: DecodingDef,
    /// What an event is to the stream's rows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub changes: Changes,
    /// Positions of the primary key's columns, if rows are replaced by key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: Vec<usize>,
    /// The policy for fields of the wrong type.
    pub on_error: DecodePolicy,
    /// A regular expression every raw event must match, else it is a dead letter.
    #[serde(default)]
    pub require: Option<String>,
    /// Event time, if declared.
    pub watermark: Option<Watermark>,
    /// The column that holds when an event is processed, if there is one: the last
    /// for readers, and no part of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_time: Option<String>,
    /// After how long without events a partition stops holding the watermark
    /// back, in milliseconds.
    pub idle_timeout_ms: i64,
    /// How far ahead of the clock event time may be, in milliseconds; what is
    /// beyond is a dead letter. `None`: as far as it likes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_future_ms: Option<i64>,
    /// How long the topic keeps events, in milliseconds; `None` for the
    /// platform's default.
    #[serde(default)]
    pub retention_ms: Option<i64>,
    /// How many bytes each partition of the topic keeps.
    #[serde(default)]
    pub retention_bytes: Option<u64>,
    /// The cluster that has the topic; `None` for our own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Box<KafkaSourceDef>>,
    /// What fills the topic besides producers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<Box<FeedDef>>,
    /// The statement that made it.
    pub sql: String,
}

/// A topic of a cluster elsewhere, as a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaSourceDef {
    /// The cluster.
    #[serde(flatten)]
    pub cluster: KafkaDef,
    /// Where a job that reads it for the first time begins.
    #[serde(default)]
    pub start: StartAt,
}

/// Where reading begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// With the oldest event there is.
    #[default]
    Earliest,
    /// With the next event.
    Latest,
    /// With the first event that was written then or later, in milliseconds since
    /// 1970.
    Time(i64),
    /// At these offsets, by partition; partitions that are not named begin with
    /// their oldest event.
    Offsets(Vec<i64>),
}

/// Rows by primary key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDef {
    /// The table's name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Positions of the primary key's columns.
    pub key: Vec<usize>,
    /// The statement that made it.
    pub sql: String,
}

/// How a view keeps its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewKind {
    /// Rows are only added; the newest span is kept.
    Append {
        /// The column that still carries the stream's event time, if any.
        time_column: Option<String>,
    },
    /// Rows are updated by key.
    Keyed {
        /// Positions of the key's columns.
        key: Vec<usize>,
    },
}

/// A continuous query and the table it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDef {
    /// The view's name.
    pub name: String,
    /// Its query, without CREATE and EMIT.
    pub query: String,
    /// Whether windows are emitted once, when the watermark closes them.
    pub emit_on_window_close: bool,
    /// The columns readers see.
    pub columns: Vec<Column>,
    /// How rows are kept.
    pub kind: ViewKind,
    /// Streams, tables and views it reads.
    pub reads: Vec<String>,
    /// How long rows stay in the real-time table, in milliseconds.
    pub retention_ms: Option<i64>,
    /// How many bytes of rows stay in memory.
    pub retention_bytes: u64,
    /// Longest time that events wait for an epoch of its job, in milliseconds.
    pub trigger_ms: Option<u64>,
    /// Where it begins to read its streams; `None`: where each stream says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start: Option<StartAt>,
    /// Its job stands still.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
    /// Threads that decode events for it; `None` for the platform's default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parallelism: Option<u32>,
    /// How far the event time of one of its streams may be ahead of another's, in
    /// milliseconds; the one that is ahead waits. `None`: as far as it likes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_drift_ms: Option<i64>,
    /// How long behind its streams' watermarks it closes windows, in milliseconds;
    /// `None`: not at all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed_lateness_ms: Option<i64>,
    /// What a lookup that finds nothing makes of its row.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unknown_key: UnknownKey,
    /// How long rows stay that only come, in milliseconds; `None`: for ever.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ttl_ms: Option<i64>,
    /// The statement that made it.
    pub sql: String,
}

/// A view's rows delivered to somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkDef {
    /// The sink's name.
    pub name: String,
    /// The view it reads.
    pub from: String,
    /// Where its rows go.
    #[serde(flatten)]
    pub to: SinkTarget,
    /// Time between two commits, in milliseconds.
    pub commit_interval_ms: u64,
    /// Bytes after which a commit is made early.
    pub commit_bytes: u64,
    /// The statement that made it.
    pub sql: String,
}

/// Where a sink's rows go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SinkTarget {
    /// A Delta table.
    Lake {
        /// The lake table.
        lake: String,
        /// How long it keeps rows, in milliseconds; `None` for ever.
        retention_ms: Option<i64>,
    },
    /// A topic.
    Kafka(Box<KafkaSinkDef>),
}

/// A topic of a cluster elsewhere, as a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaSinkDef {
    /// The cluster.
    pub kafka: KafkaDef,
    /// The topic.
    pub topic: String,
    /// How rows are written.
    pub format: FormatDef,
    /// The column that becomes the event's key.
    pub key: Option<String>,
    /// What is told: rows that come, or all changes of the view.
    #[serde(default, skip_serializing_if = "is_default")]
    pub changes: Changes,
    /// How often an event may be there.
    pub delivery: Delivery,
}

/// How often an event of a sink may be there after a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Once: the cluster must serve transactions.
    #[default]
    ExactlyOnce,
    /// Once or more.
    AtLeastOnce,
}

impl SinkDef {
    /// Whether it tells of rows that go, too.
    pub fn has_changes(&self) -> bool {
        matches!(&self.to, SinkTarget::Kafka(target) if target.changes != Changes::Append)
    }

    /// The lake table it writes, if it writes one.
    pub fn lake(&self) -> Option<&str> {
        match &self.to {
            SinkTarget::Lake { lake, .. } => Some(lake),
            SinkTarget::Kafka(_) => None,
        }
    }
}

/// Anything with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Definition {
    /// A stream.
    Stream(StreamDef),
    /// A table.
    Table(TableDef),
    /// A materialized view.
    View(ViewDef),
    /// A sink.
    Sink(SinkDef),
}

impl StreamDef {
    /// The decoded columns as an Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        arrow_schema(&self.columns)
    }

    /// Those and the computed ones.
    pub fn decoded_schema(&self) -> SchemaRef {
        arrow_schema(&self.decoded_columns())
    }

    /// The columns that readers see.
    pub fn readable_schema(&self) -> SchemaRef {
        arrow_schema(&self.readable_columns())
    }

    fn decoded_columns(&self) -> Vec<Column> {
        let computed = self.computed.iter().map(|computed| &computed.column);
        self.columns.iter().chain(computed).cloned().collect()
    }

    /// The columns that readers see.
    pub fn readable_columns(&self) -> Vec<Column> {
        let mut columns = self.decoded_columns();
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        let column = |name: &String| Column { name: name.clone(), data_type, nullable: false };
        columns.extend(self.processing_time.as_ref().map(column));
        columns
    }

    /// Whether rows may go again.
    pub fn has_changes(&self) -> bool {
        self.changes != Changes::Append
    }
}

impl TableDef {
    /// The columns as an Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        arrow_schema(&self.columns)
    }
}

impl ViewDef {
    /// The columns readers see, as an Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        arrow_schema(&self.columns)
    }
}

impl Definition {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::Stream(d) => &d.name,
            Self::Table(d) => &d.name,
            Self::View(d) => &d.name,
            Self::Sink(d) => &d.name,
        }
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Table(_) => "table",
            Self::View(_) => "materialized view",
            Self::Sink(_) => "sink",
        }
    }

    /// The statement that made it.
    pub fn sql(&self) -> &str {
        match self {
            Self::Stream(d) => &d.sql,
            Self::Table(d) => &d.sql,
            Self::View(d) => &d.sql,
            Self::Sink(d) => &d.sql,
        }
    }

    /// The names it reads.
    pub fn reads(&self) -> Vec<&str> {
        match self {
            Self::View(d) => d.reads.iter().map(String::as_str).collect(),
            Self::Sink(d) => vec![&d.from],
            Self::Stream(_) | Self::Table(_) => Vec::new(),
        }
    }
}
