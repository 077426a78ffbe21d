//! ListOffsets and OffsetForLeaderEpoch: where a partition begins and ends, and
//! which offset belongs to a time.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::broker::blocking;
use super::codes::{self, Code};
use super::dispatch::Call;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest time.
const NEWEST: i64 = -3;
/// The first record that is on this machine; all are.
const EARLIEST_LOCAL: i64 = -4;
/// The last record in tiered storage; there is none.
const LATEST_TIERED: i64 = -5;
/// The isolation level of who reads committed records.
const READ_COMMITTED: i8 = 1;
/// The only leader epoch there ever is.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Carries out a ListOffsets.
pub(crate) async fn list_offsets(call: Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for part in &asked.partitions {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(part.partition_index);
            let read_committed = request.isolation_level == READ_COMMITTED;
            partitions.push(match find(&call, &asked.name, part, read_committed).await {
                Ok((offset, timestamp)) => {
                    let epoch = if call.version() >= 4 && offset >= 0 { LEADER_EPOCH } else { -1 };
                    answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
                Err(code) => answer.with_error_code(code.code()),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(asked.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// Offset and time; -1 for a time that no record has yet. For who reads
/// committed records the partition ends at the last stable offset.
async fn find(
    call: &Call,
    topic: &str,
    part: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<(i64, i64), Code> {
    let version = call.version();
    if part.current_leader_epoch > LEADER_EPOCH {
        return Err(Code::UnknownLeaderEpoch);
    }
    let partition =
        call.broker.partition(topic, part.partition_index).ok_or(Code::UnknownTopicOrPartition)?;
    let end_offset = if read_committed { partition.stable_offset() } else { partition.end_offset() };
    match part.timestamp {
        LATEST => Ok((end_offset, -1)),
        EARLIEST => Ok((partition.start_offset(), -1)),
        EARLIEST_LOCAL if version >= 8 => Ok((partition.start_offset(), -1)),
        LATEST_TIERED if version >= 9 => Ok((-1, -1)),
        timestamp_ms if timestamp_ms >= 0 || (timestamp_ms == NEWEST && version >= 7) => {
            let found = blocking(move || match timestamp_ms {
                NEWEST => partition.newest(),
                _ => partition.offset_for_time(timestamp_ms),
            });
            let found = found.await;
            let found = found.map_err(|error| {
                tracing::error!(%error, "search by time failed");
                codes::of_log(&error)
            })?;
            Ok(found.filter(|(offset, _)| *offset < end_offset).unwrap_or((-1, -1)))
        }
        _ => Err(Code::UnsupportedVersion),
    }
}

/// Carries out an OffsetForLeaderEpoch: there is one epoch, which ends where
/// the partition ends.
pub(crate) fn leader_epoch(
    call: &Call,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|asked| {
        let partitions = asked.partitions.iter().map(|part| {
            let answer = EpochEndOffset::default().with_partition(part.partition);
            match call.broker.partition(&asked.topic, part.partition) {
                None => answer.with_error_code(Code::UnknownTopicOrPartition.code()),
                Some(_) if part.current_leader_epoch > LEADER_EPOCH => {
                    answer.with_error_code(Code::UnknownLeaderEpoch.code())
                }
                Some(_) if part.leader_epoch != LEADER_EPOCH => answer,
                Some(partition) => {
                    answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(partition.end_offset())
                }
            }
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(asked.topic.clone())
            .with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
