//! Reading a message into columns.

use super::descriptor::{EnumDef, Scalar};
use super::plan::{Absent, FieldPlan, MessagePlan, Shape};
use super::wire::{Malformed, Wire, WireType, unzigzag};
use crate::column::{Column, ListNode, MapNode, Node, Object, Refusal, Slot, Value};
use crate::decode::OnError;
use crate::fault::{refuse, refuse_null};

/// Why a record became no row.
pub(super) type Reject = crate::fault::Reject<Malformed>;

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads a message; every column of `object` gets row `row`.
pub(super) fn message(
    plan: &MessagePlan,
    object: &mut Object<()>,
    mut wire: Wire<'_>,
    row: usize,
    on_error: OnError,
) -> Result<(), Reject> {
    let whole = wire;
    // Messages that were written in several parts, which is rare.
    let mut parted: Vec<u32> = Vec::new();
    while !wire.is_end() {
        let (number, wire_type) = wire.tag()?;
        let Some(field) = plan.field(number) else {
            wire.skip(number, wire_type)?;
            continue;
        };
        for other in &field.others {
            if object.slots[*other].len() > row {
                object.slots[*other].truncate(row);
            }
        }
        let Some(column) = field.column else {
            wire.skip(number, wire_type)?;
            continue;
        };
        let slot = &mut object.slots[column];
        if slot.len() > row {
            if field.is_message() && !parted.contains(&number) {
                parted.push(number);
            }
            slot.truncate(row);
        }
        read_field(&field.shape, slot, &mut wire, (number, wire_type), on_error)?;
    }
    for number in parted {
        merge(plan, object, whole, number, row, on_error)?;
    }
    for (slot, absent) in object.slots.iter_mut().zip(&plan.absent) {
        if slot.len() == row {
            fill(slot, absent, on_error)?;
        }
    }
    Ok(())
}

impl FieldPlan {
    /// Whether parts of its value that are written apart belong together.
    fn is_message(&self) -> bool {
        matches!(self.shape, Shape::Message(_) | Shape::Timestamp | Shape::Wrapper(_))
    }
}

/// Reads a message that was written in several parts, as one.
#[cold]
fn merge(
    plan: &MessagePlan,
    object: &mut Object<()>,
    mut wire: Wire<'_>,
    number: u32,
    row: usize,
    on_error: OnError,
) -> Result<(), Reject> {
    let Some(FieldPlan { column: Some(column), shape, .. }) = plan.field(number) else { return Ok(()) };
    let slot = &mut object.slots[*column];
    if slot.len() == row {
        // Another of its oneof came later.
        return Ok(());
    }
    let mut parts = Vec::new();
    while !wire.is_end() {
        match wire.tag()? {
            (found, WireType::Bytes) if found == number => parts.extend_from_slice(wire.bytes()?),
            (found, wire_type) => wire.skip(found, wire_type)?,
        }
    }
    slot.truncate(row);
    part(shape, slot, Wire::new(&parts), on_error)
}

/// Puts in what a field has that was not written.
fn fill(slot: &mut Slot<()>, absent: &Absent, on_error: OnError) -> Result<(), Reject> {
    match (absent, &mut slot.node) {
        (Absent::Elements, Node::List(node)) => node.close().ok_or(Reject::Full),
        (Absent::Elements, Node::Map(node)) => node.close().ok_or(Reject::Full),
        (Absent::Scalar(scalar), Node::Scalar(_)) => take(slot, default(*scalar), on_error),
        (Absent::Enum(definition), Node::Scalar(_)) => {
            let number = definition.values.first().map_or(0, |(_, number)| *number);
            take_symbol(slot, definition, number, on_error)
        }
        _ if slot.field.is_nullable() => {
            slot.null();
            Ok(())
        }
        _ => Err(Reject::missing(slot.field.name())),
    }
}

/// Reads the value of a field behind its tag.
fn read_field(
    shape: &Shape,
    slot: &mut Slot<()>,
    wire: &mut Wire<'_>,
    (number, wire_type): (u32, WireType),
    on_error: OnError,
) -> Result<(), Reject> {
    let Slot { field, node } = slot;
    match (shape, wire_type, node) {
        (Shape::Scalar(scalar), _, Node::Scalar(_)) => {
            let value = scalar_value(*scalar, wire, wire_type)?;
            take(slot, value, on_error)
        }
        (Shape::Enum(definition), WireType::Varint, Node::Scalar(_)) => {
            let number = wire.varint()? as i32;
            take_symbol(slot, definition, number, on_error)
        }
        (Shape::List(shape), _, Node::List(node)) => {
            element(shape, node, wire, (number, wire_type), on_error)
                .map_err(|reject| reject.within(field.name()))
        }
        (Shape::Map { key, value }, WireType::Bytes, Node::Map(node)) => {
            entry(*key, value, node, wire.part()?, on_error).map_err(|reject| reject.within(field.name()))
        }
        (Shape::Message(_) | Shape::Timestamp | Shape::Wrapper(_), WireType::Bytes, _) => {
            part(shape, slot, wire.part()?, on_error)
        }
        (Shape::Mismatch(found), _, _) => {
            wire.skip(number, wire_type)?;
            refuse(field, on_error, Refusal::Type, || (*found).to_owned())?;
            slot.null();
            Ok(())
        }
        _ => Err(wire.malformed("a field that is not written as its type is").into()),
    }
}

/// Reads a message that fills one column.
fn part(shape: &Shape, slot: &mut Slot<()>, mut wire: Wire<'_>, on_error: OnError) -> Result<(), Reject> {
    match (shape, &mut slot.node) {
        (Shape::Message(plan), Node::Struct(node)) => {
            let row = node.len();
            let read = message(plan, &mut node.object, wire, row, on_error);
            read.map_err(|reject| reject.within(slot.field.name()))?;
            node.close();
            Ok(())
        }
        (Shape::Timestamp, _) => {
            let instant = timestamp(wire)?;
            take(slot, instant, on_error)
        }
        (Shape::Wrapper(scalar), _) => {
            let mut value = default(*scalar);
            while !wire.is_end() {
                match wire.tag()? {
                    (1, wire_type) => value = scalar_value(*scalar, &mut wire, wire_type)?,
                    (number, wire_type) => wire.skip(number, wire_type)?,
                }
            }
            take(slot, value, on_error)
        }
        _ => Err(Reject::field(slot.field.name(), "the plan is of another column".to_owned())),
    }
}

/// Reads one element, or several scalars in a row.
fn element(
    shape: &Shape,
    node: &mut ListNode<()>,
    wire: &mut Wire<'_>,
    (number, wire_type): (u32, WireType),
    on_error: OnError,
) -> Result<(), Reject> {
    let mut packed = match (shape, wire_type) {
        (Shape::Scalar(Scalar::Text | Scalar::Bytes), _) => None,
        (Shape::Scalar(_) | Shape::Enum(_), WireType::Bytes) => Some(wire.part()?),
        _ => None,
    };
    let Some(packed) = &mut packed else {
        let index = node.open();
        let read = read_field(shape, &mut node.element, wire, (number, wire_type), on_error);
        return read.map_err(|reject| reject.at_element(node.element.name(), index));
    };
    let wire_type = match shape {
        Shape::Scalar(scalar) => wire_type_of(*scalar),
        _ => WireType::Varint,
    };
    while !packed.is_end() {
        let index = node.open();
        let read = read_field(shape, &mut node.element, packed, (number, wire_type), on_error);
        read.map_err(|reject| reject.at_element(node.element.name(), index))?;
    }
    Ok(())
}

/// Reads one entry of a map.
fn entry(
    key: Scalar,
    shape: &Shape,
    node: &mut MapNode<()>,
    mut wire: Wire<'_>,
    on_error: OnError,
) -> Result<(), Reject> {
    let row = node.value.len();
    let mut found = default(key);
    while !wire.is_end() {
        match wire.tag()? {
            (1, wire_type) => found = scalar_value(key, &mut wire, wire_type)?,
            (2, wire_type) => {
                node.value.truncate(row);
                let read = read_field(shape, &mut node.value, &mut wire, (2, wire_type), on_error);
                read.map_err(|reject| reject.at_element(node.value.name(), found.found()))?;
            }
            (number, wire_type) => wire.skip(number, wire_type)?,
        }
    }
    if node.value.len() == row {
        match shape {
            Shape::Scalar(scalar) => take(&mut node.value, default(*scalar), on_error)?,
            Shape::Enum(definition) => take_symbol(&mut node.value, definition, 0, on_error)?,
            Shape::Mismatch(_) => {
                refuse_null(&node.value.field)?;
                node.value.null();
            }
            _ => part(shape, &mut node.value, Wire::new(b""), on_error)?,
        }
    }
    // A key cannot be NULL, so it fits or the event is rejected.
    take(&mut node.key, found, OnError::DeadLetter)
}

/// Puts a value into its column.
#[inline]
fn take(slot: &mut Slot<()>, value: Value<'_>, on_error: OnError) -> Result<(), Reject> {
    let Node::Scalar(column) = &mut slot.node else {
        return Err(Reject::field(slot.field.name(), "the plan is of another column".to_owned()));
    };
    let column: &mut dyn Column = column.as_mut();
    if let Err(refusal) = column.value(value) {
        refuse(&slot.field, on_error, refusal, || value.found())?;
        column.null();
    }
    Ok(())
}

/// Puts in an enum's name; a number without one is its own name.
fn take_symbol(
    slot: &mut Slot<()>,
    definition: &EnumDef,
    number: i32,
    on_error: OnError,
) -> Result<(), Reject> {
    match definition.symbol(number) {
        Some(name) => take(slot, Value::Symbol { name, number }, on_error),
        None => take(slot, Value::Symbol { name: &number.to_string(), number }, on_error),
    }
}

fn timestamp(mut wire: Wire<'_>) -> Result<Value<'static>, Malformed> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    while !wire.is_end() {
        match wire.tag()? {
            (1, WireType::Varint) => seconds = wire.varint()? as i64,
            (2, WireType::Varint) => nanos = wire.varint()? as i32,
            (number, wire_type) => wire.skip(number, wire_type)?,
        }
    }
    let us = i128::from(seconds) * 1_000_000 + i128::from(nanos.div_euclid(1000));
    Ok(Value::Instant { us, raw: i64::try_from(us / 1000).unwrap_or(i64::MAX) })
}

fn wire_type_of(scalar: Scalar) -> WireType {
    match scalar {
        Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64 => WireType::Fixed64,
        Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32 => WireType::Fixed32,
        Scalar::Text | Scalar::Bytes => WireType::Bytes,
        _ => WireType::Varint,
    }
}

/// Reads a scalar that is written as `wire_type`.
#[inline]
fn scalar_value<'a>(
    scalar: Scalar,
    wire: &mut Wire<'a>,
    wire_type: WireType,
) -> Result<Value<'a>, Malformed> {
    if wire_type_of(scalar) != wire_type {
        return Err(wire.malformed("a field that is not written as its type is"));
    }
    Ok(match scalar {
        Scalar::Text => Value::Text(wire.text()?),
        Scalar::Bytes => Value::Bytes(wire.bytes()?),
        Scalar::Int64 => Value::Integer((wire.varint()? as i64).into()),
        Scalar::Int32 => Value::Integer((wire.varint()? as i32).into()),
        Scalar::Uint64 => Value::Integer(wire.varint()?.into()),
        Scalar::Uint32 => Value::Integer((wire.varint()? as u32).into()),
        Scalar::Sint64 => Value::Integer(unzigzag(wire.varint()?).into()),
        Scalar::Sint32 => Value::Integer((unzigzag(wire.varint()?) as i32).into()),
        Scalar::Bool => Value::Boolean(wire.varint()? != 0),
        Scalar::Double => Value::Float(f64::from_le_bytes(wire.array()?)),
        Scalar::Float => Value::Float(f32::from_le_bytes(wire.array()?).into()),
        Scalar::Fixed64 => Value::Integer(u64::from_le_bytes(wire.array()?).into()),
        Scalar::Fixed32 => Value::Integer(u32::from_le_bytes(wire.array()?).into()),
        Scalar::Sfixed64 => Value::Integer(i64::from_le_bytes(wire.array()?).into()),
        Scalar::Sfixed32 => Value::Integer(i32::from_le_bytes(wire.array()?).into()),
    })
}

/// What a scalar is that was not written.
fn default(scalar: Scalar) -> Value<'static> {
    match scalar {
        Scalar::Text => Value::Text(""),
        Scalar::Bytes => Value::Bytes(b""),
        Scalar::Bool => Value::Boolean(false),
        Scalar::Double | Scalar::Float => Value::Float(0.0),
        _ => Value::Integer(0),
    }
}
