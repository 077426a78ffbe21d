//! What can be set for the whole log, and what names and counts a topic may
//! have.

use crate::{LogError, TopicConfig};
use pluvio_foundation::limits;

/// Settings of the whole log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of newest events that each topic keeps in memory, unless it says
    /// otherwise.
    pub tail_bytes_per_topic: usize,
    /// The same over all topics together.
    pub tail_bytes_total: usize,
    /// The settings that topics were not given.
    pub topic: TopicConfig,
    /// Most topics. The system's own count, and are made all the same.
    pub topics_max: usize,
    /// Most partitions of all topics together; the system's own likewise.
    pub partitions_max: usize,
    /// How often old events are looked for and removed, in milliseconds.
    pub retention_check_interval_ms: u64,
    /// After how many bytes the index of a segment that is appended to is
    /// written down, and with it what is known of producers: about as much is
    /// read of each partition at a start after a crash.
    pub sidecar_interval_bytes: u64,
    /// Memory that a compaction takes for keys, in bytes; a partition with more
    /// keys is compacted in several passes.
    pub compaction_map_bytes: usize,
    /// Bytes of one topic that may wait for the disk before producers are
    /// slowed down.
    pub unsynced_bytes_per_topic: u64,
    /// The same over all topics together.
    pub unsynced_bytes_total: u64,
    /// Free disk space that appends leave, in bytes.
    pub disk_reserve_bytes: u64,
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
            topics_max: limits::TOPICS_MAX,
            partitions_max: limits::PARTITIONS_MAX,
            retention_check_interval_ms: 30_000,
            sidecar_interval_bytes: 8 << 20,
            compaction_map_bytes: 32 << 20,
            unsynced_bytes_per_topic: 64 << 20,
            unsynced_bytes_total: 256 << 20,
            disk_reserve_bytes: limits::DISK_RESERVE_BYTES,
            sync_threads: 4,
            checkpoint_interval_ms: 2_000,
            open_files_max: 512,
            background: true,
        }
    }
}

impl LogOptions {
    /// Bytes of newest events that a topic keeps in memory.
    pub(crate) fn tail_bytes(&self, config: &TopicConfig) -> u64 {
        config.tail_bytes.unwrap_or(self.tail_bytes_per_topic as u64)
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
    fn counts_out_of_range_are_refused() {
        check_partitions("t", 1).unwrap();
        assert!(check_partitions("t", 0).is_err() && check_partitions("t", 10_001).is_err());
    }
}
