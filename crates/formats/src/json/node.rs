//! A declared field: its column, scalar or nested, and how a value gets into it.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, NullBufferBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::cursor::{Cursor, Scalar};
use super::object::Object;
use super::{Context, FieldFault, Reject};
use crate::column::{Column, Refusal, SCALAR_TYPES, column};
use crate::decode::OnError;
use crate::error::FormatError;
use crate::reason::{plain, quoted, refused};

/// How deep a schema may nest.
const SCHEMA_DEPTH_MAX: usize = 32;

/// A declared field and its column.
pub(super) struct Slot {
    field: FieldRef,
    node: Node,
}

enum Node {
    Scalar(Box<dyn Column>),
    Struct(Box<StructNode>),
    List(Box<ListNode>),
}

struct StructNode {
    fields: Fields,
    object: Object,
    nulls: NullBufferBuilder,
}

struct ListNode {
    element: Slot,
    /// Where each row ends in `element`, behind a leading 0.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Slot {
    /// An empty column; `path` leads to the field from the root.
    pub(super) fn new(field: &FieldRef, path: &str, depth: usize) -> Result<Self, FormatError> {
        let here = format!("{path}{}", field.name());
        if depth > SCHEMA_DEPTH_MAX {
            return Err(FormatError::Invalid(format!(
                "column `{here}` nests deeper than {SCHEMA_DEPTH_MAX} levels"
            )));
        }
        let node = match field.data_type() {
            DataType::Struct(fields) => Node::Struct(Box::new(StructNode {
                fields: fields.clone(),
                object: Object::new(fields, &format!("{here}."), depth + 1)?,
                nulls: NullBufferBuilder::new(0),
            })),
            DataType::List(element) => Node::List(Box::new(ListNode {
                element: Slot::new(element, &format!("{here}."), depth + 1)?,
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
            })),
            data_type => match column(data_type) {
                Some(column) => Node::Scalar(column),
                None => {
                    return Err(FormatError::UnsupportedColumn {
                        column: here,
                        data_type: data_type.to_string(),
                        format: "format json",
                        supported: SCALAR_TYPES,
                    });
                }
            },
        };
        Ok(Self { field: FieldRef::clone(field), node })
    }

    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    pub(super) fn nullable(&self) -> bool {
        self.field.is_nullable()
    }

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
        let Self { field, node } = self;
        let within = |reject| match reject {
            Reject::Field(fault) => Reject::Field(fault.within(field.name())),
            other => other,
        };
        match (node, cursor.peek()) {
            (Node::Scalar(column), _) => {
                let scalar = cursor.scalar(&mut context.scratch)?;
                let taken = match scalar {
                    Scalar::Text(text) => column.text(text),
                    Scalar::Number(number) => column.number(&number),
                    Scalar::Boolean(value) => column.boolean(value),
                    Scalar::Null | Scalar::Object | Scalar::Array => Err(Refusal::Type),
                };
                if let Err(refusal) = taken {
                    refuse(field, context.on_error, refusal, scalar)?;
                    column.null();
                }
                Ok(())
            }
            (Node::Struct(node), Some(b'{')) => {
                let row = node.nulls.len();
                node.object.read(cursor, context, row).map_err(within)?;
                node.nulls.append_non_null();
                Ok(())
            }
            (Node::List(node), Some(b'[')) => node.read(cursor, context).map_err(within),
            (Node::Struct(_) | Node::List(_), _) => {
                let scalar = cursor.scalar(&mut context.scratch)?;
                refuse(field, context.on_error, Refusal::Type, scalar)?;
                self.null();
                Ok(())
            }
        }
    }

    /// Rows so far.
    pub(super) fn len(&self) -> usize {
        match &self.node {
            Node::Scalar(column) => column.len(),
            Node::Struct(node) => node.nulls.len(),
            Node::List(node) => node.nulls.len(),
        }
    }

    /// Adds a NULL, or a placeholder under a NULL.
    pub(super) fn null(&mut self) {
        match &mut self.node {
            Node::Scalar(column) => column.null(),
            Node::Struct(node) => {
                node.object.null();
                node.nulls.append_null();
            }
            Node::List(node) => {
                node.offsets.push(node.end());
                node.nulls.append_null();
            }
        }
    }

    /// Takes back the rows from `len` on, also half-written ones.
    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.node {
            Node::Scalar(column) => column.truncate(len),
            Node::Struct(node) => {
                node.object.truncate(len);
                node.nulls.truncate(len);
            }
            Node::List(node) => {
                node.offsets.truncate(len + 1);
                node.nulls.truncate(len);
                let end = usize::try_from(node.end()).unwrap_or(0);
                node.element.truncate(end);
            }
        }
    }

    /// The array of all rows.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.node {
            Node::Scalar(column) => column.finish(),
            Node::Struct(node) => {
                let length = node.nulls.len();
                let (arrays, nulls) = (node.object.finish(), node.nulls.finish());
                match arrays.is_empty() {
                    true => Arc::new(StructArray::new_empty_fields(length, nulls)),
                    false => Arc::new(StructArray::new(node.fields.clone(), arrays, nulls)),
                }
            }
            Node::List(node) => {
                let offsets = std::mem::replace(&mut node.offsets, vec![0]);
                let offsets = OffsetBuffer::new(offsets.into());
                let element = FieldRef::clone(&node.element.field);
                Arc::new(ListArray::new(element, offsets, node.element.finish(), node.nulls.finish()))
            }
        }
    }
}

impl ListNode {
    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Reads the array whose opening bracket is next.
    fn read(&mut self, cursor: &mut Cursor<'_>, context: &mut Context) -> Result<(), Reject> {
        cursor.at += 1;
        let mut index = 0;
        if cursor.peek_token() != Some(b']') {
            loop {
                cursor.peek_token();
                let row = self.element.len();
                self.element.read(cursor, context, row).map_err(|reject| match reject {
                    Reject::Field(fault) => Reject::Field(renamed(fault, self.element.name(), index)),
                    other => other,
                })?;
                index += 1;
                match cursor.peek_token() {
                    Some(b',') => cursor.at += 1,
                    Some(b']') => break,
                    _ => return Err(cursor.malformed("',' or ']'").into()),
                }
            }
        }
        cursor.at += 1;
        self.offsets.push(i32::try_from(self.element.len()).map_err(|_| Reject::Full)?);
        self.nulls.append_non_null();
        Ok(())
    }
}

/// A fault inside an element names the element's field (`item`), which no
/// document has: its index says more.
fn renamed(mut fault: Box<FieldFault>, element: &str, index: usize) -> Box<FieldFault> {
    let inner = fault.path.strip_prefix(element).unwrap_or("");
    fault.path = format!("[{index}]{inner}");
    fault
}

/// Gives `Ok` if the value that the column does not take becomes NULL.
fn refuse(field: &Field, on_error: OnError, refusal: Refusal, scalar: Scalar<'_>) -> Result<(), Reject> {
    let found = match scalar {
        _ if refusal == Refusal::Full => return Err(Reject::Full),
        Scalar::Null if field.is_nullable() => return Ok(()),
        _ if on_error == OnError::Null && field.is_nullable() => return Ok(()),
        Scalar::Null => "NULL, but the column is NOT NULL".to_owned(),
        Scalar::Text(text) => format!("string {}", quoted(text)),
        Scalar::Number(number) => format!("number {}", plain(number.text)),
        Scalar::Boolean(value) => format!("boolean {value}"),
        Scalar::Object => "an object".to_owned(),
        Scalar::Array => "an array".to_owned(),
    };
    let problem = Some(refused(field.data_type(), refusal, &found));
    Err(Reject::Field(Box::new(FieldFault { path: field.name().clone(), problem })))
}
