//! What can go wrong at a door.

use std::io;

use pluvio_eventlog::LogError;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::WireError;

/// Why a door failed or a request through it was refused.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A socket failed.
    #[error("{what}: {source}")]
    Socket {
        /// What was being done, with which address.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A peer sent something that cannot be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The event log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record of ours in an internal topic cannot be read.
    #[error("topic {topic:?} offset {offset}: {reason}; restore it from a backup or delete the topic")]
    Stored {
        /// The internal topic.
        topic: &'static str,
        /// Where in it.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
    /// A certificate, a key or what is made of them.
    #[error("TLS: {what}: {reason}")]
    Tls {
        /// Which file or step.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A peer asked for more than its proof allows.
    #[error("the peer was sent away: {0}")]
    Unproven(&'static str),
    /// A limit of this door.
    #[error("{what}: {count} is over the limit of {count_max}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        count: usize,
        /// The limit.
        count_max: usize,
    },
}

impl DoorError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Socket { source, .. } => ErrorKind::of_io(source),
            Self::Wire(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Stored { .. } => ErrorKind::Corrupt,
            Self::Tls { .. } => ErrorKind::Invalid,
            Self::Unproven(_) => ErrorKind::Denied,
            Self::Limit { .. } => ErrorKind::TooLarge,
        }
    }

    pub(crate) fn socket(what: impl Into<String>, source: io::Error) -> Self {
        Self::Socket { what: what.into(), source }
    }
}
