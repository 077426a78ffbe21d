//! What can go wrong between us and a broker.

use std::io;

use kafka_protocol::error::ResponseError;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::WireError;

/// Why a request was not answered as wished.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A socket failed.
    #[error("{what}: {source}")]
    Socket {
        /// What was being done, with which address.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A broker sent something that cannot be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A broker answered with an error.
    #[error("{what}: the server answered {code}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The protocol's error.
        code: ResponseError,
    },
    /// The connection is gone.
    #[error("the connection to {address} is closed{}; connect again", .reason.as_deref().unwrap_or_default())]
    Closed {
        /// The broker's address.
        address: String,
        /// Why, if known, beginning with ": ".
        reason: Option<String>,
    },
    /// The connection's settings do not work.
    #[error("{0}")]
    Settings(String),
    /// What was read before is not there any more.
    #[error("{0}")]
    Lost(String),
}

impl ClientError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        use ResponseError as Code;
        match self {
            Self::Socket { source, .. } => ErrorKind::of_io(source),
            Self::Wire(error) => error.kind(),
            Self::Refused { code, .. } => match code {
                Code::UnknownTopicOrPartition | Code::UnknownTopicId => ErrorKind::NotFound,
                Code::TopicAlreadyExists => ErrorKind::AlreadyExists,
                Code::MessageTooLarge => ErrorKind::TooLarge,
                code if code.is_retriable() => ErrorKind::Unavailable,
                _ => ErrorKind::Invalid,
            },
            Self::Closed { .. } => ErrorKind::Unavailable,
            Self::Settings(_) => ErrorKind::Invalid,
            Self::Lost(_) => ErrorKind::Corrupt,
        }
    }

    /// The protocol's error, if a broker answered with one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn socket(what: impl Into<String>, source: io::Error) -> Self {
        Self::Socket { what: what.into(), source }
    }
}

/// An error code as an error; `what` says what was asked for.
pub(crate) fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), ClientError> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(ClientError::Refused { what: what(), code }),
    }
}
