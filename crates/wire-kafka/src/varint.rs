//! Kafka's variable-length integers: seven bits a byte, lowest first; signed
//! ones are zigzagged. Values of one or two bytes, by far the most common, take a short path.

use crate::WireError;

/// The most bytes that 32 bits take.
const BYTES_MAX_32: usize = 5;

/// Reads an unsigned integer at `*position` and moves past it.
#[inline]
pub fn read_unsigned(bytes: &[u8], position: &mut usize) -> Result<u64, WireError> {
    match read_short(bytes, position) {
        Some(value) => Ok(value.into()),
        None => read_long(bytes, position),
    }
}

/// The same of 32 bits, in five bytes at most. A longer form is refused: other
/// readers stop after five bytes, and take the rest of it for the next field.
#[inline]
pub fn read_unsigned_32(bytes: &[u8], position: &mut usize) -> Result<u32, WireError> {
    match read_short(bytes, position) {
        Some(value) => Ok(value.into()),
        None => read_long_32(bytes, position),
    }
}

#[inline]
fn read_short(bytes: &[u8], position: &mut usize) -> Option<u16> {
    match bytes.get(*position..).unwrap_or_default() {
        [one, ..] if *one < 0x80 => {
            *position += 1;
            Some(u16::from(*one))
        }
        [one, two, ..] if *two < 0x80 => {
            *position += 2;
            Some(u16::from(*one & 0x7f) | u16::from(*two) << 7)
        }
        _ => None,
    }
}

fn read_long(bytes: &[u8], position: &mut usize) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some(&byte) = bytes.get(*position) else {
            return Err(WireError::Truncated { what: "varint", needed: *position + 1, have: bytes.len() });
        };
        *position += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(WireError::malformed("varint", "more than ten bytes"))
}

fn read_long_32(bytes: &[u8], position: &mut usize) -> Result<u32, WireError> {
    let start = *position;
    let value = u32::try_from(read_long(bytes, position)?).ok();
    let value = value.filter(|_| *position - start <= BYTES_MAX_32);
    value.ok_or_else(|| WireError::malformed("varint", "more than 32 bits or five bytes"))
}

/// Reads a zigzagged integer at `*position` and moves past it.
#[inline]
pub fn read_signed(bytes: &[u8], position: &mut usize) -> Result<i64, WireError> {
    let raw = read_unsigned(bytes, position)?;
    Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
}

/// Reads a zigzagged integer of 32 bits, in five bytes at most, at `*position`
/// and moves past it.
#[inline]
pub fn read_signed_32(bytes: &[u8], position: &mut usize) -> Result<i32, WireError> {
    let raw = read_unsigned_32(bytes, position)?;
    Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
}

/// The zigzagged form of a signed integer.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes an unsigned integer takes.
#[inline]
pub fn unsigned_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends an unsigned integer.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzagged integer.
#[inline]
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, zigzag(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(value in any::<i64>(), small in -64_i64..64) {
            for value in [value, small, value >> 32] {
                let mut out = Vec::new();
                write_signed(&mut out, value);
                prop_assert_eq!(out.len(), unsigned_bytes(zigzag(value)));
                let mut position = 0;
                prop_assert_eq!(read_signed(&out, &mut position).unwrap(), value);
                prop_assert_eq!(position, out.len());
            }
        }
    }

    #[test]
    fn what_has_32_bits_has_five_bytes() {
        assert_eq!(read_unsigned_32(&[0xff, 0xff, 0xff, 0xff, 0x0f], &mut 0).unwrap(), u32::MAX);
        assert_eq!(read_unsigned_32(&[0x81, 0x80, 0x80, 0x80, 0x00], &mut 0).unwrap(), 1);
        assert!(read_unsigned_32(&[0xff, 0xff, 0xff, 0xff, 0x1f], &mut 0).is_err());
        assert!(read_unsigned_32(&[0x81, 0x80, 0x80, 0x80, 0x80, 0x00], &mut 0).is_err());
    }

    #[test]
    fn endless_and_cut_are_refused() {
        assert!(read_unsigned(&[0xff; 11], &mut 0).is_err());
        assert!(read_unsigned(&[0xff], &mut 0).is_err());
        assert!(read_unsigned(&[], &mut 0).is_err());
    }
}
