//! Bytes as lines.

use std::ops::Range;

use memchr::memchr;

/// A line in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it is, without its line end.
    pub at: Range<usize>,
    /// The place behind its line end.
    pub behind: usize,
}

/// What became of a buffer besides its lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// The bytes up to here are done with.
    pub taken: usize,
    /// Whether the bytes behind go on with a line that is left out.
    pub skipping: bool,
    /// Lines that were found to be too long.
    pub skipped: u64,
}

/// Finds the lines of `buffer` that have a line end, without the empty ones and
/// those of more than `bytes_max` bytes. `skipping`: the buffer begins inside of
/// a line that is left out.
pub(crate) fn split(buffer: &[u8], skipping: bool, bytes_max: usize, lines: &mut Vec<Line>) -> Split {
    let mut split = Split { skipping, ..Split::default() };
    lines.clear();
    while let Some(length) = memchr(b'\n', &buffer[split.taken..]) {
        let from = split.taken;
        split.taken = from + length + 1;
        if std::mem::take(&mut split.skipping) {
            continue;
        }
        let line = trimmed(&buffer[from..from + length]);
        if line.len() > bytes_max {
            split.skipped += 1;
        } else if !line.is_empty() {
            lines.push(Line { at: from..from + line.len(), behind: split.taken });
        }
    }
    let rest = buffer.len() - split.taken;
    // A byte more may still be the `\r` of the line end.
    if split.skipping || rest > bytes_max + 1 {
        split.skipped += u64::from(!split.skipping);
        (split.taken, split.skipping) = (buffer.len(), true);
    }
    split
}

/// What stands behind the last line end as a line; `None` if it is empty.
pub(crate) fn last_line(rest: &[u8]) -> Option<Line> {
    let line = trimmed(rest);
    (!line.is_empty()).then_some(Line { at: 0..line.len(), behind: rest.len() })
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, skipping: bool, bytes_max: usize) -> (Vec<(String, usize)>, Split) {
        let mut lines = Vec::new();
        let split = split(text.as_bytes(), skipping, bytes_max, &mut lines);
        (lines.iter().map(|line| (text[line.at.clone()].to_owned(), line.behind)).collect(), split)
    }

    #[test]
    fn lines_end_with_line_ends() {
        let (found, split) = lines("a\nbc\r\n\n\r\nd\re\nrest", false, 10);
        assert_eq!(found, [("a".into(), 2), ("bc".into(), 6), ("d\re".into(), 13)]);
        assert_eq!(split, Split { taken: 13, skipping: false, skipped: 0 });
    }

    #[test]
    fn long_lines_are_left_out_once() {
        let (found, split) = lines("abc\nabcd\nabc\r\nab", false, 3);
        assert_eq!(found, [("abc".into(), 4), ("abc".into(), 14)]);
        assert_eq!(split, Split { taken: 14, skipping: false, skipped: 1 });
        // Four bytes may be a line of three and the first part of its end.
        assert_eq!(lines("abcd", false, 3).1, Split { taken: 0, skipping: false, skipped: 0 });
        assert_eq!(lines("abcde", false, 3).1, Split { taken: 5, skipping: true, skipped: 1 });
        assert_eq!(lines("more", true, 3).1, Split { taken: 4, skipping: true, skipped: 0 });
        let (found, split) = lines("more\nabc\n", true, 3);
        assert_eq!(found, [("abc".into(), 9)]);
        assert_eq!(split, Split { taken: 9, skipping: false, skipped: 0 });
    }

    #[test]
    fn a_rest_is_a_line_if_it_is_any() {
        assert_eq!(last_line(b"ab\r"), Some(Line { at: 0..2, behind: 3 }));
        assert_eq!((last_line(b""), last_line(b"\r")), (None, None));
    }
}
