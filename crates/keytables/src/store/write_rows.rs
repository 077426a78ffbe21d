//! Writing the changed rows of a table to its keyspace.
//!
//! Few rows go in small batches, deleted keys first, because a key may have been
//! deleted and set again. Many go as one sorted run past the write buffer
//! ([`super::write_run`]): they are then written once, not to a log, a buffer and a
//! file, and take no memory of the keyed store.

use arrow::compute::{filter, filter_record_batch};
use fjall::Keyspace;
use pluvio_foundation::Clock;

use super::checkpoint::{Pace, TableJob};
use super::write_run::UNMERGED_FILES_MAX;
use crate::codec::key::{self, EncodedKeys};
use crate::codec::value::ValueEncoder;
use crate::cold::Cold;
use crate::error::{Result, TableError};
use crate::hot::bits::Bits;
use crate::hot::chunk::Chunk;

/// Rows of one batch.
const BATCH_ROWS: usize = 4096;
/// Bytes of one batch, about.
const BATCH_BYTES: usize = 1 << 20;
/// Rows from which on a sorted run pays.
const RUN_ROWS_MIN: usize = 50_000;

/// Changed rows of one chunk, encoded.
pub(super) struct Source {
    pub(super) keys: EncodedKeys,
    pub(super) values: ValueEncoder,
}

/// Writes a table's changes; returns how many rows and keys.
pub(super) fn write_rows(cold: &Cold, job: &TableJob, clock: &dyn Clock, pace: &Pace<'_>) -> Result<u64> {
    let keyspace = job.table.cold.keyspace()?;
    let mut writer = Writer { cold, keyspace: &keyspace, clock, pace, started: clock.monotonic_us() };
    let rows: usize = job.changed.iter().map(|(_, dirty)| dirty.count()).sum();
    // Batches would wait for merges that only runs ask for.
    let unmerged = keyspace.l0_table_count() >= UNMERGED_FILES_MAX;
    if rows + job.deleted.len() >= RUN_ROWS_MIN || unmerged {
        writer.write_runs(job, rows)?;
        return Ok((rows + job.deleted.len()) as u64);
    }
    writer.delete(job.deleted.iter().map(|key| &**key))?;
    for (chunk, dirty) in &job.changed {
        writer.write_batches(&Source::new(job, chunk, dirty)?)?;
    }
    Ok((rows + job.deleted.len()) as u64)
}

impl Source {
    /// The rows of a chunk that `dirty` names.
    pub(super) fn new(job: &TableJob, chunk: &Chunk, dirty: &Bits) -> Result<Self> {
        let layout = &job.table.layout;
        let batch = filter_record_batch(&chunk.batch, &dirty.to_array())
            .map_err(TableError::arrow("choosing changed rows"))?;
        let keys = key::encode(&layout.key_columns(&batch))?;
        Ok(Self { keys, values: ValueEncoder::new(&batch, &layout.values)? })
    }

    /// Their keys alone.
    pub(super) fn keys(job: &TableJob, chunk: &Chunk, dirty: &Bits) -> Result<EncodedKeys> {
        let mask = dirty.to_array();
        let columns = job.table.layout.key_columns(&chunk.batch);
        let columns = columns.iter().map(|column| filter(column, &mask));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>();
        key::encode(&columns.map_err(TableError::arrow("choosing changed keys"))?)
    }
}

/// Writes to one keyspace, with rests.
pub(super) struct Writer<'a> {
    cold: &'a Cold,
    pub(super) keyspace: &'a Keyspace,
    clock: &'a dyn Clock,
    pub(super) pace: &'a Pace<'a>,
    started: u64,
}

impl Writer<'_> {
    /// Rests as the pace asks; fails if it gives up.
    pub(super) fn rest(&mut self) -> Result<()> {
        let worked = self.clock.monotonic_us().saturating_sub(self.started);
        self.pace.rest(worked)?;
        self.started = self.clock.monotonic_us();
        Ok(())
    }

    fn commit(&mut self, batch: fjall::OwnedWriteBatch) -> Result<()> {
        batch.commit().map_err(TableError::store("writing rows"))?;
        self.rest()
    }

    fn delete<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Result<()> {
        let mut batch = self.cold.batch();
        for key in keys {
            batch.remove(self.keyspace, key);
            if batch.len() >= BATCH_ROWS {
                self.commit(std::mem::replace(&mut batch, self.cold.batch()))?;
            }
        }
        self.commit(batch)
    }

    fn write_batches(&mut self, source: &Source) -> Result<()> {
        let mut order: Vec<usize> = (0..source.keys.len()).collect();
        source.keys.sort(&mut order);
        let mut batch = self.cold.batch();
        let mut bytes = 0;
        let mut value = Vec::new();
        for row in order {
            let key = source.keys.get(row);
            value.clear();
            source.values.write(row, &mut value);
            bytes += key.len() + value.len();
            batch.insert(self.keyspace, key, value.as_slice());
            if batch.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
                self.commit(std::mem::replace(&mut batch, self.cold.batch()))?;
                bytes = 0;
            }
        }
        self.commit(batch)
    }
}
