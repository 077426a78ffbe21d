//! Walks over a message's bytes by its shape, before it is decoded: proves
//! that every string, every byte field and every array fits into the frame and
//! that the arrays and the tagged fields together have a bounded number of
//! elements.
//!
//! The library that decodes takes memory for as many elements as an array
//! claims; after this walk a claim cannot be a lie. That holds only if both
//! read the same: what the library would read in another way is refused.

use bytes::Bytes;

use crate::WireError;
use crate::reader::Reader;

/// Most array elements and tagged fields in one message.
pub const ELEMENTS_MAX: usize = 1 << 18;

/// Checks that `body` begins with a whole message of `shape` in this version.
pub fn check(
    what: &'static str,
    shape: &str,
    version: i16,
    flexible: bool,
    body: &Bytes,
) -> Result<(), WireError> {
    let mut walk =
        Walk { reader: Reader::new(body, what), version, flexible, elements_left: ELEMENTS_MAX, what };
    walk.fields(shape.as_bytes())?;
    // What follows the last field is left alone, as Kafka does: librdkafka sends
    // a few bytes more than it says with some Metadata requests.
    walk.tags()
}

struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    elements_left: usize,
    what: &'static str,
}

impl Walk<'_> {
    fn fields(&mut self, mut shape: &[u8]) -> Result<(), WireError> {
        while let Some(first) = shape.first() {
            if *first == b' ' {
                shape = &shape[1..];
                continue;
            }
            let (item, rest) = shape.split_at(item_length(shape));
            let (present, rest) = version_range(rest, self.version);
            if present {
                self.item(item)?;
            }
            shape = rest;
        }
        Ok(())
    }

    fn item(&mut self, item: &[u8]) -> Result<(), WireError> {
        let flexible = self.flexible;
        match item {
            b"b" => self.reader.take(1).map(|_| ()),
            b"h" => self.reader.take(2).map(|_| ()),
            b"w" => self.reader.take(4).map(|_| ()),
            b"l" => self.reader.take(8).map(|_| ()),
            b"u" => self.reader.take(16).map(|_| ()),
            b"s" => self.reader.skip_sized(flexible, 2),
            b"y" => self.reader.skip_sized(flexible, 4),
            [b'(', inner @ .., _] => self.nullable(inner),
            [open, inner @ .., _] => self.elements(*open == b'{', inner),
            _ => Err(WireError::malformed(self.what, "its shape is unknown")),
        }
    }

    fn nullable(&mut self, shape: &[u8]) -> Result<(), WireError> {
        match self.reader.int8()? {
            1 => {}
            -1 => return Ok(()),
            mark => return Err(WireError::malformed(self.what, format!("a structure is marked {mark}"))),
        }
        self.fields(shape)?;
        self.tags()
    }

    /// The library keeps the tagged fields that it does not know.
    fn tags(&mut self) -> Result<(), WireError> {
        let count = self.reader.tags(self.flexible)?;
        self.count(count)
    }

    fn count(&mut self, elements: usize) -> Result<(), WireError> {
        let left = self.elements_left.checked_sub(elements);
        self.elements_left = left.ok_or(WireError::TooLarge {
            what: "array elements of a request",
            bytes: elements,
            bytes_max: ELEMENTS_MAX,
        })?;
        Ok(())
    }

    fn elements(&mut self, structures: bool, shape: &[u8]) -> Result<(), WireError> {
        let count = self.reader.array_length(self.flexible)?.unwrap_or(0);
        self.count(count)?;
        for _ in 0..count {
            self.fields(shape)?;
            if structures {
                self.tags()?;
            }
        }
        Ok(())
    }
}

/// Bytes of the item at the start of a shape, without its version range.
fn item_length(shape: &[u8]) -> usize {
    let mut depth = 0;
    for (position, letter) in shape.iter().enumerate() {
        match letter {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return position + 1;
        }
    }
    shape.len()
}

/// Whether the version range at the start of `shape`, if any, has `version`;
/// and what follows the range.
fn version_range(shape: &[u8], version: i16) -> (bool, &[u8]) {
    let Some(range) = shape.strip_prefix(b"@") else {
        return (true, shape);
    };
    let (from, rest) = number(range);
    match rest.split_first() {
        Some((b'-', rest)) => {
            let (to, rest) = number(rest);
            ((from..=to).contains(&version), rest)
        }
        Some((b'+', rest)) => (version >= from, rest),
        _ => (version == from, rest),
    }
}

fn number(text: &[u8]) -> (i16, &[u8]) {
    let digits = text.iter().take_while(|letter| letter.is_ascii_digit()).count();
    let value = text[..digits].iter().fold(0, |value, digit| value * 10 + i16::from(digit - b'0'));
    (value, &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(shape: &str, version: i16, flexible: bool, body: &[u8]) -> Result<(), WireError> {
        check("test", shape, version, flexible, &Bytes::copy_from_slice(body))
    }

    #[test]
    fn versions_choose_fields() {
        assert!(walked("b b@2+ b@1-3", 1, false, &[0; 2]).is_ok());
        assert!(walked("b b@2+ b@1-3", 3, false, &[0; 3]).is_ok());
        assert!(walked("b b@2+ b@1-3", 4, false, &[0; 2]).is_ok());
        assert!(walked("b", 0, false, &[]).is_err());
    }

    #[test]
    fn lying_arrays_are_refused() {
        let claim = 0x7fff_ffff_i32.to_be_bytes();
        assert!(walked("[w]", 0, false, &claim).is_err());
        assert!(walked("{s}", 0, true, &[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0]).is_err());
        let empty_strings = [(ELEMENTS_MAX as i32 + 1).to_be_bytes().to_vec(), vec![0; 4 << 18]].concat();
        assert!(matches!(walked("{s}", 0, false, &empty_strings), Err(WireError::TooLarge { .. })));
    }

    /// A length in six bytes, of which the library would read five: the sixth
    /// and what follows would be a length of its own.
    #[test]
    fn a_length_that_others_read_differently_is_refused() {
        let body = [0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00];
        assert!(walked("[s]", 0, true, &body).is_err());
        for (mark, fits) in [(1, true), (-1, true), (0, false), (2, false), (-2, false)] {
            let body = [i8::cast_unsigned(mark), 0, 0, 0, 7, 0, 0];
            assert_eq!(walked("(w)", 0, true, &body).is_ok(), fits, "{mark}");
        }
    }

    /// Each is two bytes here and many more once decoded.
    #[test]
    fn tagged_fields_are_counted() {
        let of = |count: usize| {
            let mut body = vec![];
            crate::varint::write_unsigned(&mut body, count as u64);
            body.resize(body.len() + 2 * count, 0);
            walked("", 0, true, &body)
        };
        assert!(of(ELEMENTS_MAX).is_ok());
        assert!(matches!(of(ELEMENTS_MAX + 1), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn nested_arrays_and_tags() {
        // One structure: "a", [7], no tags; then a tagged field of the whole.
        let body = [2, 2, b'a', 2, 0, 0, 0, 7, 0, 1, 5, 2, 9, 9];
        assert!(walked("{s [w]}", 0, true, &body).is_ok());
        assert!(walked("{s [w]}", 0, true, &body[..13]).is_err());
    }
}
