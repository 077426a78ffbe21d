//! Errors on the wire: the one place where kinds become SQLSTATE codes and
//! places in the text become the position that psql draws its caret at.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::ErrorResponse;
use pluvio_foundation::ErrorKind;

use super::statements::{Piece, chars_before};
use pluvio_query::QueryError;

/// SQLSTATE of a statement that was cancelled or ran out of time.
pub(super) const QUERY_CANCELED: &str = "57014";
/// SQLSTATE of a statement in a transaction that has failed.
pub(super) const IN_FAILED_TRANSACTION: &str = "25P02";
/// SQLSTATE of a text that is not SQL, or not one statement.
pub(super) const SYNTAX_ERROR: &str = "42601";
/// SQLSTATE of a cursor that does not exist.
pub(super) const INVALID_CURSOR_NAME: &str = "34000";
/// SQLSTATE of what is correct but not built.
pub(super) const FEATURE_NOT_SUPPORTED: &str = "0A000";
const TOO_MANY_CONNECTIONS: &str = "53300";
const ADMIN_SHUTDOWN: &str = "57P01";
/// SQLSTATE of a client that broke the protocol.
pub(super) const PROTOCOL_VIOLATION: &str = "08P01";

/// The SQLSTATE of a kind.
fn of_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "42P01",
        ErrorKind::AlreadyExists => "42P07",
        ErrorKind::Invalid => "42000",
        ErrorKind::TooLarge => "54000",
        ErrorKind::Unsupported => FEATURE_NOT_SUPPORTED,
        ErrorKind::Unavailable => "57P03",
        ErrorKind::DiskFull => "53100",
        ErrorKind::Corrupt => "XX001",
        ErrorKind::Denied => "42501",
        ErrorKind::Io => "58030",
        ErrorKind::Internal => "XX000",
    }
}

/// The SQLSTATE of an error that the planner or the running plan raised.
fn of_datafusion(error: &DataFusionError) -> &'static str {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
            Some(own) => own.sqlstate().unwrap_or_else(|| of_kind(own.kind())),
            None => "XX000",
        },
        DataFusionError::SQL(..) => SYNTAX_ERROR,
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::AmbiguousReference { .. } => "42702",
            _ => "42701",
        },
        DataFusionError::Plan(message) if message.starts_with("Invalid function") => "42883",
        DataFusionError::Plan(message) if message.contains("not found") => "42P01",
        DataFusionError::Plan(_) => "42000",
        DataFusionError::NotImplemented(_) => FEATURE_NOT_SUPPORTED,
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => "22012",
            ArrowError::ArithmeticOverflow(_) => "22003",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "22P02",
            _ => "22000",
        },
        DataFusionError::Execution(_) => "22000",
        DataFusionError::IoError(_) => "58030",
        _ => "XX000",
    }
}

/// An error of our own making.
pub(super) fn error(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), message.into())))
}

/// A query error, pointing into the text that the client sent.
pub(super) fn of_query(error: &QueryError, piece: Piece<'_>) -> PgWireError {
    pointing(error.sqlstate().unwrap_or_else(|| of_kind(error.kind())), error, piece)
}

/// A planner error, pointing into the text that the client sent.
pub(super) fn of_plan(error: DataFusionError, piece: Piece<'_>) -> PgWireError {
    pointing(of_datafusion(&error), &QueryError::from(error), piece)
}

fn pointing(code: &str, error: &QueryError, piece: Piece<'_>) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".into(), code.into(), error.message().into());
    info.position = error.position().map(|place| {
        let before = piece.offset_chars + chars_before(piece.text, place.line, place.column);
        (before + 1).to_string()
    });
    PgWireError::UserError(Box::new(info))
}

/// Gives an error that arose while rows were being read its code.
pub(super) fn classify(error: PgWireError) -> PgWireError {
    let PgWireError::ApiError(inner) = error else { return error };
    match inner.downcast::<DataFusionError>() {
        Ok(inner) => {
            let code = of_datafusion(&inner);
            self::error(code, QueryError::from(*inner).message())
        }
        Err(inner) => PgWireError::ApiError(inner),
    }
}

/// The last message to a client of a server that stops.
pub(super) fn shutting_down() -> PgWireBackendMessage {
    fatal(ADMIN_SHUTDOWN, "the server is shutting down; connect again later")
}

/// The last message to a client that broke the protocol or a limit.
pub(super) fn protocol_violation(message: &str) -> PgWireBackendMessage {
    fatal(PROTOCOL_VIOLATION, message)
}

/// The only message to a client too many, as bytes.
pub(super) fn too_many_connections(connections_max: usize) -> Vec<u8> {
    let message =
        format!("all {connections_max} connections are taken; close one, or let clients share a pool");
    let mut bytes = bytes::BytesMut::new();
    // Writing into memory cannot fail.
    let _ = fatal(TOO_MANY_CONNECTIONS, &message).encode(&mut bytes);
    bytes.to_vec()
}

fn fatal(code: &str, message: &str) -> PgWireBackendMessage {
    let info = ErrorInfo::new("FATAL".into(), code.into(), message.into());
    PgWireBackendMessage::ErrorResponse(ErrorResponse::from(info))
}
