//! What can be set: for the whole log and for each topic.

use crate::LogError;
use pluvio_foundation::limits;

/// Settings of the whole log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of newest events that each topic keeps in memory.
    pub tail_bytes_per_topic: usize,
    /// The same over all topics together.
    pub tail_bytes_total: usize,
    /// The settings of topics that are made without settings of their own.
    pub topic: TopicConfig,
    /// How often old events are looked for and removed, in milliseconds.
    pub retention_check_interval_ms: u64,
    /// Free disk space that appends leave, in bytes.
    pub disk_reserve_bytes: u64,
    /// Longest time that an append nobody waits for stays unsynced, in
    /// milliseconds.
    pub sync_interval_ms: u64,
    /// How many files may be synced at the same time, a thread each.
    pub sync_threads: usize,
    /// How often the durable offsets are written down, in milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Most segment files kept open.
    pub open_files_max: usize,
    /// Whether the log runs its own threads. Without them the caller of
    /// [`Partition::sync`](crate::Partition::sync) does the work and
    /// [`EventLog::tick`](crate::EventLog::tick) stands for the passing of
    /// time: what a simulation needs to be the same every time.
    pub background: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            tail_bytes_per_topic: 32 << 20,
            tail_bytes_total: 128 << 20,
            topic: TopicConfig::default(),
            retention_check_interval_ms: 30_000,
            disk_reserve_bytes: limits::DISK_RESERVE_BYTES,
            sync_interval_ms: 1_000,
            sync_threads: 4,
            checkpoint_interval_ms: 2_000,
            open_files_max: 512,
            background: true,
        }
    }
}

/// Settings of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Events older than this may be removed; `None` keeps them forever.
    pub retention_ms: Option<i64>,
    /// The oldest events of a partition are removed once it has more bytes
    /// than this; `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// A segment file is closed when it would exceed this many bytes; from
    /// 1 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// Largest batch, in bytes.
    pub max_message_bytes: usize,
    /// Whether only the newest event of each key need be kept. Nothing is
    /// compacted yet: such a topic keeps all events, whatever its retention.
    pub compact: bool,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            segment_bytes: 128 << 20,
            max_message_bytes: limits::RECORD_BATCH_BYTES_MAX,
            compact: false,
        }
    }
}

const SEGMENT_BYTES_MIN: u64 = 1 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl TopicConfig {
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
        Ok(())
    }
}

/// Refuses a topic name that is not Kafka's: 1 to 249 of `a-z A-Z 0-9 . _ -`,
/// and not `.` or `..`. Such a name is also safe as a folder's name.
pub(crate) fn check_topic_name(topic: &str) -> Result<(), LogError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let sized = (1..=limits::TOPIC_NAME_BYTES_MAX).contains(&topic.len());
    if sized && topic.bytes().all(allowed) && topic != "." && topic != ".." {
        return Ok(());
    }
    let shown = topic.chars().take(limits::TOPIC_NAME_BYTES_MAX).collect();
    let reason = "a name has 1 to 249 of the characters a-z A-Z 0-9 . _ - and is not . or ..".into();
    Err(LogError::InvalidTopic { topic: shown, reason })
}

/// Refuses a partition count out of range.
pub(crate) fn check_partitions(topic: &str, partitions: u32) -> Result<(), LogError> {
    if (1..=limits::PARTITIONS_PER_TOPIC_MAX).contains(&partitions) {
        return Ok(());
    }
    let partitions_max = limits::PARTITIONS_PER_TOPIC_MAX;
    let reason = format!("{partitions} partitions asked for, allowed are 1 to {partitions_max}");
    Err(LogError::InvalidTopic { topic: topic.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        for good in ["a", "orders.v1", "__consumer_offsets", "A-b_9", &"x".repeat(249)] {
            check_topic_name(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "ä", "a b", "a\0", &"x".repeat(250)] {
            assert!(check_topic_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn configurations_out_of_range_are_refused() {
        TopicConfig::default().check("t").unwrap();
        for bad in [
            TopicConfig { segment_bytes: 10, ..TopicConfig::default() },
            TopicConfig { segment_bytes: 2 << 30, ..TopicConfig::default() },
            TopicConfig { max_message_bytes: usize::MAX, ..TopicConfig::default() },
            TopicConfig { retention_ms: Some(-1), ..TopicConfig::default() },
        ] {
            assert!(bad.check("t").unwrap_err().to_string().contains("\"t\""));
        }
        assert!(check_partitions("t", 0).is_err() && check_partitions("t", 10_001).is_err());
    }
}
