//! Rows to a Delta table: each commit says up to which epoch it goes.

use std::sync::Arc;

use pluvio_lake::{LakeOptions, LakeTable};
use pluvio_query::QueryError;

use super::Worker;

impl Worker {
    async fn open_lake(&self, lake: &str, retention_ms: Option<i64>) -> Result<Arc<LakeTable>, QueryError> {
        if let Some(table) = self.parts.lakes.get(lake) {
            return Ok(table);
        }
        let options = LakeOptions {
            retention_ms,
            metrics: self.parts.metrics.clone(),
            clock: Arc::clone(&self.parts.clock),
            ..LakeOptions::default()
        };
        let path = self.parts.lakes.path(lake);
        let table = LakeTable::open(&path, lake, self.span.schema(), options).await?;
        self.parts.lakes.insert(lake, Arc::clone(&table));
        Ok(table)
    }

    /// Delivers until told to stop.
    pub(super) async fn follow_lake(&self, lake: &str, retention_ms: Option<i64>) -> Result<(), QueryError> {
        let def = &self.parts.def;
        let table = self.open_lake(lake, retention_ms).await?;
        let mut written = table.committed_epoch(&def.name).and_then(|e| u64::try_from(e).ok()).unwrap_or(0);
        self.delivered(written, table.rows());
        let mut writer = table.writer(&def.name);
        let mut last_commit_us = self.parts.clock.monotonic_us();
        loop {
            let stopping = self.stopping();
            let committed = self.parts.signals.committed.notified();
            let pieces = self.pieces(written)?;
            let idle = pieces.is_empty();
            for (tag, rows) in pieces {
                writer.write(tag.cast_signed(), &rows)?;
                written = tag;
            }
            let full = writer.buffered_bytes() >= def.commit_bytes;
            let commit = self.is_due(last_commit_us) || full || (stopping && idle);
            if writer.buffered_rows() > 0 && commit {
                if let Some(done) = writer.commit().await? {
                    self.delivered(u64::try_from(done.epoch).unwrap_or(0), table.rows());
                }
                last_commit_us = self.parts.clock.monotonic_us();
                table.maintain().await?;
            }
            *self.shared.error.lock() = None;
            if idle {
                if stopping {
                    return Ok(());
                }
                self.rest(committed).await;
            }
        }
    }
}
