//! Lookups by the leading columns of the key.
//!
//! What is in memory is found under the table's read lock. If some rows are only
//! in the keyed store, the lock also covers taking a view of it and of the
//! deleted keys; each group's range is then read from that view, without the
//! keys that were found in memory or deleted. All is thus of one instant.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};

use crate::codec::key::{self, EncodedKeys};
use crate::codec::row::RowDecoder;
use crate::cold::ColdView;
use crate::error::{Result, TableError};
use crate::hot::KeySet;
use crate::hot::chunk::Chunk;
use crate::hot::gather::gather;
use crate::hot::group_index::FoundRows;
use crate::hot::groups::Grouping;
use crate::hot::index::{Location, location, row_of, slot_of};
use crate::hot::keys::KeyColumn;
use crate::options::CHUNK_ROWS_MAX;
use crate::table::{COLD_BYTES, KeyTable};

/// What a [`KeyTable::lookup_group`] found.
#[derive(Debug, Clone)]
pub struct GroupLookup {
    /// For each row found, which of the keys asked for it has: ascending.
    pub probes: UInt32Array,
    /// The projected columns of the rows found.
    pub columns: Vec<ArrayRef>,
}

/// The rows in memory, and where to look for others.
struct Located {
    slots: Vec<Option<Arc<Chunk>>>,
    rows: FoundRows,
    cold: Option<Cold>,
}

/// The keyed store and the keys that do not count there.
struct Cold {
    view: ColdView,
    deleted: Arc<KeySet>,
    deleting: Arc<KeySet>,
}

impl KeyTable {
    /// All rows whose leading key columns equal one of these, all at one instant.
    ///
    /// `keys` are the columns of the table's group in key order, of the same types
    /// and all of one length; a key may be asked for more than once. Returns the
    /// columns at `projection` (all if none) of every row found, in the order of
    /// the keys asked for and in no order within one. NULL is a key value like
    /// any other, as in [`KeyTable::lookup`].
    pub fn lookup_group(&self, keys: &[ArrayRef], projection: Option<&[usize]>) -> Result<GroupLookup> {
        self.check_leading(self.layout.group(), keys)?;
        let asked = keys.first().map_or(0, |keys| keys.len());
        if u32::try_from(asked).is_err() {
            return Err(self.invalid(format!("{asked} keys are too many for one lookup: ask in parts")));
        }
        let Some(grouping) = &self.layout.grouping else { return self.lookup_whole(keys, projection) };
        let projection = self.projected(projection)?;
        let probe = key::encode(keys)?;
        let Located { slots, mut rows, cold } = self.locate_groups(&probe, grouping)?;
        let extra = match cold {
            None => Vec::new(),
            Some(cold) => self.read_cold_groups(&cold, &probe, &slots, &mut rows)?,
        };
        let columns = gather(&slots, &extra, &rows.found, self.layout.schema.fields(), &projection)?;
        Ok(GroupLookup { probes: rows.probes.into(), columns })
    }

    /// The group is the whole key: at most one row each.
    fn lookup_whole(&self, keys: &[ArrayRef], projection: Option<&[usize]>) -> Result<GroupLookup> {
        let lookup = self.lookup(keys, projection)?;
        let probes = lookup.found.values().set_indices().map(|row| row as u32);
        let probes = UInt32Array::from_iter_values(probes);
        let columns = lookup.columns.iter().map(|column| arrow::compute::filter(column, &lookup.found));
        let columns = columns.collect::<std::result::Result<_, _>>();
        Ok(GroupLookup { probes, columns: columns.map_err(TableError::arrow("collecting found rows"))? })
    }

    fn locate_groups(&self, probe: &EncodedKeys, grouping: &Grouping) -> Result<Located> {
        let hot = self.hot.read();
        let rows = hot.groups.find(&hot.slots, &hot.rows, probe, grouping);
        hot.touch(&rows.found);
        let slots = hot.slots.clone();
        let cold = if hot.cold_rows == 0 || probe.len() == 0 {
            None
        } else {
            let (deleted, deleting) = (Arc::clone(&hot.deleted), Arc::clone(&hot.deleting));
            Some(Cold { view: self.cold.view()?, deleted, deleting })
        };
        Ok(Located { slots, rows, cold })
    }

    /// Adds the rows that are only in the keyed store; their locations point to
    /// the batches that are returned.
    fn read_cold_groups(
        &self,
        cold: &Cold,
        probe: &EncodedKeys,
        slots: &[Option<Arc<Chunk>>],
        rows: &mut FoundRows,
    ) -> Result<Vec<RecordBatch>> {
        let in_memory = keys_of(slots, &rows.found);
        let mut order: Vec<usize> = (0..probe.len()).collect();
        probe.sort(&mut order);
        let mut reader = Reader { decoder: self.layout.decoder()?, batches: Vec::new(), slots: slots.len() };
        let mut found: Vec<Location> = Vec::new();
        let mut found_of = vec![0..0; probe.len()];
        let mut before: Option<usize> = None;
        for row in order {
            if let Some(same) = before.filter(|same| probe.get(*same) == probe.get(row)) {
                found_of[row] = found_of[same].clone();
                continue;
            }
            before = Some(row);
            let start = found.len();
            for stored in cold.view.prefix(probe.get(row)) {
                let (key, value) = stored.into_inner().map_err(TableError::store("reading a group"))?;
                let key = &*key;
                if !in_memory.contains(key) && !cold.deleted.contains(key) && !cold.deleting.contains(key) {
                    found.push(reader.read(key, &value)?);
                }
            }
            found_of[row] = start..found.len();
        }
        if !found.is_empty() {
            *rows = joined(rows, &found, &found_of);
        }
        reader.finish()
    }
}

/// The keys of rows in memory.
fn keys_of<'a>(slots: &'a [Option<Arc<Chunk>>], found: &[Location]) -> HashSet<&'a [u8], ahash::RandomState> {
    let mut keys = HashSet::with_capacity_and_hasher(found.len(), ahash::RandomState::new());
    for at in found {
        if let Some(chunk) = &slots[slot_of(*at)]
            && let KeyColumn::Encoded(encoded) = &chunk.keys.column
        {
            keys.insert(encoded.get(row_of(*at)));
        }
    }
    keys
}

/// The rows in memory and, for each key asked for, those of the keyed store.
fn joined(hot: &FoundRows, cold: &[Location], cold_of: &[std::ops::Range<usize>]) -> FoundRows {
    let mut all = FoundRows::default();
    let mut next = 0;
    for (probe, cold_range) in cold_of.iter().enumerate() {
        while hot.probes.get(next).is_some_and(|its| *its as usize == probe) {
            all.found.push(hot.found[next]);
            next += 1;
        }
        all.found.extend_from_slice(&cold[cold_range.clone()]);
        all.probes.resize(all.found.len(), probe as u32);
    }
    all
}

/// Collects stored rows into batches.
struct Reader<'a> {
    decoder: RowDecoder<'a>,
    batches: Vec<RecordBatch>,
    slots: usize,
}

impl Reader<'_> {
    /// Adds a row; where it will be.
    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<Location> {
        if self.decoder.rows() == CHUNK_ROWS_MAX || self.decoder.bytes() >= COLD_BYTES {
            self.batches.push(self.decoder.finish()?);
        }
        let at = location(self.slots + self.batches.len(), self.decoder.rows());
        self.decoder.read(key, value)?;
        Ok(at)
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>> {
        if self.decoder.rows() > 0 {
            self.batches.push(self.decoder.finish()?);
        }
        Ok(self.batches)
    }
}
