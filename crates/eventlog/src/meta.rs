//! A topic's `meta.json`: what must be known before its partitions are opened.
//!
//! ```json
//! {"version": 2, "name": "orders", "id": "3f2a…32 hex digits", "partitions": 3,
//!  "config": {"retention_ms": 604800000, "retention_bytes": null, "segment_bytes": 134217728,
//!             "max_message_bytes": 1048588, "cleanup": "delete", "segment_ms": 604800000, …}}
//! ```
//! `"compression"` is left out where batches stay as they come, and was not
//! known at first. Version 1 had only the first four settings, and `"compact"` as true or
//! false; the others take their defaults. Replaced as a whole, atomically.

use crate::error::IoContext;
use crate::{Cleanup, LogError, TimestampType, TopicConfig};
use pluvio_foundation::Disk;
use pluvio_wire_kafka::Compression;
use serde::{Deserialize, Serialize};
use std::path::Path;

pub(crate) const FILE_NAME: &str = "meta.json";
const VERSION: u32 = 2;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The domain's view of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) id: [u8; 16],
    pub(crate) partitions: u32,
    pub(crate) config: TopicConfig,
}

#[derive(Serialize, Deserialize)]
struct Stored<C> {
    version: u32,
    name: String,
    id: String,
    partitions: u32,
    config: C,
}

#[derive(Deserialize)]
struct StoredVersion {
    version: u32,
}

#[derive(Deserialize)]
struct ConfigV1 {
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    segment_bytes: u64,
    max_message_bytes: usize,
    compact: bool,
}

#[derive(Serialize, Deserialize)]
struct ConfigV2 {
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    segment_bytes: u64,
    max_message_bytes: usize,
    cleanup: StoredCleanup,
    segment_ms: i64,
    delete_retention_ms: i64,
    dirty_ratio_min_ppm: u32,
    compaction_lag_min_ms: i64,
    compaction_lag_max_ms: i64,
    timestamp: StoredTimestamp,
    timestamp_before_max_ms: i64,
    timestamp_after_max_ms: i64,
    flush_messages: u64,
    flush_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<StoredCompression>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredCompression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Serialize, Deserialize)]
enum StoredCleanup {
    #[serde(rename = "delete")]
    Delete,
    #[serde(rename = "compact")]
    Compact,
    #[serde(rename = "compact,delete")]
    CompactDelete,
}

#[derive(Serialize, Deserialize)]
enum StoredTimestamp {
    CreateTime,
    LogAppendTime,
}

impl From<ConfigV1> for TopicConfig {
    fn from(stored: ConfigV1) -> Self {
        Self {
            retention_ms: stored.retention_ms,
            retention_bytes: stored.retention_bytes,
            segment_bytes: stored.segment_bytes,
            max_message_bytes: stored.max_message_bytes,
            cleanup: if stored.compact { Cleanup::Compact } else { Cleanup::Delete },
            ..Self::default()
        }
    }
}

impl From<ConfigV2> for TopicConfig {
    fn from(stored: ConfigV2) -> Self {
        Self {
            cleanup: match stored.cleanup {
                StoredCleanup::Delete => Cleanup::Delete,
                StoredCleanup::Compact => Cleanup::Compact,
                StoredCleanup::CompactDelete => Cleanup::CompactDelete,
            },
            retention_ms: stored.retention_ms,
            retention_bytes: stored.retention_bytes,
            segment_bytes: stored.segment_bytes,
            segment_ms: stored.segment_ms,
            max_message_bytes: stored.max_message_bytes,
            compression: stored.compression.map(Compression::from),
            delete_retention_ms: stored.delete_retention_ms,
            dirty_ratio_min_ppm: stored.dirty_ratio_min_ppm,
            compaction_lag_min_ms: stored.compaction_lag_min_ms,
            compaction_lag_max_ms: stored.compaction_lag_max_ms,
            timestamp: match stored.timestamp {
                StoredTimestamp::CreateTime => TimestampType::CreateTime,
                StoredTimestamp::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: stored.timestamp_before_max_ms,
            timestamp_after_max_ms: stored.timestamp_after_max_ms,
            flush_messages: stored.flush_messages,
            flush_ms: stored.flush_ms,
        }
    }
}

impl From<&TopicConfig> for ConfigV2 {
    fn from(config: &TopicConfig) -> Self {
        Self {
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
            segment_bytes: config.segment_bytes,
            max_message_bytes: config.max_message_bytes,
            cleanup: match config.cleanup {
                Cleanup::Delete => StoredCleanup::Delete,
                Cleanup::Compact => StoredCleanup::Compact,
                Cleanup::CompactDelete => StoredCleanup::CompactDelete,
            },
            segment_ms: config.segment_ms,
            delete_retention_ms: config.delete_retention_ms,
            dirty_ratio_min_ppm: config.dirty_ratio_min_ppm,
            compaction_lag_min_ms: config.compaction_lag_min_ms,
            compaction_lag_max_ms: config.compaction_lag_max_ms,
            timestamp: match config.timestamp {
                TimestampType::CreateTime => StoredTimestamp::CreateTime,
                TimestampType::LogAppendTime => StoredTimestamp::LogAppendTime,
            },
            timestamp_before_max_ms: config.timestamp_before_max_ms,
            timestamp_after_max_ms: config.timestamp_after_max_ms,
            flush_messages: config.flush_messages,
            flush_ms: config.flush_ms,
            compression: config.compression.map(StoredCompression::from),
        }
    }
}

impl From<StoredCompression> for Compression {
    fn from(stored: StoredCompression) -> Self {
        match stored {
            StoredCompression::None => Self::None,
            StoredCompression::Gzip => Self::Gzip,
            StoredCompression::Snappy => Self::Snappy,
            StoredCompression::Lz4 => Self::Lz4,
            StoredCompression::Zstd => Self::Zstd,
        }
    }
}

impl From<Compression> for StoredCompression {
    fn from(codec: Compression) -> Self {
        match codec {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

impl Meta {
    /// Writes the file into the topic's folder.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        let path = folder.join(FILE_NAME);
        let stored = Stored {
            version: VERSION,
            name: self.name.clone(),
            id: hex(&self.id),
            partitions: self.partitions,
            config: ConfigV2::from(&self.config),
        };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| corrupt(&path, &error.to_string()))?;
        disk.replace(&path, &bytes).doing("write", &path)
    }

    /// Reads the file from the topic's folder.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, LogError> {
        let path = folder.join(FILE_NAME);
        let bytes = disk.read(&path, FILE_BYTES_MAX).doing("read", &path)?;
        let failed = |error: serde_json::Error| corrupt(&path, &error.to_string());
        let version = serde_json::from_slice::<StoredVersion>(&bytes).map_err(failed)?.version;
        match version {
            1 => Self::of(&path, serde_json::from_slice::<Stored<ConfigV1>>(&bytes).map_err(failed)?),
            2 => Self::of(&path, serde_json::from_slice::<Stored<ConfigV2>>(&bytes).map_err(failed)?),
            _ => {
                let reason = format!("it has version {version}, this program reads up to version {VERSION}");
                Err(corrupt(&path, &reason))
            }
        }
    }

    fn of<C: Into<TopicConfig>>(path: &Path, stored: Stored<C>) -> Result<Self, LogError> {
        let id = unhex(&stored.id).ok_or_else(|| corrupt(path, "its id is not 32 hex digits"))?;
        crate::options::check_partitions(&stored.name, stored.partitions)?;
        Ok(Self { name: stored.name, id, partitions: stored.partitions, config: stored.config.into() })
    }
}

fn corrupt(path: &Path, reason: &str) -> LogError {
    let reason = format!("cannot read the topic's description: {reason}; restore the file from a backup");
    LogError::Corrupt { path: path.to_owned(), reason }
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u32> = text.chars().map(|character| character.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .as_chunks::<2>()
        .0
        .iter()
        .filter_map(|[high, low]| u8::try_from(high << 4 | low).ok())
        .collect();
    if digits.len() == 32 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pluvio_foundation::OpenMode;
    use pluvio_testkit::SimDisk;

    #[test]
    fn every_compression_is_kept() {
        let disk = SimDisk::new();
        let all = ["none", "gzip", "snappy", "lz4", "zstd"].map(Compression::from_name);
        for compression in all.into_iter().chain([None]) {
            let config = TopicConfig { compression, ..TopicConfig::default() };
            let meta = Meta { name: "t".into(), id: [1; 16], partitions: 1, config };
            meta.write(&disk, Path::new("/")).unwrap();
            assert_eq!(Meta::read(&disk, Path::new("/")).unwrap(), meta);
            let text = String::from_utf8(disk.read(Path::new("/meta.json"), 1000).unwrap()).unwrap();
            // Without it the file is what was written before there was the setting.
            assert_eq!(text.contains("compression\""), compression.is_some());
        }
    }

    #[test]
    fn round_trip_and_damage() {
        let disk = SimDisk::new();
        let folder = Path::new("/");
        let config = TopicConfig {
            retention_bytes: Some(9),
            cleanup: Cleanup::CompactDelete,
            timestamp: TimestampType::LogAppendTime,
            ..TopicConfig::default()
        };
        let meta = Meta { name: "t".into(), id: [0xa5; 16], partitions: 3, config };
        meta.write(&disk, folder).unwrap();
        assert_eq!(Meta::read(&disk, folder).unwrap(), meta);

        let text = String::from_utf8(disk.read(Path::new("/meta.json"), 1000).unwrap()).unwrap();
        for (from, to, says) in [
            ("\"version\": 2", "\"version\": 7", "version 7"),
            ("a5a5", "zz", "hex"),
            ("\"partitions\": 3", "\"partitions\": 0", "partitions"),
        ] {
            let file = disk.open(Path::new("/meta.json"), OpenMode::Write).unwrap();
            file.truncate(0).unwrap();
            file.write_all_at(text.replace(from, to).as_bytes(), 0).unwrap();
            let error = Meta::read(&disk, folder).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
