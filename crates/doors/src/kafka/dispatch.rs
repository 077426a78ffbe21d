//! From a frame to what is done about it. One line per request; each request's
//! own work is in a file of its own.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;
use pluvio_wire_kafka::{Api, Request, RequestHead, WireError, frame};

use super::broker::Broker;
use super::writer::{Answer, Reply};
use super::{cluster, configs, fetch, groups, list_offsets, metadata, offsets, produce, topics};
use crate::DoorError;

/// Who is on the other end.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address, the way Kafka shows it.
    pub host: Arc<str>,
}

/// What every request's work begins with.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub broker: Arc<Broker>,
    pub head: RequestHead,
    /// The peer's address, the way Kafka shows it.
    pub host: Arc<str>,
}

impl Call {
    /// The request's version.
    pub fn version(&self) -> i16 {
        self.head.api_version
    }

    /// The frame of an answer.
    fn reply(&self, key: ApiKey, body: &impl Encodable) -> Result<Reply, DoorError> {
        Ok(frame::response(key, self.head.api_version, self.head.correlation_id, body)?.into())
    }
}

/// Decodes a request and begins its work. An error closes the connection.
pub(crate) fn handle(broker: &Arc<Broker>, peer: &Peer, frame: Bytes) -> Result<Answer, DoorError> {
    let (head, body) = frame::split_request(&frame)?;
    // The log can keep records without copying if nothing else holds the frame.
    drop(frame);
    broker.counters.request(head.api_key);
    let call = Call { broker: Arc::clone(broker), head, host: Arc::clone(&peer.host) };
    if let Err(unserved) = Api::served(call.head.api_key, call.head.api_version) {
        return unknown_version(&call, unserved);
    }
    let request = Request::decode(&call.head, body)?;
    begin(call, request)
}

/// A client that asks for an ApiVersions we do not know is told what we know;
/// any other request was advertised or is not the protocol.
fn unknown_version(call: &Call, unserved: WireError) -> Result<Answer, DoorError> {
    if call.head.api_key != ApiKey::ApiVersions as i16 {
        return Err(unserved.into());
    }
    let body = cluster::api_versions_unknown();
    Ok(Answer::Ready(frame::response(ApiKey::ApiVersions, 0, call.head.correlation_id, &body)?.into()))
}

/// An answer whose work is done in its turn.
fn later<F, R>(call: Call, key: ApiKey, work: impl FnOnce(Call) -> F + Send + 'static) -> Answer
where
    F: Future<Output = R> + Send,
    R: Encodable,
{
    Answer::Later(Box::pin(async move {
        let body = work(call.clone()).await;
        call.reply(key, &body)
    }))
}

/// The same for work that waits for nothing.
fn soon<R: Encodable>(call: Call, key: ApiKey, work: impl FnOnce(&Call) -> R + Send + 'static) -> Answer {
    Answer::Later(Box::pin(async move { call.reply(key, &work(&call)) }))
}

#[rustfmt::skip]
fn begin(call: Call, request: Request) -> Result<Answer, DoorError> {
    use ApiKey as K;
    Ok(match request {
        Request::Produce(request) => return produce::produce(&call, request),
        Request::Fetch(request) => Answer::Later(Box::pin(fetch::fetch(call, request))),
        Request::ListOffsets(r) => later(call, K::ListOffsets, move |c| list_offsets::list_offsets(c, r)),
        Request::OffsetForLeaderEpoch(r) => soon(call, K::OffsetForLeaderEpoch, move |c| list_offsets::leader_epoch(c, &r)),
        Request::Metadata(r) => later(call, K::Metadata, move |c| metadata::metadata(c, r)),
        Request::ApiVersions(_) => soon(call, K::ApiVersions, move |_| cluster::api_versions()),
        Request::DescribeCluster(r) => soon(call, K::DescribeCluster, move |c| cluster::describe_cluster(c, &r)),
        Request::FindCoordinator(r) => soon(call, K::FindCoordinator, move |c| cluster::find_coordinator(c, r)),
        Request::InitProducerId(r) => later(call, K::InitProducerId, move |c| cluster::init_producer_id(c, r)),
        Request::CreateTopics(r) => later(call, K::CreateTopics, move |c| topics::create_topics(c, r)),
        Request::DeleteTopics(r) => later(call, K::DeleteTopics, move |c| topics::delete_topics(c, r)),
        Request::CreatePartitions(r) => later(call, K::CreatePartitions, move |c| topics::create_partitions(c, r)),
        Request::DeleteRecords(r) => later(call, K::DeleteRecords, move |c| topics::delete_records(c, r)),
        Request::DescribeConfigs(r) => soon(call, K::DescribeConfigs, move |c| configs::describe(c, r)),
        Request::AlterConfigs(r) => later(call, K::AlterConfigs, move |c| configs::alter(c, r)),
        Request::IncrementalAlterConfigs(r) => later(call, K::IncrementalAlterConfigs, move |c| configs::alter_incrementally(c, r)),
        Request::JoinGroup(r) => later(call, K::JoinGroup, move |c| groups::join(c, r)),
        Request::SyncGroup(r) => later(call, K::SyncGroup, move |c| groups::sync(c, r)),
        Request::Heartbeat(r) => soon(call, K::Heartbeat, move |c| groups::heartbeat(c, &r)),
        Request::LeaveGroup(r) => soon(call, K::LeaveGroup, move |c| groups::leave(c, r)),
        Request::DescribeGroups(r) => soon(call, K::DescribeGroups, move |c| groups::describe(c, r)),
        Request::ListGroups(r) => soon(call, K::ListGroups, move |c| groups::list(c, &r)),
        Request::DeleteGroups(r) => later(call, K::DeleteGroups, move |c| groups::delete(c, r)),
        Request::OffsetCommit(r) => later(call, K::OffsetCommit, move |c| offsets::commit(c, r)),
        Request::OffsetFetch(r) => soon(call, K::OffsetFetch, move |c| offsets::fetch(c, r)),
        Request::OffsetDelete(r) => later(call, K::OffsetDelete, move |c| offsets::delete(c, r)),
    })
}
