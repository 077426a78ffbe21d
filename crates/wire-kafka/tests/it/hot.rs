//! Produce and Fetch, which are written by hand, against the library, and what
//! our own client sends against what we read.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request as fr;
use kafka_protocol::messages::produce_request as pr;
use kafka_protocol::messages::{self as m, ApiKey, BrokerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use pluvio_wire_kafka::client::fetch::{Limits, Wanted};
use pluvio_wire_kafka::client::produce::Terms;
use pluvio_wire_kafka::fetch::{self, FetchedPartition, FetchedTopic};
use pluvio_wire_kafka::frame::{self, LENGTH_BYTES};
use pluvio_wire_kafka::produce::{self, ProducedPartition, ProducedTopic, RecordError};
use pluvio_wire_kafka::{Request, TopicRef, client};
use proptest::prelude::*;

const ID: [u8; 16] = [9; 16];

fn topic_ref(version: i16) -> TopicRef {
    if version >= 13 { TopicRef::Id(ID) } else { TopicRef::Name("rain".into()) }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("rain"))
}

fn framed(key: ApiKey, version: i16, body: &impl Encodable) -> Bytes {
    frame::request(key, version, 5, "tester", body).unwrap().slice(LENGTH_BYTES..)
}

fn decoded(request: &Bytes) -> Request {
    let (head, body) = frame::split_request(request).unwrap();
    Request::decode(&head, body).unwrap()
}

const RECORDS: &[u8] = b"not looked at here";

pub fn produce_request(version: i16) -> m::ProduceRequest {
    let partition =
        pr::PartitionProduceData::default().with_index(4).with_records(Some(Bytes::from_static(RECORDS)));
    let null = pr::PartitionProduceData::default().with_index(5).with_records(None);
    let mut topic = pr::TopicProduceData::default().with_partition_data(vec![partition, null]);
    topic = match version {
        13.. => topic.with_topic_id(uuid::Uuid::from_bytes(ID)),
        _ => topic.with_name(name()),
    };
    m::ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_transactional_id(None)
        .with_topic_data(vec![topic])
}

#[test]
fn produce_requests_of_all_versions() {
    for version in 3..=13 {
        let Request::Produce(read) = decoded(&framed(ApiKey::Produce, version, &produce_request(version)))
        else {
            panic!("not a Produce request");
        };
        assert_eq!((read.acks, read.timeout_ms, &read.transactional_id), (-1, 30_000, &None));
        assert_eq!(read.topics[0].topic, topic_ref(version));
        assert_eq!(read.topics[0].partitions[0].records.as_deref(), Some(RECORDS));
        assert_eq!((read.topics[0].partitions[1].index, &read.topics[0].partitions[1].records), (5, &None));
    }
}

#[test]
fn produce_responses_of_all_versions() {
    for version in 3..=13 {
        let partition = ProducedPartition {
            index: 4,
            error_code: 7,
            base_offset: 100,
            log_append_time_ms: 77,
            log_start_offset: 50,
            record_errors: [1, 3].map(|batch_index| RecordError { batch_index, message: "late" }).to_vec(),
            error_message: Some("late".into()),
        };
        let topics = [ProducedTopic { topic: topic_ref(version), partitions: vec![partition] }];
        let frame = produce::encode_response(version, 5, 250, &topics).unwrap();
        assert_eq!(frame::frame_bytes(&frame, 1000).unwrap(), Some(frame.len() - LENGTH_BYTES));
        let mut body = frame.slice(LENGTH_BYTES..);
        let header_version = ApiKey::Produce.response_header_version(version);
        let head = m::ResponseHeader::decode(&mut body, header_version).unwrap();
        assert_eq!(head.correlation_id, 5);
        let read = m::ProduceResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty());
        let partition = &read.responses[0].partition_responses[0];
        assert_eq!((partition.index, partition.error_code, partition.base_offset), (4, 7, 100));
        if version >= 5 {
            assert_eq!(partition.log_start_offset, 50);
        }
        if version >= 8 {
            assert_eq!(partition.error_message.as_deref(), Some("late"));
            let told = partition
                .record_errors
                .iter()
                .map(|error| (error.batch_index, error.batch_index_error_message.as_deref()));
            assert_eq!(told.collect::<Vec<_>>(), [(1, Some("late")), (3, Some("late"))]);
        }
    }
}

pub fn fetch_request(version: i16) -> m::FetchRequest {
    let mut partition = fr::FetchPartition::default()
        .with_partition(3)
        .with_fetch_offset(77)
        .with_partition_max_bytes(1 << 20);
    if version >= 9 {
        partition = partition.with_current_leader_epoch(2);
    }
    let mut topic = fr::FetchTopic::default().with_partitions(vec![partition]);
    topic = match version {
        13.. => topic.with_topic_id(uuid::Uuid::from_bytes(ID)),
        _ => topic.with_topic(name()),
    };
    let mut request = m::FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_isolation_level(i8::from(version % 2 == 0))
        .with_topics(vec![topic]);
    if version <= 14 {
        request = request.with_replica_id(BrokerId(-1));
    }
    if version >= 7 {
        let mut forgotten = fr::ForgottenTopic::default().with_partitions(vec![5, 6]);
        forgotten = match version {
            13.. => forgotten.with_topic_id(uuid::Uuid::from_bytes(ID)),
            _ => forgotten.with_topic(name()),
        };
        request = request.with_session_id(9).with_session_epoch(4);
        request = request.with_forgotten_topics_data(vec![forgotten]);
    }
    request
}

#[test]
fn fetch_requests_of_all_versions() {
    for version in 4..=18 {
        let Request::Fetch(read) = decoded(&framed(ApiKey::Fetch, version, &fetch_request(version))) else {
            panic!("not a Fetch request");
        };
        assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (500, 1, 50 << 20));
        assert_eq!(read.read_committed, version % 2 == 0);
        match version {
            7.. => {
                assert_eq!((read.session_id, read.session_epoch), (9, 4));
                assert_eq!(read.forgotten, [(topic_ref(version), vec![5, 6])]);
            }
            _ => assert_eq!((read.session_id, read.session_epoch), (0, -1)),
        }
        assert_eq!(read.topics[0].topic, topic_ref(version));
        let partition = read.topics[0].partitions[0];
        assert_eq!((partition.index, partition.fetch_offset, partition.max_bytes), (3, 77, 1 << 20));
        assert_eq!(partition.current_leader_epoch, if version >= 9 { 2 } else { -1 });
    }
}

#[test]
fn fetch_responses_of_all_versions() {
    let (large, small) = (Bytes::from(vec![1; 5000]), Bytes::from_static(b"small"));
    for version in 4..=18 {
        let some = |index, records| FetchedPartition {
            index,
            error_code: 0,
            high_watermark: 10,
            last_stable_offset: 9,
            log_start_offset: 2,
            aborted: vec![(4, 5), (6, 7)],
            records,
        };
        let partitions = vec![
            some(0, vec![large.clone(), small.clone(), large.clone()]),
            some(1, vec![]),
            some(2, vec![large.clone()]),
        ];
        let topics = [FetchedTopic { topic: topic_ref(version), partitions }];
        let pieces = fetch::encode_response(version, 6, 250, (0, 77), &topics).unwrap();
        let frame = Bytes::from(pieces.concat());
        assert_eq!(frame::frame_bytes(&frame, 100_000).unwrap(), Some(frame.len() - LENGTH_BYTES));
        let mut body = frame.slice(LENGTH_BYTES..);
        m::ResponseHeader::decode(&mut body, ApiKey::Fetch.response_header_version(version)).unwrap();
        let read = m::FetchResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "version {version}");
        assert_eq!(read.throttle_time_ms, 250);
        assert_eq!(read.session_id, if version >= 7 { 77 } else { 0 });
        let partitions = &read.responses[0].partitions;
        let records = partitions.iter().map(|it| it.records.clone().unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(records[0], [&large[..], &small[..], &large[..]].concat());
        assert!(records[1].is_empty());
        assert_eq!(records[2], large);
        assert_eq!((partitions[0].high_watermark, partitions[0].last_stable_offset), (10, 9));
        let aborted = partitions[2].aborted_transactions.as_ref().unwrap();
        assert_eq!((aborted[1].producer_id.0, aborted[1].first_offset), (6, 7));
    }
}

#[test]
fn the_client_and_the_door_understand_each_other() {
    let records = Bytes::from_static(b"batch");
    let terms = Terms { topic: "rain", partition: 2, acks: -1, timeout_ms: 1000, transactional_id: None };
    let head = client::produce::encode(1, "us", terms, records.len()).unwrap();
    let whole = Bytes::from([&head[..], &records[..]].concat());
    assert_eq!(frame::frame_bytes(&whole, 1000).unwrap(), Some(whole.len() - LENGTH_BYTES));
    let Request::Produce(request) = decoded(&whole.slice(LENGTH_BYTES..)) else {
        panic!("not a Produce request");
    };
    assert_eq!(request.topics[0].partitions[0].records.as_ref(), Some(&records));

    let sent = ProducedPartition {
        index: 2,
        error_code: 0,
        base_offset: 8,
        log_append_time_ms: -1,
        log_start_offset: 0,
        record_errors: Vec::new(),
        error_message: None,
    };
    let topics = [ProducedTopic { topic: request.topics[0].topic.clone(), partitions: vec![sent.clone()] }];
    let response = produce::encode_response(client::produce::VERSION, 1, 0, &topics).unwrap();
    let (id, body) = client::split_response(response.slice(LENGTH_BYTES..)).unwrap();
    assert_eq!(id, 1);
    assert_eq!(client::produce::decode(&body).unwrap(), sent);

    let wanted = [Wanted { partition: 2, offset: 8, bytes_max: 1 << 20 }];
    let limits = Limits { wait_ms: 100, bytes_min: 1, bytes_max: 1 << 20 };
    let request = client::fetch::encode(2, "us", "rain", &wanted, limits, false).unwrap();
    let Request::Fetch(request) = decoded(&request.slice(LENGTH_BYTES..)) else {
        panic!("not a Fetch request");
    };
    let sent = FetchedPartition {
        index: 2,
        error_code: 0,
        high_watermark: 9,
        last_stable_offset: 8,
        log_start_offset: 0,
        aborted: vec![(3, 1)],
        records: vec![records],
    };
    let topics = [FetchedTopic { topic: request.topics[0].topic.clone(), partitions: vec![sent.clone()] }];
    let response = fetch::encode_response(client::fetch::VERSION, 2, 0, (0, 0), &topics).unwrap();
    let response = Bytes::from(response.concat());
    let (_, body) = client::split_response(response.slice(LENGTH_BYTES..)).unwrap();
    assert_eq!(client::fetch::decode(&body).unwrap(), (0, vec![sent]));
}

pub fn metadata_response() -> m::MetadataResponse {
    use kafka_protocol::messages::metadata_response as mr;
    let partition = mr::MetadataResponsePartition::default()
        .with_replica_nodes(vec![BrokerId(1)])
        .with_isr_nodes(vec![BrokerId(1)]);
    let topic = mr::MetadataResponseTopic::default().with_name(Some(name())).with_partitions(vec![partition]);
    let broker = mr::MetadataResponseBroker::default().with_host(StrBytes::from_static_str("localhost"));
    m::MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
}

#[test]
fn the_client_reads_what_the_library_writes() {
    let sent = metadata_response();
    let mut body = BytesMut::new();
    sent.encode(&mut body, 7).unwrap();
    let read = client::decode::<m::MetadataRequest>(body.freeze()).unwrap();
    assert_eq!(read.topics[0].partitions.len(), 1);
    assert_eq!(read.brokers[0].host.as_str(), "localhost");
}

proptest! {
    #[test]
    fn noise_never_panics(key in 0_i16..70, version in 0_i16..20, noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let head = pluvio_wire_kafka::RequestHead {
            api_key: key, api_version: version, correlation_id: 0, client_id: String::new(),
        };
        let noise = Bytes::from(noise);
        let _ = Request::decode(&head, noise.clone());
        let _ = frame::split_request(&noise);
        let _ = client::produce::decode(&noise);
        let _ = client::fetch::decode(&noise);
        let _ = client::decode::<m::MetadataRequest>(noise);
    }
}
