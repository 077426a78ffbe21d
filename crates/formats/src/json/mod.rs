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
//!   and a number never text. Dates and times are text, timestamps text (with a
//!   `T` or a space, with or without an offset) or epoch milliseconds.
//! - Objects fill STRUCT and MAP columns, arrays fill ARRAY columns, to any
//!   depth of the schema up to 32.
//! - [`JsonOptions`] changes the verdict on missing and unknown fields and on
//!   other types, and what numbers count in timestamps.

mod cursor;
mod node;
mod object;
mod options;
mod text;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::column::{Columns, SCALAR_TYPES, column_of};
use crate::decode::OnError;
use crate::error::FormatError;
use crate::framing::{Framing, no_schema_id, split_schema_id};
use crate::rows::Rejection;
use crate::tabular::Reader;
use object::Object;

pub(crate) use cursor::{Cursor, Malformed, Scalar};
pub use options::{JsonOptions, OnDrift, OnMissing, OnUnknown};

/// Why a document became no row.
type Reject = crate::fault::Reject<Malformed>;

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What all levels of a document share.
struct Context {
    on_error: OnError,
    options: JsonOptions,
    /// Holds a string while its escapes are resolved.
    scratch: String,
}

/// See the module.
pub(crate) struct Documents {
    root: Object,
    context: Context,
}

impl Documents {
    /// Empty columns.
    pub(crate) fn new(
        options: JsonOptions,
        schema: &SchemaRef,
        on_error: OnError,
    ) -> Result<Self, FormatError> {
        let columns = Columns {
            format: "format json",
            supported: SCALAR_TYPES,
            scalar: &|data_type| column_of(data_type, options.epoch),
        };
        let root = Object::new(schema.fields(), "", 0, &columns)?;
        Ok(Self { root, context: Context { on_error, options, scratch: String::new() } })
    }

    /// The document of a value, without what stands in front of it.
    #[inline]
    pub(crate) fn unframed<'a>(&self, value: &'a [u8]) -> Result<&'a [u8], Rejection> {
        match self.context.options.framing {
            Framing::Plain => Ok(value),
            Framing::Confluent => match split_schema_id(value) {
                Some((_, document)) => Ok(document),
                None => Err(Rejection::Event(no_schema_id(value))),
            },
        }
    }

    /// Reads a document into row `row`, or leaves no trace of it.
    #[inline]
    pub(crate) fn read_whole(&mut self, document: &[u8], row: usize) -> Result<(), Rejection> {
        let mut cursor = Cursor::new(document);
        let outcome = self.object(&mut cursor, row);
        let outcome = outcome.and_then(|()| cursor.expect_end().map_err(Reject::from));
        let Err(reject) = outcome else { return Ok(()) };
        self.root.truncate(row);
        Err(reject.verdict(|malformed| malformed.reason(document)))
    }

    /// Reads the object at byte `start`, which field `name` holds, into row
    /// `row`, or leaves no trace of it.
    pub(crate) fn read_at(
        &mut self,
        document: &[u8],
        start: usize,
        name: &str,
        row: usize,
    ) -> Result<(), Rejection> {
        let mut cursor = Cursor { document, at: start };
        let Err(reject) = self.object(&mut cursor, row) else { return Ok(()) };
        self.root.truncate(row);
        Err(reject.within(name).verdict(|malformed| malformed.reason(document)))
    }

    #[inline]
    fn object(&mut self, cursor: &mut Cursor<'_>, row: usize) -> Result<(), Reject> {
        match cursor.peek_token() {
            Some(b'{') => self.root.read(cursor, &mut self.context, row),
            _ => Err(cursor.malformed("a JSON object").into()),
        }
    }

    /// Room for a string while its escapes are resolved.
    pub(crate) fn scratch(&mut self) -> &mut String {
        &mut self.context.scratch
    }

    /// Takes back the rows from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.root.truncate(len);
    }
}

impl Reader for Documents {
    const EXPECTED: &'static str = "a JSON object";

    fn read(&mut self, value: &[u8], row: usize) -> Result<(), Rejection> {
        let document = self.unframed(value)?;
        self.read_whole(document, row)
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.root.finish()
    }
}
