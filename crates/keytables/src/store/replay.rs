//! Sets again, after a start, what the journal says behind the mark.
//!
//! The keyed store may hold some of it already, because a checkpoint was not
//! finished: rows that are set again and keys that are deleted again do no harm.
//! How many rows a table has is told by the frame behind the one that changed it. The
//! rows of the frames are all in memory afterwards, so that the others are those only
//! in the keyed store. Behind the last frame there is none; but no checkpoint has
//! begun since, so that its keys can be looked for in the keyed store.
//!
//! Frames of earlier versions are dealt with otherwise. Before the first of them that
//! changes a table, its stored rows are counted, and every key is looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::MetaChanges;
use super::commit::{Change, delete_change, fit, upsert_change};
use super::publish::{apply, compact};
use super::resolve::{Effect, effect};
use crate::block;
use crate::cold::{self, ColdView, Meta};
use crate::error::{Result, TableError};
use crate::hot::Origin;
use crate::journal::recovery::Frame;
use crate::journal::section::{Section, SpanEnd, decode_body};
use crate::table::KeyTable;

/// See the module.
pub(super) struct Replay<'a> {
    tables: &'a BTreeMap<u32, Arc<KeyTable>>,
    meta: &'a mut Meta,
    meta_changes: MetaChanges,
    /// The frame that was read last: whether it is the last of all is not known yet.
    held: Option<Frame>,
    /// Tables that the frames changed.
    changed: BTreeMap<u32, Arc<KeyTable>>,
    /// Tables whose rows are counted, by the mark or since.
    counted: BTreeSet<u32>,
    /// Tables whose stored rows were counted for frames of earlier versions.
    scanned: BTreeSet<u32>,
}

impl<'a> Replay<'a> {
    /// Before the first frame.
    pub(super) fn new(tables: &'a BTreeMap<u32, Arc<KeyTable>>, meta: &'a mut Meta) -> Self {
        let counted = meta.rows.keys().copied().collect();
        Self {
            tables,
            meta,
            meta_changes: MetaChanges::new(),
            held: None,
            changed: BTreeMap::new(),
            counted,
            scanned: BTreeSet::new(),
        }
    }

    /// Takes one frame, and sets the one before.
    pub(super) fn frame(&mut self, frame: Frame) -> Result<()> {
        match self.held.replace(frame) {
            Some(before) => self.set(&before, !before.counts),
            None => Ok(()),
        }
    }

    /// Sets a frame; its keys are `looked_for` if nothing behind it counts them.
    fn set(&mut self, frame: &Frame, looked_for: bool) -> Result<()> {
        let sections = decode_body(&frame.body).map(|(_, sections)| sections);
        let mut touched = BTreeMap::new();
        for section in sections.unwrap_or_default() {
            match section {
                Section::Rows { table, rows } => self.count(table, rows),
                Section::RowsAfter => {}
                Section::Upsert { table, block } | Section::Delete { table, block } => {
                    // A table that was dropped since is not there any more.
                    let Some(found) = self.tables.get(&table) else { continue };
                    let is_upsert = matches!(section, Section::Upsert { .. });
                    if !frame.counts || (looked_for && !self.counted.contains(&found.id)) {
                        self.scan(found)?;
                    }
                    let change = change(found, block, is_upsert)?;
                    let effect =
                        if looked_for { effect(found, &change)? } else { Effect::of_replay(&change) };
                    apply(&mut found.hot.write(), change, &effect, Origin::Changed);
                    found.version.store(frame.seq, Ordering::Release);
                    touched.insert(table, Arc::clone(found));
                }
                Section::Span(span, end) => self.span_end(span, end),
                Section::Note { name, value } => self.note(name, value),
                Section::Hold { span, holder, after_tag } => self.hold(span, holder, after_tag),
            }
        }
        for table in touched.values() {
            compact(table)?;
        }
        self.changed.append(&mut touched);
        Ok(())
    }

    /// Behind the last frame. Returns what the next checkpoint is to write to the meta
    /// data, and the tables whose rows the next frame is to count.
    pub(super) fn finish(mut self) -> Result<(MetaChanges, BTreeMap<u32, Arc<KeyTable>>)> {
        if let Some(last) = self.held.take() {
            self.set(&last, true)?;
        }
        for table in self.tables.values() {
            if !self.counted.contains(&table.id) {
                self.scan(table)?;
            }
        }
        Ok((self.meta_changes, self.changed))
    }

    fn count(&mut self, table: u32, rows: u64) {
        if let Some(table) = self.tables.get(&table) {
            table.hot.write().set_len(rows);
            self.counted.insert(table.id);
        }
    }

    /// Counts the stored rows of a table, once.
    fn scan(&mut self, table: &KeyTable) -> Result<()> {
        if self.scanned.insert(table.id) {
            let stored = count(&table.cold.view()?)?;
            table.hot.write().cold_rows = stored;
            self.counted.insert(table.id);
        }
        Ok(())
    }

    fn note(&mut self, name: &str, value: Option<&[u8]>) {
        let value = value.map(Bytes::copy_from_slice);
        self.meta_changes.insert(cold::note_key(name), value.clone());
        match value {
            Some(value) => self.meta.notes.insert(name.to_owned(), value),
            None => self.meta.notes.remove(name),
        };
    }

    fn span_end(&mut self, span: u32, end: SpanEnd) {
        let mut value = Vec::new();
        end.encode(&mut value);
        self.meta_changes.insert(cold::span_key(span), Some(value.into()));
        self.meta.span_ends.insert(span, end);
    }

    fn hold(&mut self, span: u32, holder: &str, after_tag: Option<u64>) {
        let value = after_tag.map(|tag| Bytes::copy_from_slice(&tag.to_le_bytes()));
        self.meta_changes.insert(cold::hold_key(span, holder), value);
        match after_tag {
            Some(tag) => self.meta.holds.insert((span, holder.to_owned()), tag),
            None => self.meta.holds.remove(&(span, holder.to_owned())),
        };
    }
}

/// The change that a section tells of.
fn change(table: &KeyTable, block: &[u8], is_upsert: bool) -> Result<Change> {
    let rows = block::decode(block)?;
    if is_upsert {
        return upsert_change(&table.layout, &fit("table", &table.name, &table.layout.schema, rows)?);
    }
    table.check_keys(rows.columns())?;
    delete_change(&table.layout, &rows)
}

fn count(view: &ColdView) -> Result<u64> {
    let mut count = 0;
    for row in view.iter() {
        row.key().map_err(TableError::store("counting rows"))?;
        count += 1;
    }
    Ok(count)
}
