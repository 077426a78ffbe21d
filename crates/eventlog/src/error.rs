//! What can go wrong in the event log.

use pluvio_foundation::ErrorKind;
use std::io;
use std::path::{Path, PathBuf};

/// Why the event log refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No topic of this name.
    #[error("topic {topic:?} does not exist; create it first")]
    TopicNotFound {
        /// The name asked for.
        topic: String,
    },
    /// The topic was deleted while in use.
    #[error("topic {topic:?} was deleted")]
    TopicDeleted {
        /// Its name.
        topic: String,
    },
    /// A topic of this name is there already.
    #[error("topic {topic:?} exists already")]
    TopicExists {
        /// The name asked for.
        topic: String,
    },
    /// A name, partition count or configuration that cannot be.
    #[error("topic {topic:?}: {reason}")]
    InvalidTopic {
        /// The topic's name.
        topic: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// There are as many topics or partitions as there may be.
    #[error(
        "topic {topic:?}: {count} {what} would be more than the {count_max} there may be; delete some topics"
    )]
    LimitReached {
        /// The topic's name.
        topic: String,
        /// Topics or partitions.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many there may be.
        count_max: usize,
    },
    /// The bytes are not one stored-format batch.
    #[error("topic {topic:?} partition {partition}: the batch is not valid: {reason}")]
    InvalidBatch {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The rule that is broken.
        reason: String,
    },
    /// The batch is larger than the topic allows.
    #[error(
        "topic {topic:?}: the batch has {bytes} bytes, max.message.bytes is {bytes_max}; send smaller batches"
    )]
    TooLarge {
        /// The topic's name.
        topic: String,
        /// The batch's size in bytes.
        bytes: usize,
        /// The topic's limit in bytes.
        bytes_max: usize,
    },
    /// The offset is not, or no longer, in the log.
    #[error("topic {topic:?} partition {partition}: offset {offset} is not in [{start}, {end}]")]
    OffsetOutOfRange {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
        /// The first offset in the log.
        start: i64,
        /// The offset that the next event will get.
        end: i64,
    },
    /// An idempotent producer skipped or repeated a sequence number.
    #[error(
        "topic {topic:?} partition {partition}: producer {producer_id} sent sequence {sequence}, \
         {expected} comes next"
    )]
    OutOfOrderSequence {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The producer.
        producer_id: i64,
        /// The first sequence number of the refused batch.
        sequence: i32,
        /// The one that would have been accepted.
        expected: i32,
    },
    /// A newer instance of the producer has taken over.
    #[error(
        "topic {topic:?} partition {partition}: producer {producer_id} sent epoch {epoch}, \
         {current} is current; a newer instance has taken over"
    )]
    StaleProducerEpoch {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The producer.
        producer_id: i64,
        /// The epoch of the refused batch.
        epoch: i16,
        /// The current epoch.
        current: i16,
    },
    /// A batch does not fit the transactions of the partition.
    #[error("topic {topic:?} partition {partition}: producer {producer_id}: {reason}")]
    TransactionState {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The producer.
        producer_id: i64,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// Too little free space to accept events.
    #[error(
        "{path}: the disk is full ({available_bytes} bytes free, {reserve_bytes} are kept in reserve); \
         free some space, nothing needs a restart"
    )]
    DiskFull {
        /// The log's folder.
        path: PathBuf,
        /// Bytes free when last looked at.
        available_bytes: u64,
        /// Bytes that appends leave free.
        reserve_bytes: u64,
    },
    /// The partition accepts nothing until the program is restarted.
    #[error(
        "topic {topic:?} partition {partition} accepts no events since {reason}; \
         check the disk, then restart"
    )]
    PartitionFailed {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// What happened.
        reason: String,
    },
    /// Stored bytes are not what was written.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The operating system refused.
    #[error("{path}: {what} failed: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log was closed.
    #[error("the event log is closed")]
    Closed,
}

impl LogError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TopicNotFound { .. } | Self::TopicDeleted { .. } => ErrorKind::NotFound,
            Self::TopicExists { .. } => ErrorKind::AlreadyExists,
            Self::InvalidTopic { .. }
            | Self::InvalidBatch { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::OutOfOrderSequence { .. }
            | Self::TransactionState { .. } => ErrorKind::Invalid,
            Self::TooLarge { .. } | Self::LimitReached { .. } => ErrorKind::TooLarge,
            Self::StaleProducerEpoch { .. } => ErrorKind::Denied,
            Self::DiskFull { .. } => ErrorKind::DiskFull,
            Self::PartitionFailed { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }
}

/// Names the file and the deed in an I/O error.
pub(crate) trait IoContext<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, LogError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io { what, path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_keeps_its_kind_through_the_context() {
        let full: io::Result<()> = Err(io::ErrorKind::StorageFull.into());
        let error = full.doing("write", Path::new("/d/f")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        assert!(error.to_string().starts_with("/d/f: write failed"));
    }
}
