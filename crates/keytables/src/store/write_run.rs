//! Writing many changed rows of a table as one sorted run past the write buffer.
//!
//! Memory is bounded whatever the number of rows: the keys are cut into ranges of
//! about [`RANGE_ROWS`] rows by a sample of them, and one range after the other is
//! encoded, sorted and written. Deleted keys that were not set again go into the
//! same run, in order.
//!
//! The keyed store merges runs in the background, one merge for each run. Large
//! changes are therefore written as several runs of ranges that do not overlap, so
//! that merges keep up; a lookup asks one of them at most. A run waits while too
//! many are not merged.

use std::time::Duration;

use super::checkpoint::TableJob;
use super::write_rows::{Source, Writer};
use crate::codec::key;
use crate::error::{Result, TableError};
use crate::hot::bits::Bits;

/// Rows that are encoded and sorted together, about.
const RANGE_ROWS: usize = 256 << 10;
/// Rows of a chunk for one key of the sample.
const SAMPLE_EVERY: usize = 512;
/// Rows between two rests.
const REST_ROWS: usize = 4096;
/// Files that are not merged yet at which a run waits.
pub(super) const UNMERGED_FILES_MAX: usize = 20;
/// Longest wait for a merge, in steps of [`WAIT_MS`].
const WAITS_MAX: usize = 300;
const WAIT_MS: u64 = 10;
/// Runs that large changes are written as.
const RUNS: usize = 2;

const FAILED: &str = "writing a sorted run";

/// Which range of keys each changed row is in.
struct Ranges {
    /// For each chunk, for each of its changed rows.
    of: Vec<Vec<u16>>,
    count: usize,
}

impl Ranges {
    fn cut(job: &TableJob, rows: usize) -> Result<Self> {
        let count = rows.div_ceil(RANGE_ROWS).clamp(1, usize::from(u16::MAX));
        if count == 1 {
            return Ok(Self { of: Vec::new(), count });
        }
        let mut sample: Vec<Box<[u8]>> = Vec::with_capacity(rows / SAMPLE_EVERY + job.changed.len());
        for (chunk, dirty) in &job.changed {
            let keys = Source::keys(job, chunk, dirty)?;
            sample.extend((0..keys.len()).step_by(SAMPLE_EVERY).map(|row| Box::from(keys.get(row))));
        }
        sample.sort_unstable();
        let bounds: Vec<&[u8]> = (1..count).map(|range| &*sample[range * sample.len() / count]).collect();
        let mut of = Vec::with_capacity(job.changed.len());
        for (chunk, dirty) in &job.changed {
            let keys = Source::keys(job, chunk, dirty)?;
            let range = |row| bounds.partition_point(|bound| *bound <= keys.get(row)) as u16;
            of.push((0..keys.len()).map(range).collect());
        }
        Ok(Self { of, count })
    }

    /// The changed rows of a chunk that are in a range.
    fn rows(&self, chunk: usize, dirty: &Bits, range: usize) -> Bits {
        let Some(of) = self.of.get(chunk) else { return dirty.clone() };
        let mut rows = Bits::new(dirty.length(), false);
        for (row, its) in dirty.ones().zip(of) {
            if usize::from(*its) == range {
                rows.set(row);
            }
        }
        rows
    }
}

/// The rows of one range, encoded, and where they are in key order.
struct Sorted {
    sources: Vec<Source>,
    order: Vec<(u128, u32, u32)>,
}

impl Sorted {
    fn new(job: &TableJob, ranges: &Ranges, range: usize) -> Result<Self> {
        let mut sources = Vec::new();
        let mut order: Vec<(u128, u32, u32)> = Vec::new();
        for (at, (chunk, dirty)) in job.changed.iter().enumerate() {
            let source = Source::new(job, chunk, &ranges.rows(at, dirty, range))?;
            let place = |row| (key::beginning(source.keys.get(row)), sources.len() as u32, row as u32);
            order.extend((0..source.keys.len()).map(place));
            sources.push(source);
        }
        let key = |at: u32, row: u32| sources[at as usize].keys.get(row as usize);
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1, a.2).cmp(key(b.1, b.2))));
        Ok(Self { sources, order })
    }
}

type Deleted<'a> = std::iter::Peekable<std::vec::IntoIter<&'a [u8]>>;

impl Writer<'_> {
    /// Writes all changes of a table.
    pub(super) fn write_runs(&mut self, job: &TableJob, rows: usize) -> Result<()> {
        let ranges = Ranges::cut(job, rows)?;
        let mut deleted: Vec<&[u8]> = job.deleted.iter().map(|key| &**key).collect();
        deleted.sort_unstable();
        let mut deleted = deleted.into_iter().peekable();
        let runs = RUNS.min(ranges.count);
        for run in 0..runs {
            self.wait_for_merges()?;
            let part = ranges.count * run / runs..ranges.count * (run + 1) / runs;
            self.write_run(job, &ranges, part, &mut deleted)?;
        }
        Ok(())
    }

    /// Writes some ranges, and the deleted keys up to their end.
    fn write_run(
        &mut self,
        job: &TableJob,
        ranges: &Ranges,
        part: std::ops::Range<usize>,
        deleted: &mut Deleted<'_>,
    ) -> Result<()> {
        let is_last = part.end == ranges.count;
        let mut run = self.keyspace.start_ingestion().map_err(TableError::store(FAILED))?;
        let mut value = Vec::new();
        for range in part {
            let sorted = Sorted::new(job, ranges, range)?;
            for (position, (_, at, row)) in sorted.order.iter().enumerate() {
                let source = &sorted.sources[*at as usize];
                let key = source.keys.get(*row as usize);
                while let Some(gone) = deleted.next_if(|gone| *gone < key) {
                    run.write_tombstone(gone).map_err(TableError::store(FAILED))?;
                }
                deleted.next_if_eq(&key);
                value.clear();
                source.values.write(*row as usize, &mut value);
                run.write(key, value.as_slice()).map_err(TableError::store(FAILED))?;
                if position % REST_ROWS == REST_ROWS - 1 {
                    self.rest()?;
                }
            }
        }
        while let Some(gone) = deleted.next_if(|_| is_last) {
            run.write_tombstone(gone).map_err(TableError::store(FAILED))?;
        }
        run.finish().map_err(TableError::store(FAILED))
    }

    fn wait_for_merges(&mut self) -> Result<()> {
        for _ in 0..WAITS_MAX {
            if self.keyspace.l0_table_count() < UNMERGED_FILES_MAX {
                break;
            }
            std::thread::sleep(Duration::from_millis(WAIT_MS));
            self.pace.rest(0)?;
        }
        Ok(())
    }
}
