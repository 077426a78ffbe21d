//! The memory budget: what is held, and making room.
//!
//! The budget is for all that the store holds. The keyed store's cache and filters
//! are taken off first, but at most half; the rest is the tables' share. What they
//! hold is kept well below it: the difference is for what commits, lookups and
//! checkpoints need for a moment. Chunks that only a running checkpoint still holds
//! count as the tables' memory.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::Inner;
use super::checkpoint::Pace;
use crate::error::{Result, TableError};
use crate::hot::chunk::Chunk;
use crate::table::KeyTable;

/// What tables may hold before a checkpoint is made, in percent of their share.
const FULL_PERCENT: u64 = 62;
/// What tables may hold before a commit waits for room, in percent of their share.
const CROWDED_PERCENT: u64 = 75;
/// Down to what rows leave memory, in percent of the tables' share.
const ROOMY_PERCENT: u64 = 42;
/// What the filters and indexes of the keyed store hold per row, in tenths of a byte.
const FILTER_TENTHS_PER_ROW: u64 = 15;
/// A journal of this many times its limit makes commits wait for a checkpoint.
const JOURNAL_TIMES_MAX: u64 = 8;

impl Inner {
    /// Bytes of all hot tables, and of what a checkpoint keeps of them.
    pub(super) fn memory_bytes(&self) -> u64 {
        let tables: u64 = self.catalog.read().tables.values().map(|table| table.bytes()).sum();
        let left = |(chunk, _): &&(Weak<Chunk>, usize)| chunk.strong_count() == 1;
        tables + self.writing.lock().iter().filter(left).map(|(_, bytes)| *bytes as u64).sum::<u64>()
    }

    /// Shows the memory in the metrics.
    pub(super) fn show_memory(&self) {
        self.metrics.tables_bytes.set(self.memory_bytes());
    }

    /// Whether the background thread should make a checkpoint before its time.
    pub(super) fn needs_checkpoint(&self) -> bool {
        self.journal_bytes.load(Ordering::Relaxed) > self.options.journal_bytes_max || self.is_full()
    }

    /// Whether tables hold so much that rows should leave memory.
    pub(super) fn is_full(&self) -> bool {
        self.metrics.tables_bytes.get() > self.share(FULL_PERCENT)
    }

    /// What tables may hold so that there is room for more.
    pub(super) fn roomy_bytes(&self) -> u64 {
        self.share(ROOMY_PERCENT)
    }

    /// Room for `bytes` more before a commit: waits for a checkpoint and lets
    /// cold rows leave memory if the budget asks for it.
    pub(super) fn make_room(&self, bytes: u64) -> Result<()> {
        let budget = self.options.memory_budget_bytes;
        if bytes > budget {
            return Err(TableError::TooLarge {
                what: "the rows of one commit".to_owned(),
                bytes,
                limit: budget,
                hint: "commit fewer rows at once, or raise memory_budget_bytes",
            });
        }
        let crowded = self.share(CROWDED_PERCENT);
        let lacking = || bytes > 0 && self.metrics.tables_bytes.get() + bytes > crowded;
        if lacking() {
            let target = self.roomy_bytes().min(crowded.saturating_sub(bytes));
            // Often it is enough to wait for the checkpoint that is under way.
            self.awaited.fetch_add(1, Ordering::AcqRel);
            let evicted = self.evict_down_to(target);
            self.awaited.fetch_sub(1, Ordering::AcqRel);
            evicted?;
            if lacking() {
                self.checkpoint(&Pace::unhindered())?;
                self.evict_down_to(target)?;
            }
        }
        let journal_limit = self.options.journal_bytes_max.saturating_mul(JOURNAL_TIMES_MAX);
        if self.options.background
            && self.journal_bytes.load(Ordering::Relaxed) > journal_limit
            && let Err(error) = self.checkpoint(&Pace::unhindered())
        {
            tracing::warn!(%error, "the journal grows because checkpoints fail");
        }
        Ok(())
    }

    /// After a checkpoint: lets cold rows leave memory if it is nearly full.
    pub(super) fn keep_budget(&self) {
        if self.memory_bytes() > self.share(FULL_PERCENT)
            && let Err(error) = self.evict_down_to(self.roomy_bytes())
        {
            tracing::warn!(%error, "cold rows could not leave memory");
        }
        self.show_memory();
    }

    /// So many percent of what the budget leaves for tables.
    fn share(&self, percent: u64) -> u64 {
        let budget = self.options.memory_budget_bytes;
        let rows: u64 = self.catalog.read().tables.values().map(|table| table.len() as u64).sum();
        let store = self.options.cache_bytes() + rows * FILTER_TENTHS_PER_ROW / 10;
        (budget - store.min(budget / 2)) / 100 * percent
    }

    /// Lets clean chunks leave memory, the longest unused of all tables first.
    fn evict_down_to(&self, target: u64) -> Result<()> {
        let running = self.running.lock();
        if running.is_some() {
            // Rows of an unfinished checkpoint look clean and are not stored yet.
            return Ok(());
        }
        let commit = self.commit.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(TableError::Closed);
        }
        let tables: Vec<Arc<KeyTable>> = self.catalog.read().tables.values().cloned().collect();
        let mut held: u64 = tables.iter().map(|table| table.bytes()).sum();
        let mut candidates = Vec::new();
        for table in &tables {
            let found = table.hot.read().evictable();
            candidates.extend(found.into_iter().map(|(used, slot, _)| (used, slot, table)));
        }
        candidates.sort_unstable_by_key(|(used, ..)| *used);
        for (_, slot, table) in candidates {
            if held <= target {
                break;
            }
            let mut hot = table.hot.write();
            let before = hot.bytes();
            hot.evict(slot);
            hot.shrink();
            held = held.saturating_sub(before.saturating_sub(hot.bytes()));
        }
        drop((commit, running));
        self.show_memory();
        Ok(())
    }
}
