//! Changes of a database as Debezium writes them in JSON: each event becomes the
//! row that goes (weight -1), the row that comes (+1), or both.
//!
//! An event is `{"before":…,"after":…,"op":…,…}`, or that as the `payload` beside
//! a `schema`. By `op`: `c` and `r` (created, read by a snapshot) give `after`,
//! `u` (updated) both, `d` (deleted) `before`. A `t` (truncated) names no rows and
//! is rejected; an `m` (a message) changes none. Tombstones, which follow a `d`
//! so that a compacted topic can forget the key, are ignored.
//!
//! The rows themselves are read by the rules of the JSON format.

mod encode;
mod envelope;

use arrow::datatypes::SchemaRef;

use crate::decode::{Decoded, Decoder, OnError};
use crate::error::FormatError;
use crate::json::{Documents, JsonOptions};
use crate::reason::quoted;
use crate::rows::{Rejection, Rows};
use crate::tabular::Reader;
use envelope::Envelope;

pub use encode::{Change, changes_of, encode_debezium};

/// How changes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DebeziumOptions {
    /// How the rows are read.
    pub json: JsonOptions,
    /// An update without the row as it was.
    pub on_missing_before: OnMissingBefore,
}

/// What to do with an update without `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissingBefore {
    /// Reject the event: without the old row, it stays where it was counted.
    #[default]
    Reject,
    /// Let the new row come. Right only where a row replaces the one of its key.
    Upsert,
}

/// See the module.
pub(crate) struct DebeziumDecoder {
    schema: SchemaRef,
    on_missing_before: OnMissingBefore,
    documents: Documents,
    rows: Rows,
}

const COMES: i64 = 1;
const GOES: i64 = -1;

impl DebeziumDecoder {
    /// A decoder into this schema.
    pub(crate) fn new(
        options: &DebeziumOptions,
        schema: SchemaRef,
        on_error: OnError,
    ) -> Result<Self, FormatError> {
        let documents = Documents::new(options.json, &schema, on_error)?;
        let on_missing_before = options.on_missing_before;
        Ok(Self { schema, on_missing_before, documents, rows: Rows::default() })
    }

    /// Reads the rows of an event; gives their weights.
    fn event(&mut self, value: &[u8]) -> Result<&'static [i64], Rejection> {
        let document = self.documents.unframed(value)?;
        let found = self.documents.envelope(document)?;
        let Some(Envelope { before, after, op }) = found else { return Ok(&[]) };
        let Some(op) = op else {
            return Err(event("missing field `op`; is this a Debezium event?".to_owned()));
        };
        let needed = |row: Option<usize>, name: &str, hint: &str| {
            row.ok_or_else(|| event(format!("op \"{op}\" without `{name}`{hint}")))
        };
        let hint = "; let the table log whole rows (PostgreSQL: REPLICA IDENTITY FULL)";
        let row = self.rows.accepted();
        match op.as_str() {
            "c" | "r" => {
                self.documents.read_at(document, needed(after, "after", "")?, "after", row)?;
                Ok(&[COMES])
            }
            "u" => {
                let after = needed(after, "after", "")?;
                if before.is_none() && self.on_missing_before == OnMissingBefore::Upsert {
                    self.documents.read_at(document, after, "after", row)?;
                    return Ok(&[COMES]);
                }
                self.documents.read_at(document, needed(before, "before", hint)?, "before", row)?;
                let read = self.documents.read_at(document, after, "after", row + 1);
                if let Err(rejection) = read {
                    self.documents.truncate(row);
                    return Err(rejection);
                }
                Ok(&[GOES, COMES])
            }
            "d" => {
                self.documents.read_at(document, needed(before, "before", hint)?, "before", row)?;
                Ok(&[GOES])
            }
            "m" => Ok(&[]),
            "t" => Err(event("op \"t\": the table was truncated, which names no rows".to_owned())),
            other => Err(event(format!("op {} is none of c, r, u, d", quoted(other)))),
        }
    }
}

#[cold]
fn event(reason: String) -> Rejection {
    Rejection::Event(reason)
}

impl Decoder for DebeziumDecoder {
    fn push(&mut self, value: Option<&[u8]>) {
        let verdict = value.map_or(Ok(&[][..]), |value| self.event(value));
        self.rows.enter_changes(verdict);
    }

    fn pushed(&self) -> usize {
        self.rows.pushed()
    }

    fn finish(&mut self) -> Result<Decoded, FormatError> {
        let columns = self.documents.finish();
        self.rows.finish(&self.schema, columns)
    }
}
