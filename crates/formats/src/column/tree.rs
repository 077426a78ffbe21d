//! Declared fields with their columns, nested as the schema nests them. How
//! values get in is each format's own; rows, NULLs, taking back and the finished
//! arrays are here.
//!
//! `N` is what a format wants to remember beside the fields of an object.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, NullBufferBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::{Column, take_text};
use crate::decode::OnError;
use crate::error::FormatError;
use crate::fault::{Reject, refuse};
use crate::reason::quoted;

/// How deep a schema may nest.
const SCHEMA_DEPTH_MAX: usize = 32;

/// Which columns a format can fill.
pub(crate) struct Columns<'a> {
    /// The format's name, for messages.
    pub(crate) format: &'static str,
    /// The scalar types it can fill, for messages.
    pub(crate) supported: &'static str,
    /// A scalar column; `None` if the format cannot fill the type.
    pub(crate) scalar: &'a dyn Fn(&DataType) -> Option<Box<dyn Column>>,
}

/// The columns of an object's fields.
pub(crate) struct Object<N> {
    pub(crate) slots: Vec<Slot<N>>,
    pub(crate) notes: N,
}

/// A declared field and its column.
pub(crate) struct Slot<N> {
    pub(crate) field: FieldRef,
    pub(crate) node: Node<N>,
}

pub(crate) enum Node<N> {
    Scalar(Box<dyn Column>),
    Struct(Box<StructNode<N>>),
    List(Box<ListNode<N>>),
    Map(Box<MapNode<N>>),
}

pub(crate) struct StructNode<N> {
    fields: Fields,
    pub(crate) object: Object<N>,
    nulls: NullBufferBuilder,
}

pub(crate) struct ListNode<N> {
    pub(crate) element: Slot<N>,
    rows: Ranges,
}

/// Entries keep their order; of equal keys all are kept.
pub(crate) struct MapNode<N> {
    entries: FieldRef,
    sorted: bool,
    pub(crate) key: Slot<N>,
    pub(crate) value: Slot<N>,
    rows: Ranges,
}

/// Which elements belong to which row.
struct Ranges {
    /// Where each row ends among the elements, behind a leading 0.
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl<N: Default> Object<N> {
    /// Empty columns for these fields; `path` leads here from the root.
    pub(crate) fn new(
        fields: &Fields,
        path: &str,
        depth: usize,
        columns: &Columns<'_>,
    ) -> Result<Self, FormatError> {
        let mut slots: Vec<Slot<N>> = Vec::with_capacity(fields.len());
        for field in fields {
            if slots.iter().any(|slot| slot.name() == field.name()) {
                let message = format!("the schema has two columns `{path}{}`; rename one", field.name());
                return Err(FormatError::Invalid(message));
            }
            slots.push(Slot::new(field, path, depth, columns)?);
        }
        Ok(Self { slots, notes: N::default() })
    }
}

impl<N> Object<N> {
    /// The column of a field: by exact name, else by name without regard to
    /// ASCII case.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let exact = self.slots.iter().position(|slot| slot.name() == name);
        exact.or_else(|| self.slots.iter().position(|slot| slot.name().eq_ignore_ascii_case(name)))
    }

    /// Adds a row of placeholders, under a NULL.
    pub(crate) fn null(&mut self) {
        self.slots.iter_mut().for_each(Slot::null);
    }

    /// Takes back the rows from `len` on, also half-written ones.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.slots.iter_mut().for_each(|slot| slot.truncate(len));
    }

    /// The arrays of all columns.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        self.slots.iter_mut().map(Slot::finish).collect()
    }
}

impl<N: Default> Slot<N> {
    fn new(field: &FieldRef, path: &str, depth: usize, columns: &Columns<'_>) -> Result<Self, FormatError> {
        let here = format!("{path}{}", field.name());
        if depth > SCHEMA_DEPTH_MAX {
            return Err(FormatError::Invalid(format!(
                "column `{here}` nests deeper than {SCHEMA_DEPTH_MAX} levels"
            )));
        }
        let inside = format!("{here}.");
        let unsupported = || FormatError::UnsupportedColumn {
            column: here.clone(),
            data_type: field.data_type().to_string(),
            format: columns.format,
            supported: columns.supported,
        };
        let node = match field.data_type() {
            DataType::Struct(fields) => Node::Struct(Box::new(StructNode {
                fields: fields.clone(),
                object: Object::new(fields, &inside, depth + 1, columns)?,
                nulls: NullBufferBuilder::new(0),
            })),
            DataType::List(element) => Node::List(Box::new(ListNode {
                element: Slot::new(element, &inside, depth + 1, columns)?,
                rows: Ranges::default(),
            })),
            DataType::Map(entries, sorted) => {
                let DataType::Struct(fields) = entries.data_type() else { return Err(unsupported()) };
                let [key, value] = &fields[..] else { return Err(unsupported()) };
                if key.data_type().is_nested() {
                    return Err(unsupported());
                }
                Node::Map(Box::new(MapNode {
                    entries: FieldRef::clone(entries),
                    sorted: *sorted,
                    key: Slot::new(key, &inside, depth + 1, columns)?,
                    value: Slot::new(value, &inside, depth + 1, columns)?,
                    rows: Ranges::default(),
                }))
            }
            data_type => Node::Scalar((columns.scalar)(data_type).ok_or_else(unsupported)?),
        };
        Ok(Self { field: FieldRef::clone(field), node })
    }
}

impl<N> Slot<N> {
    pub(crate) fn name(&self) -> &str {
        self.field.name()
    }

    pub(crate) fn nullable(&self) -> bool {
        self.field.is_nullable()
    }

    /// Rows so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.node {
            Node::Scalar(column) => column.len(),
            Node::Struct(node) => node.nulls.len(),
            Node::List(node) => node.rows.nulls.len(),
            Node::Map(node) => node.rows.nulls.len(),
        }
    }

    /// Adds a NULL, or a placeholder under a NULL.
    pub(crate) fn null(&mut self) {
        match &mut self.node {
            Node::Scalar(column) => column.null(),
            Node::Struct(node) => {
                node.object.null();
                node.nulls.append_null();
            }
            Node::List(node) => node.rows.null(),
            Node::Map(node) => node.rows.null(),
        }
    }

    /// Takes back the rows from `len` on, also half-written ones.
    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.node {
            Node::Scalar(column) => column.truncate(len),
            Node::Struct(node) => {
                node.object.truncate(len);
                node.nulls.truncate(len);
            }
            Node::List(node) => node.element.truncate(node.rows.truncate(len)),
            Node::Map(node) => {
                let end = node.rows.truncate(len);
                node.key.truncate(end);
                node.value.truncate(end);
            }
        }
    }

    /// The array of all rows.
    pub(crate) fn finish(&mut self) -> ArrayRef {
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
                let (offsets, nulls) = node.rows.finish();
                let element = FieldRef::clone(&node.element.field);
                Arc::new(ListArray::new(element, offsets, node.element.finish(), nulls))
            }
            Node::Map(node) => {
                let (offsets, nulls) = node.rows.finish();
                let fields =
                    Fields::from(vec![FieldRef::clone(&node.key.field), FieldRef::clone(&node.value.field)]);
                let entries = StructArray::new(fields, vec![node.key.finish(), node.value.finish()], None);
                let field = FieldRef::clone(&node.entries);
                Arc::new(MapArray::new(field, offsets, entries, nulls, node.sorted))
            }
        }
    }
}

impl<N> StructNode<N> {
    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Makes a row of what the fields' columns took.
    pub(crate) fn close(&mut self) {
        self.nulls.append_non_null();
    }
}

impl<N> ListNode<N> {
    /// Makes a row of the elements behind the last row; `None` if they are too
    /// many.
    pub(crate) fn close(&mut self) -> Option<()> {
        self.rows.close(self.element.len())
    }

    /// How many elements stand behind the last row.
    pub(crate) fn open(&self) -> usize {
        self.element.len() - self.rows.end()
    }
}

impl<N> MapNode<N> {
    /// Adds a key. It cannot be NULL, so it fits or the event is rejected.
    pub(crate) fn push_key<M>(&mut self, key: &str) -> Result<(), Reject<M>> {
        let Node::Scalar(column) = &mut self.key.node else {
            return Err(Reject::field(self.key.name(), "a map's key is a scalar".to_owned()));
        };
        match take_text(column.as_mut(), key) {
            Ok(()) => Ok(()),
            Err(refusal) => refuse(&self.key.field, OnError::DeadLetter, refusal, || quoted(key)),
        }
    }

    /// Makes a row of the entries behind the last row; `None` if they are too
    /// many.
    pub(crate) fn close(&mut self) -> Option<()> {
        self.rows.close(self.value.len())
    }
}

impl Default for Ranges {
    fn default() -> Self {
        Self { ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }
}

impl Ranges {
    fn end(&self) -> usize {
        self.ends.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    fn close(&mut self, end: usize) -> Option<()> {
        self.ends.push(i32::try_from(end).ok()?);
        self.nulls.append_non_null();
        Some(())
    }

    fn null(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    /// Takes back rows; gives how many elements are left.
    fn truncate(&mut self, len: usize) -> usize {
        self.ends.truncate(len + 1);
        self.nulls.truncate(len);
        self.end()
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        (OffsetBuffer::new(ends.into()), self.nulls.finish())
    }
}
