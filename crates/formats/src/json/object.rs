//! An object: which of its fields goes into which column.

use arrow::array::ArrayRef;
use arrow::datatypes::Fields;

use super::cursor::{Cursor, Malformed};
use super::node::Slot;
use super::{Context, FieldFault, Reject};
use crate::error::FormatError;

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

/// The columns of an object's fields.
///
/// Documents repeat their field names in the same order, so each name is first
/// compared with the one that followed last time.
pub(super) struct Object {
    slots: Vec<Slot>,
    known: Vec<KnownName>,
    /// Index in `known` of the name that should come next.
    next: usize,
}

impl Object {
    /// Empty columns for these fields; `path` leads here from the root.
    pub(super) fn new(fields: &Fields, path: &str, depth: usize) -> Result<Self, FormatError> {
        let mut slots: Vec<Slot> = Vec::with_capacity(fields.len());
        for field in fields {
            if slots.iter().any(|slot| slot.name() == field.name()) {
                let message = format!("the schema has two columns `{path}{}`; rename one", field.name());
                return Err(FormatError::Invalid(message));
            }
            slots.push(Slot::new(field, path, depth)?);
        }
        Ok(Self { slots, known: Vec::new(), next: 0 })
    }

    /// Reads the object whose opening brace is next into row `row`.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        context: &mut Context,
        row: usize,
    ) -> Result<(), Reject> {
        self.next = 0;
        cursor.at += 1;
        if cursor.peek_token() == Some(b'}') {
            cursor.at += 1;
            return self.fill(row);
        }
        loop {
            cursor.expect(b'"', "a field name in quotes")?;
            let slot = self.slot(cursor, &mut context.scratch)?;
            cursor.expect(b':', "':'")?;
            cursor.peek_token();
            match slot {
                Some(slot) => self.slots[slot].read(cursor, context, row)?,
                None => cursor.skip_value()?,
            }
            match cursor.peek_token() {
                Some(b',') => cursor.at += 1,
                Some(b'}') => break,
                _ => return Err(cursor.malformed("',' or '}'").into()),
            }
        }
        cursor.at += 1;
        self.fill(row)
    }

    /// Puts NULL where the object had no field.
    fn fill(&mut self, row: usize) -> Result<(), Reject> {
        for slot in &mut self.slots {
            if slot.len() == row {
                if !slot.nullable() {
                    let fault = FieldFault { path: slot.name().to_owned(), problem: None };
                    return Err(Reject::Field(Box::new(fault)));
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
        if let Some(known) = self.known.get(self.next)
            && rest.starts_with(&known.quoted)
        {
            cursor.at += known.quoted.len();
            self.next += 1;
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
        if let Some(place) = self.known.iter().position(|known| rest.starts_with(&known.quoted)) {
            cursor.at += self.known[place].quoted.len();
            self.next = place + 1;
            return Ok(self.known[place].slot);
        }
        let raw = cursor.raw_text()?;
        let name = raw.text(scratch)?;
        let exact = self.slots.iter().position(|slot| slot.name() == name);
        let slot =
            exact.or_else(|| self.slots.iter().position(|slot| slot.name().eq_ignore_ascii_case(name)));
        if !raw.escaped && name.len() <= KNOWN_NAME_BYTES_MAX && self.known.len() < KNOWN_NAMES_MAX {
            let quoted = rest[..=name.len()].into();
            self.known.push(KnownName { quoted, slot });
            self.next = self.known.len();
        }
        Ok(slot)
    }

    /// Adds a row of placeholders, under a NULL.
    pub(super) fn null(&mut self) {
        for slot in &mut self.slots {
            slot.null();
        }
    }

    /// Takes back the rows from `len` on, also half-written ones.
    pub(super) fn truncate(&mut self, len: usize) {
        for slot in &mut self.slots {
            slot.truncate(len);
        }
    }

    /// The arrays of all columns.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.slots.iter_mut().map(Slot::finish).collect()
    }
}
