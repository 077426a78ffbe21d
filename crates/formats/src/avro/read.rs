//! Reading a written record into columns.

use super::input::{Input, Malformed};
use super::plan::{Plan, RecordPlan};
use super::schema::{Scalar, Type, TypeId};
use crate::column::{ListNode, MapNode, Node, Object, Refusal, Slot, Value};
use crate::decode::OnError;
use crate::fault::{refuse, refuse_null};

/// How deep a value that no column wants may nest.
const SKIP_DEPTH_MAX: usize = 128;

/// Why a record became no row.
pub(super) type Reject = crate::fault::Reject<Malformed>;

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads values written with one schema.
pub(super) struct Reader<'a> {
    pub(super) types: &'a [Type],
    pub(super) on_error: OnError,
}

impl Reader<'_> {
    /// Reads a record; every column of `object` gets one row.
    pub(super) fn record(
        &self,
        plan: &RecordPlan,
        object: &mut Object<()>,
        input: &mut Input<'_>,
    ) -> Result<(), Reject> {
        for (column, plan) in &plan.fields {
            match (column, plan) {
                (Some(column), plan) => self.value(plan, &mut object.slots[*column], input)?,
                (None, Plan::Skip(id)) => self.skip(*id, input, 0)?,
                (None, _) => {}
            }
        }
        for column in &plan.missing {
            let slot = &mut object.slots[*column];
            if !slot.nullable() {
                return Err(Reject::missing(slot.name()));
            }
            slot.null();
        }
        Ok(())
    }

    fn value(&self, plan: &Plan, slot: &mut Slot<()>, input: &mut Input<'_>) -> Result<(), Reject> {
        let Slot { field, node } = slot;
        match (plan, node) {
            (Plan::Scalar(scalar), Node::Scalar(column)) => {
                let mut scratch = [0; UUID_TEXT_BYTES];
                let value = scalar_value(scalar, input, &mut scratch)?;
                if let Err(refusal) = column.value(value) {
                    refuse(field, self.on_error, refusal, || value.found())?;
                    column.null();
                }
                Ok(())
            }
            (Plan::Union(branches), _) => {
                let branch = input.long()?;
                let plan = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                let plan = plan.ok_or_else(|| {
                    input.malformed(format!("branch {branch} of a union of {}", branches.len()))
                })?;
                self.value(plan, slot, input)
            }
            (Plan::Record(plan), Node::Struct(node)) => {
                let read = self.record(plan, &mut node.object, input);
                read.map_err(|reject| reject.within(field.name()))?;
                node.close();
                Ok(())
            }
            (Plan::Array(plan), Node::List(node)) => {
                self.array(plan, node, input).map_err(|reject| reject.within(field.name()))
            }
            (Plan::Map(plan), Node::Map(node)) => {
                self.map(plan, node, input).map_err(|reject| reject.within(field.name()))
            }
            (Plan::Null, _) => {
                refuse_null(field)?;
                slot.null();
                Ok(())
            }
            (Plan::Mismatch(id, found), _) => {
                self.skip(*id, input, 0)?;
                refuse(field, self.on_error, Refusal::Type, || (*found).to_owned())?;
                slot.null();
                Ok(())
            }
            // A plan is made for its slot, so the rest does not come up.
            (Plan::Skip(id), _) => self.skip(*id, input, 0).map_err(Reject::from),
            _ => Err(Reject::field(field.name(), "the plan is of another column".to_owned())),
        }
    }

    fn array(&self, plan: &Plan, node: &mut ListNode<()>, input: &mut Input<'_>) -> Result<(), Reject> {
        loop {
            let (count, _) = input.block()?;
            if count == 0 {
                return node.close().ok_or(Reject::Full);
            }
            for _ in 0..count {
                let index = node.open();
                let read = self.value(plan, &mut node.element, input);
                read.map_err(|reject| reject.at_element(node.element.name(), index))?;
            }
        }
    }

    fn map(&self, plan: &Plan, node: &mut MapNode<()>, input: &mut Input<'_>) -> Result<(), Reject> {
        loop {
            let (count, _) = input.block()?;
            if count == 0 {
                return node.close().ok_or(Reject::Full);
            }
            for _ in 0..count {
                let key = input.text()?;
                node.push_key(key)?;
                let read = self.value(plan, &mut node.value, input);
                read.map_err(|reject| reject.at_element(node.value.name(), key))?;
            }
        }
    }

    /// Passes over a value.
    fn skip(&self, id: TypeId, input: &mut Input<'_>, depth: usize) -> Result<(), Malformed> {
        if depth > SKIP_DEPTH_MAX {
            return Err(input.malformed(format!("more than {SKIP_DEPTH_MAX} levels of nesting")));
        }
        match &self.types[id] {
            Type::Null => Ok(()),
            Type::Scalar(scalar) => scalar_value(scalar, input, &mut [0; UUID_TEXT_BYTES]).map(|_| ()),
            Type::Union(branches) => {
                let branch = input.long()?;
                match usize::try_from(branch).ok().and_then(|branch| branches.get(branch)) {
                    Some(id) => self.skip(*id, input, depth + 1),
                    None => Err(input.malformed(format!("branch {branch} of a union of {}", branches.len()))),
                }
            }
            Type::Record(fields) => fields.iter().try_for_each(|(_, id)| self.skip(*id, input, depth + 1)),
            Type::Array(item) | Type::Map(item) => loop {
                let (count, size) = input.block()?;
                match (count, size) {
                    (0, _) => return Ok(()),
                    (_, Some(size)) => {
                        input.fixed(size)?;
                    }
                    (count, None) => {
                        for _ in 0..count {
                            if matches!(self.types[id], Type::Map(_)) {
                                input.text()?;
                            }
                            self.skip(*item, input, depth + 1)?;
                        }
                    }
                }
            },
        }
    }
}

/// Bytes of a UUID as text.
const UUID_TEXT_BYTES: usize = 36;

/// Reads a scalar; `scratch` holds it if it is not written as it is meant.
#[inline]
fn scalar_value<'s, 'a: 's>(
    scalar: &'s Scalar,
    input: &mut Input<'a>,
    scratch: &'s mut [u8; UUID_TEXT_BYTES],
) -> Result<Value<'s>, Malformed> {
    let instant = |raw: i64, per_us: (i128, i128)| Value::Instant { us: scaled(raw, per_us), raw };
    Ok(match scalar {
        Scalar::Boolean => Value::Boolean(input.boolean()?),
        Scalar::Int => Value::Integer(input.int()?.into()),
        Scalar::Long => Value::Integer(input.long()?.into()),
        Scalar::Float => Value::Float(f32::from_le_bytes(input.array()?).into()),
        Scalar::Double => Value::Float(f64::from_le_bytes(input.array()?)),
        Scalar::Bytes => Value::Bytes(input.bytes()?),
        Scalar::Text => Value::Text(input.text()?),
        Scalar::Fixed(size) => Value::Bytes(input.fixed(*size)?),
        Scalar::Enum(symbols) => {
            let number = input.int()?;
            let name = usize::try_from(number).ok().and_then(|number| symbols.get(number));
            let name = name
                .ok_or_else(|| input.malformed(format!("symbol {number} of an enum of {}", symbols.len())))?;
            Value::Symbol { name, number }
        }
        Scalar::Decimal { scale, fixed } => {
            let bytes = match fixed {
                Some(size) => input.fixed(*size)?,
                None => input.bytes()?,
            };
            unscaled(bytes).map_or(Value::Huge, |unscaled| Value::Decimal { unscaled, scale: *scale })
        }
        Scalar::Date => Value::Date(input.int()?),
        Scalar::TimeMs => {
            let raw = i64::from(input.int()?);
            Value::Time { us: raw * 1000, raw }
        }
        Scalar::TimeUs => {
            let raw = input.long()?;
            Value::Time { us: raw, raw }
        }
        Scalar::TimestampMs => instant(input.long()?, (1000, 1)),
        Scalar::TimestampUs => instant(input.long()?, (1, 1)),
        Scalar::TimestampNs => instant(input.long()?, (1, 1000)),
        Scalar::Uuid => Value::Text(uuid_text(input.array()?, scratch)),
    })
}

fn scaled(raw: i64, (factor, divisor): (i128, i128)) -> i128 {
    (i128::from(raw) * factor).div_euclid(divisor)
}

/// A big-endian two's complement integer; `None` beyond 128 bits.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
    let (extension, digits) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut wide = [fill; 16];
    wide[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(wide);
    let same = extension.iter().all(|byte| *byte == fill) && (value < 0) == (fill == 0xff);
    same.then_some(value)
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn uuid_text(bytes: [u8; 16], out: &mut [u8; UUID_TEXT_BYTES]) -> &str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut at = 0;
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out[at] = b'-';
            at += 1;
        }
        out[at] = DIGITS[usize::from(byte >> 4)];
        out[at + 1] = DIGITS[usize::from(byte & 0xf)];
        at += 2;
    }
    std::str::from_utf8(out).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscaled_values() {
        assert_eq!(unscaled(b""), Some(0));
        assert_eq!(unscaled(b"\xff"), Some(-1));
        assert_eq!(unscaled(b"\x00\xff"), Some(255));
        assert_eq!(unscaled(&[0xff; 40]), Some(-1));
        assert_eq!(unscaled(&[0x7f; 16]), Some(i128::from_be_bytes([0x7f; 16])));
        assert_eq!(unscaled(&[0x01; 17]), None);
        let mut minimum = [0; 17];
        (minimum[0], minimum[1]) = (0xff, 0x80);
        assert_eq!(unscaled(&minimum), Some(i128::MIN));
        (minimum[0], minimum[1]) = (0, 0x80);
        assert_eq!(unscaled(&minimum), None);
    }

    #[test]
    fn uuids() {
        let bytes = *b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00";
        assert_eq!(uuid_text(bytes, &mut [0; UUID_TEXT_BYTES]), "123e4567-e89b-12d3-a456-426614174000");
    }
}
