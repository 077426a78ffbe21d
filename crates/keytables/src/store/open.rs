//! Opening a store: the manifest, the keyed store, the journal, the spans, in
//! this order.
//!
//! How long that takes does not depend on how many rows there are: a table begins
//! with all its rows in the keyed store and none in memory, and how many it has is
//! told by the last checkpoint and by the journal's frames. Rows come to memory
//! with the journal, with commits, and in the background (load).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};
use pluvio_foundation::{Clock, Disk, Metrics};

use super::manifest::{Manifest, Shape};
use super::metrics::StoreMetrics;
use super::replay::Replay;
use super::{Catalog, CommitState, Inner, MetaChanges};
use crate::codec::row::RowLayout;
use crate::cold::{self, Cold, Meta};
use crate::error::{Result, TableError};
use crate::journal::Journal;
use crate::journal::recovery::recover;
use crate::options::{SpanRetention, StoreOptions};
use crate::span::{Entry, Span, SpanState, segment};

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
            table.hot.write().cold_rows = meta.rows.get(&entry.id).copied().unwrap_or(0);
            tables.insert(entry.id, table);
        }
    }
    cold.retain(&tables.keys().copied().collect::<BTreeSet<_>>())?;
    let applied = meta.applied_seq;
    let mut replay = Replay::new(&tables, &mut meta);
    let (journal, seq) = recover(disk, &folder.join("journal"), applied, |frame| replay.frame(frame))?;
    let (meta_changes, changed) = replay.finish()?;
    start_from(&inner, CommitState { journal, seq, meta_changes, changed });
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
        writing: Mutex::default(),
        awaited: AtomicU32::new(0),
        commit: Mutex::new(CommitState {
            journal,
            seq: 0,
            meta_changes: MetaChanges::new(),
            changed: BTreeMap::new(),
        }),
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

fn start_from(inner: &Inner, state: CommitState) {
    let bytes = state.journal.bytes();
    inner.committed.store(state.seq, Ordering::Release);
    *inner.commit.lock() = state;
    inner.journal_bytes.store(bytes, Ordering::Relaxed);
    inner.metrics.journal_bytes.set(bytes);
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
