//! Rows leave memory: only clean ones, whole chunks at a time, those first that
//! no lookup has found for the longest time.

use std::sync::atomic::Ordering;

use super::Hot;

impl Hot {
    /// Clean chunks with when they were last of use and their bytes.
    pub(crate) fn evictable(&self) -> Vec<(u64, usize, usize)> {
        let mut found = Vec::new();
        for (slot, (chunk, rows)) in self.slots.iter().zip(&self.rows).enumerate() {
            if let Some(chunk) = chunk
                && rows.dirty_count == 0
            {
                found.push((rows.touched.load(Ordering::Relaxed), slot, chunk.bytes));
            }
        }
        found
    }

    /// Lets a clean chunk leave memory. Its rows stay in the keyed store.
    pub(crate) fn evict(&mut self, slot: usize) {
        let rows = &self.rows[slot];
        if self.slots[slot].is_none() || rows.dirty_count > 0 {
            return;
        }
        self.departures += 1;
        self.cold_rows += rows.live_count as u64;
        self.index.forget(&self.slots, slot, rows.live.ones());
        self.free(slot);
    }

    /// Gives memory of the indexes back after evictions.
    pub(crate) fn shrink(&mut self) {
        self.index.shrink(&self.slots);
        self.groups.shrink();
    }
}
