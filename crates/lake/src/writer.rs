//! The rows of one job on their way into the table.

use futures::future::BoxFuture;
use std::sync::Arc;
use std::{mem, slice};

use arrow::array::RecordBatch;
use deltalake::protocol::{DeltaOperation, OutputMode};

use crate::columns::stored_batch;
use crate::commit::Change;
use crate::encoder::{FileEncoder, FinishedFile};
use crate::error::LakeError;
use crate::table::LakeTable;

/// What a commit has made true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The table's version that holds the rows.
    pub version: i64,
    /// Number of rows of this commit.
    pub rows: u64,
    /// The last epoch that the table now holds of this job.
    pub epoch: i64,
}

/// Encodes a job's rows to Parquet as they come, on the caller's thread, and
/// commits them. Memory holds one row group at most.
///
/// Contract: epochs never go back; an epoch may come in several batches, but a
/// commit must only be made when the last epoch written is complete, because
/// afterwards rows of that epoch are taken as repeated and skipped.
#[derive(Debug)]
pub struct LakeWriter {
    table: Arc<LakeTable>,
    job: String,
    current: Option<FileEncoder>,
    finished: Vec<FinishedFile>,
    /// First and last epoch of the rows not committed yet.
    epochs: Option<(i64, i64)>,
    last_epoch: Option<i64>,
    /// An encoder failed: what it held is lost.
    broken: bool,
}

impl LakeWriter {
    pub(crate) fn new(table: Arc<LakeTable>, job: &str) -> Self {
        Self {
            table,
            job: job.to_owned(),
            current: None,
            finished: Vec::new(),
            epochs: None,
            last_epoch: None,
            broken: false,
        }
    }

    /// Takes rows of an epoch. Epochs that the table already holds are skipped,
    /// so sending again after a crash is safe. Blocks while it encodes.
    ///
    /// # Errors
    /// [`LakeError::EpochWentBack`] and [`LakeError::Schema`] leave the writer
    /// as it was; after [`LakeError::Io`] or [`LakeError::Parquet`] it is of no
    /// more use: abandon it and send the epochs after the committed one again.
    pub fn write(&mut self, epoch: i64, batch: &RecordBatch) -> Result<(), LakeError> {
        self.check_usable()?;
        if let Some(last) = self.last_epoch.filter(|last| epoch < *last) {
            let (table, job) = (self.table.name.clone(), self.job.clone());
            return Err(LakeError::EpochWentBack { table, job, epoch, last });
        }
        let committed = self.table.committed_epoch(&self.job);
        let repeated = committed.is_some_and(|committed| epoch <= committed);
        if !repeated && batch.num_rows() > 0 {
            let table = &self.table;
            let batch = stored_batch(&table.name, &table.declared, &table.stored, batch)?;
            self.broken = true;
            self.encode(&batch)?;
            self.broken = false;
            let first = self.epochs.map_or(epoch, |(first, _)| first);
            self.epochs = Some((first, epoch));
        }
        self.last_epoch = Some(epoch);
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let table = &self.table;
        let mut file = match self.current.take() {
            Some(file) => file,
            None => FileEncoder::begin(&table.folder, &table.stored, &table.options, batch)?,
        };
        file.write(batch)?;
        if file.bytes() < table.options.target_file_bytes {
            self.current = Some(file);
        } else {
            self.finished.push(file.finish()?);
        }
        Ok(())
    }

    fn check_usable(&self) -> Result<(), LakeError> {
        match self.broken {
            true => Err(LakeError::Broken { table: self.table.name.clone(), job: self.job.clone() }),
            false => Ok(()),
        }
    }

    /// Encoded bytes not committed yet, on disk and in memory.
    pub fn buffered_bytes(&self) -> u64 {
        let finished: u64 = self.finished.iter().map(|file| file.bytes).sum();
        finished + self.current.as_ref().map_or(0, FileEncoder::bytes)
    }

    /// Rows not committed yet.
    pub fn buffered_rows(&self) -> u64 {
        let finished: u64 = self.finished.iter().map(|file| file.rows).sum();
        finished + self.current.as_ref().map_or(0, FileEncoder::rows)
    }

    /// The last epoch written, with rows or without, committed or not.
    pub fn last_epoch(&self) -> Option<i64> {
        self.last_epoch
    }

    /// Makes all rows written so far part of the table, durably, in one commit
    /// together with the last epoch that has rows. `None` if there are none (no
    /// empty commit is made) or if the table already held them.
    ///
    /// May be called again after an error: it then reads the table's log first,
    /// so a commit that did happen is not repeated.
    ///
    /// # Errors
    /// [`LakeError::Overlap`] if another writer of the job has committed some
    /// of the epochs, and failures of the disk.
    pub fn commit(&mut self) -> BoxFuture<'_, Result<Option<Committed>, LakeError>> {
        Box::pin(async move {
            self.check_usable()?;
            if let Some(file) = self.current.take() {
                self.broken = true;
                self.finished.push(file.finish()?);
                self.broken = false;
            }
            if self.epochs.is_none() {
                return Ok(None);
            }
            let table = Arc::clone(&self.table);
            let mut committer = table.committer.lock().await;
            table.settle(&mut committer).await?;
            let earlier = self.take_landed();
            let Some((first, epoch)) = self.epochs else { return Ok(earlier) };
            if let Some(committed) = table.committed_epoch(&self.job).filter(|at| *at >= first) {
                self.brought_by_another(first, epoch, committed)?;
                return Ok(earlier);
            }
            let rows = self.buffered_rows();
            let now_ms = table.options.clock.now_ms();
            let change = Change {
                added: self.finished.iter().map(|file| file.add(now_ms, true)).collect(),
                removed: Vec::new(),
                epoch: Some((self.job.clone(), epoch)),
                operation: DeltaOperation::StreamingUpdate {
                    output_mode: OutputMode::Append,
                    query_id: self.job.clone(),
                    epoch_id: epoch,
                },
            };
            let version = table.commit_files(&mut committer, &mut self.finished, change).await?;
            (self.epochs, self.finished) = (None, Vec::new());
            let rows = rows + earlier.map_or(0, |earlier| earlier.rows);
            Ok(Some(Committed { version, rows, epoch }))
        })
    }

    /// Takes out the files of an earlier attempt that did reach the log although
    /// its outcome was unknown then. What was written since stays.
    fn take_landed(&mut self) -> Option<Committed> {
        let (_, last) = self.epochs?;
        let epoch = self.table.committed_epoch(&self.job)?;
        let (mut landed, waiting): (Vec<_>, Vec<_>) = mem::take(&mut self.finished)
            .into_iter()
            .partition(|file| self.table.holds(slice::from_ref(file)));
        self.finished = waiting;
        if landed.is_empty() {
            return None;
        }
        landed.iter_mut().for_each(|file| file.keep(true));
        self.epochs = (!self.finished.is_empty()).then_some((epoch + 1, last));
        let rows = landed.iter().map(|file| file.rows).sum();
        Some(Committed { version: self.table.version(), rows, epoch })
    }

    /// Another writer of the job has committed some epoch of this one's: if all,
    /// these files are of no use.
    fn brought_by_another(&mut self, first: i64, last: i64, committed: i64) -> Result<(), LakeError> {
        // The log was read and does not name them.
        self.finished.iter_mut().for_each(|file| file.keep(false));
        if committed < last {
            let (table, job) = (self.table.name.clone(), self.job.clone());
            return Err(LakeError::Overlap { table, job, first, last, committed });
        }
        (self.epochs, self.finished) = (None, Vec::new());
        Ok(())
    }

    /// Gives up what is not committed and removes its files, unless a commit's
    /// outcome is unknown. Dropping the writer does the same.
    pub fn abandon(self) {}
}
