//! Writing the changed rows of a table to its keyspace.
//!
//! Deleted keys go first, because a key may have been deleted and set again.
//! Rows go in key order: in small batches, or, into an empty keyspace, as one
//! sorted run past the write buffer.

use arrow::compute::filter_record_batch;
use fjall::Keyspace;
use pluvio_foundation::Clock;

use super::checkpoint::{Pace, TableJob};
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

/// The changed rows of one chunk, encoded on demand.
struct Source {
    keys: EncodedKeys,
    values: ValueEncoder,
}

/// Writes a table's changes; returns how many rows and keys.
pub(super) fn write_rows(cold: &Cold, job: &TableJob, clock: &dyn Clock, pace: &Pace<'_>) -> Result<u64> {
    let keyspace = job.table.cold.keyspace()?;
    let mut writer = Writer { cold, keyspace: &keyspace, clock, pace, started: clock.monotonic_us() };
    let rows: usize = job.changed.iter().map(|(_, dirty)| dirty.count()).sum();
    let empty = keyspace.is_empty().map_err(TableError::store("looking into a table"))?;
    if empty && rows >= RUN_ROWS_MIN {
        let sources = job.changed.iter().map(|(chunk, dirty)| Source::new(job, chunk, dirty));
        writer.write_run(&sources.collect::<Result<Vec<_>>>()?, rows)?;
        return Ok(rows as u64);
    }
    writer.delete(job.deleted.iter().map(|key| &**key))?;
    for (chunk, dirty) in &job.changed {
        writer.write_batches(&Source::new(job, chunk, dirty)?)?;
    }
    Ok((rows + job.deleted.len()) as u64)
}

impl Source {
    fn new(job: &TableJob, chunk: &Chunk, dirty: &Bits) -> Result<Self> {
        let layout = &job.table.layout;
        let batch = filter_record_batch(&chunk.batch, &dirty.to_array())
            .map_err(TableError::arrow("choosing changed rows"))?;
        let keys = key::encode(&layout.key_columns(&batch))?;
        Ok(Self { keys, values: ValueEncoder::new(&batch, &layout.values)? })
    }
}

struct Writer<'a> {
    cold: &'a Cold,
    keyspace: &'a Keyspace,
    clock: &'a dyn Clock,
    pace: &'a Pace<'a>,
    started: u64,
}

impl Writer<'_> {
    fn rest(&mut self) -> Result<()> {
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
        order.sort_unstable_by(|a, b| source.keys.get(*a).cmp(source.keys.get(*b)));
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

    fn write_run(&mut self, sources: &[Source], rows: usize) -> Result<()> {
        let failed = "writing a sorted run";
        let mut order: Vec<(u32, u32)> = Vec::with_capacity(rows);
        for (at, source) in sources.iter().enumerate() {
            order.extend((0..source.keys.len()).map(|row| (at as u32, row as u32)));
        }
        let key = |(at, row): (u32, u32)| sources[at as usize].keys.get(row as usize);
        order.sort_unstable_by(|a, b| key(*a).cmp(key(*b)));
        let mut run = self.keyspace.start_ingestion().map_err(TableError::store(failed))?;
        let mut value = Vec::new();
        for (position, (at, row)) in order.into_iter().enumerate() {
            value.clear();
            sources[at as usize].values.write(row as usize, &mut value);
            run.write(key((at, row)), value.as_slice()).map_err(TableError::store(failed))?;
            if position % BATCH_ROWS == BATCH_ROWS - 1 {
                self.rest()?;
            }
        }
        run.finish().map_err(TableError::store(failed))
    }
}
