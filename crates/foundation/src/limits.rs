//! Every limit on a size that comes from outside, named once. A limit is
//! checked before memory is taken.

/// Largest Kafka request frame, in bytes.
pub const KAFKA_FRAME_BYTES_MAX: usize = 64 << 20;
/// Default largest record batch a topic accepts, in bytes (Kafka's default).
pub const RECORD_BATCH_BYTES_MAX: usize = 1_048_588;
/// Largest size a record batch may have once decompressed, in bytes.
pub const RECORD_BATCH_INFLATED_BYTES_MAX: usize = 64 << 20;
/// Most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;
/// Most topics of one log.
pub const TOPICS_MAX: usize = 10_000;
/// Most partitions of all topics together; each takes about 1 KiB of memory while
/// it is empty.
pub const PARTITIONS_MAX: usize = 200_000;
/// Longest topic name, in bytes (Kafka's own limit).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Most connections one door serves at once.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Most rows of one epoch.
pub const EPOCH_ROWS_MAX: usize = 1 << 20;
/// Longest SQL text, in bytes.
pub const SQL_BYTES_MAX: usize = 16 << 20;
/// Longest preview of a rejected event kept in a dead letter, in bytes.
pub const DEAD_LETTER_PREVIEW_BYTES_MAX: usize = 1024;
/// Free disk space below which intake pauses, in bytes.
pub const DISK_RESERVE_BYTES: u64 = 256 << 20;
