//! An object: which of its fields goes into which column.

use super::cursor::{Cursor, Malformed};
use super::text::RawText;
use super::{Context, OnMissing, OnUnknown, Reject};

/// Most field names an object remembers.
const KNOWN_NAMES_MAX: usize = 64;
/// Longest field name it remembers, in bytes.
const KNOWN_NAME_BYTES_MAX: usize = 128;

/// A field name seen before.
struct KnownName {
    /// The name and its closing quote, as they stand in a document.
    quoted: Box<[u8]>,
    /// Its column; `None` if it is undeclared.
    slot: Option<usize>,
}

/// The field names an object has seen.
///
/// Documents repeat their field names in the same order, so each name is first
/// compared with the one that followed last time.
#[derive(Default)]
pub(super) struct Names {
    known: Vec<KnownName>,
    /// Index in `known` of the name that should come next.
    next: usize,
}

/// The columns of an object's fields.
pub(super) type Object = crate::column::Object<Names>;

impl Object {
    /// Reads the object whose opening brace is next into row `row`.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        context: &mut Context,
        row: usize,
    ) -> Result<(), Reject> {
        self.notes.next = 0;
        cursor.at += 1;
        if cursor.peek_token() == Some(b'}') {
            cursor.at += 1;
            return self.fill(context.options.on_missing, row);
        }
        loop {
            cursor.expect(b'"', "a field name in quotes")?;
            let name_at = cursor.at;
            let slot = self.slot(cursor, &mut context.scratch)?;
            cursor.expect(b':', "':'")?;
            cursor.peek_token();
            match slot {
                Some(slot) => self.slots[slot].read(cursor, context, row)?,
                None => {
                    if context.options.on_unknown == OnUnknown::Reject {
                        return Err(unknown(cursor.document, name_at, &mut context.scratch));
                    }
                    cursor.skip_value()?;
                }
            }
            match cursor.peek_token() {
                Some(b',') => cursor.at += 1,
                Some(b'}') => break,
                _ => return Err(cursor.malformed("',' or '}'").into()),
            }
        }
        cursor.at += 1;
        self.fill(context.options.on_missing, row)
    }

    /// Puts NULL where the object had no field.
    fn fill(&mut self, on_missing: OnMissing, row: usize) -> Result<(), Reject> {
        for slot in &mut self.slots {
            if slot.len() == row {
                if on_missing == OnMissing::Reject || !slot.nullable() {
                    return Err(Reject::missing(slot.name()));
                }
                slot.null();
            }
        }
        Ok(())
    }

    /// Reads a field's name, whose opening quote was passed, and finds its column.
    #[inline]
    fn slot(&mut self, cursor: &mut Cursor<'_>, scratch: &mut String) -> Result<Option<usize>, Malformed> {
        let rest = &cursor.document[cursor.at..];
        if let Some(known) = self.notes.known.get(self.notes.next)
            && rest.starts_with(&known.quoted)
        {
            cursor.at += known.quoted.len();
            self.notes.next += 1;
            return Ok(known.slot);
        }
        self.slot_out_of_order(cursor, scratch)
    }

    fn slot_out_of_order(
        &mut self,
        cursor: &mut Cursor<'_>,
        scratch: &mut String,
    ) -> Result<Option<usize>, Malformed> {
        let rest = &cursor.document[cursor.at..];
        if let Some(place) = self.notes.known.iter().position(|known| rest.starts_with(&known.quoted)) {
            cursor.at += self.notes.known[place].quoted.len();
            self.notes.next = place + 1;
            return Ok(self.notes.known[place].slot);
        }
        let raw = cursor.raw_text()?;
        let name = raw.text(scratch)?;
        let slot = self.position(name);
        if !raw.escaped && name.len() <= KNOWN_NAME_BYTES_MAX && self.notes.known.len() < KNOWN_NAMES_MAX {
            let quoted = rest[..=name.len()].into();
            self.notes.known.push(KnownName { quoted, slot });
            self.notes.next = self.notes.known.len();
        }
        Ok(slot)
    }
}

/// The verdict on the field whose name starts at `name_at`.
#[cold]
fn unknown(document: &[u8], name_at: usize, scratch: &mut String) -> Reject {
    match RawText::scan(document, name_at).and_then(|(raw, _)| raw.text(scratch)) {
        Ok(name) => Reject::field(name, "unknown: no column declares it".to_owned()),
        Err(malformed) => malformed.into(),
    }
}
