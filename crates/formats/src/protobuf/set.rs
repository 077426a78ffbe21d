//! Compiled descriptors: a `FileDescriptorSet`, as `protoc -o` writes it, or a
//! single `FileDescriptorProto`. Field numbers are those of Google's
//! `descriptor.proto`.

use super::descriptor::{
    EnumDef, FieldDef, FieldKind, FileDef, MessageDef, SCHEMA_BYTES_MAX, Scalar, invalid,
};
use super::wire::{Malformed, Wire, WireType};
use crate::error::FormatError;

/// How deep messages may be defined in each other.
const DEPTH_MAX: u32 = 32;
/// Largest field number of the language.
const FIELD_NUMBER_MAX: u32 = 0x1fff_ffff;
const FEATURES_OF_FILE: u32 = 50;
const FEATURES_OF_FIELD: u32 = 21;

/// The files of a set.
pub(super) fn files(bytes: &[u8]) -> Result<Vec<FileDef>, FormatError> {
    if bytes.len() > SCHEMA_BYTES_MAX {
        return Err(invalid(&format!("at most {SCHEMA_BYTES_MAX} bytes, this one has {}", bytes.len())));
    }
    let mut files = Vec::new();
    let read = each(Wire::new(bytes), |number, field| {
        if let (1, Field::Part(part)) = (number, field) {
            files.push(file(part)?);
        }
        Ok(())
    });
    read.map_err(|fault| invalid(&format!("no FileDescriptorSet: {}", fault.reason())))?;
    Ok(files)
}

/// A field of a descriptor.
#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Part(Wire<'a>),
    Other,
}

/// Calls `take` with every field.
fn each<'a>(
    mut wire: Wire<'a>,
    mut take: impl FnMut(u32, Field<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !wire.is_end() {
        let (number, wire_type) = wire.tag()?;
        let field = match wire_type {
            WireType::Varint => Field::Number(wire.varint()?),
            WireType::Bytes => Field::Part(wire.part()?),
            other => {
                wire.skip(number, other)?;
                Field::Other
            }
        };
        take(number, field)?;
    }
    Ok(())
}

fn text(part: Wire<'_>) -> Result<String, Malformed> {
    let text = std::str::from_utf8(part.rest()).map_err(|_| part.malformed("not valid UTF-8"))?;
    Ok(text.to_owned())
}

/// How fields of a file tell their absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Implicit,
    Explicit,
}

fn file(wire: Wire<'_>) -> Result<FileDef, Malformed> {
    let mut file = FileDef::default();
    let (mut proto3, mut features) = (false, None);
    each(wire, |number, field| {
        match (number, field) {
            (2, Field::Part(part)) => file.package = text(part)?,
            (12, Field::Part(part)) => proto3 = part.rest() == b"proto3",
            (8, Field::Part(options)) => features = features_presence(options, FEATURES_OF_FILE)?,
            _ => {}
        }
        Ok(())
    })?;
    let presence = features.unwrap_or(if proto3 { Presence::Implicit } else { Presence::Explicit });
    each(wire, |number, field| {
        match (number, field) {
            (4, Field::Part(part)) => file.messages.push(message(part, presence, 0)?),
            (5, Field::Part(part)) => file.enums.push(enumeration(part)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(file)
}

fn message(wire: Wire<'_>, presence: Presence, depth: u32) -> Result<MessageDef, Malformed> {
    if depth > DEPTH_MAX {
        return Err(wire.malformed("messages are defined more than 32 levels deep"));
    }
    let mut message = MessageDef::default();
    each(wire, |number, part| {
        match (number, part) {
            (1, Field::Part(part)) => message.name = text(part)?,
            (2, Field::Part(part)) => message.fields.push(field(part, presence)?),
            (3, Field::Part(part)) => message.messages.push(self::message(part, presence, depth + 1)?),
            (4, Field::Part(part)) => message.enums.push(enumeration(part)?),
            (7, Field::Part(options)) => {
                each(options, |number, option| {
                    if let (7, Field::Number(value)) = (number, option) {
                        message.map_entry = value != 0;
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(message)
}

fn field(wire: Wire<'_>, presence: Presence) -> Result<FieldDef, Malformed> {
    let mut field = FieldDef::default();
    let (mut kind, mut type_name, mut optional, mut features) = (0, String::new(), false, None);
    each(wire, |number, part| {
        match (number, part) {
            (1, Field::Part(part)) => field.name = text(part)?,
            (3, Field::Number(number)) => field.number = field_number(number),
            (4, Field::Number(label)) => field.repeated = label == 3,
            (5, Field::Number(number)) => kind = number,
            (6, Field::Part(part)) => type_name = text(part)?,
            (8, Field::Part(options)) => features = features_presence(options, FEATURES_OF_FIELD)?,
            (9, Field::Number(oneof)) => field.oneof = u32::try_from(oneof).ok(),
            (17, Field::Number(value)) => optional = value != 0,
            _ => {}
        }
        Ok(())
    })?;
    let presence = features.unwrap_or(presence);
    field.presence = presence == Presence::Explicit || optional || field.oneof.is_some();
    if optional {
        // proto3 wraps such a field in a oneof of its own.
        field.oneof = None;
    }
    field.kind = match kind {
        10 => FieldKind::Group,
        11 | 14 => FieldKind::Named(type_name),
        number => {
            FieldKind::Scalar(scalar(number).ok_or_else(|| wire.malformed("a field of an unknown type"))?)
        }
    };
    Ok(field)
}

/// A field's number; 0, which no record has, for one the language does not allow.
fn field_number(number: u64) -> u32 {
    u32::try_from(number).ok().filter(|number| *number <= FIELD_NUMBER_MAX).unwrap_or(0)
}

fn scalar(number: u64) -> Option<Scalar> {
    Some(match number {
        1 => Scalar::Double,
        2 => Scalar::Float,
        3 => Scalar::Int64,
        4 => Scalar::Uint64,
        5 => Scalar::Int32,
        6 => Scalar::Fixed64,
        7 => Scalar::Fixed32,
        8 => Scalar::Bool,
        9 => Scalar::Text,
        12 => Scalar::Bytes,
        13 => Scalar::Uint32,
        15 => Scalar::Sfixed32,
        16 => Scalar::Sfixed64,
        17 => Scalar::Sint32,
        18 => Scalar::Sint64,
        _ => return None,
    })
}

fn enumeration(wire: Wire<'_>) -> Result<EnumDef, Malformed> {
    let mut found = EnumDef::default();
    each(wire, |number, part| {
        match (number, part) {
            (1, Field::Part(part)) => found.name = text(part)?,
            (2, Field::Part(part)) => {
                let (mut name, mut value) = (String::new(), 0);
                each(part, |number, part| {
                    match (number, part) {
                        (1, Field::Part(part)) => name = text(part)?,
                        (2, Field::Number(number)) => value = number as i32,
                        _ => {}
                    }
                    Ok(())
                })?;
                found.values.push((name, value));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// What the features among some options say of presence.
fn features_presence(options: Wire<'_>, features: u32) -> Result<Option<Presence>, Malformed> {
    let mut presence = None;
    each(options, |number, part| match part {
        Field::Part(part) if number == features => each(part, |number, part| {
            if let (1, Field::Number(value)) = (number, part) {
                presence = Some(if value == 2 { Presence::Implicit } else { Presence::Explicit });
            }
            Ok(())
        }),
        _ => Ok(()),
    })?;
    Ok(presence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_language_match_no_field() {
        assert_eq!(field_number(0x1fff_ffff), 0x1fff_ffff);
        assert_eq!(field_number(u64::from(u32::MAX)), 0);
        // Message "A" with a field of number 4294967295.
        let set = b"\x0a\x0e\x22\x0c\x0a\x01A\x12\x07\x18\xff\xff\xff\xff\x0f\x28".to_vec();
        let set = [set, b"\x01".to_vec()].concat();
        assert!(files(&set).is_err(), "a length that does not hold is refused");
    }
}
