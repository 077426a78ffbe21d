//! Bringing stored rows to memory after a start, in the background.
//!
//! Tables that fit into the memory budget are loaded, the smallest first; rows of
//! the others stay in the keyed store until a commit sets them. Rows are read
//! without any lock, some at a time, and come to memory between two commits: those
//! that are in memory already or were deleted are newer there and left out. If rows
//! left memory or deletions were settled while the rows were read, what was read may
//! be out of date, and is read again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::Inner;
use super::checkpoint::Pace;
use crate::codec::key;
use crate::error::{Result, TableError};
use crate::hot::chunk::{Chunk, owned};
use crate::hot::index::NOWHERE;
use crate::hot::keys::Keys;
use crate::table::KeyTable;

/// Rows that are read together.
const LOAD_ROWS: usize = 32 << 10;
/// Stored bytes after which fewer are.
const LOAD_BYTES: usize = 16 << 20;
/// What a row costs beyond its columns while it is in memory, about.
const ROW_OVERHEAD_BYTES: u64 = 20;

/// Which rows are to be loaded next.
#[derive(Debug)]
pub(super) struct Loading {
    /// Tables that are not done, the smallest last.
    tables: Vec<Arc<KeyTable>>,
    /// The key that was loaded last of the last table.
    after: Option<Vec<u8>>,
}

impl Loading {
    /// All tables that are not in memory.
    pub(super) fn new(inner: &Inner) -> Self {
        let mut tables: Vec<_> = inner.catalog.read().tables.values().cloned().collect();
        tables.retain(|table| table.is_partial());
        tables.sort_by_key(|table| std::cmp::Reverse(table.len()));
        Self { tables, after: None }
    }

    /// Loads some rows; false once there is nothing more to load.
    pub(super) fn step(&mut self, inner: &Inner, pace: &Pace<'_>) -> Result<bool> {
        let Some(table) = self.tables.last().cloned() else { return Ok(false) };
        let started = inner.clock.monotonic_us();
        let more = match inner.load_some(&table, self.after.as_deref()) {
            // It was dropped meanwhile.
            Err(TableError::Closed) if table.dropped.load(Ordering::Acquire) => Some(None),
            other => other?,
        };
        match more {
            None => {}
            Some(Some(after)) => self.after = Some(after),
            Some(None) => {
                self.tables.pop();
                self.after = None;
            }
        }
        pace.rest(inner.clock.monotonic_us().saturating_sub(started))?;
        Ok(!self.tables.is_empty())
    }
}

impl Inner {
    /// Loads the rows behind a key. None if they must be read again, else the key
    /// to go on behind, or none if that was all or the table does not fit.
    fn load_some(&self, table: &KeyTable, after: Option<&[u8]>) -> Result<Option<Option<Vec<u8>>>> {
        let departures = table.hot.read().departures;
        let view = table.cold.view()?;
        let mut decoder = table.layout.decoder()?;
        let mut last = None;
        for row in view.after(after) {
            let (key, value) = row.into_inner().map_err(TableError::store("loading rows"))?;
            decoder.read(&key, &value)?;
            if decoder.rows() == LOAD_ROWS || decoder.bytes() >= LOAD_BYTES {
                last = Some(key.to_vec());
                break;
            }
        }
        if decoder.rows() == 0 {
            return Ok(Some(None));
        }
        let batch = decoder.finish()?;
        let _commit = self.commit.lock();
        if !self.fits(table, &batch) {
            tracing::debug!(
                table = table.name,
                "the table stays in the keyed store: it is larger than memory"
            );
            return Ok(Some(None));
        }
        let chunk = only_stored(table, batch)?;
        let mut hot = table.hot.write();
        if hot.departures != departures {
            return Ok(None);
        }
        if let Some(chunk) = chunk {
            hot.adopt(Arc::new(chunk));
        }
        drop(hot);
        super::publish::compact(table)?;
        self.show_memory();
        Ok(Some(last))
    }

    /// Whether all of a table's rows have room, if they are like these.
    fn fits(&self, table: &KeyTable, rows: &RecordBatch) -> bool {
        let per_row = rows.get_array_memory_size() as u64 / rows.num_rows().max(1) as u64;
        let stored = table.hot.read().cold_rows;
        let needed = stored.saturating_mul(per_row + ROW_OVERHEAD_BYTES);
        self.memory_bytes().saturating_add(needed) <= self.roomy_bytes()
    }
}

/// The rows that are neither in memory nor deleted.
fn only_stored(table: &KeyTable, batch: RecordBatch) -> Result<Option<Chunk>> {
    let layout = &table.layout;
    let columns = layout.key_columns(&batch);
    let keys = Keys::of(layout.shape, &columns)?;
    let hot = table.hot.read();
    let found = hot.index.find(&hot.slots, &keys);
    let mut keep: Vec<bool> = found.iter().map(|at| *at == NOWHERE).collect();
    if !hot.deleted.is_empty() || !hot.deleting.is_empty() {
        let encoded = key::encode(&columns)?;
        for (row, keep) in keep.iter_mut().enumerate() {
            *keep &= !hot.is_deleted(encoded.get(row));
        }
    }
    drop(hot);
    let batch = filter_record_batch(&batch, &BooleanArray::from(keep))
        .map_err(TableError::arrow("leaving out rows that are in memory"))?;
    if batch.num_rows() == 0 { Ok(None) } else { Chunk::new(owned(&batch)?, layout).map(Some) }
}
