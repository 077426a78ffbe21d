//! How the fields of a message meet the declared columns: worked out once, so
//! that reading a record looks up no name.

use std::sync::Arc;

use super::descriptor::{EnumDef, FieldDef, FieldKind, MessageDef, Named, Scalar, Types};
use super::well_known::{TIMESTAMP, is_wrapper};
use crate::column::{Node, Object, Slot};

/// Field numbers below this are found by place.
const DIRECT_NUMBERS: u32 = 1024;

/// How to read a message into the columns of an object.
#[derive(Debug)]
pub(super) struct MessagePlan {
    pub(super) fields: Vec<FieldPlan>,
    /// Which field each number below [`DIRECT_NUMBERS`] is.
    direct: Vec<Option<u16>>,
    /// What each column gets if nothing was written for it.
    pub(super) absent: Vec<Absent>,
}

#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) number: u32,
    /// Its column; `None` if it only empties others of its oneof.
    pub(super) column: Option<usize>,
    pub(super) shape: Shape,
    /// Columns of the same oneof, of which the last one written counts.
    pub(super) others: Vec<usize>,
}

/// What a column gets if nothing was written for it.
#[derive(Debug)]
pub(super) enum Absent {
    Null,
    /// The default of a field that does not tell its absence.
    Scalar(Scalar),
    Enum(Arc<EnumDef>),
    /// The elements so far, perhaps none.
    Elements,
}

/// What a field's value is.
#[derive(Debug)]
pub(super) enum Shape {
    Scalar(Scalar),
    Enum(Arc<EnumDef>),
    Timestamp,
    /// A message whose field 1 is the value.
    Wrapper(Scalar),
    Message(Box<MessagePlan>),
    List(Box<Shape>),
    Map {
        key: Scalar,
        value: Box<Shape>,
    },
    /// The column takes no such thing.
    Mismatch(&'static str),
}

impl MessagePlan {
    /// The field with this number, if a column wants it.
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<&FieldPlan> {
        match self.direct.get(number as usize) {
            Some(place) => place.and_then(|place| self.fields.get(usize::from(place))),
            None if number < DIRECT_NUMBERS => None,
            None => self.fields.iter().find(|field| field.number == number),
        }
    }

    /// The plan for `message`, whose full name is `scope`. Ends because every
    /// step into a message is a step into the columns, which nest to a bounded
    /// depth.
    pub(super) fn new(types: &Types, scope: &str, message: &MessageDef, object: &Object<()>) -> Self {
        let columns = columns(message, object);
        let mut absent: Vec<Absent> = object.slots.iter().map(|_| Absent::Null).collect();
        let mut fields = Vec::new();
        for (field, column) in message.fields.iter().zip(&columns) {
            let others: Vec<usize> = match field.oneof {
                None => Vec::new(),
                oneof => {
                    let same = message.fields.iter().zip(&columns).filter(|(other, _)| other.oneof == oneof);
                    same.filter_map(|(_, other)| *other).filter(|other| Some(*other) != *column).collect()
                }
            };
            let shape = match column {
                Some(column) => {
                    let shape = shape(types, scope, field, &object.slots[*column]);
                    absent[*column] = absent_of(field, &shape);
                    shape
                }
                None if others.is_empty() => continue,
                None => Shape::Mismatch("a field without a column"),
            };
            fields.push(FieldPlan { number: field.number, column: *column, shape, others });
        }
        let direct_end =
            fields.iter().map(|field| field.number + 1).filter(|end| *end <= DIRECT_NUMBERS).max();
        let mut direct = vec![None; direct_end.unwrap_or(0) as usize];
        for (place, field) in fields.iter().enumerate() {
            if let Some(entry) = direct.get_mut(field.number as usize) {
                *entry = u16::try_from(place).ok();
            }
        }
        Self { fields, direct, absent }
    }
}

/// The column of each field: by exact name, else by name without regard to ASCII
/// case.
fn columns(message: &MessageDef, object: &Object<()>) -> Vec<Option<usize>> {
    let exact = |field: &FieldDef| object.slots.iter().position(|slot| slot.name() == field.name);
    let mut columns: Vec<Option<usize>> = message.fields.iter().map(exact).collect();
    for (place, field) in message.fields.iter().enumerate() {
        let column = object.position(&field.name);
        if columns[place].is_none() && !columns.contains(&column) {
            columns[place] = column;
        }
    }
    columns
}

fn absent_of(field: &FieldDef, shape: &Shape) -> Absent {
    match shape {
        Shape::List(_) | Shape::Map { .. } => Absent::Elements,
        Shape::Scalar(scalar) if !field.presence => Absent::Scalar(*scalar),
        Shape::Enum(definition) if !field.presence => Absent::Enum(Arc::clone(definition)),
        _ => Absent::Null,
    }
}

fn shape(types: &Types, scope: &str, field: &FieldDef, slot: &Slot<()>) -> Shape {
    if !field.repeated {
        return single(types, scope, &field.kind, slot);
    }
    if let FieldKind::Named(name) = &field.kind
        && let Some(Named::Message(full, message)) = types.find(name, scope)
        && message.map_entry
    {
        let part = |number| message.fields.iter().find(|part| part.number == number);
        return match (&slot.node, part(1), part(2)) {
            (Node::Map(node), Some(FieldDef { kind: FieldKind::Scalar(key), .. }), Some(value)) => {
                let value = single(types, full, &value.kind, &node.value);
                Shape::Map { key: *key, value: Box::new(value) }
            }
            _ => Shape::Mismatch("a map"),
        };
    }
    match &slot.node {
        Node::List(node) => Shape::List(Box::new(single(types, scope, &field.kind, &node.element))),
        _ => Shape::Mismatch("a repeated field"),
    }
}

fn single(types: &Types, scope: &str, kind: &FieldKind, slot: &Slot<()>) -> Shape {
    let found = match kind {
        FieldKind::Scalar(scalar) => {
            return match slot.node {
                Node::Scalar(_) => Shape::Scalar(*scalar),
                _ => Shape::Mismatch("a scalar"),
            };
        }
        FieldKind::Group => return Shape::Mismatch("a group"),
        FieldKind::Named(name) => types.find(name, scope),
    };
    match (found, &slot.node) {
        (Some(Named::Enum(definition)), Node::Scalar(_)) => Shape::Enum(Arc::new(definition.clone())),
        (Some(Named::Enum(_)), _) => Shape::Mismatch("an enum"),
        (Some(Named::Message(full, message)), Node::Struct(node)) => {
            Shape::Message(Box::new(MessagePlan::new(types, full, message, &node.object)))
        }
        (Some(Named::Message(TIMESTAMP, _)), Node::Scalar(_)) => Shape::Timestamp,
        (Some(Named::Message(full, message)), Node::Scalar(_)) if is_wrapper(full) => {
            match message.fields.first().map(|field| &field.kind) {
                Some(FieldKind::Scalar(scalar)) => Shape::Wrapper(*scalar),
                _ => Shape::Mismatch("a message"),
            }
        }
        (Some(Named::Message(..)), _) => Shape::Mismatch("a message"),
        (None, _) => Shape::Mismatch("a message whose definition is not in the schema"),
    }
}
