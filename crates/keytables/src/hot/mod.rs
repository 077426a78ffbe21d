//! The rows of one table in memory: chunks, which of their rows live, and the
//! index from key to row.
//!
//! Only commits and the checkpoint change it, one at a time, under the write
//! lock of the table; readers hold the read lock just long enough to find rows
//! or to take a snapshot. In a grouped table a second index finds the rows of a
//! group, dead ones included, which whoever looks leaves out.
//!
//! Invariants: a key is in the index exactly if one live row has it; a row is
//! dirty only while it lives and its newest value is not yet in the keyed store;
//! a key in neither the index nor `deleted` / `deleting` has in the keyed store
//! exactly the value it has in the table; a new row is dirty, and once `deleted` and
//! `deleting` are settled the keyed store does not have its key, so that it can be
//! deleted without a word to the keyed store.

pub(crate) mod bits;
pub(crate) mod chunk;
pub(crate) mod compact;
pub(crate) mod evict;
pub(crate) mod gather;
pub(crate) mod group_index;
pub(crate) mod group_lists;
pub(crate) mod groups;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod probe;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bits::Bits;
use chunk::Chunk;
use group_index::GroupIndex;
use index::{Index, Location, row_of, slot_of};
use keys::Keys;

use crate::codec::key::EncodedKeys;

/// Encoded keys that were deleted.
pub(crate) type KeySet = HashSet<Box<[u8]>, ahash::RandomState>;

/// Where rows come from that are put into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A commit, to a table without rows that are only in the keyed store: a key
    /// that is not in memory is nowhere.
    New,
    /// A commit or the journal: the keyed store may have an older row of the key.
    Changed,
    /// The keyed store.
    Stored,
}

/// The rows of a chunk: which live and which are dirty.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Rows that are the newest of their key. Shared with snapshots.
    pub(crate) live: Arc<Bits>,
    /// How many live.
    pub(crate) live_count: usize,
    /// Rows whose value is not yet in the keyed store.
    pub(crate) dirty: Bits,
    /// How many are dirty.
    pub(crate) dirty_count: usize,
    /// Dirty rows whose key the keyed store does not have.
    pub(crate) new: Bits,
    /// When a lookup last found a row here, by the table's own count.
    pub(crate) touched: AtomicU64,
}

impl Rows {
    fn new(rows: usize, origin: Origin) -> Self {
        let dirty = origin != Origin::Stored;
        Self {
            live: Arc::new(Bits::new(rows, true)),
            live_count: rows,
            dirty: Bits::new(rows, dirty),
            dirty_count: if dirty { rows } else { 0 },
            new: Bits::new(rows, origin == Origin::New),
            touched: AtomicU64::new(0),
        }
    }

    /// Lets go of a row; whether it was new.
    fn kill(&mut self, row: usize) -> bool {
        if Arc::make_mut(&mut self.live).clear(row) {
            self.live_count -= 1;
        }
        if self.dirty.clear(row) {
            self.dirty_count -= 1;
        }
        self.new.clear(row)
    }

    fn bytes(&self) -> usize {
        self.live.bytes() + self.dirty.bytes() + self.new.bytes()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    /// Chunks by slot.
    pub(crate) slots: Vec<Option<Arc<Chunk>>>,
    /// The rows of each slot's chunk.
    pub(crate) rows: Vec<Rows>,
    /// Where each key is.
    pub(crate) index: Index,
    /// Where the rows of each group are; empty unless the table is grouped.
    pub(crate) groups: GroupIndex,
    /// Rows that are only in the keyed store.
    pub(crate) cold_rows: u64,
    /// Keys deleted since the last checkpoint began.
    pub(crate) deleted: Arc<KeySet>,
    /// Keys deleted before that, which the running checkpoint is removing.
    pub(crate) deleting: Arc<KeySet>,
    /// Counts lookups and commits of all tables, to order chunks by use.
    pub(crate) uses: Arc<AtomicU64>,
    /// Counts when rows left memory or deletions were settled: what was read from
    /// the keyed store before may be older than what is there now.
    pub(crate) departures: u64,
    chunk_bytes: usize,
    deleted_bytes: usize,
}

impl Hot {
    /// An empty table that counts its uses with others.
    pub(crate) fn new(uses: Arc<AtomicU64>) -> Self {
        Self { uses, ..Self::default() }
    }

    /// Rows of the table, in memory or not.
    pub(crate) fn len(&self) -> usize {
        self.index.len() + usize::try_from(self.cold_rows).unwrap_or(usize::MAX)
    }

    /// Says how many rows the table has: those that are not in memory are only in
    /// the keyed store.
    pub(crate) fn set_len(&mut self, rows: u64) {
        self.cold_rows = rows.saturating_sub(self.index.len() as u64);
    }

    /// Bytes held in memory.
    pub(crate) fn bytes(&self) -> u64 {
        (self.chunk_bytes + self.index.bytes() + self.groups.bytes() + self.deleted_bytes) as u64
    }

    /// Adds a chunk whose rows replace those of the same keys; of several rows
    /// with one key the last stays.
    pub(crate) fn upsert(&mut self, chunk: Arc<Chunk>, origin: Origin) {
        let slot = self.place(chunk, origin);
        let rows = &mut self.rows;
        let mut touched = Vec::new();
        self.index.insert(&self.slots, slot, |row, old| {
            let of = slot_of(old);
            if !rows[of].kill(row_of(old)) {
                rows[slot].new.clear(row);
            }
            if rows[of].live_count == 0 && of != slot {
                touched.push(of);
            }
        });
        for of in touched {
            self.free(of);
        }
    }

    /// Adds rows that were only in the keyed store.
    pub(crate) fn adopt(&mut self, chunk: Arc<Chunk>) {
        self.cold_rows = self.cold_rows.saturating_sub(chunk.rows() as u64);
        self.upsert(chunk, Origin::Stored);
    }

    /// Removes keys. `encoded` are the same keys as `probe`.
    pub(crate) fn delete(&mut self, probe: &Keys, encoded: &EncodedKeys) {
        let rows = &mut self.rows;
        let deleted = Arc::make_mut(&mut self.deleted);
        let deleted_bytes = &mut self.deleted_bytes;
        let mut emptied = Vec::new();
        self.index.remove(&self.slots, probe, |row, at| {
            let of = slot_of(at);
            let new = rows[of].kill(row_of(at));
            if rows[of].live_count == 0 {
                emptied.push(of);
            }
            if new {
                return;
            }
            let key = encoded.get(row);
            if deleted.insert(key.into()) {
                *deleted_bytes += key.len() + KEY_OVERHEAD_BYTES;
            }
        });
        for slot in emptied {
            self.free(slot);
        }
    }

    /// Accounts for keys that a commit found only in the keyed store: they are
    /// replaced by hot rows, or deleted.
    pub(crate) fn leave_cold(&mut self, found: usize, deleted: &[Box<[u8]>]) {
        self.cold_rows = self.cold_rows.saturating_sub(found as u64);
        if deleted.is_empty() {
            return;
        }
        let set = Arc::make_mut(&mut self.deleted);
        for key in deleted {
            if set.insert(key.clone()) {
                self.deleted_bytes += key.len() + KEY_OVERHEAD_BYTES;
            }
        }
    }

    /// Whether the key was deleted and the keyed store may not know it yet.
    pub(crate) fn is_deleted(&self, key: &[u8]) -> bool {
        self.deleted.contains(key) || self.deleting.contains(key)
    }

    /// Starts a checkpoint: hands out the dirty rows and deleted keys, which now
    /// count as on their way.
    pub(crate) fn take_dirty(&mut self) -> (Vec<(Arc<Chunk>, Bits)>, Arc<KeySet>) {
        let mut changed = Vec::new();
        for (slot, rows) in self.slots.iter().zip(&mut self.rows) {
            if let Some(chunk) = slot
                && rows.dirty_count > 0
            {
                let clean = Bits::new(chunk.rows(), false);
                changed.push((Arc::clone(chunk), std::mem::replace(&mut rows.dirty, clean)));
                rows.dirty_count = 0;
                rows.new = Bits::new(chunk.rows(), false);
            }
        }
        self.deleting = std::mem::take(&mut self.deleted);
        (changed, Arc::clone(&self.deleting))
    }

    /// Ends a checkpoint: everything handed out is in the keyed store.
    pub(crate) fn settle(&mut self) {
        for key in self.deleting.iter() {
            self.deleted_bytes = self.deleted_bytes.saturating_sub(key.len() + KEY_OVERHEAD_BYTES);
        }
        self.deleting = Arc::default();
        self.departures += 1;
    }

    /// Whether there is anything for a checkpoint to write.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.deleted.is_empty() || self.rows.iter().any(|rows| rows.dirty_count > 0)
    }

    /// Remembers that the chunks of these locations were of use.
    pub(crate) fn touch(&self, found: &[Location]) {
        let now = self.uses.fetch_add(1, Ordering::Relaxed) + 1;
        let mut seen = vec![false; self.slots.len()];
        for at in found {
            if *at != index::NOWHERE {
                seen[slot_of(*at)] = true;
            }
        }
        for (rows, seen) in self.rows.iter().zip(seen) {
            if seen {
                rows.touched.store(now, Ordering::Relaxed);
            }
        }
    }

    /// Puts a chunk into a free slot, with its groups, outside the index of keys.
    fn place(&mut self, chunk: Arc<Chunk>, origin: Origin) -> usize {
        let rows = Rows::new(chunk.rows(), origin);
        rows.touched.store(self.uses.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.chunk_bytes += chunk.bytes + rows.bytes();
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
            self.rows.push(Rows::default());
        }
        if let Some(groups) = &chunk.groups {
            self.groups.insert(slot, groups);
        }
        self.slots[slot] = Some(chunk);
        self.rows[slot] = rows;
        slot
    }

    /// Drops the chunk of a slot, which no key points to any more.
    fn free(&mut self, slot: usize) {
        if let Some(chunk) = self.slots[slot].take() {
            let rows = std::mem::take(&mut self.rows[slot]);
            self.chunk_bytes = self.chunk_bytes.saturating_sub(chunk.bytes + rows.bytes());
            if let Some(groups) = &chunk.groups {
                self.groups.remove(slot, groups);
            }
        }
    }
}

/// What one deleted key costs beyond its bytes, about.
const KEY_OVERHEAD_BYTES: usize = 48;
