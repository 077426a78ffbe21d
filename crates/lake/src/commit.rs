//! One commit: files in, files out, and the epoch they bring, in one atomic and
//! durable entry of the Delta log.
//!
//! Recovery: before an entry is written, the names of its files are durable; the
//! entry itself is durable before it has its name. If the outcome of a commit is
//! not known (an error, a dropped future), the next one first reads the log, and
//! its files stay on the disk: the next open of the table removes them if no
//! entry names them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, Remove, Transaction};
use deltalake::protocol::DeltaOperation;

use crate::durable_store::sync_dir;
use crate::encoder::FinishedFile;
use crate::error::LakeError;
use crate::files::{FileSet, LakeFile};
use crate::log;
use crate::table::{Committer, LakeTable, RemovedFile, View};

/// What one commit changes.
#[derive(Debug)]
pub(crate) struct Change {
    pub added: Vec<Add>,
    pub removed: Vec<Remove>,
    /// The job and the last epoch whose rows are in `added`.
    pub epoch: Option<(String, i64)>,
    pub operation: DeltaOperation,
}

impl LakeTable {
    /// Reads the log again if the last commit's outcome is not known.
    pub(crate) async fn settle(&self, committer: &mut Committer) -> Result<(), LakeError> {
        if committer.uncertain {
            self.reload(committer).await?;
            committer.uncertain = false;
        }
        Ok(())
    }

    async fn reload(&self, committer: &mut Committer) -> Result<(), LakeError> {
        let updated = committer.delta.update_state().await;
        updated.map_err(|error| LakeError::delta(&self.name, error))?;
        self.publish(self.view_of(&committer.delta)?);
        Ok(())
    }

    /// Everything as the loaded log has it.
    pub(crate) fn view_of(&self, delta: &DeltaTable) -> Result<View, LakeError> {
        let failed = |error| LakeError::delta(&self.name, error);
        let state = delta.snapshot().map_err(failed)?;
        let version = i64::try_from(state.version()).unwrap_or(i64::MAX);
        let log_data = state.snapshot().try_log_data().map_err(failed)?;
        let files = log_data.iter().map(|file| {
            let bytes = u64::try_from(file.size()).unwrap_or(0);
            let path = file.path().into_owned();
            let (time_ms, stats) = (file.modification_time(), file.stats());
            Arc::new(LakeFile::new(&self.declared, path, bytes, time_ms, stats.as_deref()))
        });
        let files = FileSet::new(files.collect());
        let epochs = Arc::new(log::transactions(&self.name, &self.folder, version)?);
        Ok(View { version, files, epochs })
    }

    /// Commits a change that brings these files. They are the table's after
    /// success; after a failure they are removed with `files` only if the log
    /// was read again and does not name them.
    ///
    /// # Errors
    /// As [`LakeTable::commit_change`].
    pub(crate) async fn commit_files(
        &self,
        committer: &mut Committer,
        files: &mut [FinishedFile],
        change: Change,
    ) -> Result<i64, LakeError> {
        files.iter_mut().for_each(|file| file.keep(true));
        let committed = self.commit_change(committer, change).await;
        if committed.is_err() && self.settle(committer).await.is_ok() && !self.holds(files) {
            files.iter_mut().for_each(|file| file.keep(false));
        }
        committed
    }

    /// Whether the newest version has all of these files.
    pub(crate) fn holds(&self, files: &[FinishedFile]) -> bool {
        let view = self.view.lock().clone();
        let active: HashSet<&str> = view.files.files.iter().map(|file| file.path.as_str()).collect();
        files.iter().all(|file| active.contains(file.name.as_str()))
    }

    /// Commits and publishes. The caller has settled the committer.
    ///
    /// # Errors
    /// [`LakeError::Delta`], [`LakeError::Io`]: the outcome is then unknown.
    pub(crate) async fn commit_change(
        &self,
        committer: &mut Committer,
        change: Change,
    ) -> Result<i64, LakeError> {
        let failed = |error| LakeError::delta(&self.name, error);
        sync_dir(&self.folder).map_err(|error| LakeError::io("sync", &self.folder, error))?;
        let mut properties =
            CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
        let now_ms = self.options.clock.now_ms();
        if let Some((job, epoch)) = &change.epoch {
            let transaction = Transaction::new_with_last_update(job, *epoch, Some(now_ms));
            properties = properties.with_application_transaction(transaction);
        }
        let added = change.added.iter().cloned().map(Action::Add);
        let removed = change.removed.iter().cloned().map(Action::Remove);
        let actions = added.chain(removed).collect();
        committer.uncertain = true;
        let state = committer.delta.snapshot().map_err(failed)?;
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state as &dyn TableReference), committer.delta.log_store(), change.operation.clone())
            .await
            .map_err(failed)?;
        committer.delta.state = Some(done.snapshot());
        let version = i64::try_from(done.version()).unwrap_or(i64::MAX);
        self.published(committer, change, version, now_ms)?;
        committer.uncertain = false;
        self.cells.commits.add(1);
        Ok(version)
    }

    fn published(
        &self,
        committer: &mut Committer,
        change: Change,
        version: i64,
        time_ms: i64,
    ) -> Result<(), LakeError> {
        let before = self.view.lock().clone();
        let view = if version == before.version + 1 {
            let files = before.files.after(&self.declared, &change.added, &change.removed);
            let mut epochs = HashMap::clone(&before.epochs);
            epochs.extend(change.epoch);
            View { version, files, epochs: Arc::new(epochs) }
        } else {
            // Someone else has committed in between.
            self.view_of(&committer.delta)?
        };
        self.publish(view);
        let removed = change.removed.into_iter();
        committer.removed.extend(removed.map(|file| RemovedFile { path: file.path, time_ms, version }));
        Ok(())
    }
}
