//! The fields that the records of our internal topics are made of. Integers
//! are big-endian; a text is two bytes of length, then the text.

/// Writes at most 65,535 bytes; the requests allow less.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
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

/// Nothing may follow.
pub(crate) fn end(rest: &[u8]) -> Result<(), String> {
    match rest.len() {
        0 => Ok(()),
        extra => Err(format!("{extra} bytes follow the record")),
    }
}
