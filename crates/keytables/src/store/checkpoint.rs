//! Bringing the keyed store up to date.
//!
//! A checkpoint takes, between two commits, the rows and keys that changed since
//! the last one began, then writes them while commits go on. If it fails, the
//! same job is tried again before another begins: until it is done its rows may
//! not leave memory and its deleted keys count as deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::write_rows::write_rows;
use super::{Inner, MetaChanges};
use crate::cold::{APPLIED, Cold, rows_key};
use crate::error::{Result, TableError};
use crate::hot::KeySet;
use crate::hot::bits::Bits;
use crate::hot::chunk::Chunk;
use crate::journal;
use crate::table::KeyTable;

/// What changed in one table.
#[derive(Debug)]
pub(super) struct TableJob {
    pub(super) table: Arc<KeyTable>,
    pub(super) changed: Vec<(Arc<Chunk>, Bits)>,
    pub(super) deleted: Arc<KeySet>,
    /// Rows of the table once this is written.
    rows: u64,
}

/// Everything that changed up to a sequence number.
#[derive(Debug)]
pub(super) struct Job {
    seq: u64,
    tables: Vec<TableJob>,
    meta: MetaChanges,
}

/// How a checkpoint shares the machine.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    background: Option<&'a Inner>,
}

impl<'a> Pace<'a> {
    /// As fast as it goes: someone waits for it.
    pub(super) fn unhindered() -> Self {
        Self { background: None }
    }

    /// With pauses, and giving up when the store is closed.
    pub(super) fn background(inner: &'a Inner) -> Self {
        Self { background: Some(inner) }
    }

    /// Rests after `worked_us` of work, as `checkpoint_cpu_percent` asks.
    pub(super) fn rest(&self, worked_us: u64) -> Result<()> {
        let Some(inner) = self.background else { return Ok(()) };
        if inner.stopping.load(Ordering::Acquire) {
            return Err(TableError::Closed);
        }
        let percent = u64::from(inner.options.checkpoint_cpu_percent.clamp(5, 100));
        let awaited = inner.awaited.load(Ordering::Acquire) > 0;
        let overdue = inner.journal_bytes.load(Ordering::Relaxed) > inner.options.journal_bytes_max * 2
            || inner.is_full();
        if percent < 100 && !overdue && !awaited {
            let pause_us = (worked_us * (100 - percent) / percent).min(100_000);
            std::thread::sleep(Duration::from_micros(pause_us));
        }
        Ok(())
    }
}

impl Inner {
    /// Writes everything committed before the call.
    pub(super) fn checkpoint(&self, pace: &Pace<'_>) -> Result<()> {
        let awaited = u32::from(pace.background.is_none());
        // Whoever waits here lets one that is under way go faster.
        self.awaited.fetch_add(awaited, Ordering::AcqRel);
        let mut running = self.running.lock();
        self.awaited.fetch_sub(awaited, Ordering::AcqRel);
        if running.is_some() {
            // An earlier one failed.
            self.run(&mut running, pace)?;
        }
        *running = self.begin_job()?;
        self.run(&mut running, pace)
    }

    /// Takes what changed; none if nothing did. The rows of all that is taken are
    /// counted in the journal first: it could not be known afterwards which of them
    /// the keyed store has already.
    fn begin_job(&self) -> Result<Option<Job>> {
        let mut state = self.commit.lock();
        if state.seq == self.applied.load(Ordering::Acquire) {
            return Ok(None);
        }
        if !state.changed.is_empty() {
            self.commit_no_change(&mut state)?;
        }
        state.journal.roll();
        let meta = std::mem::take(&mut state.meta_changes);
        let mut tables = Vec::new();
        for table in self.catalog.read().tables.values() {
            let mut hot = table.hot.write();
            if hot.is_dirty() {
                let rows = hot.len() as u64;
                let (changed, deleted) = hot.take_dirty();
                tables.push(TableJob { table: Arc::clone(table), changed, deleted, rows });
            }
        }
        let chunks = tables.iter().flat_map(|part: &TableJob| &part.changed);
        *self.writing.lock() = chunks.map(|(chunk, _)| (Arc::downgrade(chunk), chunk.bytes)).collect();
        Ok(Some(Job { seq: state.seq, tables, meta }))
    }

    fn run(&self, running: &mut Option<Job>, pace: &Pace<'_>) -> Result<()> {
        let Some(job) = running.as_ref() else { return Ok(()) };
        if self.cold.read().is_none() && !self.closed.load(Ordering::Acquire) {
            self.reopen_cold()?;
        }
        let cold = self.cold()?;
        if let Err(error) = self.write_job(&cold, job, pace) {
            drop(cold);
            if is_poisoned(&error) {
                self.reopen_cold()?;
            }
            return Err(error);
        }
        self.applied.store(job.seq, Ordering::Release);
        for part in &job.tables {
            part.table.hot.write().settle();
        }
        let seq = job.seq;
        *running = None;
        self.writing.lock().clear();
        self.metrics.checkpoints.add(1);
        let mut state = self.commit.lock();
        let files = state.journal.take_applied(seq);
        let bytes = state.journal.bytes();
        drop(state);
        self.journal_bytes.store(bytes, Ordering::Relaxed);
        self.metrics.journal_bytes.set(bytes);
        journal::delete(&*self.disk, &files)?;
        let catalog = self.catalog.read();
        let present: BTreeSet<u32> = catalog.tables.values().map(|table| table.id).collect();
        cold.retain(&present)
    }

    /// Writes the rows of every table, then, in one synced batch, the meta data
    /// with the mark.
    fn write_job(&self, cold: &Cold, job: &Job, pace: &Pace<'_>) -> Result<()> {
        for part in job.tables.iter().filter(|part| !part.table.dropped.load(Ordering::Acquire)) {
            let written = write_rows(cold, part, &*self.clock, pace)?;
            self.metrics.applied_rows.add(written);
        }
        let mut batch = cold.batch();
        for (key, value) in &job.meta {
            match value {
                Some(value) => batch.insert(cold.meta(), key.as_slice(), &value[..]),
                None => batch.remove(cold.meta(), key.as_slice()),
            }
        }
        for part in &job.tables {
            batch.insert(cold.meta(), rows_key(part.table.id), part.rows.to_le_bytes());
        }
        batch.insert(cold.meta(), APPLIED, job.seq.to_le_bytes());
        cold.commit_synced(batch)
    }

    /// Opens the keyed store anew: after a failed write it takes no more writes,
    /// though its content is sound. Lookups of cold rows fail meanwhile.
    fn reopen_cold(&self) -> Result<()> {
        let catalog = self.catalog.write();
        for table in catalog.tables.values() {
            table.cold.close();
        }
        let mut cold = self.cold.write();
        *cold = None;
        let opened = Arc::new(Cold::open(&crate::cold::folder(&self.folder), &self.options)?);
        for table in catalog.tables.values() {
            table.cold.reopen(&opened, table.id)?;
        }
        *cold = Some(opened);
        tracing::warn!("the keyed store was opened anew after a failed write");
        Ok(())
    }
}

fn is_poisoned(error: &TableError) -> bool {
    match error {
        TableError::Store { source, .. } => !matches!(**source, fjall::Error::KeyspaceDeleted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use pluvio_foundation::{Metrics, RealDisk, SystemClock};

    use super::*;
    use crate::{Store, StoreOptions};

    fn rows(ids: std::ops::Range<i64>, text: &str) -> RecordBatch {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)];
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("{text} {id}"))));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids, texts]).unwrap()
    }

    fn open(folder: &std::path::Path) -> Arc<Store> {
        let options =
            StoreOptions { background: false, memory_budget_bytes: 3 << 20, ..StoreOptions::default() };
        Store::open(folder, Arc::new(RealDisk), Arc::new(SystemClock), Metrics::default(), options).unwrap()
    }

    /// As after a write of the keyed store has failed.
    #[test]
    fn the_keyed_store_can_be_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let table = store.create_table("t", rows(0..0, "").schema(), &[0]).unwrap();
        for part in 0..10 {
            let mut commit = store.begin();
            commit.upsert(&table, rows(part * 10_000..(part + 1) * 10_000, "old"));
            commit.commit().unwrap();
        }
        assert!(table.is_partial());
        store.inner.reopen_cold().unwrap();
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        assert_eq!(table.lookup(&[keys], Some(&[])).unwrap().found.true_count(), 100_000);
        let mut commit = store.begin();
        commit.upsert(&table, rows(5..6, "new"));
        commit.commit().unwrap();
        store.checkpoint().unwrap();
        assert_eq!((table.len(), store.inner.journal_bytes.load(Ordering::Relaxed)), (100_000, 0));
    }

    /// What came and went between two checkpoints is no work for the second; what a
    /// checkpoint has in hand, or replaced something stored, is.
    #[test]
    fn rows_that_came_and_went_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let table = store.create_table("t", rows(0..0, "").schema(), &[0]).unwrap();
        let change = |set: std::ops::Range<i64>, gone: std::ops::Range<i64>| {
            let mut commit = store.begin();
            commit.upsert(&table, rows(set, "a"));
            commit.delete(&table, rows(gone, "").project(&[0]).unwrap());
            commit.commit().unwrap();
        };
        let deleted = || table.hot.read().deleted.len();
        change(0..100, 10..100);
        assert_eq!(deleted(), 0);
        store.checkpoint().unwrap();
        change(5..20, 0..15);
        assert_eq!(deleted(), 10);
        change(0..3, 0..2);
        let job = store.inner.begin_job().unwrap().unwrap();
        change(30..40, 2..35);
        assert_eq!((job.tables[0].deleted.len(), deleted()), (10, 6));
        *store.inner.running.lock() = Some(job);
        store.checkpoint().unwrap();
        let left = |store: &Store| {
            let table = store.table("t").unwrap();
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
            (table.len(), table.lookup(&[keys], Some(&[])).unwrap().found.true_count())
        };
        assert_eq!(left(&store), (5, 5));
        drop((table, store));
        assert_eq!(left(&open(folder.path())), (5, 5));
    }

    /// A crash after a checkpoint has written rows and before it has set the mark,
    /// with most of the table not in memory, and a commit that nothing has counted.
    #[test]
    fn an_unfinished_checkpoint_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let table = store.create_table("t", rows(0..0, "").schema(), &[0]).unwrap();
        for part in 0..10 {
            let mut commit = store.begin();
            commit.upsert(&table, rows(part * 10_000..(part + 1) * 10_000, "old"));
            commit.commit().unwrap();
        }
        store.close();
        drop((store, table));

        let store = open(folder.path());
        let table = store.table("t").unwrap();
        assert!(table.is_partial() && table.len() == 100_000);
        let mut commit = store.begin();
        // Some in memory, some not, some new.
        commit.upsert(&table, rows(99_990..100_010, "new"));
        commit.upsert(&table, rows(0..10, "new"));
        commit.delete(&table, rows(99_900..99_905, "").project(&[0]).unwrap());
        commit.delete(&table, rows(100..105, "").project(&[0]).unwrap());
        commit.commit().unwrap();
        assert_eq!(table.len(), 100_000);
        let job = store.inner.begin_job().unwrap().unwrap();
        let cold = store.inner.cold().unwrap();
        write_rows(&cold, &job.tables[0], &SystemClock, &Pace::unhindered()).unwrap();
        let mut commit = store.begin();
        // Known to the checkpoint, known to the keyed store alone, new.
        commit.upsert(&table, rows(100_005..100_015, "newest"));
        commit.upsert(&table, rows(50..51, "newest"));
        commit.delete(&table, rows(100_000..100_002, "").project(&[0]).unwrap());
        commit.delete(&table, rows(200..203, "").project(&[0]).unwrap());
        commit.commit().unwrap();
        assert_eq!(table.len(), 100_000);
        drop((store, table, job, cold));

        let store = open(folder.path());
        let table = store.table("t").unwrap();
        assert!(table.is_partial());
        assert_eq!(table.len(), 100_000);
        let stored: usize = table.snapshot().scan(Some(&[0])).map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(stored, 100_000);
        let keys: ArrayRef =
            Arc::new(Int64Array::from(vec![5, 50, 102, 201, 99_902, 99_995, 100_001, 100_005]));
        let found = table.lookup(&[keys], Some(&[1])).unwrap();
        let wanted = [
            Some("new 5"),
            Some("newest 50"),
            None,
            None,
            None,
            Some("new 99995"),
            None,
            Some("newest 100005"),
        ];
        assert_eq!(found.columns[0].as_ref(), &StringArray::from_iter(wanted) as &dyn arrow::array::Array);
    }
}
