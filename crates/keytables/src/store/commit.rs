//! Collecting a commit: rows are checked, encoded and indexed for the disk and
//! for memory here, before the one-at-a-time part begins.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::Inner;
use super::ddl::check_name;
use crate::block;
use crate::codec::key::{self, EncodedKeys};
use crate::codec::row::RowLayout;
use crate::error::{Result, TableError};
use crate::hot::chunk::{Chunk, chunks_of};
use crate::hot::keys::{KeyShape, Keys};
use crate::journal::section::Section;
use crate::span::Span;
use crate::span::segment::Record;
use crate::table::KeyTable;

/// A change to one table, ready for memory.
#[derive(Debug)]
pub(crate) enum Change {
    /// Rows that replace those of the same keys.
    Upsert(Vec<Arc<Chunk>>),
    /// Keys that go.
    Delete { probe: Keys, encoded: EncodedKeys },
}

impl Change {
    /// Of how many parts it is, each with its own keys.
    pub(super) fn parts(&self) -> usize {
        match self {
            Self::Upsert(chunks) => chunks.len(),
            Self::Delete { .. } => 1,
        }
    }
}

/// Rows for a span, ready for disk and memory.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) record: Record,
    pub(crate) batch: RecordBatch,
}

/// Changes that become true together, or not at all.
///
/// Later changes to the same key win over earlier ones. Wrong input is
/// remembered and reported by [`Commit::commit`].
#[derive(Debug)]
pub struct Commit {
    store: Arc<Inner>,
    pub(super) changes: Vec<(Arc<KeyTable>, Change)>,
    pub(super) appends: Vec<(Arc<Span>, Vec<Append>)>,
    pub(super) notes: Vec<(String, Option<Bytes>)>,
    /// The sections for tables and notes, as they go to the journal.
    pub(super) sections: Vec<u8>,
    pub(super) memory_bytes: u64,
    error: Option<TableError>,
}

impl Commit {
    pub(super) fn new(store: Arc<Inner>) -> Self {
        Self {
            store,
            changes: Vec::new(),
            appends: Vec::new(),
            notes: Vec::new(),
            sections: Vec::new(),
            memory_bytes: 0,
            error: None,
        }
    }

    /// Sets whole rows: those of the same keys are replaced, others added. Of
    /// several rows with one key the last counts. The batch has the table's
    /// columns in order; names are not compared.
    pub fn upsert(&mut self, table: &Arc<KeyTable>, rows: RecordBatch) {
        let done = self.try_upsert(table, rows);
        self.note_error(done);
    }

    /// Removes keys; those that are not there do not matter. The batch has the
    /// key columns in key order.
    pub fn delete(&mut self, table: &Arc<KeyTable>, keys: RecordBatch) {
        let done = self.try_delete(table, &keys);
        self.note_error(done);
    }

    /// Appends rows to a span under a tag, which must not be lower than the last
    /// one. An empty batch only moves the span's last tag.
    pub fn append(&mut self, span: &Arc<Span>, tag: u64, rows: RecordBatch) {
        let done = self.try_append(span, tag, rows);
        self.note_error(done);
    }

    /// Sets a named value, or removes it.
    pub fn note(&mut self, name: &str, value: Option<Bytes>) {
        if let Err(error) = check_name("note", name) {
            return self.note_error(Err(error));
        }
        Section::Note { name, value: value.as_deref() }.encode(&mut self.sections);
        self.notes.push((name.to_owned(), value));
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.appends.is_empty() && self.notes.is_empty() && self.error.is_none()
    }

    /// Makes everything collected true and durable, and returns the sequence
    /// number. On an error nothing of it is true; after `DiskFull` the same
    /// changes may be committed anew once there is space. Only if an `Io` error
    /// is followed by a crash before the next commit can the commit turn out to
    /// be durable after all: whoever must know looks at a note of his own.
    pub fn commit(mut self) -> Result<u64> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let store = Arc::clone(&self.store);
        store.commit(self)
    }

    fn note_error(&mut self, done: Result<()>) {
        if let Err(error) = done {
            self.error.get_or_insert(error);
        }
    }

    fn try_upsert(&mut self, table: &Arc<KeyTable>, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = fit("table", &table.name, &table.layout.schema, rows)?;
        let change = upsert_change(&table.layout, &rows)?;
        if let Change::Upsert(chunks) = &change {
            self.memory_bytes += chunks.iter().map(|chunk| chunk.bytes as u64).sum::<u64>();
        }
        self.put_rows(&rows, |block| Section::Upsert { table: table.id, block })?;
        self.changes.push((Arc::clone(table), change));
        Ok(())
    }

    fn try_delete(&mut self, table: &Arc<KeyTable>, keys: &RecordBatch) -> Result<()> {
        if keys.num_rows() == 0 {
            return Ok(());
        }
        table.check_keys(keys.columns())?;
        let change = delete_change(&table.layout, keys)?;
        self.put_rows(keys, |block| Section::Delete { table: table.id, block })?;
        self.changes.push((Arc::clone(table), change));
        Ok(())
    }

    fn try_append(&mut self, span: &Arc<Span>, tag: u64, rows: RecordBatch) -> Result<()> {
        let batch = crate::hot::chunk::owned(&fit("span", &span.name, &span.schema, rows)?)?;
        let append = Append { record: Record::new(tag, self.store.clock.now_ms(), &batch)?, batch };
        match self.appends.iter_mut().find(|(its, _)| Arc::ptr_eq(its, span)) {
            Some((_, appends)) => appends.push(append),
            None => self.appends.push((Arc::clone(span), vec![append])),
        }
        Ok(())
    }

    /// Encodes rows into a section.
    fn put_rows(
        &mut self,
        rows: &RecordBatch,
        section: impl FnOnce(&'static [u8]) -> Section<'static>,
    ) -> Result<()> {
        // The section of no rows, whose length field is then set.
        section(&[]).encode(&mut self.sections);
        let at = self.sections.len() - 8;
        let length = block::encode(rows, &mut self.sections)? as u64;
        self.sections[at..at + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

/// Rows for memory.
pub(super) fn upsert_change(layout: &RowLayout, rows: &RecordBatch) -> Result<Change> {
    let chunks = chunks_of(rows, layout)?;
    for chunk in &chunks {
        chunk.keys.check_lengths()?;
    }
    Ok(Change::Upsert(chunks.into_iter().map(Arc::new).collect()))
}

/// Deleted keys for memory.
pub(super) fn delete_change(layout: &RowLayout, keys: &RecordBatch) -> Result<Change> {
    let encoded = key::encode(keys.columns())?;
    let probe = match layout.shape {
        KeyShape::Encoded => {
            Keys { column: crate::hot::keys::KeyColumn::Encoded(encoded.clone()), nulls: None }
        }
        shape => Keys::of(shape, keys.columns())?,
    };
    Ok(Change::Delete { probe, encoded })
}

/// The rows under the schema they are stored with.
pub(super) fn fit(
    what: &'static str,
    name: &str,
    schema: &SchemaRef,
    rows: RecordBatch,
) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows);
    }
    let invalid = |detail: String| TableError::Invalid { what, name: name.to_owned(), detail };
    if rows.num_columns() != schema.fields().len() {
        let (given, wanted) = (rows.num_columns(), schema.fields().len());
        return Err(invalid(format!("the rows have {given} columns, {wanted} are needed, in order")));
    }
    RecordBatch::try_new(Arc::clone(schema), rows.columns().to_vec())
        .map_err(|error| invalid(format!("the rows do not fit its columns: {error}")))
}
