//! The words for a value that does not fit its column.

use arrow::datatypes::DataType;

use crate::column::{Refusal, sql_name};

/// Longest piece of a value that a reason quotes, in characters.
const EXCERPT_CHARS_MAX: usize = 40;

/// A text in quotes, cut if it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// A number as it was written, cut if it is long.
pub(crate) fn plain(number: &[u8]) -> String {
    match number.get(..EXCERPT_CHARS_MAX) {
        Some(start) if number.len() > EXCERPT_CHARS_MAX => format!("{}…", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(number).into_owned(),
    }
}

/// Why a column of this type refused what was `found`.
pub(crate) fn refused(data_type: &DataType, refusal: Refusal, found: &str) -> String {
    let name = sql_name(data_type);
    match refusal {
        Refusal::Range => format!("{found} is out of range for {name}"),
        _ => format!("expected {name}, found {found}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(100);
        assert_eq!(quoted(&long), format!("\"{}\"…", "ä".repeat(40)));
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(plain(&[b'1'; 50]), format!("{}…", "1".repeat(40)));
        assert_eq!(plain(b"12"), "12");
    }
}
