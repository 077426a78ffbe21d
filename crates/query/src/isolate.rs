//! Finding the rows at fault in a batch that cannot be computed as a whole.

use datafusion::arrow::array::RecordBatch;

use crate::QueryError;

/// Runs `work` on the batch; if it fails, finds the rows that fail, reports each
/// with its place and reason, and gives the results of the others, each with the
/// place of its first row.
pub fn isolate<T>(
    batch: &RecordBatch,
    first: usize,
    work: &impl Fn(&RecordBatch) -> Result<T, QueryError>,
    done: &mut Vec<(usize, T)>,
    failed: &mut Vec<(usize, QueryError)>,
) {
    let rows = batch.num_rows();
    match work(batch) {
        Ok(result) => done.push((first, result)),
        Err(error) if rows <= 1 => failed.push((first, error)),
        Err(_) => {
            let half = rows / 2;
            isolate(&batch.slice(0, half), first, work, done, failed);
            isolate(&batch.slice(half, rows - half), first + half, work, done, failed);
        }
    }
}
