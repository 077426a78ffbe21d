//! The one place where our errors become the protocol's error codes.

pub(crate) use kafka_protocol::error::ResponseError as Code;
use pluvio_access::AccessError;
use pluvio_eventlog::LogError;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::WireError;

use crate::DoorError;

/// What a client is told about a failure of the log.
pub(crate) fn of_log(error: &LogError) -> Code {
    match error {
        LogError::OffsetOutOfRange { .. } => Code::OffsetOutOfRange,
        LogError::OutOfOrderSequence { .. } => Code::OutOfOrderSequenceNumber,
        LogError::StaleProducerEpoch { .. } => Code::InvalidProducerEpoch,
        LogError::LimitReached { .. } => Code::PolicyViolation,
        LogError::InvalidBatch { .. } => Code::InvalidRecord,
        LogError::TransactionState { .. } => Code::InvalidTxnState,
        LogError::Closed => Code::NotLeaderOrFollower,
        other => of_kind(other.kind()),
    }
}

fn of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::UnknownTopicOrPartition,
        ErrorKind::AlreadyExists => Code::TopicAlreadyExists,
        ErrorKind::Invalid => Code::InvalidRequest,
        ErrorKind::TooLarge => Code::MessageTooLarge,
        ErrorKind::Unsupported => Code::UnsupportedVersion,
        ErrorKind::Denied => Code::ClusterAuthorizationFailed,
        ErrorKind::Unavailable | ErrorKind::DiskFull | ErrorKind::Io | ErrorKind::Corrupt => {
            Code::KafkaStorageError
        }
        ErrorKind::Internal => Code::UnknownServerError,
    }
}

/// What a producer is told about a batch that was refused as it came.
pub(crate) fn of_batch(error: &WireError) -> Code {
    match error {
        WireError::TooLarge { .. } => Code::MessageTooLarge,
        WireError::Crc { .. } | WireError::Truncated { .. } => Code::CorruptMessage,
        WireError::Magic(_) => Code::UnsupportedForMessageFormat,
        WireError::Compression(_) => Code::UnsupportedCompressionType,
        _ => Code::InvalidRecord,
    }
}

/// What a client is told about a change of access that was not made.
pub(crate) fn of_access(error: &AccessError) -> Code {
    match error.kind() {
        ErrorKind::NotFound => Code::ResourceNotFound,
        ErrorKind::TooLarge => Code::PolicyViolation,
        other => of_kind(other),
    }
}

/// What a client is told about any other failure.
pub(crate) fn of_door(error: &DoorError) -> Code {
    match error {
        DoorError::Log(error) => of_log(error),
        other => of_kind(other.kind()),
    }
}
