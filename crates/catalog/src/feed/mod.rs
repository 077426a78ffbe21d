//! Where the events of a stream come from, if they do not only come through
//! Kafka's protocol: files, lines sent over TCP, or a generator.
//!
//! Promises: a definition that was made from options ([`FeedDef::from_options`])
//! can run with the columns and the format it was checked against. Nothing here
//! opens a file or a socket.

mod error;
mod fields;
mod network;
mod options;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use error::FeedOptionError;
pub use fields::{FieldKind, GeneratedField};
pub use network::Network;

/// Longest line that becomes an event, in bytes.
pub const LINE_BYTES_MAX: u64 = 1 << 20;

/// A source of events for a stream's topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "connector", rename_all = "snake_case")]
pub enum FeedDef {
    /// The lines of files that grow.
    Files(FilesDef),
    /// Lines that peers send over TCP.
    Lines(LinesDef),
    /// Random events.
    Generator(GeneratorDef),
}

/// Files whose lines become events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesDef {
    /// A file, a folder or a pattern, absolute.
    pub path: PathBuf,
    /// Where files begin that are there when the feed is first made.
    #[serde(default)]
    pub start: FileStart,
}

/// Where a file begins that is there when its feed is first made. Files that
/// come later are read from their beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStart {
    /// With its first line.
    #[default]
    Beginning,
    /// With the next line that is written to it.
    End,
}

/// A port that takes lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesDef {
    /// The address to listen at.
    pub listen: std::net::SocketAddr,
    /// Networks whose peers are let in; empty for any that reach the address.
    #[serde(default)]
    pub allow: Vec<Network>,
    /// Most connections at once.
    pub connections_max: u32,
    /// Longest line, in bytes.
    pub line_bytes_max: u64,
    /// After how long without a byte a connection is closed, in milliseconds; 0
    /// for never.
    pub idle_timeout_ms: u64,
}

/// Events made of random values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorDef {
    /// Events a second; 0 for as many as there can be.
    pub rows_per_second: u64,
    /// After how many events it ends; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_rows: Option<u64>,
    /// What all random values follow from.
    #[serde(default)]
    pub seed: u64,
    /// What was said of single columns, by name.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldDef>,
}

/// What was said of one column of a generator. What is not said is the
/// column type's default; see [`GeneratorDef::fields`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldDef {
    /// Whether it counts up.
    pub sequence: bool,
    /// The least value, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// Of a sequence: the first number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Of a sequence: the last number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// Of text: how many characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// The values to choose from; empty for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Of times: how far before now, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_past_ms: Option<u64>,
    /// How many of a million events have NULL here.
    pub null_rate_ppm: u32,
}

impl FeedDef {
    /// The connectors that are feeds, as `WITH (connector = …)` names them.
    pub const CONNECTORS: [&'static str; 3] = ["files", "lines", "generator"];

    /// Which of [`Self::CONNECTORS`] it is.
    pub fn connector(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Lines(_) => "lines",
            Self::Generator(_) => "generator",
        }
    }
}
