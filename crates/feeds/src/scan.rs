//! Finds in a topic how far a feed has come: reads what is behind a checkpoint
//! and gives the events that bear the feed's mark.

use std::collections::BTreeMap;

use pluvio_eventlog::{Partition, Topic};
use pluvio_foundation::{ErrorKind, limits};
use pluvio_wire_kafka::records::{Record, for_each_record, parse_header};

use crate::FeedError;
use crate::checkpoint::{end_of, hold};
use crate::context::Context;
use crate::mark::{MARK, Mark};

const READ_BYTES: usize = 4 << 20;

/// Calls `found` for every marked event at or behind `ends`, partition after
/// partition, each in the order of its offsets. `false` if the feed was to stop
/// before the end.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn scan(
    context: &Context,
    topic: &Topic,
    ends: &BTreeMap<i32, i64>,
    mut found: impl FnMut(Mark, &Record<'_>),
) -> Result<bool, FeedError> {
    let mut scratch = Vec::new();
    // First of all partitions: retention does not wait for a long scan.
    let partitions = topic.partitions();
    partitions.iter().for_each(|partition| hold(context, partition, Some(end_of(ends, partition))));
    for partition in partitions {
        let mut from = end_of(ends, &partition).max(partition.start_offset());
        let end = partition.end_offset();
        while from < end {
            if context.stop.is_asked() {
                return Ok(false);
            }
            from = step(context, &partition, from, &mut scratch, &mut found)?.max(from + 1);
        }
    }
    Ok(true)
}

/// Reads some batches from `from` on. Returns where to read on.
fn step(
    context: &Context,
    partition: &Partition,
    from: i64,
    scratch: &mut Vec<u8>,
    found: &mut impl FnMut(Mark, &Record<'_>),
) -> Result<i64, FeedError> {
    let read = match partition.read(from, READ_BYTES) {
        Ok(read) => read,
        // Somebody had the oldest events deleted meanwhile.
        Err(_) if from < partition.start_offset() => return Ok(partition.start_offset()),
        Err(error) => return Err(error.into()),
    };
    for batch in &read.batches {
        if parse_header(&batch.bytes).is_ok_and(|header| header.is_control()) {
            continue;
        }
        let limit = limits::RECORD_BATCH_INFLATED_BYTES_MAX;
        let walked = for_each_record(&batch.bytes, limit, scratch, |record| {
            if record.offset >= from
                && let Some(mark) = mark_of(&record, &context.spec.stream)
            {
                found(mark, &record);
            }
            Ok(())
        });
        if let Err(error) = walked {
            debug_assert_ne!(error.kind(), ErrorKind::Internal);
            tracing::warn!(topic = %context.spec.topic, offset = batch.base_offset, %error, "a feed cannot read a batch");
        }
    }
    Ok(read.next_offset)
}

fn mark_of(record: &Record<'_>, stream: &str) -> Option<Mark> {
    let mut headers = record.headers().filter_map(Result::ok);
    let (_, value) = headers.find(|(name, _)| *name == MARK)?;
    Mark::decode(value?, stream)
}

/// The text of one of an event's headers.
pub(crate) fn header<'a>(record: &Record<'a>, name: &str) -> Option<&'a str> {
    let mut headers = record.headers().filter_map(Result::ok);
    let (_, value) = headers.find(|(its, _)| *its == name)?;
    std::str::from_utf8(value?).ok()
}
