//! Joining neighbouring small files into larger ones.
//!
//! Which: files are looked at in tiers, each tier's files being at most eight
//! times larger than the last's, so that a row is rewritten about once per tier
//! and not at every commit. Only neighbours in commit order are joined, so rows
//! keep their order and retention its meaning.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::protocol::DeltaOperation;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::commit::Change;
use crate::encoder::{FileEncoder, FinishedFile, is_own_name};
use crate::error::LakeError;
use crate::files::LakeFile;
use crate::table::LakeTable;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;
const TIER_FACTOR: u64 = 8;
const TIERS: u32 = 4;
/// A joined file is at least this many times as large as its largest part.
const GROWTH_FACTOR_MIN: u64 = 2;

/// The files to join next, if any are worth it.
pub(crate) fn plan(files: &[Arc<LakeFile>], target_bytes: u64, files_min: usize) -> Option<Range<usize>> {
    let largest = target_bytes / 2;
    (0..TIERS).rev().find_map(|tier| {
        let limit = largest / TIER_FACTOR.pow(tier);
        plan_tier(files, limit, target_bytes, files_min.max(2))
    })
}

/// The first run of files of at most `limit` bytes that fills a target file, or
/// is long enough and not for the most part one large file, which would be
/// rewritten for the sake of a few small ones.
fn plan_tier(
    files: &[Arc<LakeFile>],
    limit: u64,
    target_bytes: u64,
    files_min: usize,
) -> Option<Range<usize>> {
    let mut run = Run::default();
    for (index, file) in files.iter().enumerate() {
        if file.bytes > limit || !is_own_name(&file.path) {
            if run.is_worth_it(index, files_min) {
                return Some(run.start..index);
            }
            run = Run { start: index + 1, ..Run::default() };
            continue;
        }
        if run.sum + file.bytes > target_bytes && index - run.start >= 2 {
            return Some(run.start..index);
        }
        run.sum += file.bytes;
        run.largest = run.largest.max(file.bytes);
    }
    run.is_worth_it(files.len(), files_min).then_some(run.start..files.len())
}

#[derive(Default)]
struct Run {
    start: usize,
    sum: u64,
    largest: u64,
}

impl Run {
    fn is_worth_it(&self, end: usize, files_min: usize) -> bool {
        end - self.start >= files_min && self.sum >= self.largest * GROWTH_FACTOR_MIN
    }
}

impl LakeTable {
    /// Joins one run of files; the number of files that went. Appends may go on
    /// meanwhile: only the commit at the end takes its turn.
    pub(crate) async fn compact(self: &Arc<Self>) -> Result<usize, LakeError> {
        let files = self.view.lock().files.files.clone();
        let options = &self.options;
        let Some(run) = plan(&files, options.target_file_bytes, options.compaction_files_min) else {
            return Ok(0);
        };
        let inputs: Vec<_> = files[run].to_vec();
        let table = Arc::clone(self);
        let sources = inputs.clone();
        let mut joined = tokio::task::spawn_blocking(move || table.join(&sources))
            .await
            .map_err(|error| LakeError::Task { table: self.name.clone(), reason: error.to_string() })??;
        let time_ms = inputs.iter().map(|file| file.time_ms).max().unwrap_or(0);
        let now_ms = options.clock.now_ms();
        let change = Change {
            added: joined.iter().map(|file| file.add(time_ms, false)).collect(),
            removed: inputs.iter().map(|file| file.remove(now_ms, false)).collect(),
            epoch: None,
            operation: DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(options.target_file_bytes).unwrap_or(i64::MAX),
            },
        };
        let mut committer = self.committer.lock().await;
        self.settle(&mut committer).await?;
        self.commit_files(&mut committer, &mut joined, change).await?;
        Ok(inputs.len())
    }

    fn join(&self, inputs: &[Arc<LakeFile>]) -> Result<Vec<FinishedFile>, LakeError> {
        let mut output: Option<FileEncoder> = None;
        let mut rows = 0;
        for input in inputs {
            let path = self.folder.join(&input.path);
            let failed = |error| LakeError::parquet(&path, error);
            let file = File::open(&path).map_err(|error| LakeError::io("open", &path, error))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
                .map_err(failed)?;
            for batch in reader {
                let batch = batch.map_err(|error| LakeError::arrow(&self.name, error))?;
                let batch = RecordBatch::try_new(Arc::clone(&self.stored), batch.columns().to_vec())
                    .map_err(|error| LakeError::arrow(&self.name, error))?;
                rows += batch.num_rows() as u64;
                let encoder = match &mut output {
                    Some(encoder) => encoder,
                    None => {
                        output.insert(FileEncoder::begin(&self.folder, &self.stored, &self.options, &batch)?)
                    }
                };
                encoder.write(&batch)?;
            }
        }
        let expected: u64 = inputs.iter().map(|file| file.rows).sum();
        if rows != expected {
            let reason = format!("files to join hold {rows} rows, the log says {expected}");
            return Err(LakeError::Log { table: self.name.clone(), reason });
        }
        output.into_iter().map(FileEncoder::finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn files(sizes: &[u64]) -> Vec<Arc<LakeFile>> {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let file = |(i, size): (usize, &u64)| {
            Arc::new(LakeFile::new(&schema, format!("pluvio-{i}.parquet"), *size, 0, None))
        };
        sizes.iter().enumerate().map(file).collect()
    }

    #[test]
    fn small_neighbours_are_joined_and_large_files_left_alone() {
        assert_eq!(plan(&files(&[5; 7]), 128, 8), None);
        assert_eq!(plan(&files(&[5; 8]), 128, 8), Some(0..8));
        assert_eq!(plan(&files(&[100, 5, 5, 5, 100]), 128, 3), Some(1..4));
        assert_eq!(plan(&files(&[100, 100, 100]), 128, 2), None);
    }

    #[test]
    fn the_smallest_files_are_joined_first() {
        let sizes = [4000, 4000, 4000, 10, 10, 10, 10];
        assert_eq!(plan(&files(&sizes), 64_000, 3), Some(3..7));
    }

    #[test]
    fn a_joined_file_is_not_larger_than_the_target() {
        assert_eq!(plan(&files(&[50, 50, 50, 50]), 128, 8), Some(0..2));
    }

    #[test]
    fn steady_appends_rewrite_each_row_a_few_times_only() {
        let (mut sizes, mut written, mut appended) = (Vec::new(), 0, 0);
        for step in 0..1000_u64 {
            sizes.push(5 + step % 3);
            appended += 5 + step % 3;
            while let Some(run) = plan(&files(&sizes), 1280, 8) {
                let sum = sizes[run.clone()].iter().sum();
                written += sum;
                sizes.splice(run, [sum]);
            }
        }
        assert!(written < appended * 5, "{written} bytes rewritten for {appended}");
        assert!(sizes.len() < 32, "{sizes:?}");
    }
}
