//! The memory budget: what is held, and making room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Inner;
use super::checkpoint::Pace;
use crate::error::{Result, TableError};
use crate::table::KeyTable;

/// Share of the budget, in percent, above which rows leave memory.
const FULL_PERCENT: u64 = 90;
/// Share of the budget, in percent, down to which they do.
const ROOMY_PERCENT: u64 = 75;
/// A journal of this many times its limit makes commits wait for a checkpoint.
const JOURNAL_TIMES_MAX: u64 = 8;

impl Inner {
    /// Bytes of all hot tables.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.catalog.read().tables.values().map(|table| table.bytes()).sum()
    }

    /// Shows the memory in the metrics.
    pub(super) fn show_memory(&self) {
        self.metrics.tables_bytes.set(self.memory_bytes());
    }

    /// Whether the background thread should make a checkpoint before its time.
    pub(super) fn needs_checkpoint(&self) -> bool {
        self.journal_bytes.load(Ordering::Relaxed) > self.options.journal_bytes_max
            || self.metrics.tables_bytes.get() > self.share(FULL_PERCENT)
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
        if bytes > 0 && self.metrics.tables_bytes.get() + bytes > budget {
            self.checkpoint(&Pace::unhindered())?;
            self.evict_down_to(self.share(ROOMY_PERCENT).min(budget - bytes))?;
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
            && let Err(error) = self.evict_down_to(self.share(ROOMY_PERCENT))
        {
            tracing::warn!(%error, "cold rows could not leave memory");
        }
        self.show_memory();
    }

    fn share(&self, percent: u64) -> u64 {
        self.options.memory_budget_bytes / 100 * percent
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
