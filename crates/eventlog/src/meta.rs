//! A topic's `meta.json`: what must be known before its partitions are opened.
//!
//! ```json
//! {"version": 3, "name": "orders", "id": "3f2a…32 hex digits", "partitions": 3,
//!  "config": {"retention_ms": null, "cleanup": "compact"}}
//! ```
//! `"config"` has the settings that were given; the others are what the log is
//! opened with. Replaced as a whole, atomically.
//!
//! Version 2 had all settings (without `"compression"` where batches stay as they
//! come), version 1 only four, and `"compact"` as true or false. Of these the ones
//! that are not as the log has them count as given.

use crate::error::IoContext;
use crate::{Cleanup, Given, LogError, TimestampType, TopicConfig, TopicSetting};
use pluvio_foundation::Disk;
use pluvio_wire_kafka::Compression;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

pub(crate) const FILE_NAME: &str = "meta.json";
pub(crate) const VERSION: u32 = 3;
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
struct ConfigV1 {
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    segment_bytes: u64,
    max_message_bytes: usize,
    compact: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredConfig {
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
    #[serde(default)]
    compression: Option<StoredCompression>,
    #[serde(default)]
    tail_bytes: Option<u64>,
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

impl From<StoredConfig> for TopicConfig {
    fn from(stored: StoredConfig) -> Self {
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
            tail_bytes: stored.tail_bytes,
            given: Given::default(),
        }
    }
}

impl From<&TopicConfig> for StoredConfig {
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
            tail_bytes: config.tail_bytes,
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

/// Settings by name.
type Settings = serde_json::Map<String, Value>;

fn settings(config: &TopicConfig) -> Result<Settings, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(StoredConfig::from(config))?)
}

impl ConfigV1 {
    fn over(self, defaults: &TopicConfig) -> TopicConfig {
        TopicConfig {
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            segment_bytes: self.segment_bytes,
            max_message_bytes: self.max_message_bytes,
            cleanup: if self.compact { Cleanup::Compact } else { Cleanup::Delete },
            ..defaults.clone()
        }
    }
}

/// The settings that were given over those that were not.
fn over(given: Settings, defaults: &TopicConfig) -> Result<TopicConfig, String> {
    let told = |error: serde_json::Error| error.to_string();
    let mut all = settings(defaults).map_err(told)?;
    let mut names = Vec::with_capacity(given.len());
    for (name, value) in given {
        let setting = TopicSetting::of_field(&name);
        names.push(setting.ok_or_else(|| format!("the setting {name:?} is unknown"))?);
        all.insert(name, value);
    }
    let stored: StoredConfig = serde_json::from_value(Value::Object(all)).map_err(told)?;
    let mut config = TopicConfig::from(stored);
    names.into_iter().for_each(|setting| config.give(setting));
    Ok(config)
}

impl Meta {
    /// Writes the file into the topic's folder.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        let path = folder.join(FILE_NAME);
        let failed = |error: serde_json::Error| corrupt(&path, &error.to_string());
        let mut config = settings(&self.config).map_err(failed)?;
        let is_given =
            |name: &String| TopicSetting::of_field(name).is_some_and(|it| self.config.is_given(it));
        config.retain(|name, _| is_given(name));
        let (name, id) = (self.name.clone(), hex(&self.id));
        let stored = Stored { version: VERSION, name, id, partitions: self.partitions, config };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(failed)?;
        disk.replace(&path, &bytes).doing("write", &path)
    }

    /// Reads the file from the topic's folder; also gives its version.
    pub(crate) fn read(
        disk: &dyn Disk,
        folder: &Path,
        defaults: &TopicConfig,
    ) -> Result<(Self, u32), LogError> {
        let path = folder.join(FILE_NAME);
        let bytes = disk.read(&path, FILE_BYTES_MAX).doing("read", &path)?;
        let failed = |error: serde_json::Error| corrupt(&path, &error.to_string());
        let stored: Stored<Value> = serde_json::from_slice(&bytes).map_err(failed)?;
        let mut config = match stored.version {
            1 => serde_json::from_value::<ConfigV1>(stored.config).map_err(failed)?.over(defaults),
            2 => serde_json::from_value::<StoredConfig>(stored.config).map_err(failed)?.into(),
            VERSION => {
                let given = serde_json::from_value(stored.config).map_err(failed)?;
                over(given, defaults).map_err(|reason| corrupt(&path, &reason))?
            }
            version => {
                let reason = format!("it has version {version}, this program reads up to version {VERSION}");
                return Err(corrupt(&path, &reason));
            }
        };
        config.give_differing(defaults);
        let id = unhex(&stored.id).ok_or_else(|| corrupt(&path, "its id is not 32 hex digits"))?;
        crate::options::check_partitions(&stored.name, stored.partitions)?;
        Ok((Self { name: stored.name, id, partitions: stored.partitions, config }, stored.version))
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

    fn meta(config: TopicConfig) -> Meta {
        Meta { name: "t".into(), id: [0xa5; 16], partitions: 3, config }
    }

    fn written(disk: &SimDisk) -> String {
        String::from_utf8(disk.read(Path::new("/meta.json"), 2000).unwrap()).unwrap()
    }

    fn read(disk: &SimDisk, defaults: &TopicConfig) -> Result<(Meta, u32), LogError> {
        Meta::read(disk, Path::new("/"), defaults)
    }

    #[test]
    fn every_compression_is_kept() {
        let disk = SimDisk::new();
        let all = ["none", "gzip", "snappy", "lz4", "zstd"].map(Compression::from_name);
        for compression in all.into_iter().chain([None]) {
            let mut config = TopicConfig { compression, ..TopicConfig::default() };
            config.give(TopicSetting::Compression);
            let meta = meta(config);
            meta.write(&disk, Path::new("/")).unwrap();
            assert_eq!(read(&disk, &TopicConfig::default()).unwrap(), (meta, VERSION));
        }
    }

    #[test]
    fn every_setting_is_kept_by_its_name() {
        let disk = SimDisk::new();
        let mut config = TopicConfig::default();
        config.give_all();
        let meta = meta(config);
        meta.write(&disk, Path::new("/")).unwrap();
        assert!(TopicSetting::ALL.iter().all(|it| written(&disk).contains(&format!("{:?}: ", it.field()))));
        let other = TopicConfig { flush_messages: 9, tail_bytes: Some(7), ..TopicConfig::default() };
        assert_eq!(read(&disk, &other).unwrap().0, meta);
    }

    #[test]
    fn what_was_not_given_is_the_logs() {
        let disk = SimDisk::new();
        let mut config = TopicConfig { retention_ms: None, ..TopicConfig::default() };
        config.give(TopicSetting::RetentionMs);
        let meta = meta(config);
        meta.write(&disk, Path::new("/")).unwrap();
        assert!(!written(&disk).contains("segment_bytes"));
        let other = TopicConfig { segment_bytes: 2048, retention_ms: Some(1), ..TopicConfig::default() };
        let (found, _) = read(&disk, &other).unwrap();
        assert_eq!(found.config, TopicConfig { segment_bytes: 2048, ..meta.config });
    }

    #[test]
    fn damage_is_told() {
        let disk = SimDisk::new();
        let mut config = TopicConfig { timestamp: TimestampType::LogAppendTime, ..TopicConfig::default() };
        config.give(TopicSetting::Timestamp);
        meta(config).write(&disk, Path::new("/")).unwrap();
        let text = written(&disk);
        for (from, to, says) in [
            ("\"version\": 3", "\"version\": 7", "version 7"),
            ("a5a5", "zz", "hex"),
            ("\"partitions\": 3", "\"partitions\": 0", "partitions"),
            ("\"timestamp\"", "\"stamp\"", "\"stamp\" is unknown"),
            ("LogAppendTime", "Never", "Never"),
        ] {
            let file = disk.open(Path::new("/meta.json"), OpenMode::Write).unwrap();
            file.truncate(0).unwrap();
            file.write_all_at(text.replace(from, to).as_bytes(), 0).unwrap();
            let error = read(&disk, &TopicConfig::default()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
