//! Events of a stream as rows: reads a range of a partition and decodes it. The
//! engine's epochs and a batch scan over the topic share this, so they see the
//! same rows.

mod computed;
mod format;
mod rows;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_catalog::StreamDef;
use pluvio_eventlog::StoredBatch;
use pluvio_formats::{Decoder, Headers, RowContext};
use pluvio_foundation::limits::{DEAD_LETTER_PREVIEW_BYTES_MAX, RECORD_BATCH_INFLATED_BYTES_MAX};
use pluvio_wire_kafka::records::{HeaderIter, Record, for_each_record, parse_header};

use crate::QueryError;
use crate::sources::StreamPartition;
pub(crate) use computed::plan as plan_computed;
use rows::{Refused, Rows};

/// An event that did not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its offset.
    pub offset: i64,
    /// Why.
    pub reason: String,
    /// The beginning of its value.
    pub preview: Vec<u8>,
}

/// What a range of one partition became.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order of their offsets.
    pub rows: RecordBatch,
    /// The offset of each row.
    pub offsets: Vec<i64>,
    /// For each row, whether it comes (+1) or goes (-1); `None`: all come.
    pub weights: Option<Int64Array>,
    /// The events that are not among the rows.
    pub rejected: Vec<Rejected>,
    /// How many events were read.
    pub events: usize,
    /// How many bytes were read.
    pub bytes: usize,
    /// The first offset not read.
    pub next_offset: i64,
    /// When the batches were appended and how many events each has: (Unix
    /// milliseconds, events). Empty entries for batches read from disk.
    pub appended: Vec<(i64, u32)>,
}

/// Rows with the instant of their processing, if the stream has a column for it.
///
/// # Errors
/// Never, for rows of this stream.
pub fn with_processing_time(
    stream: &StreamDef,
    rows: RecordBatch,
    at_us: i64,
) -> Result<RecordBatch, QueryError> {
    if stream.processing_time.is_none() {
        return Ok(rows);
    }
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![at_us; rows.num_rows()]));
    let columns = rows.columns().iter().cloned().chain([at]).collect();
    Ok(RecordBatch::try_new(stream.readable_schema(), columns)?)
}

/// Decodes the events of one stream. Keeps its buffers between calls.
pub struct StreamDecoder {
    decoder: Box<dyn Decoder>,
    /// Columns come from the event around its value.
    surroundings: bool,
    require: Option<regex::bytes::Regex>,
    computed: Vec<Arc<dyn PhysicalExpr>>,
    /// The decoded columns and the computed ones.
    schema: SchemaRef,
    bound: Option<TimeBound>,
    pushed: Pushed,
    scratch: Vec<u8>,
}

/// How far ahead of the time an event was written its own time may be.
#[derive(Clone, Copy)]
struct TimeBound {
    column: usize,
    max_future_us: i64,
}

/// The events that were given to the decoder.
#[derive(Default)]
struct Pushed {
    offsets: Vec<i64>,
    /// When each was written, where that matters.
    written_ms: Vec<i64>,
}

struct RecordHeaders<'a>(HeaderIter<'a>);

impl Headers for RecordHeaders<'_> {
    fn last_value(&self, name: &str) -> Option<&[u8]> {
        let headers = self.0.clone().filter_map(Result::ok).filter(|(own, _)| *own == name);
        headers.last().and_then(|(_, value)| value)
    }
}

impl StreamDecoder {
    /// A decoder for a stream's format and columns; `state` knows the functions
    /// that compute columns.
    ///
    /// # Errors
    /// A column type the format cannot hold; an expression that cannot be planned.
    pub fn new(stream: &StreamDef, state: &SessionState) -> Result<Self, QueryError> {
        let require = stream.require.as_deref().map(crate::functions::compile_regex).transpose();
        let require = require.map_err(QueryError::invalid)?;
        let schema = stream.decoded_schema();
        let bound = match (&stream.watermark, stream.max_future_ms) {
            (Some(watermark), Some(max_future_ms)) => Some(TimeBound {
                column: schema.index_of(&watermark.column)?,
                max_future_us: max_future_ms.saturating_mul(1000),
            }),
            _ => None,
        };
        Ok(Self {
            decoder: format::decoder(stream, stream.schema())?,
            surroundings: format::needs_surroundings(stream),
            require,
            computed: computed::expressions(state, stream)?,
            schema,
            bound,
            pushed: Pushed::default(),
            scratch: Vec::new(),
        })
    }

    /// Reads and decodes from `from` on, at most about `bytes_max` bytes and
    /// never past `end`.
    ///
    /// # Errors
    /// The log's errors, and batches that cannot be decompressed.
    pub fn read(
        &mut self,
        partition: &dyn StreamPartition,
        from: i64,
        end: i64,
        bytes_max: usize,
    ) -> Result<Decoded, QueryError> {
        let read = partition.read(from, bytes_max)?;
        let mut rejected = Vec::new();
        let mut appended = Vec::with_capacity(read.batches.len());
        let mut bytes = 0;
        // Beyond the last batch if what follows it was left out or compacted away.
        let next_offset = read.next_offset.min(end);
        for batch in &read.batches {
            if batch.base_offset >= end {
                break;
            }
            let before = self.pushed.offsets.len();
            self.push_batch(&batch.bytes, (partition.index(), from..end), &mut rejected)?;
            bytes += batch.bytes.len();
            let events = u32::try_from(self.pushed.offsets.len() - before).unwrap_or(u32::MAX);
            if let Some(at) = batch.append_time_ms {
                appended.push((at, events));
            }
        }
        let mut decoded = self.finish(rejected)?;
        self.add_previews(&read.batches, &mut decoded.rejected)?;
        Ok(Decoded { bytes, next_offset, appended, ..decoded })
    }

    fn push_batch(
        &mut self,
        batch: &Bytes,
        (partition, range): (i32, Range<i64>),
        rejected: &mut Vec<Rejected>,
    ) -> Result<(), QueryError> {
        let header = parse_header(batch).map_err(|e| QueryError::new(e.kind(), e.to_string()))?;
        if header.is_control() {
            return Ok(());
        }
        let Self { decoder, require, scratch, pushed, .. } = self;
        let (surroundings, written) = (self.surroundings, self.bound.is_some());
        let mut push = |record: &Record<'_>| {
            pushed.offsets.push(record.offset);
            if written {
                pushed.written_ms.push(record.timestamp_ms);
            }
            if !surroundings {
                return decoder.push(record.value);
            }
            decoder.push_with(
                record.value,
                &RowContext {
                    key: record.key,
                    headers: &RecordHeaders(record.headers()),
                    partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                },
            );
        };
        let result = for_each_record(batch, RECORD_BATCH_INFLATED_BYTES_MAX, scratch, |record| {
            if !range.contains(&record.offset) {
                return Ok(());
            }
            let refused = match (&require, record.value) {
                (Some(pattern), Some(value)) => !pattern.is_match(value),
                _ => false,
            };
            if refused {
                let reason = "the event does not match the stream's \"require\" pattern".to_owned();
                rejected.push(Rejected { offset: record.offset, reason, preview: Vec::new() });
                return Ok(());
            }
            push(&record);
            Ok(())
        });
        // A batch that cannot be decompressed is rejected whole: the events
        // after it go on.
        if let Err(error) = result {
            let offset = header.base_offset.max(range.start);
            rejected.push(Rejected { offset, reason: error.to_string(), preview: Vec::new() });
        }
        Ok(())
    }

    /// Fills in the values of rejected events. They are rare, so the batches are
    /// walked again instead of keeping every value at hand.
    fn add_previews(&mut self, batches: &[StoredBatch], rejected: &mut [Rejected]) -> Result<(), QueryError> {
        if rejected.is_empty() {
            return Ok(());
        }
        for batch in batches {
            let range = batch.base_offset..batch.last_offset + 1;
            if !rejected.iter().any(|r| range.contains(&r.offset)) {
                continue;
            }
            let walked =
                for_each_record(&batch.bytes, RECORD_BATCH_INFLATED_BYTES_MAX, &mut self.scratch, |record| {
                    if let Ok(place) = rejected.binary_search_by_key(&record.offset, |r| r.offset) {
                        let value = record.value.unwrap_or_default();
                        rejected[place].preview =
                            value[..value.len().min(DEAD_LETTER_PREVIEW_BYTES_MAX)].to_vec();
                    }
                    Ok(())
                });
            if let Err(error) = walked {
                tracing::debug!(%error, "a rejected batch has no previews");
            }
        }
        Ok(())
    }

    /// What was pushed, as rows.
    fn finish(&mut self, mut rejected: Vec<Rejected>) -> Result<Decoded, QueryError> {
        let Pushed { offsets, written_ms } = std::mem::take(&mut self.pushed);
        let events = offsets.len() + rejected.len();
        let decoded = self.decoder.finish()?;
        let mut refuse = |refused: Refused| {
            rejected.extend(refused.into_iter().map(|(event, reason)| Rejected {
                offset: offsets[event as usize],
                reason,
                preview: Vec::new(),
            }));
        };
        refuse(decoded.errors.into_iter().map(|error| (error.ordinal, error.reason)).collect());
        let weights = decoded.weights.map(Int64Array::from);
        let rows = Rows { batch: decoded.batch, ordinals: decoded.ordinals, weights };
        let (mut rows, refused) = rows.compute(&self.computed, &self.schema)?;
        refuse(refused);
        if let Some(TimeBound { column, max_future_us }) = self.bound {
            let bound_us = |event: u32| match written_ms[event as usize] {
                // Nobody knows when it was written.
                ..0 => i64::MAX,
                written_ms => written_ms.saturating_mul(1000).saturating_add(max_future_us),
            };
            let (kept, refused) = rows.bound_time(column, bound_us)?;
            rows = kept;
            refuse(refused);
        }
        rejected.sort_by_key(|r| r.offset);
        rejected.dedup_by_key(|r| r.offset);
        let all = rows.weights.is_none() && rows.ordinals.len() == offsets.len();
        let offsets = match all {
            true => offsets,
            false => rows.ordinals.iter().map(|event| offsets[*event as usize]).collect(),
        };
        let (weights, appended) = (rows.weights, Vec::new());
        Ok(Decoded {
            rows: rows.batch,
            offsets,
            weights,
            rejected,
            events,
            bytes: 0,
            next_offset: 0,
            appended,
        })
    }
}
