//! Events of a stream as rows: reads a range of a partition and decodes it. The
//! engine's epochs and a batch scan over the topic share this, so they see the
//! same rows.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use pluvio_catalog::{DecodePolicy, FormatDef, StreamDef};
use pluvio_eventlog::StoredBatch;
use pluvio_formats::{CsvOptions, Decoder, Format, OnError};
use pluvio_foundation::limits::{DEAD_LETTER_PREVIEW_BYTES_MAX, RECORD_BATCH_INFLATED_BYTES_MAX};
use pluvio_wire_kafka::records::{for_each_record, parse_header};

use crate::QueryError;
use crate::sources::StreamPartition;

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
    require: Option<regex::bytes::Regex>,
    scratch: Vec<u8>,
}

impl StreamDecoder {
    /// A decoder for a stream's format and columns.
    ///
    /// # Errors
    /// A column type the format cannot hold.
    pub fn new(stream: &StreamDef) -> Result<Self, QueryError> {
        let format = match &stream.format {
            FormatDef::Json => Format::Json,
            FormatDef::Csv { delimiter, null } => {
                let mut nulls = CsvOptions::default().nulls;
                nulls.extend(null.clone());
                let delimiter = u8::try_from(*delimiter).unwrap_or(b',');
                let options = CsvOptions { delimiter, nulls, ..CsvOptions::default() };
                Format::Csv(options)
            }
            FormatDef::Raw => Format::Raw,
        };
        let on_error = match stream.on_error {
            DecodePolicy::DeadLetter => OnError::DeadLetter,
            DecodePolicy::Null => OnError::Null,
        };
        let decoder = pluvio_formats::decoder(&format, stream.schema(), on_error)?;
        let require = stream.require.as_deref().map(crate::functions::compile_regex).transpose();
        let require = require.map_err(QueryError::invalid)?;
        Ok(Self { decoder, require, scratch: Vec::new() })
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
        let mut offsets = Vec::new();
        let mut rejected = Vec::new();
        let mut appended = Vec::with_capacity(read.batches.len());
        let mut bytes = 0;
        // Beyond the last batch if what follows it was left out or compacted away.
        let next_offset = read.next_offset.min(end);
        for batch in &read.batches {
            if batch.base_offset >= end {
                break;
            }
            let before = offsets.len();
            self.push_batch(&batch.bytes, from..end, &mut offsets, &mut rejected)?;
            bytes += batch.bytes.len();
            let events = u32::try_from(offsets.len() - before).unwrap_or(u32::MAX);
            if let Some(at) = batch.append_time_ms {
                appended.push((at, events));
            }
        }
        let mut decoded = self.finish(offsets, rejected, bytes, next_offset, appended)?;
        self.add_previews(&read.batches, &mut decoded.rejected)?;
        Ok(decoded)
    }

    fn push_batch(
        &mut self,
        batch: &Bytes,
        range: Range<i64>,
        offsets: &mut Vec<i64>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<(), QueryError> {
        let header = parse_header(batch).map_err(|e| QueryError::new(e.kind(), e.to_string()))?;
        if header.is_control() {
            return Ok(());
        }
        let Self { decoder, require, scratch } = self;
        let result = for_each_record(batch, RECORD_BATCH_INFLATED_BYTES_MAX, scratch, |record| {
            if !range.contains(&record.offset) {
                return Ok(());
            }
            let value = record.value;
            let refused = match (&require, value) {
                (Some(pattern), Some(value)) => !pattern.is_match(value),
                _ => false,
            };
            if refused {
                let reason = "the event does not match the stream's \"require\" pattern".to_owned();
                rejected.push(Rejected { offset: record.offset, reason, preview: Vec::new() });
                return Ok(());
            }
            decoder.push(value);
            offsets.push(record.offset);
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

    fn finish(
        &mut self,
        pushed: Vec<i64>,
        mut rejected: Vec<Rejected>,
        bytes: usize,
        next_offset: i64,
        appended: Vec<(i64, u32)>,
    ) -> Result<Decoded, QueryError> {
        let events = pushed.len() + rejected.len();
        let decoded = self.decoder.finish()?;
        for error in decoded.errors {
            let offset = pushed[error.ordinal as usize];
            rejected.push(Rejected { offset, reason: error.reason, preview: Vec::new() });
        }
        rejected.sort_by_key(|r| r.offset);
        let offsets = if decoded.ordinals.len() == pushed.len() {
            pushed
        } else {
            decoded.ordinals.iter().map(|o| pushed[*o as usize]).collect()
        };
        Ok(Decoded { rows: decoded.batch, offsets, rejected, events, bytes, next_offset, appended })
    }
}
