//! One statement as a command, and the parser's entry points.

use datafusion::sql::sqlparser::ast::{ExprWithAlias, Query, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use pluvio_catalog::{SinkDef, StartAt, StreamDef, TableDef, UnknownKey};
use pluvio_foundation::limits::SQL_BYTES_MAX;

use super::{create, other, refused, rewrite::rewrite};
use crate::{Position, QueryError};

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// What a statement asks for.
#[derive(Debug)]
pub enum Command {
    /// CREATE STREAM.
    CreateStream(Box<CreateStream>),
    /// CREATE TABLE.
    CreateTable(TableDef),
    /// CREATE MATERIALIZED VIEW.
    CreateView(CreateView),
    /// CREATE SINK … INTO LAKE.
    CreateSink(SinkDef),
    /// DROP of any of these.
    Drop {
        /// The kind named in the statement, as [`pluvio_catalog::Definition::kind`] calls it.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// COPY table FROM 'file'.
    Copy(Copy),
    /// ALTER JOB, ALTER MATERIALIZED VIEW.
    AlterJob(Box<AlterJob>),
    /// FLUSH.
    Flush,
    /// EXPLAIN CREATE MATERIALIZED VIEW.
    Explain(Box<CreateView>),
    /// Anything that DataFusion plans.
    Sql(Box<Statement>),
}

/// CREATE STREAM.
#[derive(Debug)]
pub struct CreateStream {
    /// The stream; the types of computed columns are not known yet.
    pub stream: StreamDef,
    /// The file that has the schema of its values, and where it is named.
    pub schema_file: Option<(String, Position)>,
}

/// CREATE MATERIALIZED VIEW.
#[derive(Debug)]
pub struct CreateView {
    /// The view's name.
    pub name: String,
    /// Its query.
    pub query: Box<Query>,
    /// The query's text.
    pub query_text: String,
    /// Where the query's text begins.
    pub query_start: Position,
    /// EMIT ON WINDOW CLOSE.
    pub emit_on_window_close: bool,
    /// Its options.
    pub options: ViewOptions,
    /// `start`.
    pub start: Option<StartAt>,
    /// `ttl`, in milliseconds.
    pub ttl_ms: Option<i64>,
}

/// COPY table FROM 'file'.
#[derive(Debug)]
pub struct Copy {
    /// The table.
    pub table: String,
    /// The file, relative to the script's folder.
    pub path: String,
    /// Where the file's name stands.
    pub path_position: Position,
    /// Whether the file is Parquet (else CSV).
    pub parquet: bool,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The delimiter.
    pub delimiter: char,
    /// The text that stands for NULL, besides the empty field.
    pub null: Option<String>,
}

/// ALTER JOB, ALTER MATERIALIZED VIEW.
#[derive(Debug)]
pub struct AlterJob {
    /// The view.
    pub name: String,
    /// What is to become of it.
    pub change: JobChange,
}

/// A change of a running view.
#[derive(Debug)]
pub enum JobChange {
    /// SET ( … ): what is given changes.
    Set(ViewOptions),
    /// PAUSE.
    Pause,
    /// RESUME.
    Resume,
    /// RESTART [FROM …]: it forgets what it has and reads again.
    Restart(Option<StartAt>),
    /// AS query: another query from here on.
    Query {
        /// The query.
        query: Box<Query>,
        /// Its text.
        text: String,
        /// Where its text begins.
        start: Position,
    },
}

/// What a view may be told; `None` if it is not.
#[derive(Debug, Default)]
pub struct ViewOptions {
    /// `retention`, in milliseconds.
    pub retention_ms: Option<i64>,
    /// `retention_bytes`.
    pub retention_bytes: Option<u64>,
    /// `trigger`, in milliseconds.
    pub trigger_ms: Option<u64>,
    /// `parallelism`.
    pub parallelism: Option<u32>,
    /// `max_drift`, in milliseconds.
    pub max_drift_ms: Option<i64>,
    /// `allowed_lateness`, in milliseconds.
    pub allowed_lateness_ms: Option<i64>,
    /// `unknown_key`.
    pub unknown_key: Option<UnknownKey>,
}

/// A command and the text it came from.
#[derive(Debug)]
pub struct Parsed {
    /// What it asks for.
    pub command: Command,
    /// Its own text.
    pub sql: String,
    /// Where that text begins in the whole.
    pub start: Position,
    /// IF EXISTS or IF NOT EXISTS was said.
    pub lenient: bool,
}

/// Parses a text of one or more statements.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn parse(sql: &str) -> Result<Vec<Parsed>, QueryError> {
    let text = Text::new(sql)?;
    let mut parser = text.parser();
    let mut parsed = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token().token == Token::EOF {
            return Ok(parsed);
        }
        let start = next_position(&parser);
        let (command, lenient) =
            statement(&mut parser, &text).map_err(|e| refused::with_spelling(e).at(start))?;
        let after = parser.peek_token();
        if !matches!(after.token, Token::SemiColon | Token::EOF) {
            let message = format!("expected the end of the statement, found {}", after.token);
            return Err(refused::with_spelling(QueryError::invalid(message)).at(next_position(&parser)));
        }
        let end = text.offset_before(&parser);
        let mut parsed_one =
            Parsed { command, sql: text.sql[text.offset(start)..end].to_owned(), start, lenient };
        parsed_one.remember_text();
        parsed.push(parsed_one);
    }
}

/// Parses the text of a single query.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn parse_query(sql: &str) -> Result<Box<Query>, QueryError> {
    let text = Text::new(sql)?;
    let query = text.parser().parse_query()?;
    refused::check(&query)?;
    Ok(query)
}

/// Parses the text of a single expression.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn parse_expression(sql: &str) -> Result<ExprWithAlias, QueryError> {
    let text = Text::new(sql)?;
    Ok(text.parser().parse_expr_with_alias()?)
}

impl Parsed {
    /// A definition carries the statement that made it.
    fn remember_text(&mut self) {
        match &mut self.command {
            Command::CreateStream(d) => d.stream.sql.clone_from(&self.sql),
            Command::CreateTable(d) => d.sql.clone_from(&self.sql),
            Command::CreateSink(d) => d.sql.clone_from(&self.sql),
            _ => {}
        }
    }
}

fn statement(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<(Command, bool), QueryError> {
    match create::parse(parser, text)? {
        Some(command) => Ok(command),
        None => match other::parse(parser, text)? {
            Some(command) => Ok(command),
            None => {
                let statement = parser.parse_statement()?;
                refused::check(&statement)?;
                Ok((Command::Sql(Box::new(statement)), false))
            }
        },
    }
}

/// A SQL text with its tokens, for turning places into bytes.
pub struct Text<'a> {
    pub sql: &'a str,
    tokens: Vec<TokenWithSpan>,
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    fn new(sql: &'a str) -> Result<Self, QueryError> {
        if sql.len() > SQL_BYTES_MAX {
            let message = format!("the SQL text has {} bytes, the limit is {SQL_BYTES_MAX}", sql.len());
            return Err(QueryError::new(pluvio_foundation::ErrorKind::TooLarge, message));
        }
        let tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|e| {
            let position = Position { line: e.location.line, column: e.location.column };
            QueryError::invalid(e.message).at(position)
        })?;
        let lines = std::iter::once(0).chain(sql.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Ok(Self { sql, tokens: rewrite(tokens), lines })
    }

    fn parser(&self) -> Parser<'static> {
        Parser::new(&DIALECT).with_tokens_with_locations(self.tokens.clone())
    }

    /// The byte where a place lies.
    pub fn offset(&self, at: Position) -> usize {
        let line = usize::try_from(at.line).unwrap_or(1).saturating_sub(1);
        let Some(&start) = self.lines.get(line) else { return self.sql.len() };
        let column = usize::try_from(at.column).unwrap_or(1).saturating_sub(1);
        self.sql[start..].char_indices().nth(column).map_or(self.sql.len(), |(i, _)| start + i)
    }

    /// The byte after the last token the parser took.
    pub fn offset_before(&self, parser: &Parser<'_>) -> usize {
        let Location { line, column } = match parser.index().checked_sub(1).and_then(|i| self.tokens.get(i)) {
            Some(token) => token.span.end,
            None => return 0,
        };
        self.offset(Position { line, column })
    }
}

/// Where the next token stands.
pub fn next_position(parser: &Parser<'_>) -> Position {
    let start = parser.peek_token().span.start;
    Position { line: start.line.max(1), column: start.column.max(1) }
}

/// Takes the next token if it is this word.
pub fn word(parser: &mut Parser<'_>, expected: &str) -> bool {
    let found = matches!(&parser.peek_token().token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(expected));
    if found {
        parser.next_token();
    }
    found
}

/// An identifier as SQL normalises it: lower case unless quoted.
pub fn identifier(parser: &mut Parser<'_>) -> Result<String, QueryError> {
    let identifier = parser.parse_identifier()?;
    let value =
        if identifier.quote_style.is_some() { identifier.value } else { identifier.value.to_lowercase() };
    if value.is_empty() || value.len() > 200 || value.contains(['/', '\0', '$']) {
        let message = format!("\"{value}\" cannot be a name: 1 to 200 bytes, without '/' and '$'");
        return Err(QueryError::invalid(message));
    }
    Ok(value)
}
