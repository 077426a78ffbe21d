//! What can go wrong in a feed.

use std::io;
use std::path::{Path, PathBuf};

use pluvio_catalog::FeedOptionError;
use pluvio_eventlog::LogError;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::WireError;

/// Why a feed failed or could not start.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The stream's topic is not there.
    #[error("the topic {topic:?} does not exist; the feed begins once it is made")]
    NoTopic {
        /// The topic's name.
        topic: String,
    },
    /// The topic cannot take events without a key.
    #[error(
        "the topic {topic:?} is compacted by key, and events of a feed have none; set its cleanup.policy to delete"
    )]
    Compacted {
        /// The topic's name.
        topic: String,
    },
    /// The topic takes too small batches.
    #[error("the topic {topic:?} takes batches of {bytes_max} bytes at most; raise its max.message.bytes")]
    SmallBatches {
        /// The topic's name.
        topic: String,
        /// Its limit.
        bytes_max: usize,
    },
    /// A pattern stands for more than can be followed.
    #[error("more than {count_max} files match {pattern:?}; narrow the pattern")]
    TooManyFiles {
        /// The pattern.
        pattern: String,
        /// The limit.
        count_max: usize,
    },
    /// A path's pattern cannot be read.
    #[error("{pattern:?} is no pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A file or folder could not be used.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A socket failed.
    #[error("cannot {what}: {source}")]
    Socket {
        /// What was being done, with which address.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The definition does not go with the stream.
    #[error(transparent)]
    Definition(#[from] FeedOptionError),
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch could not be made.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A fault of ours.
    #[error("a fault in the feed itself ({0}); it is tried again")]
    Fault(String),
}

impl FeedError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTopic { .. } => ErrorKind::NotFound,
            Self::Compacted { .. } | Self::SmallBatches { .. } | Self::Pattern { .. } => ErrorKind::Invalid,
            Self::TooManyFiles { .. } => ErrorKind::TooLarge,
            Self::Io { source, .. } | Self::Socket { source, .. } => ErrorKind::of_io(source),
            Self::Definition(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Wire(error) => error.kind(),
            Self::Fault(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}
