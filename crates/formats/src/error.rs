//! What can go wrong with a format as a whole. A single bad event is no error:
//! it is a [`RowError`](crate::RowError) in the decoded batch.

use arrow::error::ArrowError;
use pluvio_foundation::ErrorKind;

/// Why a decoder or encoder cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The format cannot fill a column of this type.
    #[error("column `{column}` has type {data_type}, which {format} cannot fill; use {supported}")]
    UnsupportedColumn {
        /// The column, with the path into nested types.
        column: String,
        /// Its type, as Arrow writes it.
        data_type: String,
        /// The format's name.
        format: &'static str,
        /// The types to use instead.
        supported: &'static str,
    },
    /// The schema or an option makes no sense for the format.
    #[error("{0}")]
    Invalid(String),
    /// One column of the batch outgrew what an Arrow array can address.
    #[error(
        "one column of the batch holds more than 2 GiB; cut the batch after fewer events and push them again"
    )]
    BatchTooLarge,
    /// Arrow refused to build or to format an array.
    #[error("Arrow refused the batch: {0}")]
    Arrow(#[from] ArrowError),
}

impl FormatError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedColumn { .. } => ErrorKind::Unsupported,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::BatchTooLarge => ErrorKind::TooLarge,
            Self::Arrow(_) => ErrorKind::Internal,
        }
    }
}
