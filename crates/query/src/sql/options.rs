//! `WITH (name = value, …)`: every option is asked for by name, and what nobody
//! asked for is an error that lists what there is.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::{Position, QueryError};

/// The options of one statement.
#[derive(Debug, Default, Clone)]
pub struct Options {
    values: BTreeMap<String, (String, Position)>,
    asked: Vec<&'static str>,
}

impl Options {
    /// Parses `WITH ( … )` if it stands here.
    pub(crate) fn parse(parser: &mut Parser<'_>) -> Result<Self, QueryError> {
        if parser.parse_keyword(Keyword::WITH) { Self::parse_list(parser) } else { Ok(Self::default()) }
    }

    /// Parses `( name = value, … )`.
    pub(crate) fn parse_list(parser: &mut Parser<'_>) -> Result<Self, QueryError> {
        let mut options = Self::default();
        parser.expect_token(&Token::LParen)?;
        while !parser.consume_token(&Token::RParen) {
            let (name, position) = option_name(parser)?;
            // COPY writes `header true`, CREATE writes `header = true`.
            let _ = parser.consume_token(&Token::Eq);
            let value = option_value(parser)?;
            if options.values.insert(name.clone(), (value, position)).is_some() {
                return Err(QueryError::invalid(format!("the option \"{name}\" is given twice")).at(position));
            }
            if !parser.consume_token(&Token::Comma) {
                parser.expect_token(&Token::RParen)?;
                break;
            }
        }
        Ok(options)
    }

    /// The text of an option.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        self.values.get(name).map(|(value, _)| value.clone())
    }

    /// The text of an option and where it stands.
    pub fn placed(&mut self, name: &'static str) -> Option<(String, Position)> {
        self.asked.push(name);
        self.values.get(name).cloned()
    }

    /// An option read by `parse`, whose error is put where the option stands.
    pub fn value<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, QueryError> {
        self.asked.push(name);
        let Some((text, position)) = self.values.get(name) else { return Ok(None) };
        let failed = |e: E| QueryError::invalid(format!("option \"{name}\" = '{text}': {e}")).at(*position);
        parse(text).map(Some).map_err(failed)
    }

    /// A span of time in milliseconds.
    pub fn duration_ms(&mut self, name: &'static str) -> Result<Option<u64>, QueryError> {
        self.value(name, pluvio_config::parse_duration_ms)
    }

    /// A number of bytes.
    pub fn bytes(&mut self, name: &'static str) -> Result<Option<u64>, QueryError> {
        self.value(name, pluvio_config::parse_bytes)
    }

    /// The options that nobody has asked for, for one who knows them.
    pub fn rest(&mut self) -> BTreeMap<String, String> {
        let (known, rest) = std::mem::take(&mut self.values)
            .into_iter()
            .partition(|(name, _)| self.asked.contains(&name.as_str()));
        self.values = known;
        rest.into_iter().map(|(name, (text, _))| (name, text)).collect()
    }

    /// Fails on an option that was never asked for.
    pub fn finish(&self) -> Result<(), QueryError> {
        let unknown = self.values.iter().find(|(name, _)| !self.asked.contains(&name.as_str()));
        let Some((name, (_, position))) = unknown else { return Ok(()) };
        let known = self.asked.join(", ");
        Err(QueryError::invalid(format!("there is no option \"{name}\" here; there are {known}"))
            .at(*position))
    }
}

fn option_name(parser: &mut Parser<'_>) -> Result<(String, Position), QueryError> {
    let token = parser.next_token();
    let position = Position { line: token.span.start.line, column: token.span.start.column };
    let mut name = match token.token {
        Token::Word(word) => word.value,
        Token::SingleQuotedString(text) => text,
        other => {
            return Err(QueryError::invalid(format!("expected an option's name, found {other}")).at(position));
        }
    };
    while parser.consume_token(&Token::Period) {
        name = format!("{name}.{}", parser.parse_identifier()?.value);
    }
    Ok((name.to_lowercase(), position))
}

fn option_value(parser: &mut Parser<'_>) -> Result<String, QueryError> {
    let token = parser.next_token();
    match token.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        Token::Number(text, _) => Ok(text),
        Token::Word(word) => Ok(word.value),
        other => {
            let position = Position { line: token.span.start.line, column: token.span.start.column };
            Err(QueryError::invalid(format!("expected an option's value, found {other}")).at(position))
        }
    }
}
