//! What can go wrong with a lake table, said so that the reader knows what to do.

use std::path::{Path, PathBuf};

use pluvio_foundation::ErrorKind;

/// A failure of a lake table.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// No table lies in the folder.
    #[error("no lake table in {}: create it first, or check the path", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },

    /// A column's type or name that a Delta table cannot hold.
    #[error("lake table '{table}', column '{column}': {reason}")]
    Column {
        /// The table's name.
        table: String,
        /// The column as it was declared.
        column: String,
        /// What is wrong and what to write instead.
        reason: String,
    },

    /// The rows, or the declared columns, are not those of the table.
    #[error("lake table '{table}': {reason}")]
    Schema {
        /// The table's name.
        table: String,
        /// How they differ and what to do.
        reason: String,
    },

    /// An epoch that lies before one already written.
    #[error(
        "lake table '{table}', job '{job}': epoch {epoch} was written after epoch {last}; epochs must not go back"
    )]
    EpochWentBack {
        /// The table's name.
        table: String,
        /// The job that writes.
        job: String,
        /// The epoch that came too late.
        epoch: i64,
        /// The last epoch before it.
        last: i64,
    },

    /// Two writers of one job hold some of the same epochs.
    #[error(
        "lake table '{table}', job '{job}': epochs {first} to {last} were to be committed, but another writer has committed up to {committed}; abandon this writer and send the epochs after {committed} again"
    )]
    Overlap {
        /// The table's name.
        table: String,
        /// The job that writes.
        job: String,
        /// First epoch of this writer.
        first: i64,
        /// Last epoch of this writer.
        last: i64,
        /// The last epoch the table holds.
        committed: i64,
    },

    /// An earlier write failed halfway.
    #[error(
        "lake table '{table}', job '{job}': an earlier write failed and its rows are lost; abandon this writer and send the epochs after the committed one again"
    )]
    Broken {
        /// The table's name.
        table: String,
        /// The job that writes.
        job: String,
    },

    /// Another process or handle is the table's committer.
    #[error("lake table in {} is already open for writing: share that handle, or stop the other process", path.display())]
    Locked {
        /// The table's folder.
        path: PathBuf,
    },

    /// The table uses a feature that this writer or reader does not have.
    #[error(
        "lake table '{table}' uses {feature}, which Pluvio cannot read or write: rewrite the table without it"
    )]
    Feature {
        /// The table's name.
        table: String,
        /// The Delta feature.
        feature: String,
    },

    /// The operating system refused a request.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },

    /// Encoding or decoding Parquet failed.
    #[error("Parquet file {}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The library's own words.
        source: parquet::errors::ParquetError,
    },

    /// Rows could not be brought into the table's types.
    #[error("lake table '{table}': {source}")]
    Arrow {
        /// The table's name.
        table: String,
        /// The library's own words.
        source: arrow::error::ArrowError,
    },

    /// The Delta log could not be read or written.
    #[error("Delta log of lake table '{table}': {source}")]
    Delta {
        /// The table's name.
        table: String,
        /// The library's own words.
        source: Box<deltalake::DeltaTableError>,
    },

    /// The Delta log holds something that cannot be.
    #[error("Delta log of lake table '{table}': {reason}")]
    Log {
        /// The table's name.
        table: String,
        /// What was found.
        reason: String,
    },

    /// A background task ended without an answer.
    #[error("lake table '{table}': background work ended early: {reason}")]
    Task {
        /// The table's name.
        table: String,
        /// Why.
        reason: String,
    },
}

impl LakeError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Column { .. }
            | Self::Schema { .. }
            | Self::EpochWentBack { .. }
            | Self::Overlap { .. }
            | Self::Arrow { .. } => ErrorKind::Invalid,
            Self::Locked { .. } | Self::Broken { .. } => ErrorKind::Unavailable,
            Self::Feature { .. } => ErrorKind::Unsupported,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Parquet { source, .. } => parquet_kind(source),
            Self::Delta { source, .. } => delta_kind(source),
            Self::Log { .. } => ErrorKind::Corrupt,
            Self::Task { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet { path: path.to_owned(), source }
    }

    pub(crate) fn delta(table: &str, source: deltalake::DeltaTableError) -> Self {
        Self::Delta { table: table.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn arrow(table: &str, source: arrow::error::ArrowError) -> Self {
        Self::Arrow { table: table.to_owned(), source }
    }
}

fn parquet_kind(error: &parquet::errors::ParquetError) -> ErrorKind {
    match io_cause(error) {
        Some(cause) => ErrorKind::of_io(cause),
        None => ErrorKind::Corrupt,
    }
}

fn delta_kind(error: &deltalake::DeltaTableError) -> ErrorKind {
    match io_cause(error) {
        Some(cause) => ErrorKind::of_io(cause),
        None => ErrorKind::Io,
    }
}

/// The operating system's error at the bottom of a library's, if there is one.
fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}
