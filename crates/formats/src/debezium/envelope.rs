//! The envelope around the rows of a change.

use crate::json::{Cursor, Documents, Malformed, Scalar};
use crate::rows::Rejection;

/// Where in a document the rows stand.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// The row as it was; `None` if it is missing or null.
    pub(super) before: Option<usize>,
    /// The row as it is.
    pub(super) after: Option<usize>,
    pub(super) op: Option<String>,
}

impl Documents {
    /// Reads a document's envelope, checking all of the document; `None` if its
    /// payload is null.
    pub(super) fn envelope(&mut self, document: &[u8]) -> Result<Option<Envelope>, Rejection> {
        let scratch = self.scratch();
        let mut cursor = Cursor::new(document);
        let mut payload = Payload::Absent;
        let read = envelope(&mut cursor, scratch, Some(&mut payload)).and_then(|envelope| {
            cursor.expect_end()?;
            Ok(envelope)
        });
        match (read, payload) {
            (Err(malformed), _) => Err(Rejection::Event(malformed.reason(document))),
            (Ok(envelope), Payload::Absent) => Ok(Some(envelope)),
            (Ok(_), Payload::Null) => Ok(None),
            (Ok(_), Payload::Envelope(envelope)) => Ok(Some(envelope)),
        }
    }
}

/// What stands in the field `payload`.
enum Payload {
    Absent,
    Null,
    Envelope(Envelope),
}

/// Reads the object here; only the outermost may have a `payload`.
fn envelope(
    cursor: &mut Cursor<'_>,
    scratch: &mut String,
    mut payload: Option<&mut Payload>,
) -> Result<Envelope, Malformed> {
    let mut found = Envelope::default();
    if cursor.peek_token() != Some(b'{') {
        return Err(cursor.malformed("a JSON object"));
    }
    cursor.at += 1;
    if cursor.peek_token() == Some(b'}') {
        cursor.at += 1;
        return Ok(found);
    }
    loop {
        cursor.expect(b'"', "a field name in quotes")?;
        let name = cursor.raw_text()?;
        name.check()?;
        cursor.expect(b':', "':'")?;
        let first = cursor.peek_token();
        match (name.bytes, &mut payload) {
            (b"before", _) => found.before = row(cursor)?,
            (b"after", _) => found.after = row(cursor)?,
            (b"op", _) => {
                found.op = match cursor.scalar(scratch)? {
                    Scalar::Text(text) => Some(text.to_owned()),
                    _ => None,
                }
            }
            (b"payload", Some(payload)) if first == Some(b'{') => {
                **payload = Payload::Envelope(envelope(cursor, scratch, None)?);
            }
            (b"payload", Some(payload)) if first == Some(b'n') => {
                cursor.skip_value()?;
                **payload = Payload::Null;
            }
            _ => cursor.skip_value()?,
        }
        match cursor.peek_token() {
            Some(b',') => {
                cursor.at += 1;
                cursor.peek_token();
            }
            Some(b'}') => break,
            _ => return Err(cursor.malformed("',' or '}'")),
        }
    }
    cursor.at += 1;
    Ok(found)
}

/// Passes over a row; gives where it starts, unless it is null.
fn row(cursor: &mut Cursor<'_>) -> Result<Option<usize>, Malformed> {
    let start = cursor.at;
    cursor.skip_value()?;
    Ok((cursor.document[start] != b'n').then_some(start))
}
