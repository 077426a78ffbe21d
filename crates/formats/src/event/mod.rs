//! Columns that come from the event around the value: its key, headers, place
//! and time.

mod decoder;
mod fill;

pub(crate) use decoder::EventDecoder;

/// What an event has beside its value.
#[derive(Clone, Copy)]
pub struct RowContext<'a> {
    /// The key; `None` if it is null.
    pub key: Option<&'a [u8]>,
    /// The headers, looked up only where a column asks for one.
    pub headers: &'a dyn Headers,
    /// Which partition it is in.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// When it was written, in milliseconds since 1970 in UTC.
    pub timestamp_ms: i64,
}

/// The headers of an event.
pub trait Headers {
    /// The value of the last header of this name; `None` if there is none or it
    /// is null.
    fn last_value(&self, name: &str) -> Option<&[u8]>;
}

impl Headers for [(&str, Option<&[u8]>)] {
    fn last_value(&self, name: &str) -> Option<&[u8]> {
        self.iter().rev().find(|(own, _)| *own == name).and_then(|(_, value)| *value)
    }
}

impl<const N: usize> Headers for [(&str, Option<&[u8]>); N] {
    fn last_value(&self, name: &str) -> Option<&[u8]> {
        self.as_slice().last_value(name)
    }
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ColumnSource {
    /// The event's value, by the rules of the format.
    #[default]
    Value,
    /// The whole key: as it is (VARCHAR, which must be UTF-8, or BINARY), or what
    /// its text stands for.
    Key,
    /// The field of the column's name in the key, which is a JSON object.
    KeyField,
    /// The last header of this name; its value as that of `Key`.
    Header(String),
    /// The number of the partition, in an integer column.
    Partition,
    /// The offset, in an integer column.
    Offset,
    /// When the event was written, in a TIMESTAMP column, or as milliseconds
    /// since 1970 in an integer column.
    Timestamp,
}

/// What to do with an event without a value (a tombstone).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTombstone {
    /// What the format does: reject it, mostly.
    #[default]
    Format,
    /// Make nothing of it.
    Ignore,
    /// Make it a row that goes (weight -1), whose columns from the value are
    /// NULL: the deletion of a key in a topic of upserts.
    Delete,
}

/// How a stream's columns come from its events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventOptions {
    /// For each column of the schema, in order; empty: all from the value.
    pub sources: Vec<ColumnSource>,
    /// What to do with an event without a value.
    pub on_tombstone: OnTombstone,
}

impl EventOptions {
    /// Whether this is what a format does by itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.on_tombstone == OnTombstone::Format
            && self.sources.iter().all(|source| *source == ColumnSource::Value)
    }
}
