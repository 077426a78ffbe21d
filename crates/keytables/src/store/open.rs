//! Opening a store: the manifest, the keyed store, the journal, the spans, in
//! this order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use pluvio_foundation::{Clock, Disk, Metrics};

use super::commit::{delete_change, fit, upsert_change};
use super::manifest::{Manifest, Shape};
use super::metrics::StoreMetrics;
use super::publish::{Resolved, apply, cold_hits, compact};
use super::{Catalog, CommitState, Inner, MetaChanges};
use crate::block;
use crate::codec::row::RowLayout;
use crate::cold::{self, Cold, ColdView, Meta};
use crate::error::{Result, TableError};
use crate::hot::chunk::chunks_of;
use crate::journal::Journal;
use crate::journal::recovery::recover;
use crate::journal::section::{Section, SpanEnd};
use crate::options::{SpanRetention, StoreOptions};
use crate::span::{Entry, Span, SpanState, segment};
use crate::table::KeyTable;

/// Rows that are read from the keyed store before they become a chunk.
const LOAD_ROWS: usize = 64 << 10;
/// Stored bytes after which a chunk ends early.
const LOAD_BYTES: usize = 32 << 20;

pub(super) fn open(
    folder: &Path,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    options: StoreOptions,
) -> Result<Arc<Inner>> {
    create_durably(&*disk, folder)?;
    create_durably(&*disk, &folder.join("journal"))?;
    create_durably(&*disk, &folder.join("spans"))?;
    // The real folder is for the keyed store; the disk may be another.
    std::fs::create_dir_all(folder).map_err(TableError::io("creating", folder))?;
    let cold = Arc::new(Cold::open(&cold::folder(folder), &options)?);
    let manifest = Manifest::load(&*disk, folder)?;
    let mut meta = cold.read_meta()?;
    let inner = Arc::new(new_inner(folder, &disk, clock, metrics, options, &cold, &meta)?);
    let mut tables = BTreeMap::new();
    for entry in &manifest.entries {
        if let Shape::Table { key, group } = &entry.shape {
            let layout = RowLayout::grouped(&entry.name, Arc::clone(&entry.schema), key, *group)?;
            let table = inner.make_table(entry.id, &entry.name, layout)?;
            let loaded: u64 = tables.values().map(|table: &Arc<KeyTable>| table.bytes()).sum();
            load(&table, meta.rows.get(&entry.id).copied(), inner.options.memory_budget_bytes, loaded)?;
            tables.insert(entry.id, table);
        }
    }
    cold.retain(&tables.keys().copied().collect::<BTreeSet<_>>())?;
    let mut replay = Replay { tables: &tables, meta: &mut meta, changes: MetaChanges::new(), begun: false };
    let applied = replay.meta.applied_seq;
    let (journal, seq) =
        recover(disk, &folder.join("journal"), applied, |seq, sections| replay.frame(seq, sections))?;
    let changes = replay.changes;
    start_from(&inner, journal, seq, changes);
    let mut catalog = Catalog { next_id: manifest.next_id, ..Catalog::default() };
    for entry in &manifest.entries {
        if let Shape::Span { retention } = &entry.shape {
            let span = load_span(&inner, entry, *retention, &meta)?;
            catalog.spans.insert(entry.name.clone(), span);
        }
    }
    remove_dropped_spans(&inner, &manifest)?;
    for table in tables.into_values() {
        inner.metrics.show_table(&table.name, table.len());
        catalog.tables.insert(table.name.clone(), table);
    }
    *inner.notes.write() = meta.notes;
    *inner.catalog.write() = catalog;
    inner.show_memory();
    Ok(inner)
}

/// Makes a folder whose name survives a crash.
fn create_durably(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !disk.exists(path)).collect();
    disk.create_dir_all(folder).map_err(TableError::io("creating", folder))?;
    for parent in missing.iter().rev().filter_map(|path| path.parent()) {
        disk.sync_dir(parent).map_err(TableError::io("syncing", parent))?;
    }
    // A start that was killed may have made it and not come to this.
    if let Some(parent) = folder.parent()
        && missing.is_empty()
        && let Err(error) = disk.sync_dir(parent)
    {
        tracing::debug!(folder = %parent.display(), %error, "the parent folder was not synced");
    }
    Ok(())
}

fn new_inner(
    folder: &Path,
    disk: &Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    options: StoreOptions,
    cold: &Arc<Cold>,
    meta: &Meta,
) -> Result<Inner> {
    // Replaced once the real journal is recovered.
    let journal = Journal::new(Arc::clone(disk), &folder.join("journal"));
    Ok(Inner {
        folder: folder.to_owned(),
        disk: Arc::clone(disk),
        clock,
        options,
        metrics: StoreMetrics::new(metrics),
        running: Mutex::new(None),
        awaited: AtomicU32::new(0),
        commit: Mutex::new(CommitState { journal, seq: 0, meta_changes: MetaChanges::new() }),
        publish: RwLock::new(()),
        catalog: RwLock::default(),
        notes: RwLock::default(),
        holds: Mutex::default(),
        cold: RwLock::new(Some(Arc::clone(cold))),
        committed: AtomicU64::new(meta.applied_seq),
        applied: AtomicU64::new(meta.applied_seq),
        journal_bytes: AtomicU64::new(0),
        uses: Arc::default(),
        closed: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        wake: Mutex::new(false),
        woken: Condvar::new(),
    })
}

fn start_from(inner: &Inner, journal: Journal, seq: u64, meta_changes: MetaChanges) {
    let bytes = journal.bytes();
    *inner.commit.lock() = CommitState { journal, seq, meta_changes };
    inner.committed.store(seq, Ordering::Release);
    inner.journal_bytes.store(bytes, Ordering::Relaxed);
    inner.metrics.journal_bytes.set(bytes);
}

/// Reads a table's rows into memory until the budget is used; the others stay
/// cold.
fn load(table: &KeyTable, rows: Option<u64>, budget: u64, loaded_before: u64) -> Result<()> {
    let view = table.cold.view()?;
    let mut decoder = table.layout.decoder()?;
    let mut stored = view.iter();
    let mut hot = table.hot.write();
    loop {
        let row = stored.next();
        let full = decoder.rows() >= LOAD_ROWS || decoder.bytes() >= LOAD_BYTES;
        if decoder.rows() > 0 && (full || row.is_none()) {
            for chunk in chunks_of(&decoder.finish()?, &table.layout)? {
                hot.upsert(Arc::new(chunk), false);
            }
            if loaded_before + hot.bytes() > budget / 4 * 3 {
                let total = match rows {
                    Some(rows) => rows,
                    None => count(&view)?,
                };
                hot.cold_rows = total.saturating_sub(hot.len() as u64);
                return Ok(());
            }
        }
        let Some(row) = row else { return Ok(()) };
        let (key, value) = row.into_inner().map_err(TableError::store("loading rows"))?;
        decoder.read(&key, &value)?;
    }
}

fn count(view: &ColdView) -> Result<u64> {
    let mut count = 0;
    for row in view.iter() {
        row.key().map_err(TableError::store("counting rows"))?;
        count += 1;
    }
    Ok(count)
}

/// Sets again what the journal says behind the mark.
struct Replay<'a> {
    tables: &'a BTreeMap<u32, Arc<KeyTable>>,
    meta: &'a mut Meta,
    changes: MetaChanges,
    begun: bool,
}

impl Replay<'_> {
    /// Before the first frame: an unfinished checkpoint may have added and
    /// removed rows behind the mark, so that the rows counted at the mark are not
    /// those that are there.
    fn begin(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            for table in self.tables.values().filter(|table| table.is_partial()) {
                let stored = count(&table.cold.view()?)?;
                let mut hot = table.hot.write();
                hot.cold_rows = (stored + hot.cold_rows).saturating_sub(hot.len() as u64);
            }
        }
        Ok(())
    }

    fn frame(&mut self, seq: u64, sections: Vec<Section<'_>>) -> Result<()> {
        self.begin()?;
        let mut resolved = Resolved::new();
        let mut touched = BTreeSet::new();
        for section in sections {
            match section {
                Section::Upsert { table, block } | Section::Delete { table, block } => {
                    // A table that was dropped since is not there any more.
                    let Some(found) = self.tables.get(&table) else { continue };
                    let rows = block::decode(block)?;
                    let change = if matches!(section, Section::Upsert { .. }) {
                        upsert_change(&found.layout, &fit("table", &found.name, &found.layout.schema, rows)?)?
                    } else {
                        found.check_keys(rows.columns())?;
                        delete_change(&found.layout, &rows)?
                    };
                    let hits = cold_hits(found, &change, &mut resolved)?;
                    apply(&mut found.hot.write(), change, &hits, true);
                    found.version.store(seq, Ordering::Release);
                    touched.insert(table);
                }
                Section::Span(span, end) => self.span_end(span, end),
                Section::Note { name, value } => {
                    let value = value.map(Bytes::copy_from_slice);
                    self.changes.insert(cold::note_key(name), value.clone());
                    match value {
                        Some(value) => self.meta.notes.insert(name.to_owned(), value),
                        None => self.meta.notes.remove(name),
                    };
                }
                Section::Hold { span, holder, after_tag } => self.hold(span, holder, after_tag),
            }
        }
        touched.iter().filter_map(|table| self.tables.get(table)).try_for_each(|table| compact(table))
    }

    fn span_end(&mut self, span: u32, end: SpanEnd) {
        let mut value = Vec::new();
        end.encode(&mut value);
        self.changes.insert(cold::span_key(span), Some(value.into()));
        self.meta.span_ends.insert(span, end);
    }

    fn hold(&mut self, span: u32, holder: &str, after_tag: Option<u64>) {
        let value = after_tag.map(|tag| Bytes::copy_from_slice(&tag.to_le_bytes()));
        self.changes.insert(cold::hold_key(span, holder), value);
        match after_tag {
            Some(tag) => self.meta.holds.insert((span, holder.to_owned()), tag),
            None => self.meta.holds.remove(&(span, holder.to_owned())),
        };
    }
}

fn load_span(
    inner: &Arc<Inner>,
    entry: &super::manifest::Entry,
    retention: SpanRetention,
    meta: &Meta,
) -> Result<Arc<Span>> {
    let end = meta.span_ends.get(&entry.id).copied();
    let mut state = SpanState::default();
    for ((span, holder), after_tag) in &meta.holds {
        if *span == entry.id {
            state.holds.insert(holder.clone(), *after_tag);
        }
    }
    let now_ms = inner.clock.now_ms();
    let folder = inner.span_folder(entry.id);
    let found = |tag, time_ms, place, batch: arrow::array::RecordBatch| {
        let (rows, bytes) = (batch.num_rows() as u64, batch.get_array_memory_size() as u64);
        state.push(Entry { tag, time_ms, rows, bytes, place, batch: Some(batch) });
        state.evict(&retention, now_ms);
    };
    let oldest = segment::recover(&*inner.disk, &folder, end.unwrap_or_default(), found)?;
    state.oldest_segment = oldest;
    state.last_tag = end.map(|end| end.last_tag);
    let span = inner.make_span(entry, retention, end.unwrap_or_default(), state);
    span.evict();
    Ok(span)
}

fn remove_dropped_spans(inner: &Inner, manifest: &Manifest) -> Result<()> {
    let folder = inner.folder.join("spans");
    for name in inner.disk.list(&folder).map_err(TableError::io("listing", &folder))? {
        let known = name.parse::<u32>().is_ok_and(|id| {
            manifest.entries.iter().any(|entry| entry.id == id && matches!(entry.shape, Shape::Span { .. }))
        });
        if !known {
            let path = folder.join(&name);
            inner.disk.remove_dir_all(&path).map_err(TableError::io("deleting", &path))?;
        }
    }
    Ok(())
}
