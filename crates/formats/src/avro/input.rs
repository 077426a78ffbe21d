//! A place in an Avro record: its primitive values, checked against the end.

use std::borrow::Cow;

/// Elements of arrays and maps that take no bytes (an array of nulls), per record.
const EMPTY_ELEMENTS_MAX: usize = 4096;

/// Bytes that are not the record they should be.
#[derive(Debug)]
pub(super) struct Malformed {
    at: usize,
    problem: Cow<'static, str>,
}

impl Malformed {
    /// In words.
    pub(super) fn reason(&self) -> String {
        format!("byte {}: {}", self.at, self.problem)
    }
}

/// A place in a record.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Elements that the rest of the record may still have: memory for elements
    /// is bounded by the bytes that came.
    elements_left: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, elements_left: bytes.len() + EMPTY_ELEMENTS_MAX }
    }

    #[cold]
    pub(super) fn malformed(&self, problem: impl Into<Cow<'static, str>>) -> Malformed {
        Malformed { at: self.at, problem: problem.into() }
    }

    pub(super) fn expect_end(&self) -> Result<(), Malformed> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            rest => Err(self
                .malformed(format!("{rest} bytes behind the record; was it written with another schema?"))),
        }
    }

    /// A zigzagged integer of up to 64 bits.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        let zigzag = match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                u64::from(*byte)
            }
            _ => self.long_slowly()?,
        };
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    fn long_slowly(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (place, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.at += place + 1;
                return Ok(value);
            }
        }
        Err(self.malformed(match self.bytes.len() - self.at {
            0..10 => "expected an integer, found the end",
            _ => "an integer of more than 64 bits",
        }))
    }

    /// A zigzagged integer of up to 32 bits.
    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        let at = self.at;
        i32::try_from(self.long()?)
            .map_err(|_| Malformed { at, problem: "an int of more than 32 bits".into() })
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        let at = self.at;
        match self.fixed(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed { at, problem: "a boolean that is neither 0 nor 1".into() }),
        }
    }

    /// So many bytes of fixed number.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let array = self.bytes[self.at..].first_chunk::<N>();
        let array = *array.ok_or_else(|| self.too_short(N))?;
        self.at += N;
        Ok(array)
    }

    /// So many bytes.
    #[inline]
    pub(super) fn fixed(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let bytes = self.bytes[self.at..].get(..length).ok_or_else(|| self.too_short(length))?;
        self.at += length;
        Ok(bytes)
    }

    #[cold]
    fn too_short(&self, length: usize) -> Malformed {
        self.malformed(format!("expected {length} bytes, found {}", self.bytes.len() - self.at))
    }

    /// A length and so many bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let at = self.at;
        let length = usize::try_from(self.long()?)
            .map_err(|_| Malformed { at, problem: "a length below 0".into() })?;
        self.fixed(length)
    }

    /// A length and so many bytes of UTF-8.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| Malformed {
            at: self.at - bytes.len() + error.valid_up_to(),
            problem: "not valid UTF-8".into(),
        })
    }

    /// The head of a block of elements: how many, and their size in bytes if it
    /// is told. 0 is the end.
    #[inline]
    pub(super) fn block(&mut self) -> Result<(usize, Option<usize>), Malformed> {
        let at = self.at;
        let count = self.long()?;
        let size = match count < 0 {
            true => Some(usize::try_from(self.long()?).map_err(|_| self.malformed("a block size below 0"))?),
            false => None,
        };
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        self.elements_left = self.elements_left.checked_sub(count).ok_or_else(|| Malformed {
            at,
            problem: format!("a block of {count} elements, more than the record has room for").into(),
        })?;
        Ok((count, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (bytes, value) in [
            (&b"\x00"[..], 0),
            (b"\x01", -1),
            (b"\x80\x01", 64),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", i64::MIN),
            (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", i64::MAX),
        ] {
            assert_eq!(Input::new(bytes).long().unwrap(), value);
        }
        let reason = |bytes: &[u8]| Input::new(bytes).long().unwrap_err().reason();
        assert_eq!(reason(b"\x80"), "byte 0: expected an integer, found the end");
        assert_eq!(reason(&[0xff; 11]), "byte 0: an integer of more than 64 bits");
        assert_eq!(
            reason(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            "byte 0: an integer of more than 64 bits"
        );
        assert!(Input::new(b"\x80\x80\x80\x80\x10").int().is_err());
    }

    #[test]
    fn blocks_are_bounded() {
        let mut input = Input::new(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00");
        assert!(input.block().unwrap_err().reason().contains("more than the record has room for"));
        let mut input = Input::new(b"\x80\x40\x80\x40");
        assert_eq!(input.block().unwrap(), (4096, None));
        assert!(input.block().is_err());
    }
}
