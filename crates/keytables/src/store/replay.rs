//! Sets again, after a start, what the journal says behind the mark.
//!
//! The keyed store may hold some of it already, because a checkpoint was not
//! finished: rows that are set again and keys that are deleted again do no harm.
//! How many rows a table has is what its last frame says. The rows of the frames are
//! all in memory afterwards, so that the others are those only in the keyed store.
//!
//! Frames of version 1 do not say it. Before the first of them that changes a table,
//! its stored rows are counted, and every key is looked for.

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
use crate::journal::section::{Section, SpanEnd};
use crate::table::KeyTable;

/// See the module.
pub(super) struct Replay<'a> {
    tables: &'a BTreeMap<u32, Arc<KeyTable>>,
    meta: &'a mut Meta,
    changes: MetaChanges,
    /// Tables whose rows are counted, by the mark or since.
    counted: BTreeSet<u32>,
    /// Tables whose stored rows were counted for frames of version 1.
    scanned: BTreeSet<u32>,
}

impl<'a> Replay<'a> {
    /// Before the first frame.
    pub(super) fn new(tables: &'a BTreeMap<u32, Arc<KeyTable>>, meta: &'a mut Meta) -> Self {
        let counted = meta.rows.keys().copied().collect();
        Self { tables, meta, changes: MetaChanges::new(), counted, scanned: BTreeSet::new() }
    }

    /// Sets one frame.
    pub(super) fn frame(&mut self, seq: u64, sections: Vec<Section<'_>>) -> Result<()> {
        let mut rows = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for section in sections {
            match section {
                Section::Rows { table, rows: count } => {
                    rows.insert(table, count);
                }
                Section::Upsert { table, block } | Section::Delete { table, block } => {
                    // A table that was dropped since is not there any more.
                    let Some(found) = self.tables.get(&table) else { continue };
                    let is_upsert = matches!(section, Section::Upsert { .. });
                    self.change(found, change(found, block, is_upsert)?, rows.contains_key(&table))?;
                    found.version.store(seq, Ordering::Release);
                    touched.insert(table);
                }
                Section::Span(span, end) => self.span_end(span, end),
                Section::Note { name, value } => self.note(name, value),
                Section::Hold { span, holder, after_tag } => self.hold(span, holder, after_tag),
            }
        }
        for table in touched.iter().filter_map(|table| self.tables.get(table)) {
            compact(table)?;
            if let Some(rows) = rows.get(&table.id) {
                table.hot.write().set_len(*rows);
                self.counted.insert(table.id);
            }
        }
        Ok(())
    }

    /// Behind the last frame: counts tables of which nothing told how many rows they
    /// have. Returns what the next checkpoint is to write to the meta data.
    pub(super) fn finish(self) -> Result<MetaChanges> {
        for table in self.tables.values().filter(|table| !self.counted.contains(&table.id)) {
            let stored = count(&table.cold.view()?)?;
            table.hot.write().cold_rows = stored;
        }
        Ok(self.changes)
    }

    fn change(&mut self, table: &KeyTable, change: Change, is_counted: bool) -> Result<()> {
        let effect = if is_counted {
            Effect::of_replay(&change)
        } else {
            if self.scanned.insert(table.id) {
                let stored = count(&table.cold.view()?)?;
                table.hot.write().cold_rows = stored;
                self.counted.insert(table.id);
            }
            effect(table, &change)?
        };
        apply(&mut table.hot.write(), change, &effect);
        Ok(())
    }

    fn note(&mut self, name: &str, value: Option<&[u8]>) {
        let value = value.map(Bytes::copy_from_slice);
        self.changes.insert(cold::note_key(name), value.clone());
        match value {
            Some(value) => self.meta.notes.insert(name.to_owned(), value),
            None => self.meta.notes.remove(name),
        };
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
