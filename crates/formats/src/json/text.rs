//! JSON strings: finding their end fast, and what they say.
//!
//! Most bytes of an event lie in strings that no column wants, so finding the
//! end looks at 64 bytes at a time. Every string is checked in full, wanted or
//! not: no raw control character, no bad escape, no half surrogate pair, UTF-8.

use super::cursor::Malformed;

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
const CHUNK_BYTES: usize = 32;

/// The inside of a JSON string, structurally checked; not yet UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawText<'a> {
    /// Between the quotes.
    pub(crate) bytes: &'a [u8],
    /// Where it starts in the document.
    start: usize,
    /// Whether it has a backslash.
    pub(super) escaped: bool,
    /// Whether all bytes are known to be ASCII.
    ascii: bool,
}

impl<'a> RawText<'a> {
    /// Scans from behind the opening quote; gives the string and the place
    /// behind its closing quote.
    #[inline(always)]
    pub(super) fn scan(document: &'a [u8], start: usize) -> Result<(Self, usize), Malformed> {
        let (mut at, mut escaped, mut ascii) = (start, false, true);
        loop {
            let (end, chunk_ascii) = plain_end(document, at);
            at = end;
            ascii &= chunk_ascii;
            match document.get(at) {
                Some(b'"') => {
                    let text = Self { bytes: &document[start..at], start, escaped, ascii };
                    return Ok((text, at + 1));
                }
                Some(b'\\') => {
                    escaped = true;
                    at = escape_end(document, at)?;
                }
                Some(_) => return Err(Malformed::at(at, "a control character written as an escape")),
                None => return Err(Malformed::at(at, "the closing quote of a string")),
            }
        }
    }

    /// What the string says, if it is known to be ASCII without escapes.
    #[inline]
    pub(super) fn plain(&self) -> Option<&'a [u8]> {
        (self.ascii && !self.escaped).then_some(self.bytes)
    }

    /// Checks what [`RawText::scan`] left open.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        if self.ascii { Ok(()) } else { self.utf8().map(|_| ()) }
    }

    /// What the string says; `scratch` holds it if it had escapes.
    #[inline]
    pub(super) fn text<'s>(&self, scratch: &'s mut String) -> Result<&'s str, Malformed>
    where
        'a: 's,
    {
        let text = self.utf8()?;
        if !self.escaped {
            return Ok(text);
        }
        scratch.clear();
        unescape(text, scratch);
        Ok(scratch)
    }

    fn utf8(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes)
            .map_err(|error| Malformed::at(self.start + error.valid_up_to(), "valid UTF-8"))
    }
}

/// The first quote, backslash or control character from `at` on (or the end),
/// and whether all bytes before it are known to be ASCII.
#[inline(never)]
fn plain_end(document: &[u8], mut at: usize) -> (usize, bool) {
    let mut high = 0_u64;
    // Short strings end here.
    for _ in 0..3 {
        let Some(word) = word_at(document, at) else { return plain_end_slow(document, at, high) };
        high |= word & HIGH_BITS;
        let specials = specials(word);
        if specials != 0 {
            return (at + (specials.trailing_zeros() / 8) as usize, high == 0);
        }
        at += 8;
    }
    let (chunks, _) = document[at..].as_chunks::<CHUNK_BYTES>();
    for chunk in chunks {
        let (special, bits) = summary(chunk);
        high |= u64::from(bits) & HIGH_BITS;
        if special {
            break;
        }
        at += CHUNK_BYTES;
    }
    plain_end_slow(document, at, high)
}

#[inline]
fn plain_end_slow(document: &[u8], mut at: usize, mut high: u64) -> (usize, bool) {
    while let Some(word) = word_at(document, at) {
        high |= word & HIGH_BITS;
        let specials = specials(word);
        if specials != 0 {
            return (at + (specials.trailing_zeros() / 8) as usize, high == 0);
        }
        at += 8;
    }
    while let Some(byte) = document.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        high |= u64::from(byte & 0x80);
        at += 1;
    }
    (at, high == 0)
}

#[inline]
fn word_at(document: &[u8], at: usize) -> Option<u64> {
    document.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Sets the high bit of each byte that is a quote, a backslash or a control
/// character. A borrow can set it too in bytes above such a one, so only the
/// lowest set bit counts.
#[inline]
fn specials(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zero_quote = quote.wrapping_sub(ONES) & !quote;
    let zero_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero_quote | zero_backslash | control) & HIGH_BITS
}

/// Whether a chunk has a quote, backslash or control character, and the OR of
/// its bytes. Plain loops, which the compiler turns into vector instructions.
#[inline]
fn summary(chunk: &[u8; CHUNK_BYTES]) -> (bool, u8) {
    let (mut special, mut bits) = (0_u8, 0_u8);
    for &byte in chunk {
        special |= u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
        bits |= byte;
    }
    (special != 0, bits)
}

/// The place behind the escape at `at`; a surrogate must come with its other half.
fn escape_end(document: &[u8], at: usize) -> Result<usize, Malformed> {
    match document.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(document, at + 2)? {
            0xd800..=0xdbff => match (document.get(at + 6), document.get(at + 7)) {
                (Some(b'\\'), Some(b'u')) if (0xdc00..=0xdfff).contains(&hex4(document, at + 8)?) => {
                    Ok(at + 12)
                }
                _ => Err(Malformed::at(at + 6, "the second half of a surrogate pair")),
            },
            0xdc00..=0xdfff => Err(Malformed::at(at, "the first half of a surrogate pair")),
            _ => Ok(at + 6),
        },
        _ => Err(Malformed::at(at + 1, "one of \"\\/bfnrtu behind a backslash")),
    }
}

fn hex4(document: &[u8], at: usize) -> Result<u32, Malformed> {
    let mut value = 0;
    for place in at..at + 4 {
        let digit = document.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        value = value * 16 + digit.ok_or(Malformed::at(place, "a hexadecimal digit"))?;
    }
    Ok(value)
}

/// Appends `text` with its escapes resolved; they were checked by the scan.
fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        out.push_str(&rest[..place]);
        let escape = &rest[place + 1..];
        let (character, length) = match escape.as_bytes().first() {
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(b'u') => unicode_escape(escape.as_bytes()),
            Some(other) => (char::from(*other), 1),
            None => break,
        };
        out.push(character);
        rest = &escape[length..];
    }
    out.push_str(rest);
}

/// The character of a checked `uXXXX` or `uXXXX\uXXXX`, and its length in bytes.
fn unicode_escape(escape: &[u8]) -> (char, usize) {
    let unit = |at| hex4(escape, at).unwrap_or(0xfffd);
    let (code, length) = match unit(1) {
        high @ 0xd800..=0xdbff => (0x10000 + ((high - 0xd800) << 10) + (unit(7) & 0x3ff), 11),
        code => (code, 5),
    };
    (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(document: &str) -> Result<String, Malformed> {
        let (raw, end) = RawText::scan(document.as_bytes(), 1)?;
        assert_eq!(end, document.len());
        raw.text(&mut String::new()).map(str::to_owned)
    }

    #[test]
    fn escapes() {
        let text = read(r#""a\"b\\c\/d\b\f\n\r\te\u0041\u00e9\u20AC\uD83D\uDE00z""#).unwrap();
        assert_eq!(text, "a\"b\\c/d\u{8}\u{c}\n\r\teAé€😀z");
    }

    #[test]
    fn faults_have_a_place() {
        for (document, at) in [
            ("\"abc", 4),
            ("\"a\nb\"", 2),
            (r#""\x""#, 2),
            (r#""\"#, 2),
            (r#""\u12g4""#, 5),
            (r#""\ud83d""#, 7),
            (r#""\ud83dab""#, 7),
            (r#""\ud83d\u0041""#, 7),
            (r#""\ude00""#, 1),
        ] {
            assert_eq!(read(document).unwrap_err().at, at, "{document}");
        }
        let (raw, _) = RawText::scan(b"\"ab\xff\"", 1).unwrap();
        assert_eq!(raw.check().unwrap_err().at, 3);
    }

    /// Every place of a chunk and of a word, in and around the vector loop.
    #[test]
    fn every_special_is_found_at_every_place() {
        for length in 0..200 {
            let mut document = vec![b'x'; length];
            assert_eq!(plain_end(&document, 0), (length, true));
            for special in [b'"', b'\\', 0, 0x1f] {
                for at in 0..length {
                    document[at] = special;
                    assert_eq!(plain_end(&document, 0).0, at);
                    document[at] = b'x';
                }
            }
            for at in 0..length {
                document[at] = 0xc3;
                assert_eq!(plain_end(&document, 0), (length, false), "{length} {at}");
                document[at] = b'x';
            }
        }
    }

    proptest! {
        #[test]
        fn plain_end_is_the_naive_search(bytes in prop::collection::vec(any::<u8>().prop_map(|byte| byte | 0x20), 0..300)) {
            let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
            let (end, ascii) = plain_end(&bytes, 0);
            prop_assert_eq!(end, naive);
            prop_assert!(!ascii || bytes[..end].is_ascii());
        }

        #[test]
        fn any_text_survives(text: String) {
            let document = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(&document).unwrap(), text);
        }
    }
}
