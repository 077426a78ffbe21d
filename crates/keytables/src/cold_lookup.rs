//! Looking up many keys in the keyed store.
//!
//! Keys are asked for in order, so that a block is read once, and from a few
//! thousand on by several threads: what a lookup costs is mostly the processor's
//! time in filters, indexes and blocks. Each thread decodes what it finds at once,
//! because a found value keeps its whole block in memory.

use arrow::array::RecordBatch;

use crate::codec::key::EncodedKeys;
use crate::codec::row::RowLayout;
use crate::cold::ColdView;
use crate::error::{Result, TableError};
use crate::options::CHUNK_ROWS_MAX;
use crate::table::COLD_BYTES;

/// Keys that are worth a thread.
const KEYS_PER_THREAD: usize = 4096;
/// Most threads of one lookup.
const THREADS_MAX: usize = 4;

/// What some keys were found to be.
#[derive(Debug, Default)]
pub(crate) struct ColdRows {
    /// The rows found.
    pub(crate) batches: Vec<RecordBatch>,
    /// For each key, which batch and row it is.
    pub(crate) places: Vec<Option<(usize, usize)>>,
}

/// The rows of these keys, which are in order and different.
pub(crate) fn read(
    view: &ColdView,
    layout: &RowLayout,
    keys: &EncodedKeys,
    order: &[usize],
) -> Result<ColdRows> {
    let mut all = ColdRows::default();
    for part in in_parts(order, |rows| read_part(view, layout, keys, rows))? {
        let before = all.batches.len();
        all.batches.extend(part.batches);
        all.places.extend(part.places.into_iter().map(|at| at.map(|(batch, row)| (batch + before, row))));
    }
    Ok(all)
}

/// Which of these keys are there.
pub(crate) fn contains(view: &ColdView, keys: &EncodedKeys, order: &[usize]) -> Result<Vec<bool>> {
    let look =
        |rows: &[usize]| rows.iter().map(|row| view.contains(keys.get(*row))).collect::<Result<Vec<_>>>();
    Ok(in_parts(order, look)?.concat())
}

fn read_part(view: &ColdView, layout: &RowLayout, keys: &EncodedKeys, rows: &[usize]) -> Result<ColdRows> {
    let mut decoder = layout.decoder()?;
    let mut part = ColdRows { batches: Vec::new(), places: Vec::with_capacity(rows.len()) };
    for row in rows {
        let key = keys.get(*row);
        let Some(value) = view.get(key)? else {
            part.places.push(None);
            continue;
        };
        part.places.push(Some((part.batches.len(), decoder.rows())));
        decoder.read(key, &value)?;
        if decoder.rows() == CHUNK_ROWS_MAX || decoder.bytes() >= COLD_BYTES {
            part.batches.push(decoder.finish()?);
        }
    }
    if decoder.rows() > 0 {
        part.batches.push(decoder.finish()?);
    }
    Ok(part)
}

/// Does the work for all, in their order, by as many threads as it is worth.
fn in_parts<T: Send>(rows: &[usize], work: impl Fn(&[usize]) -> Result<T> + Sync) -> Result<Vec<T>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (rows.len() / KEYS_PER_THREAD).clamp(1, processors.min(THREADS_MAX));
    let mut parts = rows.chunks(rows.len().div_ceil(threads).max(1));
    let first = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let work = &work;
        let start = |part| {
            std::thread::Builder::new()
                .name("table-lookup".to_owned())
                .spawn_scoped(scope, move || work(part))
        };
        let started: Vec<_> = parts.map(|part| (part, start(part))).collect();
        let mut done = vec![work(first)?];
        for (part, thread) in started {
            done.push(match thread {
                Ok(thread) => {
                    thread.join().map_err(|_| TableError::Internal("a lookup ended by a panic"))??
                }
                Err(_) => work(part)?,
            });
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_order() {
        for count in [0, 1, KEYS_PER_THREAD - 1, KEYS_PER_THREAD * 2 + 3, KEYS_PER_THREAD * 9] {
            let rows: Vec<usize> = (0..count).collect();
            assert_eq!(in_parts(&rows, |part| Ok(part.to_vec())).unwrap().concat(), rows);
            let failed = in_parts(&rows, |_| Err::<(), _>(TableError::Closed));
            assert!(failed.is_err());
        }
    }
}
