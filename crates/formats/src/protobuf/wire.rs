//! A place in a Protobuf message: tags, integers and lengths, checked against the
//! end.

/// How deep groups (an old way to nest) may nest where they are passed over.
const GROUP_DEPTH_MAX: u32 = 100;

/// Bytes that are no Protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Where, from the start of the record.
    pub(super) at: usize,
    pub(super) problem: &'static str,
}

impl Malformed {
    /// In words.
    pub(super) fn reason(&self) -> String {
        format!("byte {}: {}", self.at, self.problem)
    }
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Bytes,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// A place in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` starts in the record.
    start: usize,
}

impl<'a> Wire<'a> {
    /// A whole record.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, start: 0 }
    }

    #[inline]
    pub(super) fn is_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    #[cold]
    pub(super) fn malformed(&self, problem: &'static str) -> Malformed {
        Malformed { at: self.start + self.at, problem }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.varint_slowly(),
        }
    }

    fn varint_slowly(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (place, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            // Bits beyond 64 are dropped, as other readers do.
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * u32::try_from(place).unwrap_or(0));
            if *byte < 0x80 {
                self.at += place + 1;
                return Ok(value);
            }
        }
        Err(self.malformed(match self.bytes.len() - self.at {
            0..10 => "expected an integer, found the end",
            _ => "an integer of more than ten bytes",
        }))
    }

    /// The number of the next field and how it is written.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, WireType), Malformed> {
        let at = self.at;
        let tag = self.varint()?;
        let fault = |problem| Malformed { at: self.start + at, problem };
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Bytes,
            3 => WireType::GroupStart,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return Err(fault("a wire type above 5")),
        };
        match u32::try_from(tag >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => Ok((number, wire_type)),
            _ => Err(fault("a field number that is 0 or above 536870911")),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let array = self.bytes[self.at..].first_chunk::<N>();
        let array = *array.ok_or_else(|| self.malformed("a fixed-width number cut off by the end"))?;
        self.at += N;
        Ok(array)
    }

    /// A length and so many bytes, as a place of their own.
    #[inline]
    pub(super) fn part(&mut self) -> Result<Wire<'a>, Malformed> {
        let length = self.varint()?;
        let rest = self.rest();
        let bytes = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let bytes = bytes.ok_or_else(|| self.malformed("a length beyond the end"))?;
        let start = self.start + self.at;
        self.at += bytes.len();
        Ok(Wire { bytes, at: 0, start })
    }

    /// A length and so many bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.part().map(|part| part.bytes)
    }

    /// A length and so many bytes of UTF-8.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let part = self.part()?;
        std::str::from_utf8(part.bytes)
            .map_err(|error| Malformed { at: part.start + error.valid_up_to(), problem: "not valid UTF-8" })
    }

    /// Passes over the value of field `number`.
    pub(super) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<(), Malformed> {
        match wire_type {
            WireType::Varint => self.varint().map(|_| ()),
            WireType::Fixed64 => self.array::<8>().map(|_| ()),
            WireType::Fixed32 => self.array::<4>().map(|_| ()),
            WireType::Bytes => self.part().map(|_| ()),
            WireType::GroupStart => self.skip_group(number),
            WireType::GroupEnd => Err(self.malformed("the end of a group that did not start")),
        }
    }

    /// Passes over the rest of group `number`.
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            match self.tag()? {
                (number, WireType::GroupStart) if open.len() < GROUP_DEPTH_MAX as usize => open.push(number),
                (_, WireType::GroupStart) => return Err(self.malformed("more than 100 levels of groups")),
                (number, WireType::GroupEnd) if number == innermost => {
                    open.pop();
                }
                (number, wire_type) => self.skip(number, wire_type)?,
            }
        }
        Ok(())
    }
}

/// Zigzag: small numbers below 0 take few bytes.
#[inline]
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_integers() {
        let mut wire = Wire::new(b"\x08\x96\x01\x12\x03abc");
        assert_eq!(wire.tag(), Ok((1, WireType::Varint)));
        assert_eq!(wire.varint(), Ok(150));
        assert_eq!(wire.tag(), Ok((2, WireType::Bytes)));
        assert_eq!(wire.bytes(), Ok(&b"abc"[..]));
        assert!(wire.is_end());
        assert_eq!(Wire::new(b"\x07").tag().unwrap_err().problem, "a wire type above 5");
        assert!(Wire::new(b"\x00").tag().is_err());
        assert_eq!(Wire::new(&[0xff; 10]).varint().unwrap_err().problem, "an integer of more than ten bytes");
        assert_eq!(Wire::new(b"\x05ab").bytes().unwrap_err().at, 1);
        assert_eq!(unzigzag(u64::MAX), i64::MIN);
    }

    #[test]
    fn groups_are_passed_over() {
        // Field 1: a group that holds field 2, a group, and field 3, a number.
        let mut wire = Wire::new(b"\x0b\x13\x14\x18\x05\x0c\x20\x01");
        let (number, wire_type) = wire.tag().unwrap();
        wire.skip(number, wire_type).unwrap();
        assert_eq!(wire.rest(), b"\x20\x01");
        let mut wire = Wire::new(b"\x0b\x14");
        let (number, wire_type) = wire.tag().unwrap();
        assert!(wire.skip(number, wire_type).is_err());
        let deep = [0x0b; 10_000];
        let mut wire = Wire::new(&deep);
        let (number, wire_type) = wire.tag().unwrap();
        assert_eq!(wire.skip(number, wire_type).unwrap_err().problem, "more than 100 levels of groups");
    }
}
