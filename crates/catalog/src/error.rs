//! The catalog's errors.

use pluvio_foundation::ErrorKind;

/// Why the catalog refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The name is taken.
    #[error("\"{name}\" exists already, as a {kind}; drop it first or choose another name")]
    Exists {
        /// The name.
        name: String,
        /// What has it.
        kind: &'static str,
    },
    /// Nothing has this name.
    #[error("there is no {kind} \"{name}\"")]
    Missing {
        /// The name.
        name: String,
        /// What was looked for.
        kind: &'static str,
    },
    /// Something depends on it.
    #[error("\"{name}\" is used by {dependents}; drop those first")]
    InUse {
        /// The name.
        name: String,
        /// Who uses it, comma-separated.
        dependents: String,
    },
    /// The catalog's file could not be read or written.
    #[error("the catalog file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The catalog's file is not what was written.
    #[error("the catalog file {path} cannot be understood: {reason}; restore it from a copy")]
    Corrupt {
        /// The file.
        path: String,
        /// The parser's reason.
        reason: String,
    },
}

impl CatalogError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::InUse { .. } => ErrorKind::Invalid,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}
