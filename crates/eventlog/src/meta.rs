//! A topic's `meta.json`: what must be known before its partitions are opened.
//!
//! ```json
//! {"version": 1, "name": "orders", "id": "3f2a…32 hex digits", "partitions": 3,
//!  "config": {"retention_ms": 604800000, "retention_bytes": null, "segment_bytes": 134217728,
//!             "max_message_bytes": 1048588, "compact": false}}
//! ```
//! Replaced as a whole, atomically.

use crate::error::IoContext;
use crate::{LogError, TopicConfig};
use pluvio_foundation::Disk;
use serde::{Deserialize, Serialize};
use std::path::Path;

pub(crate) const FILE_NAME: &str = "meta.json";
const VERSION: u32 = 1;
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
struct StoredMeta {
    version: u32,
    name: String,
    id: String,
    partitions: u32,
    config: StoredConfig,
}

#[derive(Serialize, Deserialize)]
struct StoredConfig {
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    segment_bytes: u64,
    max_message_bytes: usize,
    compact: bool,
}

impl Meta {
    /// Writes the file into the topic's folder.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        let path = folder.join(FILE_NAME);
        let config = &self.config;
        let stored = StoredMeta {
            version: VERSION,
            name: self.name.clone(),
            id: hex(&self.id),
            partitions: self.partitions,
            config: StoredConfig {
                retention_ms: config.retention_ms,
                retention_bytes: config.retention_bytes,
                segment_bytes: config.segment_bytes,
                max_message_bytes: config.max_message_bytes,
                compact: config.compact,
            },
        };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| corrupt(&path, &error.to_string()))?;
        disk.replace(&path, &bytes).doing("write", &path)
    }

    /// Reads the file from the topic's folder.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, LogError> {
        let path = folder.join(FILE_NAME);
        let bytes = disk.read(&path, FILE_BYTES_MAX).doing("read", &path)?;
        let stored: StoredMeta =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(&path, &error.to_string()))?;
        if stored.version != VERSION {
            let reason = format!("it has version {}, this program reads version {VERSION}", stored.version);
            return Err(corrupt(&path, &reason));
        }
        let id = unhex(&stored.id).ok_or_else(|| corrupt(&path, "its id is not 32 hex digits"))?;
        let config = TopicConfig {
            retention_ms: stored.config.retention_ms,
            retention_bytes: stored.config.retention_bytes,
            segment_bytes: stored.config.segment_bytes,
            max_message_bytes: stored.config.max_message_bytes,
            compact: stored.config.compact,
        };
        crate::options::check_partitions(&stored.name, stored.partitions)?;
        Ok(Self { name: stored.name, id, partitions: stored.partitions, config })
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
    fn round_trip_and_damage() {
        let disk = SimDisk::new();
        let folder = Path::new("/");
        let config = TopicConfig { retention_bytes: Some(9), compact: true, ..TopicConfig::default() };
        let meta = Meta { name: "t".into(), id: [0xa5; 16], partitions: 3, config };
        meta.write(&disk, folder).unwrap();
        assert_eq!(Meta::read(&disk, folder).unwrap(), meta);

        let text = String::from_utf8(disk.read(Path::new("/meta.json"), 1000).unwrap()).unwrap();
        for (from, to, says) in [
            ("\"version\": 1", "\"version\": 7", "version 7"),
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
