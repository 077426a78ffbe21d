//! Appends the protocol's primitive types to a buffer.

use bytes::{BufMut, BytesMut};

/// An unsigned varint.
pub fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// A string that may be null.
pub fn put_string(out: &mut BytesMut, text: Option<&str>, flexible: bool) {
    match (text, flexible) {
        (None, true) => out.put_u8(0),
        (None, false) => out.put_i16(-1),
        (Some(text), true) => {
            put_varint(out, text.len() as u64 + 1);
            out.put_slice(text.as_bytes());
        }
        (Some(text), false) => {
            let mut length = text.len().min(i16::MAX as usize);
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            out.put_i16(length as i16);
            out.put_slice(&text.as_bytes()[..length]);
        }
    }
}

/// The length before an array.
pub fn put_array_length(out: &mut BytesMut, length: usize, flexible: bool) {
    match flexible {
        true => put_varint(out, length as u64 + 1),
        false => out.put_i32(i32::try_from(length).unwrap_or(i32::MAX)),
    }
}

/// The length before bytes that are not null.
pub fn put_bytes_length(out: &mut BytesMut, length: usize, flexible: bool) {
    put_array_length(out, length, flexible);
}

/// An empty list of tagged fields, if this is a flexible version.
pub fn put_tags(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}
