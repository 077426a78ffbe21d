//! A table at one instant: immutable, whatever is committed meanwhile.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;

use crate::codec::row::{RowDecoder, RowLayout};
use crate::cold::ColdView;
use crate::error::{Result, TableError};
use crate::hot::bits::Bits;
use crate::hot::chunk::Chunk;
use crate::hot::index::{Index, NOWHERE};
use crate::hot::keys::Keys;
use crate::hot::{Hot, KeySet};

/// Rows of one batch read from the keyed store.
const COLD_BATCH_ROWS: usize = 8192;
/// Stored bytes after which such a batch ends early.
const COLD_BATCH_BYTES: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub struct TableSnapshot {
    layout: Arc<RowLayout>,
    parts: Vec<Part>,
    cold: Option<Cold>,
    rows: usize,
    version: u64,
}

#[derive(Debug)]
struct Part {
    chunk: Arc<Chunk>,
    live: Arc<Bits>,
    live_count: usize,
}

/// The rows that are not in memory: those of the keyed store whose key is
/// neither in memory nor deleted.
#[derive(Debug)]
struct Cold {
    view: Result<ColdView>,
    deleted: Arc<KeySet>,
    deleting: Arc<KeySet>,
}

impl TableSnapshot {
    pub(crate) fn new(
        layout: Arc<RowLayout>,
        hot: &Hot,
        view: impl FnOnce() -> Result<ColdView>,
        version: u64,
    ) -> Self {
        let mut parts = Vec::with_capacity(hot.slots.len());
        for (chunk, rows) in hot.slots.iter().zip(&hot.rows) {
            if let Some(chunk) = chunk {
                let chunk = Arc::clone(chunk);
                parts.push(Part { chunk, live: Arc::clone(&rows.live), live_count: rows.live_count });
            }
        }
        let cold = (hot.cold_rows > 0).then(|| Cold {
            view: view(),
            deleted: Arc::clone(&hot.deleted),
            deleting: Arc::clone(&hot.deleting),
        });
        Self { layout, parts, cold, rows: hot.len(), version }
    }

    /// All columns of the table.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether some rows are not in memory.
    pub fn is_partial(&self) -> bool {
        self.cold.is_some()
    }

    /// [`crate::KeyTable::version`] at that instant.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All rows, with the columns at `projection` (all if none), in no order.
    /// Fails only where rows must be read from the keyed store, or for a column
    /// that does not exist.
    pub fn batches(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        self.scan(projection).collect()
    }

    /// The same rows, batch by batch; nothing is copied or read before it is
    /// asked for.
    pub fn scan(&self, projection: Option<&[usize]>) -> TableScan<'_> {
        TableScan { snapshot: self, projection: projection.map(<[usize]>::to_vec), next: 0, cold: None }
    }

    fn part(&self, part: &Part, projection: Option<&[usize]>) -> Result<RecordBatch> {
        let batch = project(&part.chunk.batch, projection)?;
        if part.live_count == part.chunk.rows() {
            return Ok(batch);
        }
        filter_record_batch(&batch, &part.live.to_array()).map_err(TableError::arrow("leaving dead rows out"))
    }

    /// The chunks with an index of their own, to tell which stored rows are
    /// also, and newer, in memory.
    fn own_index(&self) -> (Vec<Option<Arc<Chunk>>>, Index) {
        let slots: Vec<_> = self.parts.iter().map(|part| Some(Arc::clone(&part.chunk))).collect();
        let mut index = Index::default();
        for (slot, part) in self.parts.iter().enumerate() {
            index.insert_live(&slots, slot, part.live.ones());
        }
        (slots, index)
    }
}

fn project(batch: &RecordBatch, projection: Option<&[usize]>) -> Result<RecordBatch> {
    match projection {
        None => Ok(batch.clone()),
        Some(columns) => batch.project(columns).map_err(TableError::arrow("choosing columns of a table")),
    }
}

/// The rows of a [`TableSnapshot`], batch by batch.
pub struct TableScan<'a> {
    snapshot: &'a TableSnapshot,
    projection: Option<Vec<usize>>,
    next: usize,
    cold: Option<ColdScan<'a>>,
}

impl std::fmt::Debug for TableScan<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TableScan").field("next", &self.next).finish_non_exhaustive()
    }
}

struct ColdScan<'a> {
    rows: fjall::Iter,
    decoder: RowDecoder<'a>,
    slots: Vec<Option<Arc<Chunk>>>,
    index: Index,
    cold: &'a Cold,
    done: bool,
}

impl Iterator for TableScan<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(part) = self.snapshot.parts.get(self.next) {
            self.next += 1;
            if part.live_count > 0 {
                return Some(self.snapshot.part(part, self.projection.as_deref()));
            }
        }
        let batch = self.next_cold().transpose()?;
        if batch.is_err() {
            // The scan ends with its first error.
            if let Some(cold) = &mut self.cold {
                cold.done = true;
            }
        }
        Some(batch.and_then(|batch| project(&batch, self.projection.as_deref())))
    }
}

impl<'a> TableScan<'a> {
    fn next_cold(&mut self) -> Result<Option<RecordBatch>> {
        let Some(cold) = &self.snapshot.cold else { return Ok(None) };
        if self.cold.is_none() {
            let Ok(view) = &cold.view else { return Err(TableError::Closed) };
            let (slots, index) = self.snapshot.own_index();
            let decoder = self.snapshot.layout.decoder()?;
            self.cold = Some(ColdScan { rows: view.iter(), decoder, slots, index, cold, done: false });
        }
        match &mut self.cold {
            Some(scan) => scan.next_batch(&self.snapshot.layout),
            None => Ok(None),
        }
    }
}

impl ColdScan<'_> {
    /// The next stored rows that are not in memory.
    fn next_batch(&mut self, layout: &RowLayout) -> Result<Option<RecordBatch>> {
        while !self.done {
            while !self.done
                && self.decoder.rows() < COLD_BATCH_ROWS
                && self.decoder.bytes() < COLD_BATCH_BYTES
            {
                let Some(row) = self.rows.next() else {
                    self.done = true;
                    break;
                };
                let (key, value) = row.into_inner().map_err(TableError::store("reading rows"))?;
                if !self.cold.deleted.contains(&*key) && !self.cold.deleting.contains(&*key) {
                    self.decoder.read(&key, &value)?;
                }
            }
            if self.decoder.rows() == 0 {
                continue;
            }
            let batch = self.decoder.finish()?;
            let keys = Keys::of(layout.shape, &layout.key_columns(&batch))?;
            let found = self.index.find(&self.slots, &keys);
            let only_here = found.iter().map(|at| Some(*at == NOWHERE)).collect();
            let batch = filter_record_batch(&batch, &only_here)
                .map_err(TableError::arrow("leaving out rows that are in memory"))?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}
