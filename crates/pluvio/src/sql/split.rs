//! Cuts a text into statements, so that each can be run and reported by itself
//! and the shell knows when one is complete.
//!
//! Strings, quoted names, comments and dollar quotes are respected. The text is
//! not checked: the server says what is wrong with it.

/// One statement of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Without its semicolon and the whitespace around it.
    pub text: &'a str,
    /// Bytes of the whole text before it.
    pub start: usize,
}

/// The statements that a semicolon ends, without empty ones, and what follows
/// the last semicolon.
pub fn split(sql: &str) -> (Vec<Statement<'_>>, Statement<'_>) {
    let bytes = sql.as_bytes();
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at] == b';' {
            let statement = trimmed(sql, start, at);
            if !is_blank(statement.text) {
                statements.push(statement);
            }
            at += 1;
            start = at;
        } else {
            at = token_end(bytes, at).unwrap_or(bytes.len());
        }
    }
    (statements, trimmed(sql, start, sql.len()))
}

/// Whether there is nothing but whitespace and whole comments.
pub fn is_blank(sql: &str) -> bool {
    let bytes = sql.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let comment = bytes[at..].starts_with(b"--") || bytes[at..].starts_with(b"/*");
        if !comment && !bytes[at].is_ascii_whitespace() {
            return false;
        }
        match token_end(bytes, at) {
            Some(end) => at = end,
            None => return false,
        }
    }
    true
}

fn trimmed(sql: &str, start: usize, end: usize) -> Statement<'_> {
    let text = &sql[start..end];
    let before = text.len() - text.trim_start().len();
    Statement { text: text.trim(), start: start + before }
}

/// Where the string, name, comment or single byte at `at` ends; `None` if it
/// is never closed.
fn token_end(sql: &[u8], at: usize) -> Option<usize> {
    match &sql[at..] {
        [b'\'', ..] => quoted_end(sql, at, b'\'', has_escapes(sql, at)),
        [b'"', ..] => quoted_end(sql, at, b'"', false),
        [b'-', b'-', rest @ ..] => {
            Some(rest.iter().position(|b| *b == b'\n').map_or(sql.len(), |length| at + 2 + length))
        }
        [b'/', b'*', ..] => comment_end(sql, at),
        [b'$', ..] if !follows_word(sql, at) => dollar_end(sql, at),
        _ => Some(at + 1),
    }
}

fn follows_word(sql: &[u8], at: usize) -> bool {
    at > 0 && (sql[at - 1].is_ascii_alphanumeric() || sql[at - 1] == b'_')
}

/// Whether the string at `at` is written E'…', where a backslash escapes.
fn has_escapes(sql: &[u8], at: usize) -> bool {
    at > 0 && matches!(sql[at - 1], b'e' | b'E') && !follows_word(sql, at - 1)
}

fn quoted_end(sql: &[u8], at: usize, quote: u8, escapes: bool) -> Option<usize> {
    let mut i = at + 1;
    while let Some(byte) = sql.get(i) {
        let doubled = *byte == quote && sql.get(i + 1) == Some(&quote);
        if doubled || (escapes && *byte == b'\\') {
            i += 2;
        } else if *byte == quote {
            return Some(i + 1);
        } else {
            i += 1;
        }
    }
    None
}

/// Comments of this sort may hold others.
fn comment_end(sql: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut i) = (0_usize, at);
    while i < sql.len() {
        if sql[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if sql[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return Some(i);
            }
        } else {
            i += 1;
        }
    }
    None
}

/// `$$…$$` or `$tag$…$tag$`; a `$1` is a single byte and a number.
fn dollar_end(sql: &[u8], at: usize) -> Option<usize> {
    let rest = &sql[at + 1..];
    let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    if rest.get(length) != Some(&b'$') || rest[0].is_ascii_digit() {
        return Some(at + 1);
    }
    let tag = &sql[at..at + length + 2];
    let inside = &sql[at + tag.len()..];
    let found = inside.windows(tag.len()).position(|window| window == tag);
    found.map(|position| at + 2 * tag.len() + position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        split(sql).0.into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn cuts_only_between_statements() {
        assert_eq!(texts("SELECT ';'; -- a;\nSELECT 'it''s;';"), ["SELECT ';'", "-- a;\nSELECT 'it''s;'"]);
        assert_eq!(texts("SELECT \"a;b\"; ; /* ; /* ; */ ; */ ;"), ["SELECT \"a;b\""]);
        assert_eq!(texts("SELECT $$;$$; SELECT $t$ $$; $t$;"), ["SELECT $$;$$", "SELECT $t$ $$; $t$"]);
        assert_eq!(texts("SELECT $1; SELECT E'\\';'';';"), ["SELECT $1", "SELECT E'\\';'';'"]);
        assert_eq!(texts("SELECT 'é'; SELECT 2;"), ["SELECT 'é'", "SELECT 2"]);
    }

    #[test]
    fn tells_what_is_not_finished() {
        let (statements, rest) = split("SELECT 1;\n  SELECT ';");
        assert_eq!(statements, [Statement { text: "SELECT 1", start: 0 }]);
        assert_eq!(rest, Statement { text: "SELECT ';", start: 12 });
        assert!(split("SELECT 1; -- done").0.len() == 1 && is_blank(split("SELECT 1; -- done").1.text));
    }

    #[test]
    fn blank_is_whitespace_and_comments() {
        assert!(is_blank(" \n-- a\n/* b */ "));
        assert!(!is_blank("/* open") && !is_blank(" x"));
    }
}
