//! A place in one JSON document: reading a scalar there, or skipping a value.

use super::text::RawText;
use crate::number::Number;

/// How deep a skipped value may nest: one bit of a `u128` per level.
pub(super) const DEPTH_MAX: u32 = 128;

/// A document that is not JSON: where, and what should stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Index of the byte at fault.
    pub(super) at: usize,
    expected: &'static str,
}

impl Malformed {
    /// At byte `at`, `expected` should stand.
    #[cold]
    pub(super) fn at(at: usize, expected: &'static str) -> Self {
        Self { at, expected }
    }

    /// The reason, given the document.
    pub(crate) fn reason(&self, document: &[u8]) -> String {
        let Self { at, expected } = self;
        match document.get(*at) {
            None => format!("byte {at}: expected {expected}, found the end"),
            Some(byte @ 0x20..0x7f) => {
                format!("byte {at}: expected {expected}, found '{}'", char::from(*byte))
            }
            Some(byte) => format!("byte {at}: expected {expected}, found 0x{byte:02x}"),
        }
    }
}

/// A value as a column sees it; objects and arrays are already skipped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    Number(Number<'a>),
    Boolean(bool),
    Null,
    Object,
    Array,
}

/// A place in a document.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) document: &'a [u8],
    /// Index of the next byte.
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a document.
    pub(crate) fn new(document: &'a [u8]) -> Self {
        Self { document, at: 0 }
    }

    /// The next byte; `None` at the end.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    /// A fault here.
    #[cold]
    pub(crate) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed::at(self.at, expected)
    }

    /// Goes behind white space; gives the next byte.
    #[inline]
    pub(crate) fn peek_token(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Goes behind white space and this byte.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek_token() != Some(byte) {
            return Err(self.malformed(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn expect_end(&mut self) -> Result<(), Malformed> {
        match self.peek_token() {
            None => Ok(()),
            Some(_) => Err(self.malformed("the end of the document")),
        }
    }

    /// Reads the string whose opening quote was passed.
    #[inline(always)]
    pub(crate) fn raw_text(&mut self) -> Result<RawText<'a>, Malformed> {
        let (text, end) = RawText::scan(self.document, self.at)?;
        self.at = end;
        Ok(text)
    }

    /// Reads the value here, where `peek_token` stopped.
    #[inline]
    pub(crate) fn scalar<'s>(&mut self, scratch: &'s mut String) -> Result<Scalar<'s>, Malformed>
    where
        'a: 's,
    {
        Ok(match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Scalar::Text(self.raw_text()?.text(scratch)?)
            }
            Some(b'-' | b'0'..=b'9') => Scalar::Number(self.number()?),
            Some(b'{') => {
                self.skip_value()?;
                Scalar::Object
            }
            Some(b'[') => {
                self.skip_value()?;
                Scalar::Array
            }
            _ => self.literal()?,
        })
    }

    /// Reads the number here.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<Number<'a>, Malformed> {
        let (number, end) =
            Number::scan(self.document, self.at).map_err(|at| Malformed::at(at, "the digits of a number"))?;
        self.at = end;
        Ok(number)
    }

    fn literal(&mut self) -> Result<Scalar<'static>, Malformed> {
        for (word, scalar) in
            [("true", Scalar::Boolean(true)), ("false", Scalar::Boolean(false)), ("null", Scalar::Null)]
        {
            if self.document[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(scalar);
            }
        }
        Err(self.malformed("a value"))
    }

    /// Skips the value here, where `peek_token` stopped, checking all of it.
    pub(crate) fn skip_value(&mut self) -> Result<(), Malformed> {
        // One bit per open container, the innermost lowest: is it an object?
        let (mut open, mut depth) = (0_u128, 0_u32);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.raw_text()?.check()?;
                }
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                }
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    let object = bracket == b'{';
                    if self.peek_token() != Some(if object { b'}' } else { b']' }) {
                        if depth == DEPTH_MAX {
                            return Err(self.malformed("at most 128 levels of nesting"));
                        }
                        (open, depth) = (open << 1 | u128::from(object), depth + 1);
                        self.skip_name_if(object)?;
                        continue;
                    }
                    self.at += 1;
                }
                _ => {
                    self.literal()?;
                }
            }
            if self.close_or_next(&mut open, &mut depth)? {
                return Ok(());
            }
        }
    }

    /// Behind a skipped value: closes what ends here and goes to the next
    /// value, or gives true when nothing is open any more.
    #[inline]
    fn close_or_next(&mut self, open: &mut u128, depth: &mut u32) -> Result<bool, Malformed> {
        while *depth > 0 {
            let object = *open & 1 == 1;
            match (self.peek_token(), object) {
                (Some(b','), _) => {
                    self.at += 1;
                    self.peek_token();
                    self.skip_name_if(object)?;
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    (*open, *depth) = (*open >> 1, *depth - 1);
                }
                (_, true) => return Err(self.malformed("',' or '}'")),
                (_, false) => return Err(self.malformed("',' or ']'")),
            }
        }
        Ok(true)
    }

    /// Inside an object, skips a field's name and colon; ends at the value.
    fn skip_name_if(&mut self, object: bool) -> Result<(), Malformed> {
        if object {
            self.expect(b'"', "a field name in quotes")?;
            self.raw_text()?.check()?;
            self.expect(b':', "':'")?;
            self.peek_token();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(document: &str) -> Result<usize, Malformed> {
        let mut cursor = Cursor::new(document.as_bytes());
        cursor.peek_token();
        cursor.skip_value().map(|()| cursor.at)
    }

    #[test]
    fn skips_whole_values() {
        for value in [
            "1",
            "\"a\"",
            "true",
            "null",
            "{}",
            "[]",
            "[ ]",
            "[1, [2], {\"a\": {\"b\": []}}]",
            "{\"a\":1 , \"b\":[]}",
        ] {
            assert_eq!(skip(&format!("{value},9")).unwrap(), value.len(), "{value}");
        }
    }

    #[test]
    fn faults_have_a_place_and_an_expectation() {
        for (document, reason) in [
            ("[1 2]", "byte 3: expected ',' or ']', found '2'"),
            ("{\"a\" 1}", "byte 5: expected ':', found '1'"),
            ("{\"a\":1]", "byte 6: expected ',' or '}', found ']'"),
            ("{a:1}", "byte 1: expected a field name in quotes, found 'a'"),
            ("{\"a\":1,}", "byte 7: expected a field name in quotes, found '}'"),
            ("[1,]", "byte 3: expected a value, found ']'"),
            ("[1", "byte 2: expected ',' or ']', found the end"),
            ("tru", "byte 0: expected a value, found 't'"),
            ("[\u{1}]", "byte 1: expected a value, found 0x01"),
            ("-x", "byte 1: expected the digits of a number, found 'x'"),
            ("", "byte 0: expected a value, found the end"),
        ] {
            assert_eq!(skip(document).unwrap_err().reason(document.as_bytes()), reason, "{document}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(skip(&nested(128)).is_ok());
        assert!(skip(&nested(129)).unwrap_err().reason(b"").contains("128 levels"));
        assert!(skip(&"[".repeat(1_000_000)).is_err());
        assert!(skip(&"{\"a\":".repeat(1_000_000)).is_err());
    }
}
