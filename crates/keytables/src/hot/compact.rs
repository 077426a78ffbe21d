//! Keeping chunks few and full: small ones are merged by size tiers (four of a
//! tier make one of the next), those over half dead are rewritten.
//!
//! The merged chunk is made before the table's write lock is taken; under the
//! lock only the index entries move.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, filter_record_batch};

use super::bits::Bits;
use super::chunk::{Chunk, owned};
use super::index::location;
use super::{Hot, Origin, Rows};
use crate::codec::row::RowLayout;
use crate::error::{Result, TableError};
use crate::options::CHUNK_ROWS_MAX;

/// Chunks of one tier that are merged into one.
const FAN_IN: usize = 4;
/// Rows up to which a chunk is in the lowest tier.
const TIER_ROWS_MIN: usize = 256;

/// A merge that is ready to replace its sources.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<usize>,
    lives: Vec<Arc<Bits>>,
    merged: Chunk,
}

fn tier(live: usize) -> usize {
    let mut tier = 0;
    let mut rows = TIER_ROWS_MIN;
    while live > rows && rows < CHUNK_ROWS_MAX {
        rows *= FAN_IN;
        tier += 1;
    }
    tier
}

impl Hot {
    /// Which slots to merge into one, if any.
    pub(crate) fn merge_candidates(&self) -> Option<Vec<usize>> {
        let mut by_tier: Vec<Vec<usize>> = Vec::new();
        let mut half_dead = Vec::new();
        for (slot, (chunk, rows)) in self.slots.iter().zip(&self.rows).enumerate() {
            let Some(chunk) = chunk else { continue };
            if rows.live_count * 2 < chunk.rows() {
                half_dead.push(slot);
                continue;
            }
            if rows.live_count > CHUNK_ROWS_MAX / 2 {
                continue;
            }
            let tier = tier(rows.live_count);
            if by_tier.len() <= tier {
                by_tier.resize(tier + 1, Vec::new());
            }
            by_tier[tier].push(slot);
        }
        let full = by_tier.into_iter().find(|slots| slots.len() >= FAN_IN);
        let mut candidates = half_dead;
        candidates.extend(full.into_iter().flatten());
        let mut rows = 0;
        candidates.retain(|slot| {
            rows += self.rows[*slot].live_count;
            rows <= CHUNK_ROWS_MAX || rows == self.rows[*slot].live_count
        });
        if candidates.is_empty() { None } else { Some(candidates) }
    }

    /// Copies the live rows of the slots into one chunk.
    pub(crate) fn prepare_merge(&self, sources: Vec<usize>, layout: &RowLayout) -> Result<Merge> {
        let mut parts: Vec<RecordBatch> = Vec::with_capacity(sources.len());
        let mut lives = Vec::with_capacity(sources.len());
        for slot in &sources {
            let chunk = self.slots[*slot].as_ref().ok_or(TableError::Internal("a merge of an empty slot"))?;
            parts.push(live_rows(chunk, &self.rows[*slot])?);
            lives.push(Arc::clone(&self.rows[*slot].live));
        }
        let schema =
            parts.first().map(RecordBatch::schema).ok_or(TableError::Internal("a merge of nothing"))?;
        let batch = concat_batches(&schema, &parts).map_err(TableError::arrow("merging rows"))?;
        let merged = Chunk::new(owned(&batch)?, layout)?;
        Ok(Merge { sources, lives, merged })
    }

    /// Puts a prepared merge in place of its sources. No commit came between.
    pub(crate) fn finish_merge(&mut self, merge: Merge) {
        let touched =
            merge.sources.iter().map(|slot| self.rows[*slot].touched.load(super::Ordering::Relaxed));
        let touched = touched.max().unwrap_or(0);
        let merged = Arc::new(merge.merged);
        let target = self.place(Arc::clone(&merged), Origin::Stored);
        let mut next = 0;
        let mut dirty = Bits::new(merged.rows(), false);
        let mut new = Bits::new(merged.rows(), false);
        for (slot, live) in merge.sources.iter().zip(&merge.lives) {
            let start = next;
            for row in live.ones() {
                if self.rows[*slot].dirty.get(row) {
                    dirty.set(next);
                }
                if self.rows[*slot].new.get(row) {
                    new.set(next);
                }
                next += 1;
            }
            let moves = live.ones().enumerate().map(|(position, row)| {
                (start + position, location(*slot, row), location(target, start + position))
            });
            self.index.relocate(&merged.keys, moves);
            self.free(*slot);
        }
        let rows = &mut self.rows[target];
        rows.dirty_count = dirty.count();
        rows.dirty = dirty;
        rows.new = new;
        rows.touched.store(touched, super::Ordering::Relaxed);
    }
}

/// The live rows of a chunk as one batch.
fn live_rows(chunk: &Chunk, rows: &Rows) -> Result<RecordBatch> {
    if rows.live_count == chunk.rows() {
        return Ok(chunk.batch.clone());
    }
    filter_record_batch(&chunk.batch, &rows.live.to_array())
        .map_err(TableError::arrow("leaving dead rows out"))
}
