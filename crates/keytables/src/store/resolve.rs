//! What a change does to a table, found out before it is applied: how many rows
//! there will be, and which of its keys are only in the keyed store.
//!
//! The number of rows goes into the commit's frame, so that a start needs not count
//! anything. A table that a commit changes once is dealt with fast: only keys that
//! are not in memory are looked at one by one. If there are several changes, or one
//! in several parts, later ones must know what earlier ones did to their keys: an
//! [`Overlay`] remembers that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::commit::Change;
use crate::codec::key::{self, EncodedKeys};
use crate::cold_lookup;
use crate::error::Result;
use crate::hot::index::{Location, NOWHERE};
use crate::hot::keys::Keys;
use crate::table::KeyTable;

/// What a change finds, and what it does.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// Rows that are only in the keyed store before it.
    pub(super) cold: usize,
    /// Those of their keys that it deletes.
    pub(super) cold_deleted: Vec<Box<[u8]>>,
    /// By how many rows the table grows.
    growth: i64,
}

impl Effect {
    /// Of a change that is set again when the table's rows are counted otherwise:
    /// what it deletes may be stored, what it sets may be, too.
    pub(super) fn of_replay(change: &Change) -> Self {
        let Change::Delete { encoded, .. } = change else { return Self::default() };
        let cold_deleted = (0..encoded.len()).map(|row| encoded.get(row).into()).collect();
        Self { cold_deleted, ..Self::default() }
    }
}

/// Keys that earlier changes of the commit had to do with: whether they are there
/// now.
type Overlay = HashMap<Box<[u8]>, bool, ahash::RandomState>;

/// What the changes of a commit do, and how many rows each table then has.
pub(super) fn effects(changes: &[(Arc<KeyTable>, Change)]) -> Result<(Vec<Effect>, BTreeMap<u32, u64>)> {
    let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
    for (table, change) in changes {
        *parts.entry(table.id).or_default() += change.parts();
    }
    let mut overlays: BTreeMap<u32, Overlay> = BTreeMap::new();
    let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
    let mut effects = Vec::with_capacity(changes.len());
    for (table, change) in changes {
        let overlay = (parts[&table.id] > 1).then(|| overlays.entry(table.id).or_default());
        let effect = resolve(table, change, overlay)?;
        let count = rows.entry(table.id).or_insert(table.len() as u64);
        *count = count.saturating_add_signed(effect.growth);
        effects.push(effect);
    }
    Ok((effects, rows))
}

/// What one change does to its table as it is now.
pub(super) fn effect(table: &KeyTable, change: &Change) -> Result<Effect> {
    let mut overlay = Overlay::default();
    resolve(table, change, (change.parts() > 1).then_some(&mut overlay))
}

fn resolve(table: &KeyTable, change: &Change, mut overlay: Option<&mut Overlay>) -> Result<Effect> {
    let mut effect = Effect::default();
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
        let (found, is_partial) = {
            let hot = self.table.hot.read();
            (hot.index.find(&hot.slots, self.probe), hot.cold_rows > 0)
        };
        if let Some(overlay) = overlay {
            let rows = (0..found.len()).collect();
            return self.look(&*encode()?, rows, &found, Some(overlay), effect);
        }
        if self.deletes {
            let mut there: Vec<Location> = found.iter().copied().filter(|at| *at != NOWHERE).collect();
            there.sort_unstable();
            there.dedup();
            effect.growth -= there.len() as i64;
        }
        let absent: Vec<usize> = (0..found.len()).filter(|row| found[*row] == NOWHERE).collect();
        if is_partial && !absent.is_empty() {
            return self.look(&*encode()?, absent, &found, None, effect);
        }
        if !self.deletes {
            effect.growth += self.table.hot.read().index.distinct(self.probe, absent) as i64;
        }
        Ok(())
    }

    /// Looks at keys one by one, each once, in order.
    fn look(
        &self,
        encoded: &EncodedKeys,
        mut rows: Vec<usize>,
        found: &[Location],
        mut overlay: Option<&mut Overlay>,
        effect: &mut Effect,
    ) -> Result<()> {
        encoded.sort(&mut rows);
        rows.dedup_by(|a, b| encoded.get(*a) == encoded.get(*b));
        let stored = self.stored(encoded, &rows, found, overlay.as_deref())?;
        for row in rows {
            let key = encoded.get(row);
            let known = overlay.as_ref().and_then(|overlay| overlay.get(key).copied());
            let is_stored = stored.contains(&row);
            effect.cold += usize::from(is_stored);
            if is_stored && self.deletes {
                effect.cold_deleted.push(key.into());
            }
            let there = known.unwrap_or(found[row] != NOWHERE || is_stored);
            effect.growth += i64::from(!self.deletes) - i64::from(there);
            if let Some(overlay) = &mut overlay {
                overlay.insert(key.into(), !self.deletes);
            }
        }
        Ok(())
    }

    /// Which of these rows, ascending by key, are only in the keyed store.
    fn stored(
        &self,
        encoded: &EncodedKeys,
        rows: &[usize],
        found: &[Location],
        overlay: Option<&Overlay>,
    ) -> Result<HashSet<usize, ahash::RandomState>> {
        let mut stored = HashSet::default();
        let mut ask = Vec::new();
        let hot = self.table.hot.read();
        if hot.cold_rows == 0 {
            return Ok(stored);
        }
        let remembered = self.table.recent.lock();
        let mut recent = remembered.as_ref().and_then(|recent| recent.reader(self.table.version()));
        for row in rows.iter().copied().filter(|row| found[*row] == NOWHERE) {
            let key = encoded.get(row);
            if overlay.is_some_and(|overlay| overlay.contains_key(key)) || hot.is_deleted(key) {
                continue;
            }
            match recent.as_mut().and_then(|recent| recent.find(key)) {
                None => ask.push(row),
                Some(true) => stored.extend([row]),
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
