//! The query layer's one error: a kind, a message that says what to do, and
//! where in the SQL text it went wrong if that is known.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use pluvio_foundation::ErrorKind;

/// A place in a SQL text: line and column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

/// Why a statement was refused or failed.
#[derive(Debug, Clone)]
pub struct QueryError {
    kind: ErrorKind,
    message: String,
    position: Option<Position>,
    /// A code more precise than the kind's, as SQL's standard names it.
    sqlstate: Option<&'static str>,
}

/// SQLSTATE of a key that exists already.
pub(crate) const UNIQUE_VIOLATION: &str = "23505";
/// SQLSTATE of a NULL where none may be.
pub(crate) const NOT_NULL_VIOLATION: &str = "23502";
const SYNTAX_ERROR: &str = "42601";
const UNDEFINED_FUNCTION: &str = "42883";

impl QueryError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), position: None, sqlstate: None }
    }

    /// A statement that is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A statement that is right but not supported.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// The same error with a code of SQL's standard.
    pub(crate) fn with_sqlstate(mut self, sqlstate: &'static str) -> Self {
        self.sqlstate = Some(sqlstate);
        self
    }

    /// The code of SQL's standard, where it says more than the kind.
    pub fn sqlstate(&self) -> Option<&'static str> {
        self.sqlstate
    }

    /// The same error at a place, unless it has one already.
    pub fn at(mut self, position: Position) -> Self {
        self.position.get_or_insert(position);
        self
    }

    /// The same error, its place counted from `start` instead of from the
    /// beginning of the text it was found in.
    pub fn offset(mut self, start: Position) -> Self {
        if let Some(position) = &mut self.position {
            if position.line == 1 {
                position.column += start.column - 1;
            }
            position.line += start.line - 1;
        }
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the SQL text it is, if known.
    pub fn position(&self) -> Option<Position> {
        self.position
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            Some(at) => write!(f, "line {}, column {}: {}", at.line, at.column, self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        let span = error.diagnostic().and_then(|d| d.span);
        let position =
            span.map(|s| Position { line: s.start.line, column: s.start.column }).filter(|p| p.line > 0);
        let root = error.find_root();
        let (kind, message) = match root {
            DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
                Some(own) => return Self { position: own.position.or(position), ..own.clone() },
                None => (ErrorKind::Internal, inner.to_string()),
            },
            DataFusionError::NotImplemented(text) => (ErrorKind::Unsupported, text.clone()),
            DataFusionError::ResourcesExhausted(text) => (ErrorKind::TooLarge, text.clone()),
            DataFusionError::Internal(text) => (ErrorKind::Internal, text.clone()),
            DataFusionError::IoError(io) => (ErrorKind::of_io(io), io.to_string()),
            DataFusionError::Plan(text) | DataFusionError::Execution(text) => {
                (ErrorKind::Invalid, text.clone())
            }
            other => (ErrorKind::Invalid, other.strip_backtrace()),
        };
        let sqlstate = message.starts_with("Invalid function").then_some(UNDEFINED_FUNCTION);
        Self { kind, message, position, sqlstate }
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<datafusion::arrow::error::ArrowError> for QueryError {
    fn from(error: datafusion::arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<ParserError> for QueryError {
    fn from(error: ParserError) -> Self {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        };
        let (message, position) = split_position(&text);
        Self { kind: ErrorKind::Invalid, message, position, sqlstate: Some(SYNTAX_ERROR) }
    }
}

/// The parser puts its place at the end of the message; we carry it apart.
fn split_position(text: &str) -> (String, Option<Position>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text.to_owned(), None) };
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(line), Some(column)) => (message.to_owned(), Some(Position { line, column })),
        _ => (text.to_owned(), None),
    }
}

macro_rules! from_store_error {
    ($($error:ty),*) => {$(
        impl From<$error> for QueryError {
            fn from(error: $error) -> Self {
                Self::new(error.kind(), error.to_string())
            }
        }
    )*};
}

from_store_error!(
    pluvio_catalog::CatalogError,
    pluvio_eventlog::LogError,
    pluvio_keytables::TableError,
    pluvio_lake::LakeError,
    pluvio_formats::FormatError
);
