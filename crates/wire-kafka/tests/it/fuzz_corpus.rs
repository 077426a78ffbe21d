//! What fuzzing kept, run again: see `docs/fuzzing.md`.

use std::path::PathBuf;

use bytes::Bytes;
use kafka_protocol::messages as m;
use pluvio_wire_kafka::client::{self, Exchange};
use pluvio_wire_kafka::frame::{self, LENGTH_BYTES};
use pluvio_wire_kafka::records::{BatchBuilder, EndMarker, end_marker};
use pluvio_wire_kafka::{APIS, Compression};

use crate::{golden, hot, shapes};

#[path = "../fuzzed/batches.rs"]
mod batches;
#[path = "../fuzzed/requests.rs"]
mod requests;
#[path = "../fuzzed/responses.rs"]
mod responses;

fn folder(target: &str) -> PathBuf {
    PathBuf::from("../../fuzz/corpus").join(target)
}

fn run(target: &str, check: fn(&[u8])) {
    let files = std::fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in files {
        let input = std::fs::read(&path).unwrap();
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(held.is_ok(), "{} does not hold", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn requests_hold() {
    run("requests", requests::check);
}

#[test]
fn batches_hold() {
    run("batches", batches::check);
}

#[test]
fn responses_hold() {
    run("responses", responses::check);
}

/// Every seed holds as it is made, in every version of every request.
#[test]
fn seeds_hold() {
    request_seeds().iter().for_each(|(_, seed)| requests::check(seed));
    batch_seeds().iter().for_each(|(_, seed)| batches::check(seed));
    response_seeds().iter().for_each(|(_, seed)| responses::check(seed));
}

#[test]
#[ignore = "writes the inputs that a search begins with"]
fn write_seeds() {
    let all = [("requests", request_seeds()), ("batches", batch_seeds()), ("responses", response_seeds())];
    for (target, seeds) in all {
        for (name, bytes) in seeds {
            std::fs::write(folder(target).join(format!("seed-{name}")), bytes).unwrap();
        }
    }
}

type Seeds = Vec<(String, Vec<u8>)>;

fn request_seeds() -> Seeds {
    let mut seeds = Vec::new();
    for api in APIS {
        for version in api.version_min..=api.version_max {
            let body = match api.key {
                m::ApiKey::Produce if version < 3 => old_produce(),
                m::ApiKey::Produce => shapes::bytes_of(&hot::produce_request(version), version),
                m::ApiKey::Fetch => shapes::bytes_of(&hot::fetch_request(version), version),
                key => shapes::sample(key, version),
            };
            let mut out = frame::begin_request(api.key, version, 7, "tester");
            out.extend_from_slice(&body);
            let frame = frame::seal(out).unwrap();
            seeds.push((format!("{:?}-{version}", api.key), frame[LENGTH_BYTES..].to_vec()));
        }
    }
    seeds
}

/// Version 2 and older, which the library does not write: as version 3, without
/// a transactional id.
fn old_produce() -> Bytes {
    shapes::bytes_of(&hot::produce_request(3), 3).slice(2..)
}

fn batch_seeds() -> Seeds {
    let mut seeds = Vec::new();
    for client in ["librdkafka", "python", "java", "go"] {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            seeds.push((format!("{client}-{codec}"), golden::stored(client, codec)));
        }
    }
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let mut builder = BatchBuilder::new(1_700_000_000_000);
        builder.push(
            Some(b"key"),
            Some(b"value"),
            1_700_000_000_000,
            &[("name", Some(b"x")), ("null", None)],
        );
        builder.push(Some(b"key"), None, 1_700_000_000_005, &[]);
        builder.push(None, Some(&[7; 300]), 1_699_999_999_999, &[]);
        let transactional = builder.clone().finish_transactional(codec, (9, 1, 30)).unwrap();
        seeds.push((format!("transactional-{}", codec.name()), transactional.to_vec()));
        let idempotent = builder.finish(codec, Some((9, 1, 30))).unwrap();
        seeds.push((format!("idempotent-{}", codec.name()), idempotent.to_vec()));
    }
    for is_commit in [true, false] {
        let marker = EndMarker { producer_id: 9, producer_epoch: 1, is_commit };
        let batch = end_marker(&marker, 3, 1_700_000_000_000).unwrap();
        seeds.push((format!("marker-{is_commit}"), batch.to_vec()));
    }
    seeds
}

/// Each begins with the byte that names the request: see `responses.rs`.
fn response_seeds() -> Seeds {
    let topic = || m::TopicName(shapes::s("t"));
    let bodies = [
        ("fetch", shapes::bytes_of(&fetch_response(), client::fetch::VERSION)),
        ("produce", shapes::bytes_of(&produce_response(), client::produce::VERSION)),
        ("metadata", shapes::bytes_of(&hot::metadata_response(), m::MetadataRequest::VERSION)),
        ("create", {
            use m::create_topics_response::CreatableTopicResult;
            let topic = CreatableTopicResult::default().with_name(topic()).with_error_code(36);
            let topic = topic.with_error_message(Some(shapes::s("there")));
            let response = m::CreateTopicsResponse::default().with_topics(vec![topic]);
            shapes::bytes_of(&response, m::CreateTopicsRequest::VERSION)
        }),
        ("delete", {
            use m::delete_topics_response::DeletableTopicResult;
            let topic = DeletableTopicResult::default().with_name(Some(topic()));
            let response = m::DeleteTopicsResponse::default().with_responses(vec![topic]);
            shapes::bytes_of(&response, m::DeleteTopicsRequest::VERSION)
        }),
        ("list-offsets", {
            use m::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
            let partitions = vec![ListOffsetsPartitionResponse::default().with_offset(5)];
            let topic = ListOffsetsTopicResponse::default().with_name(topic()).with_partitions(partitions);
            let response = m::ListOffsetsResponse::default().with_topics(vec![topic]);
            shapes::bytes_of(&response, m::ListOffsetsRequest::VERSION)
        }),
        ("offset-commit", {
            use m::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
            let partitions = vec![OffsetCommitResponsePartition::default().with_partition_index(3)];
            let topic = OffsetCommitResponseTopic::default().with_name(topic()).with_partitions(partitions);
            let response = m::OffsetCommitResponse::default().with_topics(vec![topic]);
            shapes::bytes_of(&response, m::OffsetCommitRequest::VERSION)
        }),
        ("offset-fetch", {
            use m::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
            let partition = OffsetFetchResponsePartition::default().with_metadata(Some(shapes::s("note")));
            let topic =
                OffsetFetchResponseTopic::default().with_name(topic()).with_partitions(vec![partition]);
            let response = m::OffsetFetchResponse::default().with_topics(vec![topic]);
            shapes::bytes_of(&response, m::OffsetFetchRequest::VERSION)
        }),
        ("find-coordinator", {
            let response = m::FindCoordinatorResponse::default().with_host(shapes::s("localhost"));
            shapes::bytes_of(&response, m::FindCoordinatorRequest::VERSION)
        }),
        ("init-producer", {
            shapes::bytes_of(&m::InitProducerIdResponse::default(), m::InitProducerIdRequest::VERSION)
        }),
        ("add-partitions", {
            use m::add_partitions_to_txn_response as added;
            let partition = added::AddPartitionsToTxnPartitionResult::default().with_partition_index(1);
            let topic = added::AddPartitionsToTxnTopicResult::default().with_name(topic());
            let topic = topic.with_results_by_partition(vec![partition]);
            let response = m::AddPartitionsToTxnResponse::default();
            let response = response.with_results_by_topic_v3_and_below(vec![topic]);
            shapes::bytes_of(&response, m::AddPartitionsToTxnRequest::VERSION)
        }),
        ("add-offsets", {
            shapes::bytes_of(&m::AddOffsetsToTxnResponse::default(), m::AddOffsetsToTxnRequest::VERSION)
        }),
        ("transactional-offsets", {
            use m::txn_offset_commit_response as committed;
            let partitions = vec![committed::TxnOffsetCommitResponsePartition::default()];
            let topic = committed::TxnOffsetCommitResponseTopic::default().with_name(topic());
            let topic = topic.with_partitions(partitions);
            let response = m::TxnOffsetCommitResponse::default().with_topics(vec![topic]);
            shapes::bytes_of(&response, m::TxnOffsetCommitRequest::VERSION)
        }),
        ("end", shapes::bytes_of(&m::EndTxnResponse::default(), m::EndTxnRequest::VERSION)),
        ("handshake", {
            let mechanisms = vec![shapes::s("PLAIN"), shapes::s("SCRAM-SHA-256")];
            let response = m::SaslHandshakeResponse::default().with_mechanisms(mechanisms);
            shapes::bytes_of(&response, m::SaslHandshakeRequest::VERSION)
        }),
        ("authenticate", {
            let response =
                m::SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from_static(b"v=proof"));
            shapes::bytes_of(&response, m::SaslAuthenticateRequest::VERSION)
        }),
    ];
    let seed =
        |(number, (name, body)): (u8, (&str, Bytes))| (name.to_owned(), [&[number], &body[..]].concat());
    (0..).zip(bodies).map(seed).collect()
}

fn fetch_response() -> m::FetchResponse {
    use m::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
    let partition = PartitionData::default()
        .with_high_watermark(9)
        .with_aborted_transactions(Some(vec![AbortedTransaction::default().with_first_offset(3)]))
        .with_records(Some(Bytes::from_static(b"records")));
    let topic = FetchableTopicResponse::default().with_topic(m::TopicName(shapes::s("t")));
    m::FetchResponse::default().with_responses(vec![topic.with_partitions(vec![partition])])
}

fn produce_response() -> m::ProduceResponse {
    use m::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    let partition = PartitionProduceResponse::default().with_index(2).with_base_offset(77);
    let topic = TopicProduceResponse::default().with_name(m::TopicName(shapes::s("t")));
    m::ProduceResponse::default().with_responses(vec![topic.with_partition_responses(vec![partition])])
}
