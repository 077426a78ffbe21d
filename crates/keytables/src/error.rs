//! What can go wrong in the store, in one enum.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use pluvio_foundation::ErrorKind;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, TableError>;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A table or span of this name exists with another shape.
    #[error(
        "{what} '{name}' exists already with another schema, key, group or retention: drop it first or use another name"
    )]
    AlreadyExists {
        /// "table" or "span".
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The table or span was dropped, or belongs to another store.
    #[error("{what} '{name}' does not exist in this store (it may have been dropped): look it up again")]
    NotFound {
        /// "table" or "span".
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The rows, keys or options do not fit.
    #[error("{what} '{name}': {detail}")]
    Invalid {
        /// "table", "span", "note" or "store".
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        detail: String,
    },
    /// The column type cannot be stored.
    #[error("column '{column}' of type {data_type} cannot be {role}: {hint}")]
    Unsupported {
        /// The column's name.
        column: String,
        /// Its type.
        data_type: String,
        /// "stored" or "part of a key".
        role: &'static str,
        /// The supported way.
        hint: &'static str,
    },
    /// Over a stated limit.
    #[error("{what} has {bytes} bytes, the limit is {limit}: {hint}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// Which option or habit to change.
        hint: &'static str,
    },
    /// The disk has no room left. Nothing of the commit exists.
    #[error(
        "no space left on the disk while {action} {path}: free space and try again; nothing was committed"
    )]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("{action} {path} failed: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("{path} is corrupt at byte {position}: {detail}; restore the folder from a copy")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What was found.
        detail: String,
    },
    /// The keyed store below failed.
    #[error("the keyed store failed while {action}: {source}")]
    Store {
        /// What was being done.
        action: &'static str,
        /// Its error.
        source: Box<fjall::Error>,
    },
    /// Another process has the folder open.
    #[error("the store at {path} is open already, in this or another process: close that one first")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// An Arrow kernel failed.
    #[error("{action} failed: {source}")]
    Arrow {
        /// What was being done.
        action: &'static str,
        /// Its error.
        source: ArrowError,
    },
    /// The store was closed.
    #[error("the store is closed: open it again")]
    Closed,
    /// A broken invariant of this crate.
    #[error("internal error in the table store: {0}; please report it")]
    Internal(&'static str),
}

impl TableError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::DiskFull { .. } => ErrorKind::DiskFull,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Store { source, .. } => kind_of_store(source),
            Self::Locked { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Arrow { .. } | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// Maps an I/O error on a file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match ErrorKind::of_io(&source) {
            ErrorKind::DiskFull => Self::DiskFull { action, path, source },
            _ => Self::Io { action, path, source },
        }
    }

    /// Maps an error of the keyed store.
    pub(crate) fn store(action: &'static str) -> impl FnOnce(fjall::Error) -> Self {
        move |source| Self::Store { action, source: Box::new(source) }
    }

    /// Maps an error of an Arrow kernel.
    pub(crate) fn arrow(action: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow { action, source }
    }

    /// Stored bytes of the keyed store that do not decode.
    pub(crate) fn corrupt_row(detail: impl Into<String>) -> Self {
        Self::Corrupt { path: PathBuf::from("store"), position: 0, detail: detail.into() }
    }
}

fn kind_of_store(error: &fjall::Error) -> ErrorKind {
    match error {
        fjall::Error::Io(source) => ErrorKind::of_io(source),
        fjall::Error::Locked | fjall::Error::Poisoned => ErrorKind::Unavailable,
        _ => ErrorKind::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = TableError::io("writing", Path::new("/x"))(io::ErrorKind::StorageFull.into());
        assert_eq!(full.kind(), ErrorKind::DiskFull);
        let other = TableError::io("writing", Path::new("/x"))(io::ErrorKind::TimedOut.into());
        assert_eq!(other.kind(), ErrorKind::Io);
    }
}
