//! What is wrong with the options of a feed.

use pluvio_foundation::ErrorKind;

/// An option of a feed that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedOptionError {
    /// The option has a value that it cannot have.
    #[error("option \"{option}\": {reason}")]
    Value {
        /// The option, as it was written.
        option: String,
        /// What it should be.
        reason: String,
    },
    /// An option that has to be given is not there.
    #[error("connector = '{connector}' needs the option \"{option}\": {reason}")]
    Missing {
        /// The connector.
        connector: &'static str,
        /// The option.
        option: String,
        /// What it should be.
        reason: String,
    },
    /// There is no such option.
    #[error("connector = '{connector}' has no option \"{option}\"; it has {known}")]
    Unknown {
        /// The connector.
        connector: &'static str,
        /// The option, as it was written.
        option: String,
        /// What there is, comma-separated.
        known: String,
    },
    /// The connector is none of ours.
    #[error(
        "there is no connector \"{connector}\" that feeds a stream; there are files, lines and generator"
    )]
    Connector {
        /// What was asked for.
        connector: String,
    },
    /// The stream is not one that this feed can fill.
    #[error("{0}")]
    Stream(String),
}

impl FeedOptionError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Value { .. } | Self::Missing { .. } | Self::Unknown { .. } | Self::Connector { .. } => {
                ErrorKind::Invalid
            }
            Self::Stream(_) => ErrorKind::Unsupported,
        }
    }

    pub(super) fn value(option: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { option: option.into(), reason: reason.into() }
    }
}
