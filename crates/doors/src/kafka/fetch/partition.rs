//! Reading one partition for a fetch.

use std::sync::Arc;

use pluvio_eventlog::{Partition, StoredBatch};
use pluvio_wire_kafka::TopicRef;
use pluvio_wire_kafka::fetch::{FetchPartition, FetchedPartition};

use crate::kafka::broker::blocking;
use crate::kafka::codes::{self, Code};

/// A read that begins this many records or more before the end likely needs
/// the disk.
const COLD_RECORDS: i64 = 50_000;

/// What is said of a partition that is not there.
pub(super) fn unknown(topic: &TopicRef, topic_is_known: bool) -> Code {
    match topic {
        TopicRef::Id(_) if !topic_is_known => Code::UnknownTopicId,
        _ => Code::UnknownTopicOrPartition,
    }
}

/// The answer for a partition that cannot be read.
pub(super) fn failed(index: i32, code: Code) -> FetchedPartition {
    FetchedPartition::refused(index, code.code())
}

/// Reads one partition. `first` says that nothing was read yet, so that a
/// batch larger than any limit still gets through.
///
/// With `read_committed` nothing from the last stable offset on is given, and
/// of what was aborted before it the client is told which it is.
pub(super) async fn read_one(
    partition: &Arc<Partition>,
    part: &FetchPartition,
    left: usize,
    first: bool,
    read_committed: bool,
) -> Result<FetchedPartition, Code> {
    if part.current_leader_epoch > 0 {
        return Err(Code::UnknownLeaderEpoch);
    }
    let (start_offset, end_offset) = (partition.start_offset(), partition.end_offset());
    // Not before the end: a transaction may begin between the two.
    let stable_offset = partition.stable_offset();
    let mut fetched = FetchedPartition {
        index: part.index,
        error_code: 0,
        high_watermark: end_offset,
        last_stable_offset: stable_offset,
        log_start_offset: start_offset,
        aborted: Vec::new(),
        records: Vec::new(),
    };
    if !(start_offset..=end_offset).contains(&part.fetch_offset) {
        return Err(Code::OffsetOutOfRange);
    }
    let bytes_max = left.min(usize::try_from(part.max_bytes).unwrap_or(0));
    let limit = if read_committed { stable_offset } else { end_offset };
    if part.fetch_offset >= limit || (bytes_max == 0 && !first) {
        return Ok(fetched);
    }
    let from = part.fetch_offset;
    let read = match end_offset - from >= COLD_RECORDS {
        false => partition.read(from, bytes_max),
        true => {
            let partition = Arc::clone(partition);
            blocking(move || partition.read(from, bytes_max)).await
        }
    };
    let mut read = read.map_err(|error| {
        if !matches!(error, pluvio_eventlog::LogError::OffsetOutOfRange { .. }) {
            tracing::error!(%error, "read failed");
        }
        codes::of_log(&error)
    })?;
    // One batch is served however large it is, but one in the whole answer:
    // clients take no larger answer than the bytes they asked for.
    if !first && read.batches.first().is_some_and(|batch| batch.bytes.len() > bytes_max) {
        read.batches.clear();
    }
    fetched.high_watermark = read.end_offset;
    fetched.log_start_offset = read.start_offset;
    if read_committed {
        let decided = read.batches.partition_point(|batch| batch.base_offset < stable_offset);
        read.batches.truncate(decided);
        fetched.aborted = aborted_among(partition, &read.batches);
    } else {
        fetched.last_stable_offset = partition.stable_offset();
    }
    fetched.records = read.batches.into_iter().map(|batch| batch.bytes).collect();
    Ok(fetched)
}

/// The aborted transactions with records in these batches: producer and first
/// offset, each a client's to leave out until it meets the marker.
fn aborted_among(partition: &Partition, batches: &[StoredBatch]) -> Vec<(i64, i64)> {
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Vec::new() };
    let aborted = partition.aborted_in(first.base_offset, last.last_offset + 1);
    aborted.into_iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect()
}
