//! How a JSON value gets into the column of its field.

use arrow::datatypes::Field;

use super::cursor::{Cursor, Scalar};
use super::object::Names;
use super::{Context, OnDrift, Reject};
use crate::column::{Column, ListNode, MapNode, Node, Refusal, Value, take_text};
use crate::fault::{refuse, refuse_null};
use crate::number::Scaled;
use crate::reason::{plain, quoted};

/// A declared field and its column.
pub(super) type Slot = crate::column::Slot<Names>;

impl Slot {
    /// Reads the value here into row `row`, in place of one that is there.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        context: &mut Context,
        row: usize,
    ) -> Result<(), Reject> {
        if self.len() > row {
            self.truncate(row);
        }
        let Self { field, node: Node::Scalar(column) } = self else {
            return self.read_nested(cursor, context);
        };
        let start = cursor.at;
        // Not by a `Scalar`: moving one through memory takes longer than reading it.
        let taken = match cursor.peek() {
            Some(b'"') => {
                cursor.at += 1;
                let raw = cursor.raw_text()?;
                match raw.plain() {
                    Some(ascii) => column.ascii(ascii),
                    None => column.text(raw.text(&mut context.scratch)?),
                }
            }
            Some(b'-' | b'0'..=b'9') => column.number(&cursor.number()?),
            _ => match cursor.scalar(&mut context.scratch)? {
                Scalar::Boolean(value) => column.boolean(value),
                Scalar::Null => {
                    refuse_null(field)?;
                    column.null();
                    Ok(())
                }
                _ => Err(Refusal::Type),
            },
        };
        let Err(refusal) = taken else { return Ok(()) };
        cursor.at = start;
        misfit(field, column.as_mut(), cursor, context, refusal)
    }

    /// The same, where the column is no scalar.
    #[inline(never)]
    fn read_nested(&mut self, cursor: &mut Cursor<'_>, context: &mut Context) -> Result<(), Reject> {
        let Self { field, node } = self;
        match (node, cursor.peek()) {
            (Node::Struct(node), Some(b'{')) => {
                let row = node.len();
                node.object.read(cursor, context, row).map_err(|reject| reject.within(field.name()))?;
                node.close();
                Ok(())
            }
            (Node::List(node), Some(b'[')) => {
                read_list(node, cursor, context).map_err(|reject| reject.within(field.name()))
            }
            (Node::Map(node), Some(b'{')) => {
                read_map(node, cursor, context).map_err(|reject| reject.within(field.name()))
            }
            _ => {
                let scalar = cursor.scalar(&mut context.scratch)?;
                match scalar {
                    Scalar::Null => refuse_null(field)?,
                    _ => refuse(field, context.on_error, Refusal::Type, || found(scalar))?,
                }
                self.null();
                Ok(())
            }
        }
    }
}

/// Reads the array whose opening bracket is next.
fn read_list(
    node: &mut ListNode<Names>,
    cursor: &mut Cursor<'_>,
    context: &mut Context,
) -> Result<(), Reject> {
    cursor.at += 1;
    let mut index = 0;
    if cursor.peek_token() != Some(b']') {
        loop {
            cursor.peek_token();
            let row = node.element.len();
            let read = node.element.read(cursor, context, row);
            read.map_err(|reject| reject.at_element(node.element.name(), index))?;
            index += 1;
            match cursor.peek_token() {
                Some(b',') => cursor.at += 1,
                Some(b']') => break,
                _ => return Err(cursor.malformed("',' or ']'").into()),
            }
        }
    }
    cursor.at += 1;
    node.close().ok_or(Reject::Full)
}

/// Reads the object whose opening brace is next as entries of a map.
fn read_map(node: &mut MapNode<Names>, cursor: &mut Cursor<'_>, context: &mut Context) -> Result<(), Reject> {
    cursor.at += 1;
    if cursor.peek_token() != Some(b'}') {
        loop {
            cursor.expect(b'"', "a field name in quotes")?;
            let raw = cursor.raw_text()?;
            let name = raw.text(&mut context.scratch)?;
            node.push_key(name)?;
            cursor.expect(b':', "':'")?;
            cursor.peek_token();
            let row = node.value.len();
            let read = node.value.read(cursor, context, row);
            read.map_err(|reject| reject.at_element(node.value.name(), String::from_utf8_lossy(raw.bytes)))?;
            match cursor.peek_token() {
                Some(b',') => {
                    cursor.at += 1;
                    cursor.peek_token();
                }
                Some(b'}') => break,
                _ => return Err(cursor.malformed("',' or '}'").into()),
            }
        }
    }
    cursor.at += 1;
    node.close().ok_or(Reject::Full)
}

/// What becomes of the value here, which its column refused.
#[cold]
#[inline(never)]
fn misfit(
    field: &Field,
    column: &mut dyn Column,
    cursor: &mut Cursor<'_>,
    context: &mut Context,
    refusal: Refusal,
) -> Result<(), Reject> {
    let start = cursor.at;
    let scalar = cursor.scalar(&mut context.scratch)?;
    let written = &cursor.document[start..cursor.at];
    let converted = match (context.options.on_drift, refusal) {
        (OnDrift::Convert, Refusal::Type) => convert(column, scalar, written),
        _ => Err(refusal),
    };
    if let Err(refusal) = converted {
        refuse(field, context.on_error, refusal, || found(scalar))?;
        column.null();
    }
    Ok(())
}

/// Offers a value of another type as what the column takes; `written` is how it
/// stands in the document.
fn convert(column: &mut dyn Column, scalar: Scalar<'_>, written: &[u8]) -> Result<(), Refusal> {
    match scalar {
        Scalar::Text(text) => take_text(column, text),
        Scalar::Null => Err(Refusal::Type),
        Scalar::Number(number) => {
            let taken = column.text(std::str::from_utf8(written).map_err(|_| Refusal::Type)?);
            match (taken, number.scaled(0)) {
                (Err(Refusal::Type), Some(Scaled { value, rounded: false })) => {
                    column.value(Value::Date(i32::try_from(value).map_err(|_| Refusal::Range)?))
                }
                (taken, _) => taken,
            }
        }
        Scalar::Boolean(_) | Scalar::Object | Scalar::Array => {
            column.text(std::str::from_utf8(written).map_err(|_| Refusal::Type)?)
        }
    }
}

fn found(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::Text(text) => format!("string {}", quoted(text)),
        Scalar::Number(number) => format!("number {}", plain(number.text)),
        Scalar::Boolean(value) => format!("boolean {value}"),
        Scalar::Null => "NULL".to_owned(),
        Scalar::Object => "an object".to_owned(),
        Scalar::Array => "an array".to_owned(),
    }
}
