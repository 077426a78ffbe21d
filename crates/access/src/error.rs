//! What can be wrong with access.

use pluvio_foundation::ErrorKind;

/// Why access was not changed or not read.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no such user.
    #[error("there is no user {0:?}; `pluvio user list` shows all")]
    NoUser(String),
    /// A value cannot be taken.
    #[error("{0}")]
    Invalid(String),
    /// Over a stated limit.
    #[error("{what}: {count_max} are there already, the limit; remove some")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        count_max: usize,
    },
    /// The file could not be read or written.
    #[error("the access file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error("the access file {path} cannot be understood: {reason}; restore it from a copy")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl AccessError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoUser(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}
