//! The words and marks of a `.proto` text.

use super::descriptor::invalid;
use crate::error::FormatError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, with its dots.
    Word(&'a str),
    /// A number as it stands.
    Number(&'a str),
    /// The inside of a string, escapes unresolved.
    Text(&'a str),
    /// Anything else.
    Mark(char),
    End,
}

/// A place in a text, one token ahead.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    token: Token<'a>,
    /// Where `token` starts.
    token_at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, FormatError> {
        let mut lexer = Self { text, at: 0, token: Token::End, token_at: 0 };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The token here.
    pub(super) fn peek(&self) -> Token<'a> {
        self.token
    }

    /// The token here, and goes behind it.
    pub(super) fn next(&mut self) -> Result<Token<'a>, FormatError> {
        let token = self.token;
        self.advance()?;
        Ok(token)
    }

    /// Goes behind this mark if it is here.
    pub(super) fn take(&mut self, mark: char) -> Result<bool, FormatError> {
        let here = self.token == Token::Mark(mark);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), FormatError> {
        if self.take(mark)? { Ok(()) } else { Err(self.fault(&format!("expected '{mark}'"))) }
    }

    /// A name.
    pub(super) fn word(&mut self) -> Result<&'a str, FormatError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            _ => Err(self.fault("expected a name")),
        }
    }

    /// A whole number, perhaps below 0.
    pub(super) fn integer(&mut self) -> Result<i64, FormatError> {
        let negative = self.take('-')?;
        let Token::Number(text) = self.next()? else { return Err(self.fault("expected a number")) };
        let value = match text.get(..2) {
            Some("0x" | "0X") => i64::from_str_radix(&text[2..], 16),
            _ if text.len() > 1 && text.starts_with('0') => i64::from_str_radix(&text[1..], 8),
            _ => text.parse(),
        };
        let value = value.map_err(|_| self.fault("expected a whole number"))?;
        Ok(if negative { -value } else { value })
    }

    /// Goes behind the `;` or the block that ends this statement.
    pub(super) fn skip_statement(&mut self) -> Result<(), FormatError> {
        let mut depth = 0_u32;
        loop {
            match self.next()? {
                Token::Mark('{' | '[' | '(') => depth += 1,
                Token::Mark(mark @ ('}' | ']' | ')')) => {
                    depth = depth.checked_sub(1).ok_or_else(|| self.fault("a bracket too many"))?;
                    if depth == 0 && mark == '}' {
                        self.take(';')?;
                        return Ok(());
                    }
                }
                Token::Mark(';') if depth == 0 => return Ok(()),
                Token::End => return Err(self.fault("expected ';' or '}'")),
                _ => {}
            }
        }
    }

    /// A fault near the token here.
    #[cold]
    pub(super) fn fault(&self, problem: &str) -> FormatError {
        let line = 1 + self.text[..self.token_at].bytes().filter(|byte| *byte == b'\n').count();
        invalid(&format!("near line {line}: {problem}"))
    }

    fn advance(&mut self) -> Result<(), FormatError> {
        self.skip_space()?;
        self.token_at = self.at;
        let rest = &self.text[self.at..];
        let length_of = |keep: fn(char) -> bool| rest.find(|it| !keep(it)).unwrap_or(rest.len());
        let Some(first) = rest.chars().next() else {
            self.token = Token::End;
            return Ok(());
        };
        let length = match first {
            'a'..='z' | 'A'..='Z' | '_' | '.'
                if !rest[1..].starts_with(|it: char| first == '.' && it.is_ascii_digit()) =>
            {
                let length = length_of(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '.'));
                self.token = Token::Word(&rest[..length]);
                length
            }
            '0'..='9' | '.' => {
                let length = length_of(|it| it.is_ascii_alphanumeric() || it == '.');
                self.token = Token::Number(&rest[..length]);
                length
            }
            '"' | '\'' => {
                let length = text_length(rest, first).ok_or_else(|| self.fault("a string without an end"))?;
                self.token = Token::Text(&rest[1..length - 1]);
                length
            }
            mark => {
                self.token = Token::Mark(mark);
                mark.len_utf8()
            }
        };
        self.at += length;
        Ok(())
    }

    fn skip_space(&mut self) -> Result<(), FormatError> {
        loop {
            let rest = self.text[self.at..]
                .trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}', '\u{feff}']);
            self.at = self.text.len() - rest.len();
            let length = match (rest.strip_prefix("//"), rest.strip_prefix("/*")) {
                (Some(_), _) => rest.find('\n').unwrap_or(rest.len()),
                (_, Some(inside)) => {
                    self.token_at = self.at;
                    let end = inside.find("*/").ok_or_else(|| self.fault("a comment without an end"))?;
                    "/**/".len() + end
                }
                (None, None) => return Ok(()),
            };
            self.at += length;
        }
    }
}

/// Bytes of the string that `rest` starts with, quotes included.
fn text_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}
