//! The fields that the records of our internal topics are made of. Integers
//! are big-endian; a text is two bytes of length, then the text; bytes are four
//! bytes of length, then the bytes; what may be missing is 0, or 1 and then it.

use bytes::Bytes;

/// Longest text that a client may have us keep, in bytes, as everywhere in the
/// protocol's older versions.
pub(crate) const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Writes at most [`TEXT_BYTES_MAX`] bytes; the requests allow no more.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A text that may be missing.
pub(crate) fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    text.into_iter().for_each(|text| put_text(out, text));
}

/// Far fewer than this type has values: the number of everything is limited.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

/// Bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The next `N` bytes.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or("the record is too short")?;
    *rest = after;
    Ok(*taken)
}

/// A text.
pub(crate) fn take_text(rest: &mut &[u8]) -> Result<String, String> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, after) = rest.split_at_checked(length).ok_or("the record is too short")?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| "a name is not UTF-8".to_owned())
}

/// A text that may be missing.
pub(crate) fn take_optional_text(rest: &mut &[u8]) -> Result<Option<String>, String> {
    match take(rest)? {
        [0] => Ok(None),
        [1] => take_text(rest).map(Some),
        [mark] => Err(format!("a text is marked {mark}")),
    }
}

/// How many there are of something.
pub(crate) fn take_count(rest: &mut &[u8]) -> Result<u32, String> {
    take(rest).map(u32::from_be_bytes)
}

/// Bytes.
pub(crate) fn take_bytes(rest: &mut &[u8]) -> Result<Bytes, String> {
    let length = take_count(rest)? as usize;
    let (bytes, after) = rest.split_at_checked(length).ok_or("the record is too short")?;
    *rest = after;
    Ok(Bytes::copy_from_slice(bytes))
}

/// Nothing may follow.
pub(crate) fn end(rest: &[u8]) -> Result<(), String> {
    match rest.len() {
        0 => Ok(()),
        extra => Err(format!("{extra} bytes follow the record")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_can_be_read_again() {
        let mut out = Vec::new();
        put_text(&mut out, &"ö".repeat(TEXT_BYTES_MAX));
        let mut rest = &out[..];
        assert_eq!(take_text(&mut rest).map(|text| text.len()), Ok(TEXT_BYTES_MAX - 1));
        assert_eq!(end(rest), Ok(()));
    }
}
