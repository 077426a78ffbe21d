//! What a broker elsewhere answers to our client: the first byte says to which
//! request, the rest is the answer's body.
//!
//! Holds: no bytes make reading panic or take memory that they do not pay for;
//! Fetch and Produce, read by hand, say what the library reads in them; every
//! other answer that is read can be written, and is then the same.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, Encodable};
use pluvio_wire_kafka::client::{self, Exchange};
use pluvio_wire_kafka::fetch::FetchedPartition;

/// Holds the bytes against what is promised of them.
pub fn check(input: &[u8]) {
    let Some((which, body)) = input.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    let _ = client::split_response(body.clone());
    match which {
        0 => fetch(&body),
        1 => produce(&body),
        2 => round_trip::<m::MetadataRequest>(body),
        3 => round_trip::<m::CreateTopicsRequest>(body),
        4 => round_trip::<m::DeleteTopicsRequest>(body),
        5 => round_trip::<m::ListOffsetsRequest>(body),
        6 => round_trip::<m::OffsetCommitRequest>(body),
        7 => round_trip::<m::OffsetFetchRequest>(body),
        8 => round_trip::<m::FindCoordinatorRequest>(body),
        9 => round_trip::<m::InitProducerIdRequest>(body),
        10 => round_trip::<m::AddPartitionsToTxnRequest>(body),
        11 => round_trip::<m::AddOffsetsToTxnRequest>(body),
        12 => round_trip::<m::TxnOffsetCommitRequest>(body),
        13 => round_trip::<m::EndTxnRequest>(body),
        14 => round_trip::<m::SaslHandshakeRequest>(body),
        15 => round_trip::<m::SaslAuthenticateRequest>(body),
        _ => {}
    }
}

fn round_trip<E: Exchange>(body: Bytes)
where
    E::Response: Encodable + std::fmt::Debug + PartialEq,
{
    let Ok(read) = client::decode::<E>(body) else { return };
    let mut written = BytesMut::new();
    read.encode(&mut written, E::VERSION).unwrap();
    assert_eq!(client::decode::<E>(written.freeze()).unwrap(), read);
}

fn fetch(body: &Bytes) {
    let Ok((error_code, read)) = client::fetch::decode(body) else { return };
    let Ok(library) = m::FetchResponse::decode(&mut body.clone(), client::fetch::VERSION) else { return };
    let partitions = library.responses.into_iter().flat_map(|topic| topic.partitions);
    let partitions = partitions.map(|it| FetchedPartition {
        index: it.partition_index,
        error_code: it.error_code,
        high_watermark: it.high_watermark,
        last_stable_offset: it.last_stable_offset,
        log_start_offset: it.log_start_offset,
        aborted: it
            .aborted_transactions
            .into_iter()
            .flatten()
            .map(|aborted| (aborted.producer_id.0, aborted.first_offset))
            .collect(),
        records: it.records.into_iter().collect(),
    });
    assert_eq!((error_code, read), (library.error_code, partitions.collect()));
}

fn produce(body: &Bytes) {
    let Ok(read) = client::produce::decode(body) else { return };
    let Ok(library) = m::ProduceResponse::decode(&mut body.clone(), client::produce::VERSION) else { return };
    let [topic] = &library.responses[..] else { panic!("{library:?}") };
    let [partition] = &topic.partition_responses[..] else { panic!("{library:?}") };
    assert_eq!((read.index, read.error_code), (partition.index, partition.error_code));
    assert_eq!(
        (read.base_offset, read.log_start_offset),
        (partition.base_offset, partition.log_start_offset)
    );
    assert_eq!(read.log_append_time_ms, partition.log_append_time_ms);
}
