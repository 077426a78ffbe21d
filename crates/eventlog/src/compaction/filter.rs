//! What a compaction leaves of one batch.
//!
//! An event goes if a newer one has its key, if it has no key, or if its
//! transaction was aborted. A deletion goes once its delete horizon passed; a
//! marker once no batch of its transaction is left and its horizon passed.
//! A batch that loses everything stays as a header alone where its offsets or
//! its producer are still needed.

use super::key_map::KeyMap;
use crate::partition::Partition;
use pluvio_foundation::limits::RECORD_BATCH_INFLATED_BYTES_MAX;
use pluvio_wire_kafka::WireError;
use pluvio_wire_kafka::records::{BatchHeader, read_end_marker, retain_records};
use std::collections::HashSet;

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    AsItIs,
    Batch(Vec<u8>),
}

/// Decides batch by batch, in the order of offsets from the start of the log.
pub(super) struct Filter<'a> {
    pub(super) partition: &'a Partition,
    pub(super) map: KeyMap,
    /// The map knows all keys before this offset; from here on all stays.
    pub(super) map_end: i64,
    pub(super) now_ms: i64,
    /// From when on what becomes a mark now may be removed.
    pub(super) horizon_ms: i64,
    /// Where the last batch of each producer begins.
    pub(super) last_of_producers: HashSet<i64>,
    /// Producers with batches left since their last marker.
    pub(super) open: HashSet<i64>,
    /// Whether deletions and markers may go: not after events that could not
    /// be read, which may need them.
    pub(super) drops_marks: bool,
    pub(super) scratch: Vec<u8>,
    /// Events without a key that fell out.
    pub(super) keyless: u64,
}

impl Filter<'_> {
    /// What is left of a batch. `is_end`: the offsets of its segment end with
    /// it, which must stay visible. Fails on records that cannot be taken
    /// apart.
    pub(super) fn left(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        is_end: bool,
    ) -> Result<Left, WireError> {
        let needed = is_end || self.last_of_producers.contains(&header.base_offset);
        if header.is_control() {
            return self.left_of_marker(header, batch, needed);
        }
        let left = match header.base_offset < self.map_end {
            true => self.left_of_data(header, batch, needed)?,
            false => Left::AsItIs,
        };
        if header.is_transactional() && left != Left::Nothing {
            self.open.insert(header.producer_id);
        }
        Ok(left)
    }

    fn left_of_marker(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        needed: bool,
    ) -> Result<Left, WireError> {
        let Some(marker) = read_end_marker(batch)? else { return Ok(Left::AsItIs) };
        let ends_something = self.open.remove(&marker.producer_id);
        if ends_something || !self.drops_marks || header.base_offset >= self.map_end {
            return Ok(Left::AsItIs);
        }
        match header.delete_horizon_ms() {
            Some(horizon_ms) if horizon_ms <= self.now_ms && !needed => Ok(Left::Nothing),
            Some(_) => Ok(Left::AsItIs),
            None => {
                let horizon = Some(self.horizon_ms);
                let made = retain_records(batch, 0, &mut self.scratch, horizon, |_| true)?;
                Ok(made.batch.map_or(Left::AsItIs, Left::Batch))
            }
        }
    }

    fn left_of_data(&mut self, header: &BatchHeader, batch: &[u8], needed: bool) -> Result<Left, WireError> {
        let aborted = header.is_transactional() && self.is_aborted(header);
        let passed = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let deletions_go = passed && self.drops_marks;
        // What the map does not cover yet may hold older events of a key.
        let horizon = Some(self.horizon_ms).filter(|_| header.last_offset() < self.map_end);
        let (map, map_end, keyless) = (&self.map, self.map_end, &mut self.keyless);
        let left =
            retain_records(batch, RECORD_BATCH_INFLATED_BYTES_MAX, &mut self.scratch, horizon, |record| {
                if record.offset >= map_end {
                    return true;
                }
                let Some(key) = record.key else {
                    *keyless += u64::from(!aborted);
                    return false;
                };
                let newest = map.newest(key).is_none_or(|newest| newest <= record.offset);
                !aborted && newest && !(deletions_go && record.value.is_none())
            })?;
        Ok(match left.batch {
            _ if left.records == 0 && !needed => Left::Nothing,
            Some(made) => Left::Batch(made),
            None => Left::AsItIs,
        })
    }

    pub(super) fn is_aborted(&self, header: &BatchHeader) -> bool {
        let found = self.partition.aborted_in(header.base_offset, header.last_offset() + 1);
        found.iter().any(|aborted| aborted.producer_id == header.producer_id)
    }
}
