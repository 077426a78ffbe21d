//! Which keys of a change are only in the keyed store, found out before it is
//! applied. A table that is all in memory has none, and costs nothing here.
//!
//! Only keys that are not in memory are looked at one by one. If a commit changes a
//! table several times, or once in several parts, later ones must know what earlier
//! ones did to their keys: an [`Overlay`] remembers that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::commit::Change;
use crate::codec::key::{self, EncodedKeys};
use crate::cold_lookup;
use crate::error::Result;
use crate::hot::index::NOWHERE;
use crate::hot::keys::Keys;
use crate::table::KeyTable;

/// What a change finds.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// Rows that are only in the keyed store before it.
    pub(super) cold: usize,
    /// Those of their keys that it deletes.
    pub(super) cold_deleted: Vec<Box<[u8]>>,
}

impl Effect {
    /// Of a change that is set again when the table's rows are counted otherwise:
    /// what it deletes may be stored, what it sets may be, too.
    pub(super) fn of_replay(change: &Change) -> Self {
        let Change::Delete { encoded, .. } = change else { return Self::default() };
        let cold_deleted = (0..encoded.len()).map(|row| encoded.get(row).into()).collect();
        Self { cold: 0, cold_deleted }
    }
}

/// Keys that earlier changes of the commit had to do with: they are not only in the
/// keyed store any more.
type Overlay = HashSet<Box<[u8]>, ahash::RandomState>;

/// What the changes of a commit find.
pub(super) fn effects(changes: &[(Arc<KeyTable>, Change)]) -> Result<Vec<Effect>> {
    let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
    for (table, change) in changes {
        *parts.entry(table.id).or_default() += change.parts();
    }
    let mut overlays: BTreeMap<u32, Overlay> = BTreeMap::new();
    let mut resolve = |(table, change): &(Arc<KeyTable>, Change)| {
        let overlay = (parts[&table.id] > 1).then(|| overlays.entry(table.id).or_default());
        resolve(table, change, overlay)
    };
    changes.iter().map(&mut resolve).collect()
}

/// What one change finds in its table as it is now.
pub(super) fn effect(table: &KeyTable, change: &Change) -> Result<Effect> {
    let mut overlay = Overlay::default();
    resolve(table, change, (change.parts() > 1).then_some(&mut overlay))
}

fn resolve(table: &KeyTable, change: &Change, mut overlay: Option<&mut Overlay>) -> Result<Effect> {
    let mut effect = Effect::default();
    if !table.is_partial() {
        return Ok(effect);
    }
    match change {
        Change::Delete { probe, encoded } => {
            let part = Part { table, probe, deletes: true };
            part.resolve(&mut effect, overlay, || Ok(Cow::Borrowed(encoded)))?;
        }
        Change::Upsert(chunks) => {
            for chunk in chunks {
                let part = Part { table, probe: &chunk.keys, deletes: false };
                let encode = || key::encode(&table.layout.key_columns(&chunk.batch)).map(Cow::Owned);
                part.resolve(&mut effect, overlay.as_deref_mut(), encode)?;
            }
        }
    }
    Ok(effect)
}

/// Keys that are set or deleted together. The table's lock is not held while the
/// keyed store is asked: whoever commits is the only one who changes rows.
struct Part<'a> {
    table: &'a KeyTable,
    probe: &'a Keys,
    deletes: bool,
}

impl<'a> Part<'a> {
    fn resolve(
        &self,
        effect: &mut Effect,
        overlay: Option<&mut Overlay>,
        encode: impl FnOnce() -> Result<Cow<'a, EncodedKeys>>,
    ) -> Result<()> {
        let found = {
            let hot = self.table.hot.read();
            hot.index.find(&hot.slots, self.probe)
        };
        let absent: Vec<usize> = (0..found.len()).filter(|row| found[*row] == NOWHERE).collect();
        match absent.is_empty() {
            true => Ok(()),
            false => self.look(&*encode()?, absent, overlay, effect),
        }
    }

    /// Looks at keys that are not in memory one by one, each once, in order.
    fn look(
        &self,
        encoded: &EncodedKeys,
        mut rows: Vec<usize>,
        overlay: Option<&mut Overlay>,
        effect: &mut Effect,
    ) -> Result<()> {
        encoded.sort(&mut rows);
        rows.dedup_by(|a, b| encoded.get(*a) == encoded.get(*b));
        let stored = self.stored(encoded, &rows, overlay.as_deref())?;
        effect.cold += stored.len();
        if self.deletes {
            effect.cold_deleted.extend(stored.iter().map(|row| encoded.get(*row).into()));
        }
        if let Some(overlay) = overlay {
            overlay.extend(rows.into_iter().map(|row| encoded.get(row).into()));
        }
        Ok(())
    }

    /// Which of these rows, ascending by key, are only in the keyed store.
    fn stored(&self, encoded: &EncodedKeys, rows: &[usize], overlay: Option<&Overlay>) -> Result<Vec<usize>> {
        let mut stored = Vec::new();
        let mut ask = Vec::new();
        let hot = self.table.hot.read();
        let remembered = self.table.recent.lock();
        let mut recent = remembered.as_ref().and_then(|recent| recent.reader(self.table.version()));
        for row in rows.iter().copied() {
            let key = encoded.get(row);
            if overlay.is_some_and(|overlay| overlay.contains(key)) || hot.is_deleted(key) {
                continue;
            }
            match recent.as_mut().and_then(|recent| recent.find(key)) {
                None => ask.push(row),
                Some(true) => stored.push(row),
                Some(false) => {}
            }
        }
        drop((remembered, hot));
        // Taken now: deletions that were settled since are in it.
        let there = cold_lookup::contains(&self.table.cold.view()?, encoded, &ask)?;
        stored.extend(ask.into_iter().zip(there).filter(|(_, there)| *there).map(|(row, _)| row));
        Ok(stored)
    }
}
