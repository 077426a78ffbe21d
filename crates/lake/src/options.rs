//! How a lake table is written and kept.

use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use pluvio_foundation::{Clock, Metrics, SystemClock};

/// How the column pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LakeCompression {
    /// Zstandard at this level, 1 (fastest) to 22 (smallest).
    Zstd(i32),
    /// Snappy: read by every tool ever made, larger than zstd.
    Snappy,
    /// LZ4 blocks (the codec that Parquet names `LZ4_RAW`).
    Lz4,
}

impl LakeCompression {
    /// The codec; a zstd level out of range becomes the nearest one in range.
    pub(crate) fn codec(self) -> Compression {
        match self {
            Self::Zstd(level) => {
                Compression::ZSTD(ZstdLevel::try_new(level.clamp(1, 22)).unwrap_or_default())
            }
            Self::Snappy => Compression::SNAPPY,
            Self::Lz4 => Compression::LZ4_RAW,
        }
    }
}

/// How a lake table is written and kept. Not stored in the table: the same
/// table may be opened with other options later.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Compression of new files.
    pub compression: LakeCompression,
    /// A file that reaches this size is closed and the next one begun; small
    /// files are joined up to this size.
    pub target_file_bytes: u64,
    /// Most rows of one row group: what a writer holds in memory at once, and
    /// what a reader can skip.
    pub row_group_rows: usize,
    /// Most encoded bytes of one row group.
    pub row_group_bytes: usize,
    /// Whole files older than this leave the table; `None` keeps all. The age
    /// of a file is that of its youngest row's commit.
    pub retention_ms: Option<i64>,
    /// How long a file that left the table stays on disk, for readers outside
    /// this process that still look at an older version.
    pub vacuum_delay_ms: i64,
    /// How long the log's entries before a checkpoint stay on disk.
    pub log_retention_ms: i64,
    /// A checkpoint of the log is due after this many versions.
    pub checkpoint_versions: i64,
    /// At least this many neighbouring small files are joined at a time.
    pub compaction_files_min: usize,
    /// Where the table counts.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            compression: LakeCompression::Zstd(1),
            target_file_bytes: 128 << 20,
            row_group_rows: 512 << 10,
            row_group_bytes: 64 << 20,
            retention_ms: None,
            vacuum_delay_ms: 60 * 60 * 1000,
            log_retention_ms: 24 * 60 * 60 * 1000,
            checkpoint_versions: 100,
            compaction_files_min: 8,
            metrics: Metrics::default(),
            clock: Arc::new(SystemClock),
        }
    }
}
