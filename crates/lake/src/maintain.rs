//! Housekeeping, in bounded steps between commits.

use futures::future::BoxFuture;
use std::sync::Arc;

use deltalake::protocol::{DeltaOperation, checkpoints};

use crate::commit::Change;
use crate::error::LakeError;
use crate::log;
use crate::table::LakeTable;

/// Most files that one call takes out of the table, or off the disk.
const FILES_PER_CALL_MAX: usize = 1000;

/// What one call of [`LakeTable::maintain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Files that left the table because of their age.
    pub files_expired: usize,
    /// Small files that were joined.
    pub files_compacted: usize,
    /// Files deleted from the disk.
    pub files_deleted: usize,
    /// Whether the log got a checkpoint.
    pub checkpointed: bool,
    /// Entries of the log that were deleted.
    pub log_entries_deleted: usize,
}

impl MaintenanceReport {
    /// Whether another call would likely find more to do at once.
    pub fn more(&self) -> bool {
        self.files_compacted > 0
            || self.files_expired == FILES_PER_CALL_MAX
            || self.files_deleted == FILES_PER_CALL_MAX
    }
}

impl LakeTable {
    /// Keeps the table small and quick: retention, compaction, deletion of
    /// files that left the table long enough ago, log checkpoint and cleanup.
    /// One call joins files of at most one target file's size; appends may go on
    /// meanwhile. Calls while another runs wait for it.
    ///
    /// # Errors
    /// Failures of the disk. What was done before stays done.
    pub fn maintain(self: &Arc<Self>) -> BoxFuture<'_, Result<MaintenanceReport, LakeError>> {
        Box::pin(async move {
            let mut maintenance = self.maintenance.lock().await;
            let mut report = MaintenanceReport {
                files_expired: self.expire().await?,
                files_compacted: self.compact().await?,
                files_deleted: self.delete_removed().await?,
                ..MaintenanceReport::default()
            };
            if self.version() - maintenance.checkpoint >= self.options.checkpoint_versions.max(1) {
                (maintenance.checkpoint, report.log_entries_deleted) = self.checkpoint().await?;
                report.checkpointed = true;
            }
            Ok(report)
        })
    }

    async fn expire(&self) -> Result<usize, LakeError> {
        let Some(retention_ms) = self.options.retention_ms else { return Ok(0) };
        let now_ms = self.options.clock.now_ms();
        let oldest_ms = now_ms.saturating_sub(retention_ms);
        let mut committer = self.committer.lock().await;
        self.settle(&mut committer).await?;
        let files = self.view.lock().files.files.clone();
        let old = files.iter().take_while(|file| file.time_ms < oldest_ms);
        let removed: Vec<_> = old.take(FILES_PER_CALL_MAX).map(|file| file.remove(now_ms, true)).collect();
        let count = removed.len();
        if count > 0 {
            let predicate = Some(format!("committed before {oldest_ms} (retention)"));
            let operation = DeltaOperation::Delete { predicate };
            let change = Change { added: Vec::new(), removed, epoch: None, operation };
            self.commit_change(&mut committer, change).await?;
        }
        Ok(count)
    }

    async fn delete_removed(&self) -> Result<usize, LakeError> {
        let before_ms = self.options.clock.now_ms().saturating_sub(self.options.vacuum_delay_ms);
        let mut committer = self.committer.lock().await;
        let mut count = 0;
        while count < FILES_PER_CALL_MAX
            && let Some(file) = committer.removed.front()
        {
            if file.time_ms > before_ms || self.pins.hold_before(file.version) {
                break;
            }
            log::remove(&self.folder.join(&file.path))?;
            committer.removed.pop_front();
            count += 1;
        }
        Ok(count)
    }

    /// The checkpoint's version, and how many old entries were deleted.
    async fn checkpoint(&self) -> Result<(i64, usize), LakeError> {
        let failed = |error| LakeError::delta(&self.name, error);
        let delta = {
            let mut committer = self.committer.lock().await;
            self.settle(&mut committer).await?;
            committer.delta.clone()
        };
        checkpoints::create_checkpoint(&delta, None).await.map_err(failed)?;
        let version = delta.version().unwrap_or(0);
        let cutoff_ms = self.options.clock.now_ms().saturating_sub(self.options.log_retention_ms);
        let log_store = delta.log_store();
        let deleted = checkpoints::cleanup_expired_logs_for(version, log_store.as_ref(), cutoff_ms, None)
            .await
            .map_err(failed)?;
        Ok((i64::try_from(version).unwrap_or(i64::MAX), deleted))
    }
}
