//! Cutting a query text into single statements, and finding places in it.
//!
//! The cut respects strings, quoted names, comments and dollar quotes. A text
//! that cannot even be cut into tokens stays whole, so that the planner reports
//! what is wrong with it.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// One statement of a query text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The statement without its semicolon.
    pub(super) text: &'a str,
    /// Characters of the query text before it.
    pub(super) offset_chars: usize,
}

/// The statements of a query text, in order; empty ones are left out.
pub(super) fn split(sql: &str) -> Vec<Piece<'_>> {
    let Some(tokens) = tokens(sql) else {
        return vec![Piece { text: sql, offset_chars: 0 }];
    };
    let mut pieces = Vec::new();
    let mut places = Places::new(sql);
    let (mut start, mut start_chars, mut filled) = (0, 0, false);
    for token in tokens {
        match token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => {
                let (end, end_chars) = places.find(token.span.start);
                if filled {
                    pieces.push(Piece { text: &sql[start..end], offset_chars: start_chars });
                }
                (start, start_chars, filled) = (end + 1, end_chars + 1, false);
            }
            _ => filled = true,
        }
    }
    if filled {
        pieces.push(Piece { text: &sql[start..], offset_chars: start_chars });
    }
    pieces
}

/// The highest number among the parameters `$1`, `$2`, … of a statement.
pub(super) fn parameter_count(sql: &str) -> usize {
    let number = |token: TokenWithSpan| placeholder(&token.token);
    tokens(sql).into_iter().flatten().filter_map(number).max().unwrap_or(0)
}

/// How many characters come before a line and column, both counted from 1.
pub(super) fn chars_before(sql: &str, line: u64, column: u64) -> usize {
    Places::new(sql).find(Location { line, column }).1
}

fn tokens(sql: &str) -> Option<Vec<TokenWithSpan>> {
    Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()
}

fn placeholder(token: &Token) -> Option<usize> {
    let Token::Placeholder(name) = token else { return None };
    name.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}

/// Walks a text once, turning ascending line-and-column places into offsets.
struct Places<'a> {
    text: &'a str,
    bytes: usize,
    chars: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, bytes: 0, chars: 0, line: 1, column: 1 }
    }

    /// Bytes and characters before the place, or before the end of its line.
    fn find(&mut self, place: Location) -> (usize, usize) {
        for character in self.text[self.bytes..].chars() {
            let reached = self.line == place.line && self.column >= place.column;
            if reached || self.line > place.line || (character == '\n' && self.line == place.line) {
                break;
            }
            self.bytes += character.len_utf8();
            self.chars += 1;
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.bytes, self.chars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        split(sql).into_iter().map(|piece| piece.text.trim()).collect()
    }

    #[test]
    fn cuts_only_between_statements() {
        assert_eq!(texts("SELECT ';' ; -- a; b\nSELECT $$;$$;;"), ["SELECT ';'", "-- a; b\nSELECT $$;$$"]);
        assert_eq!(texts(" ; /* only ; this */ ;"), Vec::<&str>::new());
        assert_eq!(texts("SELECT \"a;b\""), ["SELECT \"a;b\""]);
    }

    #[test]
    fn counts_characters_not_bytes() {
        let pieces = split("SELECT 'é'; SELECT 2");
        assert_eq!(pieces[1].offset_chars, 11);
        assert_eq!(pieces[1].text, " SELECT 2");
        assert_eq!(chars_before("é\nab", 2, 2), 3);
        assert_eq!(chars_before("ab", 9, 9), 2);
    }

    #[test]
    fn a_broken_text_stays_whole() {
        assert_eq!(texts("SELECT 'a; b"), ["SELECT 'a; b"]);
    }

    #[test]
    fn parameters_are_counted_outside_of_strings() {
        assert_eq!(parameter_count("INSERT INTO t VALUES ($1, '$11', $10, $2)"), 10);
        assert_eq!(parameter_count("SELECT $$ $1 $$"), 0);
    }
}
