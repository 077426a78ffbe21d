//! What can be set for each topic, and what it means here.

use crate::{Given, LogError};
use pluvio_foundation::limits;
use pluvio_wire_kafka::Compression;

/// Settings of one topic. Times are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// What becomes of old events.
    pub cleanup: Cleanup,
    /// Events older than this may be removed; `None` keeps them forever.
    pub retention_ms: Option<i64>,
    /// The oldest events of a partition are removed once it has more bytes
    /// than this; `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// A segment file is closed when it would exceed this many bytes; from
    /// 1 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// A segment file is closed once it was written to for this long.
    pub segment_ms: i64,
    /// Largest batch, in bytes.
    pub max_message_bytes: usize,
    /// How batches are compressed that are appended from now on; `None` leaves
    /// them as they come.
    pub compression: Option<Compression>,
    /// How long a deletion mark (an event with a key and no value) stays after
    /// the compaction that first met it.
    pub delete_retention_ms: i64,
    /// A partition is compacted once this part of its closed segments was
    /// never compacted; millionths, so that settings can be compared.
    pub dirty_ratio_min_ppm: u32,
    /// Events younger than this are not compacted away.
    pub compaction_lag_min_ms: i64,
    /// A partition is compacted once an event is older than this and was never
    /// compacted, whatever the ratio; `i64::MAX` for never.
    pub compaction_lag_max_ms: i64,
    /// Whose time an event bears.
    pub timestamp: TimestampType,
    /// How far before now an event's time may lie; `i64::MAX` for any.
    /// Enforced by the door.
    pub timestamp_before_max_ms: i64,
    /// How far after now an event's time may lie. Enforced by the door.
    pub timestamp_after_max_ms: i64,
    /// After how many unsynced events a sync begins. 1 also means that
    /// `acks=all` is answered only once the events are on disk.
    pub flush_messages: u64,
    /// Longest time that an append nobody waits for stays unsynced.
    pub flush_ms: i64,
    /// Most bytes of its newest events that are kept in memory; `u64::MAX` for as
    /// many as all topics may have together, `None` for what the log has for each.
    pub tail_bytes: Option<u64>,
    /// Which of these were given. What is not as the log has it counts as given.
    pub given: Given,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            cleanup: Cleanup::Delete,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            segment_bytes: 128 << 20,
            segment_ms: 7 * DAY_MS,
            max_message_bytes: limits::RECORD_BATCH_BYTES_MAX,
            compression: None,
            delete_retention_ms: DAY_MS,
            dirty_ratio_min_ppm: PPM / 2,
            compaction_lag_min_ms: 0,
            compaction_lag_max_ms: i64::MAX,
            timestamp: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            flush_messages: 1,
            flush_ms: 1_000,
            tail_bytes: None,
            given: Given::default(),
        }
    }
}

/// What becomes of old events: Kafka's `cleanup.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// They are removed when they are beyond the retention.
    Delete,
    /// The newest event of each key is kept, whatever its age.
    Compact,
    /// The newest event of each key is kept until it is beyond the retention.
    CompactDelete,
}

impl Cleanup {
    /// From its two parts; `None` if there is neither.
    pub fn of(compacts: bool, deletes: bool) -> Option<Self> {
        match (compacts, deletes) {
            (false, false) => None,
            (false, true) => Some(Self::Delete),
            (true, false) => Some(Self::Compact),
            (true, true) => Some(Self::CompactDelete),
        }
    }

    /// Whether older events of a key may be removed.
    pub fn compacts(self) -> bool {
        self != Self::Delete
    }

    /// Whether events beyond the retention are removed.
    pub fn deletes(self) -> bool {
        self != Self::Compact
    }

    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactDelete => "compact,delete",
        }
    }
}

/// Whose time an event bears: Kafka's `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// That of the append.
    LogAppendTime,
}

impl TimestampType {
    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// What an answer to `acks=all` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The events are on disk.
    Synced,
    /// The events were handed to the operating system; they survive the end of
    /// this program, and not that of the machine.
    Lazy,
}

impl Durability {
    /// As people are shown it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Lazy => "lazy",
        }
    }
}

const DAY_MS: i64 = 24 * 3_600_000;
/// A million millionths are all.
pub(crate) const PPM: u32 = 1_000_000;
const SEGMENT_BYTES_MIN: u64 = 1 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl TopicConfig {
    /// What `acks=all` waits for.
    pub fn durability(&self) -> Durability {
        if self.flush_messages <= 1 { Durability::Synced } else { Durability::Lazy }
    }

    /// Refuses values out of range.
    pub(crate) fn check(&self, topic: &str) -> Result<(), LogError> {
        let refuse = |reason: String| Err(LogError::InvalidTopic { topic: topic.to_owned(), reason });
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            let bytes = self.segment_bytes;
            return refuse(format!(
                "segment.bytes is {bytes}, allowed are {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"
            ));
        }
        if self.max_message_bytes > limits::KAFKA_FRAME_BYTES_MAX {
            let (bytes, bytes_max) = (self.max_message_bytes, limits::KAFKA_FRAME_BYTES_MAX);
            return refuse(format!("max.message.bytes is {bytes}, at most {bytes_max} are allowed"));
        }
        if self.retention_ms.is_some_and(|retention_ms| retention_ms < 0) {
            return refuse("retention.ms is negative; leave it out to keep events forever".into());
        }
        if self.dirty_ratio_min_ppm > PPM {
            return refuse("min.cleanable.dirty.ratio is more than 1".into());
        }
        let (lag_min_ms, lag_max_ms) = (self.compaction_lag_min_ms, self.compaction_lag_max_ms);
        if lag_max_ms < lag_min_ms {
            return refuse(format!(
                "max.compaction.lag.ms ({lag_max_ms}) is less than min.compaction.lag.ms ({lag_min_ms})"
            ));
        }
        let least = [
            ("segment.ms", self.segment_ms, 1),
            ("delete.retention.ms", self.delete_retention_ms, 0),
            ("min.compaction.lag.ms", lag_min_ms, 0),
            ("max.compaction.lag.ms", lag_max_ms, 1),
            ("message.timestamp.before.max.ms", self.timestamp_before_max_ms, 0),
            ("message.timestamp.after.max.ms", self.timestamp_after_max_ms, 0),
            ("flush.ms", self.flush_ms, 1),
        ];
        match least.into_iter().find(|(_, value, min)| value < min) {
            Some((name, value, min)) => refuse(format!("{name} is {value}, at least {min} is allowed")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_out_of_range_are_refused() {
        TopicConfig::default().check("t").unwrap();
        for bad in [
            TopicConfig { segment_bytes: 10, ..TopicConfig::default() },
            TopicConfig { segment_bytes: 2 << 30, ..TopicConfig::default() },
            TopicConfig { max_message_bytes: usize::MAX, ..TopicConfig::default() },
            TopicConfig { retention_ms: Some(-1), ..TopicConfig::default() },
            TopicConfig { segment_ms: 0, ..TopicConfig::default() },
            TopicConfig { dirty_ratio_min_ppm: PPM + 1, ..TopicConfig::default() },
            TopicConfig { compaction_lag_min_ms: 9, compaction_lag_max_ms: 8, ..TopicConfig::default() },
            TopicConfig { flush_ms: 0, ..TopicConfig::default() },
        ] {
            assert!(bad.check("t").unwrap_err().to_string().contains("\"t\""));
        }
    }

    #[test]
    fn a_policy_has_two_parts() {
        for policy in [Cleanup::Delete, Cleanup::Compact, Cleanup::CompactDelete] {
            assert_eq!(Cleanup::of(policy.compacts(), policy.deletes()), Some(policy));
        }
        assert_eq!(Cleanup::of(false, false), None);
    }
}
