//! Collecting found rows into columns, in the order they were asked for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::chunk::Chunk;
use super::index::{Location, NOWHERE, row_of, slot_of};
use crate::error::{Result, TableError};

/// Rows whose bytes are touched together before they are copied.
const BLOCK: usize = 128;
/// Texts up to this length are copied as if they had it: that takes no loop.
const SHORT: usize = 16;

/// The columns at `projection` of the rows at `found`; NULL where nowhere.
/// `extra` are more rows: the slots behind the last.
pub(crate) fn gather(
    slots: &[Option<Arc<Chunk>>],
    extra: &[RecordBatch],
    found: &[Location],
    fields: &arrow::datatypes::Fields,
    projection: &[usize],
) -> Result<Vec<ArrayRef>> {
    let mut sources: Vec<&RecordBatch> = Vec::with_capacity(slots.len() + extra.len());
    let mut source_of = vec![usize::MAX; slots.len() + extra.len()];
    let batches = slots.iter().map(|slot| slot.as_ref().map(|chunk| &chunk.batch));
    for (slot, batch) in batches.chain(extra.iter().map(Some)).enumerate() {
        if let Some(batch) = batch {
            source_of[slot] = sources.len();
            sources.push(batch);
        }
    }
    let missing = sources.len();
    let mut any_missing = false;
    let mut picks = Vec::with_capacity(found.len());
    for at in found {
        if *at == NOWHERE {
            any_missing = true;
            picks.push((missing, 0));
        } else {
            picks.push((source_of[slot_of(*at)], row_of(*at)));
        }
    }
    let mut columns = Vec::with_capacity(projection.len());
    for column in projection {
        let data_type = fields[*column].data_type();
        let null = any_missing.then(|| new_null_array(data_type, 1));
        let mut arrays: Vec<&dyn Array> =
            sources.iter().map(|batch| batch.column(*column).as_ref()).collect();
        arrays.extend(null.as_ref().map(AsRef::as_ref));
        columns.push(if arrays.is_empty() {
            new_null_array(data_type, 0)
        } else if *data_type == DataType::Utf8 {
            gather_texts(&arrays, &picks)?
        } else {
            interleave(&arrays, &picks).map_err(TableError::arrow("collecting found rows"))?
        });
    }
    Ok(columns)
}

/// Texts, in blocks: first all their places are looked up, then all their bytes
/// touched, then copied, so that cache misses overlap.
fn gather_texts(arrays: &[&dyn Array], picks: &[(usize, usize)]) -> Result<ArrayRef> {
    let texts: Vec<&StringArray> = arrays.iter().map(|array| array.as_string::<i32>()).collect();
    let sources: Vec<(&[i32], &[u8])> =
        texts.iter().map(|text| (text.value_offsets(), text.values().as_slice())).collect();
    let mut ends = Vec::with_capacity(picks.len() + 1);
    ends.push(0_i32);
    let mut out: Vec<u8> = Vec::new();
    let mut length = 0_usize;
    for block in picks.chunks(BLOCK) {
        let mut places = [(0_usize, 0_usize); BLOCK];
        for ((source, row), place) in block.iter().zip(&mut places) {
            let offsets = sources[*source].0;
            *place = (offsets[*row] as usize, offsets[*row + 1] as usize);
        }
        let mut touched = 0_u8;
        let mut block_bytes = 0;
        for ((source, _), (start, end)) in block.iter().zip(&places) {
            touched ^= sources[*source].1.get(*start).copied().unwrap_or(0);
            block_bytes += end - start;
        }
        std::hint::black_box(touched);
        out.resize(length + block_bytes + SHORT, 0);
        for ((source, _), (start, end)) in block.iter().zip(&places) {
            let bytes = sources[*source].1;
            let size = end - start;
            match bytes.get(*start..*start + SHORT) {
                Some(short) if size <= SHORT => out[length..length + SHORT].copy_from_slice(short),
                _ => out[length..length + size].copy_from_slice(&bytes[*start..*end]),
            }
            length += size;
            let end = i32::try_from(length).map_err(|_| TableError::TooLarge {
                what: "one text column of a lookup".to_owned(),
                bytes: length as u64,
                limit: i32::MAX as u64,
                hint: "look up fewer keys at once",
            })?;
            ends.push(end);
        }
    }
    out.truncate(length);
    let nulls = texts.iter().any(|text| text.null_count() > 0).then(|| {
        NullBuffer::new(BooleanBuffer::collect_bool(picks.len(), |at| {
            let (source, row) = picks[at];
            texts[source].is_valid(row)
        }))
    });
    let offsets = OffsetBuffer::new(ends.into());
    let array = StringArray::try_new(offsets, out.into(), nulls);
    Ok(Arc::new(array.map_err(TableError::arrow("collecting found texts"))?))
}
