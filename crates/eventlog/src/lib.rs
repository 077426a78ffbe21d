//! The event log: topics, partitions, and record batches of Kafka's format 2,
//! stored as they came.
//!
//! # Promises
//! - What [`Partition::append`] returned is visible to readers at once, and
//!   durable once [`Partition::durable`] or [`Partition::sync`] returned: it
//!   survives any crash, byte for byte, in order, exactly once.
//! - Offsets of a partition are never given out twice. They have gaps only
//!   where a compaction removed events.
//! - An idempotent producer's batch is appended once, also when it is sent
//!   again after a restart.
//! - Whoever reads committed events gets those of committed transactions and
//!   those outside of any, up to the first undecided one, also after a crash.
//! - Damage to durable events is reported and kept aside, never dropped in
//!   silence, and never keeps the rest from being read.
//! - A full disk refuses appends and nothing else; they work again once there
//!   is space.
//! - Memory is bounded by [`LogOptions`] and about 1 KiB per partition, and so
//!   are the bytes that wait for the disk, if whoever appends waits for
//!   [`Partition::room`].
//!
//! # What it does not do
//! It does not look into records (except to find a time and to compact), does
//! not verify the checksum of what is appended (the door did),
//! knows no consumer groups, does not decide which producer may begin or end a
//! transaction (the door's coordinator does), and does not guard against two
//! processes in one folder.
//!
//! # Layout on disk
//! ```text
//! checkpoint                          what is durable, per partition   checkpoint.rs
//! identity                            what tells it from other logs    identity.rs
//! producer-ids                        producer ids handed out          producer_ids.rs
//! topics/<name>/meta.json             id, partitions, configuration    meta.rs
//! topics/<name>/<partition>/          made with the first append
//!     <base offset>.log               a segment: batches, nothing else
//!     <base offset>.index             where offsets and times are      index.rs
//!     <offset>.producers              producers, transactions          snapshot.rs
//!     <base offset>-<position>-<bytes>.quarantined    damaged bytes    quarantine.rs
//!     <offset>-<n>.cut                what recovery cut off            recovery.rs
//!     compaction                      up to where it is compacted      compaction/progress.rs
//!     <base offset>-<end>.compacting  a compacted segment in the making
//!     <base offset>-<end>.compacted   and about to take its place      compaction/swap.rs
//! deleted/<topic id>/                 a topic being removed
//! ```
//! Offsets in names have 20 digits. A batch in a segment is the producer's,
//! with its base offset set and leader epoch 0: both lie outside its checksum.
//! Where compaction left a gap in the offsets, the batch after it bears a
//! checksum of its base offset in place of the leader epoch (scan.rs).
//! Everything but the segments, `meta.json`, `identity` and `producer-ids` can
//! be lost and is made again.
//!
//! # Threads
//! [`LogOptions::sync_threads`] that sync, one that writes checkpoints and
//! removes old segments, one that compacts; none without [`LogOptions::background`].
//!
//! # Numbers
//! By topic: `log_bytes_appended`, `log_records_appended`,
//! `log_duplicate_batches`. Of the whole log: `log_tail_bytes`, `log_fsyncs`,
//! `log_fsync_us`, `log_appends_refused_disk_full`, `log_quarantined_bytes`,
//! `log_failed_partitions`, `log_removed_segments`, `log_compacted_bytes`.

mod append;
mod backlog;
mod buffers;
mod changes;
mod checkpoint;
mod committed;
mod compaction;
mod error;
mod given;
mod identity;
mod index;
pub mod inspect;
pub mod internal;
mod layout;
mod log;
mod meta;
mod open_files;
mod options;
mod partition;
mod producer_ids;
mod producers;
mod quarantine;
mod read;
mod recovery;
mod retention;
#[cfg(test)]
mod samples;
mod scan;
mod sealed;
mod segment;
mod shared;
mod snapshot;
mod space;
mod sync;
mod tail;
mod topic;
mod topic_config;
mod topics;
mod transactions;
mod walk;

pub use append::Appended;
pub use buffers::Buffers;
pub use changes::{Changes, Followed};
pub use error::LogError;
pub use given::{Given, TopicSetting};
pub use log::EventLog;
pub use options::LogOptions;
pub use partition::Partition;
pub use producers::KnownProducer;
pub use read::{Read, StoredBatch};
pub use topic::Topic;
pub use topic_config::{Cleanup, Durability, TimestampType, TopicConfig};
pub use transactions::Aborted;
