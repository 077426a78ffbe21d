//! The JSON decoder: one object per event, straight into columns, in one pass
//! over its bytes and without a document in between.
//!
//! Rules
//! - A document is checked in full, also where nothing is declared, so that it
//!   is good or bad whatever columns there are: RFC 8259, UTF-8, no half
//!   surrogate pairs, nothing behind the object, at most 128 levels deep.
//! - A field finds its column by exact name, else by name without regard to
//!   ASCII case; undeclared fields are skipped. Of duplicates the last counts.
//! - A missing field or `null` is NULL; where the column is NOT NULL, the event
//!   is rejected.
//! - Numbers fill numeric columns if they are in range; integers need a whole
//!   value (`5.0` is one); DECIMAL rounds to its scale. Text is never a number
//!   and a number never text. Dates are text, timestamps text or epoch
//!   milliseconds.
//! - Objects fill STRUCT columns, arrays fill ARRAY columns, to any depth of the
//!   schema up to 32.

mod cursor;
mod node;
mod object;
mod text;

use arrow::datatypes::SchemaRef;

use crate::decode::{Decoded, Decoder, OnError};
use crate::error::FormatError;
use crate::rows::{Rejection, Rows};
use cursor::{Cursor, Malformed};
use object::Object;

/// Why a document became no row.
#[derive(Debug)]
enum Reject {
    /// It is not JSON.
    Malformed(Malformed),
    /// A field is missing or does not fit.
    Field(Box<FieldFault>),
    /// A column is as large as it can be.
    Full,
}

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What is wrong with a field, and with which.
#[derive(Debug)]
struct FieldFault {
    /// From the outermost field to the innermost: `order.lines[2].amount`.
    path: String,
    /// `None`: it is missing.
    problem: Option<String>,
}

impl FieldFault {
    /// The same fault, seen from the container whose `step` leads to it.
    fn within(mut self: Box<Self>, step: &str) -> Box<Self> {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

/// What all levels of a document share.
struct Context {
    on_error: OnError,
    /// Holds a string while its escapes are resolved.
    scratch: String,
}

/// See the module.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    root: Object,
    context: Context,
    rows: Rows,
}

impl JsonDecoder {
    /// A decoder into this schema.
    pub(crate) fn new(schema: SchemaRef, on_error: OnError) -> Result<Self, FormatError> {
        let root = Object::new(schema.fields(), "", 0)?;
        Ok(Self {
            schema,
            root,
            context: Context { on_error, scratch: String::new() },
            rows: Rows::default(),
        })
    }

    fn row(&mut self, document: &[u8]) -> Result<(), Rejection> {
        let row = self.rows.accepted();
        let mut cursor = Cursor::new(document);
        let outcome = match cursor.peek_token() {
            Some(b'{') => self
                .root
                .read(&mut cursor, &mut self.context, row)
                .and_then(|()| cursor.expect_end().map_err(Reject::from)),
            _ => Err(cursor.malformed("a JSON object").into()),
        };
        let Err(reject) = outcome else { return Ok(()) };
        self.root.truncate(row);
        Err(match reject {
            Reject::Malformed(malformed) => Rejection::Event(malformed.reason(document)),
            Reject::Field(fault) => Rejection::Event(match fault.problem {
                None => format!("missing field `{}`", fault.path),
                Some(problem) => format!("field `{}`: {problem}", fault.path),
            }),
            Reject::Full => Rejection::BatchFull,
        })
    }
}

impl Decoder for JsonDecoder {
    fn push(&mut self, value: Option<&[u8]>) {
        let verdict = match value {
            Some(document) => self.row(document),
            None => Err(Rejection::Event("no value (a tombstone), expected a JSON object".to_owned())),
        };
        self.rows.enter(verdict);
    }

    fn pushed(&self) -> usize {
        self.rows.pushed()
    }

    fn finish(&mut self) -> Result<Decoded, FormatError> {
        let columns = self.root.finish();
        self.rows.finish(&self.schema, columns)
    }
}
