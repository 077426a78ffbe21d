//! What a client of ours sends and reads: for each exchange the version it
//! speaks (the newest without tagged fields, which brokers from 2.1 to 4 all
//! know) and the shape of the answer.

pub mod fetch;
pub mod produce;

use bytes::{Buf, Bytes};
use kafka_protocol::messages as wire;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::request::decode_response;
use crate::{WireError, frame};

/// A request of the client and how its response is read.
pub trait Exchange: Encodable {
    /// The request's key.
    const KEY: ApiKey;
    /// The version spoken.
    const VERSION: i16;
    /// The shape of the response's body.
    const SHAPE: &'static str;
    /// The response.
    type Response: Decodable;
}

macro_rules! exchanges {
    ($($request:ident, $key:ident, $version:literal, $shape:literal => $response:ident;)*) => {
        $(impl Exchange for wire::$request {
            const KEY: ApiKey = ApiKey::$key;
            const VERSION: i16 = $version;
            const SHAPE: &'static str = $shape;
            type Response = wire::$response;
        })*
    };
}

exchanges! {
    MetadataRequest, Metadata, 7, "w {w s w s} s w {h s b {h w w w [w] [w] [w]}}" => MetadataResponse;
    CreateTopicsRequest, CreateTopics, 4, "w {s h s}" => CreateTopicsResponse;
    DeleteTopicsRequest, DeleteTopics, 3, "w {s h}" => DeleteTopicsResponse;
    ListOffsetsRequest, ListOffsets, 5, "w {s {w h l l w}}" => ListOffsetsResponse;
    OffsetCommitRequest, OffsetCommit, 7, "w {s {w h}}" => OffsetCommitResponse;
    OffsetFetchRequest, OffsetFetch, 5, "w {s {w l w s h}} h" => OffsetFetchResponse;
    FindCoordinatorRequest, FindCoordinator, 2, "w h s w s w" => FindCoordinatorResponse;
    InitProducerIdRequest, InitProducerId, 1, "w h l h" => InitProducerIdResponse;
    AddPartitionsToTxnRequest, AddPartitionsToTxn, 1, "w {s {w h}}" => AddPartitionsToTxnResponse;
    AddOffsetsToTxnRequest, AddOffsetsToTxn, 1, "w h" => AddOffsetsToTxnResponse;
    TxnOffsetCommitRequest, TxnOffsetCommit, 2, "w {s {w h}}" => TxnOffsetCommitResponse;
    EndTxnRequest, EndTxn, 1, "w h" => EndTxnResponse;
    SaslHandshakeRequest, SaslHandshake, 1, "h [s]" => SaslHandshakeResponse;
    SaslAuthenticateRequest, SaslAuthenticate, 1, "h s y l" => SaslAuthenticateResponse;
}

/// The request's frame.
pub fn encode<E: Exchange>(request: &E, correlation_id: i32, client_id: &str) -> Result<Bytes, WireError> {
    frame::request(E::KEY, E::VERSION, correlation_id, client_id, request)
}

/// Reads the response's body.
pub fn decode<E: Exchange>(body: Bytes) -> Result<E::Response, WireError> {
    decode_response(E::SHAPE, E::VERSION, false, body)
}

/// Splits a response (without its length) into correlation id and body.
pub fn split_response(mut frame: Bytes) -> Result<(i32, Bytes), WireError> {
    let have = frame.len();
    let correlation_id = frame.try_get_i32();
    let correlation_id =
        correlation_id.map_err(|_| WireError::Truncated { what: "response header", needed: 4, have })?;
    Ok((correlation_id, frame))
}
