//! Reads the protocol's primitive types from one frame, never past its end.

use crate::WireError;
use bytes::Bytes;

/// The highest number of a tagged field: signed where the library keeps it.
const TAG_MAX: u32 = i32::MAX as u32;

/// A position in a frame.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    position: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `frame`; `what` names it in errors.
    pub fn new(frame: &'a Bytes, what: &'static str) -> Self {
        Self { frame, position: 0, what }
    }

    /// Bytes already read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Moves past `count` bytes and returns them.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let have = self.remaining();
        if count > have {
            return Err(WireError::Truncated { what: self.what, needed: count, have });
        }
        let start = self.position;
        self.position += count;
        Ok(&self.frame[start..self.position])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A signed byte.
    pub fn int8(&mut self) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// A signed 16-bit integer.
    pub fn int16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// A signed 32-bit integer.
    pub fn int32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A signed 64-bit integer.
    pub fn int64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The sixteen bytes of an identifier.
    pub fn uuid(&mut self) -> Result<[u8; 16], WireError> {
        self.array()
    }

    /// An unsigned varint of 32 bits, as all of the protocol's are.
    pub fn varint(&mut self) -> Result<u32, WireError> {
        crate::varint::read_unsigned_32(self.frame, &mut self.position)
    }

    /// A length: `None` if null. `wide` tells the plain form's width in bytes.
    fn length(&mut self, flexible: bool, wide: usize) -> Result<Option<usize>, WireError> {
        let length = match (flexible, wide) {
            (true, _) => i64::from(self.varint()?) - 1,
            (false, 2) => i64::from(self.int16()?),
            (false, _) => i64::from(self.int32()?),
        };
        match length {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) if length <= self.remaining() => Ok(Some(length)),
                Ok(needed) => Err(WireError::Truncated { what: self.what, needed, have: self.remaining() }),
                Err(_) => Err(WireError::malformed(self.what, format!("a length is {length}"))),
            },
        }
    }

    /// How many elements an array has, `None` if null. Never more than bytes
    /// remain, since no element is empty.
    pub fn array_length(&mut self, flexible: bool) -> Result<Option<usize>, WireError> {
        self.length(flexible, 4)
    }

    /// A string that may be null.
    pub fn string(&mut self, flexible: bool) -> Result<Option<&'a str>, WireError> {
        let Some(length) = self.length(flexible, 2)? else {
            return Ok(None);
        };
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes);
        text.map(Some).map_err(|_| WireError::malformed(self.what, "a string is not UTF-8"))
    }

    /// A string that may not be null.
    pub fn required_string(&mut self, flexible: bool) -> Result<&'a str, WireError> {
        let text = self.string(flexible)?;
        text.ok_or_else(|| WireError::malformed(self.what, "a string that must be there is null"))
    }

    /// Bytes that may be null, as a slice of the frame.
    pub fn bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, WireError> {
        let Some(length) = self.length(flexible, 4)? else {
            return Ok(None);
        };
        let start = self.position;
        self.take(length)?;
        Ok(Some(self.frame.slice(start..start + length)))
    }

    /// Moves past a string or bytes without looking at them.
    pub(crate) fn skip_sized(&mut self, flexible: bool, wide: usize) -> Result<(), WireError> {
        if let Some(length) = self.length(flexible, wide)? {
            self.take(length)?;
        }
        Ok(())
    }

    /// Moves past tagged fields, if this is a flexible version; how many there
    /// were.
    pub fn tags(&mut self, flexible: bool) -> Result<usize, WireError> {
        if !flexible {
            return Ok(0);
        }
        let count = self.varint()? as usize;
        for _ in 0..count {
            let tag = self.varint()?;
            if tag > TAG_MAX {
                return Err(WireError::malformed(self.what, format!("a tag is {tag}")));
            }
            let length = self.varint()? as usize;
            self.take(length)?;
        }
        Ok(count)
    }
}
