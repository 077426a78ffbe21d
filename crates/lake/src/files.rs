//! The files a table consists of at one version.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use deltalake::kernel::{Add, Remove};

use crate::stats;

/// One file of the table.
#[derive(Debug, Clone)]
pub(crate) struct LakeFile {
    /// Path relative to the table's folder.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When its youngest row was committed.
    pub time_ms: i64,
    /// Number of rows.
    pub rows: u64,
    /// Bounds of its columns, for pruning.
    pub statistics: Arc<Statistics>,
}

impl LakeFile {
    /// From a log entry's parts; bounds in the declared types.
    pub(crate) fn new(
        declared: &SchemaRef,
        path: String,
        bytes: u64,
        time_ms: i64,
        stats_text: Option<&str>,
    ) -> Self {
        let statistics = stats::from_json(declared, stats_text, bytes);
        let rows = match statistics.num_rows {
            Precision::Exact(rows) => rows as u64,
            _ => 0,
        };
        Self { path, bytes, time_ms, rows, statistics }
    }

    pub(crate) fn from_add(declared: &SchemaRef, add: &Add) -> Self {
        let bytes = u64::try_from(add.size).unwrap_or(0);
        Self::new(declared, add.path.clone(), bytes, add.modification_time, add.stats.as_deref())
    }

    /// The log's entry that takes the file out of the table.
    pub(crate) fn remove(&self, now_ms: i64, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            data_change,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(Default::default()),
            size: Some(i64::try_from(self.bytes).unwrap_or(i64::MAX)),
            ..Remove::default()
        }
    }
}

/// All files of one version, oldest commit first.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileSet {
    /// The files.
    pub files: Arc<Vec<Arc<LakeFile>>>,
    /// Sum of rows.
    pub rows: u64,
    /// Sum of lengths.
    pub bytes: u64,
}

impl FileSet {
    pub(crate) fn new(mut files: Vec<Arc<LakeFile>>) -> Self {
        files.sort_by(|a, b| (a.time_ms, &a.path).cmp(&(b.time_ms, &b.path)));
        let rows = files.iter().map(|file| file.rows).sum();
        let bytes = files.iter().map(|file| file.bytes).sum();
        Self { files: Arc::new(files), rows, bytes }
    }

    /// The set after a commit.
    pub(crate) fn after(&self, declared: &SchemaRef, added: &[Add], removed: &[Remove]) -> Self {
        let gone: HashSet<&str> = removed.iter().map(|remove| remove.path.as_str()).collect();
        let stay = self.files.iter().filter(|file| !gone.contains(file.path.as_str())).cloned();
        let new = added.iter().map(|add| Arc::new(LakeFile::from_add(declared, add)));
        Self::new(stay.chain(new).collect())
    }
}
