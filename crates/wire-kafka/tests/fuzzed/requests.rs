//! What a client sends: a request without its length, from the first byte.
//!
//! Holds: no bytes make reading panic or take memory that they do not pay for;
//! Produce and Fetch, read by hand, say what the library reads in them; every
//! other request that is read can be written, and is then the same.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as m};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use pluvio_wire_kafka::fetch::{FetchPartition, FetchRequest, FetchTopic};
use pluvio_wire_kafka::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use pluvio_wire_kafka::{Request, RequestHead, TopicRef, frame};

const FRAME_BYTES_MAX: usize = 1 << 20;
/// The oldest Produce that the library knows.
const PRODUCE_OF_LIBRARY: i16 = 3;
/// Later versions have the same layout and tagged fields of a partition, which
/// the library reads without regard to the length that they claim.
const FETCH_WITHOUT_TAGS: i16 = 16;

/// Holds the bytes against what is promised of them.
pub fn check(input: &[u8]) {
    if let Ok(Some(bytes)) = frame::frame_bytes(input, FRAME_BYTES_MAX) {
        assert!(bytes <= FRAME_BYTES_MAX);
    }
    let frame = Bytes::copy_from_slice(input);
    let Ok((head, body)) = frame::split_request(&frame) else { return };
    let Ok(request) = Request::decode(&head, body.clone()) else { return };
    let version = head.api_version;
    match &request {
        Request::Produce(read) if version >= PRODUCE_OF_LIBRARY => {
            if let Ok(library) = m::ProduceRequest::decode(&mut body.clone(), version) {
                assert_eq!(*read, produce(library, version));
            }
        }
        Request::Produce(_) => {}
        Request::Fetch(read) => {
            let plain = version.min(FETCH_WITHOUT_TAGS);
            if let Ok(library) = m::FetchRequest::decode(&mut body.clone(), plain) {
                assert_eq!(*read, fetch(library, version));
            }
        }
        other => {
            let written = encoded(other, version);
            let again = Request::decode(&head, written.clone());
            let again = again.unwrap_or_else(|error| panic!("{error}: {other:?}"));
            assert_eq!(written, encoded(&again, version), "{other:?}");
            assert_is_the_same(&head, &written);
        }
    }
}

/// A body that we wrote passes through a frame unchanged.
fn assert_is_the_same(head: &RequestHead, body: &Bytes) {
    let key = m::ApiKey::try_from(head.api_key).unwrap();
    let mut out = frame::begin_request(key, head.api_version, head.correlation_id, &head.client_id);
    out.extend_from_slice(body);
    let frame = frame::seal(out).unwrap().slice(frame::LENGTH_BYTES..);
    assert_eq!(frame::split_request(&frame).unwrap(), (head.clone(), body.clone()));
}

macro_rules! encoded {
    ($request:expr, $version:expr, $($name:ident)*) => {
        match $request {
            $(Request::$name(message) => bytes_of(message, $version),)*
            Request::Produce(_) | Request::Fetch(_) => unreachable!("read by hand"),
        }
    };
}

#[rustfmt::skip]
fn encoded(request: &Request, version: i16) -> Bytes {
    encoded!(request, version,
        ListOffsets Metadata OffsetCommit OffsetFetch FindCoordinator JoinGroup Heartbeat LeaveGroup SyncGroup
        DescribeGroups ListGroups SaslHandshake SaslAuthenticate ApiVersions CreateTopics DeleteTopics DeleteRecords
        InitProducerId AddPartitionsToTxn AddOffsetsToTxn EndTxn TxnOffsetCommit DescribeProducers
        DescribeTransactions ListTransactions OffsetForLeaderEpoch DescribeConfigs AlterConfigs CreatePartitions
        DeleteGroups IncrementalAlterConfigs OffsetDelete DescribeAcls CreateAcls DeleteAcls DescribeClientQuotas
        AlterClientQuotas DescribeUserScramCredentials AlterUserScramCredentials DescribeCluster DescribeLogDirs
        ElectLeaders AlterPartitionReassignments ListPartitionReassignments DescribeTopicPartitions
        ConsumerGroupHeartbeat ConsumerGroupDescribe)
}

fn bytes_of(message: &impl Encodable, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

fn topic(name: &StrBytes, id: [u8; 16], version: i16) -> TopicRef {
    if version >= 13 { TopicRef::Id(id) } else { TopicRef::Name(name.to_string()) }
}

fn produce(library: m::ProduceRequest, version: i16) -> ProduceRequest {
    let topics = library.topic_data.into_iter().map(|it| ProduceTopic {
        topic: topic(&it.name, it.topic_id.into_bytes(), version),
        partitions: it
            .partition_data
            .into_iter()
            .map(|it| ProducePartition { index: it.index, records: it.records })
            .collect(),
    });
    ProduceRequest {
        transactional_id: library.transactional_id.map(|id| id.to_string()),
        acks: library.acks,
        timeout_ms: library.timeout_ms,
        topics: topics.collect(),
    }
}

fn fetch(library: m::FetchRequest, version: i16) -> FetchRequest {
    let topics = library.topics.into_iter().map(|it| FetchTopic {
        topic: topic(&it.topic, it.topic_id.into_bytes(), version),
        partitions: it
            .partitions
            .into_iter()
            .map(|it| FetchPartition {
                index: it.partition,
                current_leader_epoch: it.current_leader_epoch,
                fetch_offset: it.fetch_offset,
                max_bytes: it.partition_max_bytes,
            })
            .collect(),
    });
    let forgotten = library.forgotten_topics_data.into_iter();
    FetchRequest {
        max_wait_ms: library.max_wait_ms,
        min_bytes: library.min_bytes,
        max_bytes: library.max_bytes,
        read_committed: library.isolation_level == 1,
        session_id: library.session_id,
        session_epoch: library.session_epoch,
        topics: topics.collect(),
        forgotten: forgotten
            .map(|it| (topic(&it.topic, it.topic_id.into_bytes(), version), it.partitions))
            .collect(),
    }
}
