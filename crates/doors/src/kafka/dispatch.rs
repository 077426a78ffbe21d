//! From a frame to what is done about it. One line per request; each request's
//! own work is in a file of its own.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::{Encodable, Request as Message};
use pluvio_wire_kafka::{Api, Request, RequestHead, WireError, frame};

use super::broker::Broker;
use super::codes::Code;
use super::guard::{Guarded, Rights, Verdict};
use super::pace::Pace;
use super::throttle::Muted;
use super::writer::{Answer, Reply};
use super::{
    cluster, configs, describe, fetch, groups, list_offsets, metadata, offsets, produce, replicas, security,
    topics, transactions,
};
use crate::DoorError;

/// Who is on the other end.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address, the way Kafka shows it.
    pub host: Arc<str>,
    /// What it may do.
    pub rights: Rights,
    /// What it has to wait for.
    pub pace: Arc<Pace>,
    /// For how long it is not listened to.
    pub muted: Arc<Muted>,
}

/// What every request's work begins with.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub broker: Arc<Broker>,
    pub head: RequestHead,
    /// The peer's address, the way Kafka shows it.
    pub host: Arc<str>,
    /// What the peer may do.
    pub rights: Rights,
    /// What the peer has to wait for.
    pub pace: Arc<Pace>,
    /// For how long the peer is not listened to.
    pub muted: Arc<Muted>,
}

impl Call {
    /// The request's version.
    pub fn version(&self) -> i16 {
        self.head.api_version
    }

    /// The frame of an answer.
    pub fn reply(&self, api_key: i16, body: &impl Encodable) -> Result<Reply, DoorError> {
        let version = self.head.api_version;
        let key = ApiKey::try_from(api_key).map_err(|()| WireError::ApiVersion { api_key, version })?;
        Ok(frame::response(key, version, self.head.correlation_id, body)?.into())
    }
}

/// A frame, understood.
#[expect(clippy::large_enum_variant, reason = "it lives between two calls only")]
pub(crate) enum Decoded {
    /// It is answered already.
    Answered(Answer),
    /// Its request.
    Request(Call, Request),
}

/// Decodes a request. An error closes the connection.
pub(crate) fn decode(broker: &Arc<Broker>, peer: &Peer, frame: Bytes) -> Result<Decoded, DoorError> {
    let (head, body) = frame::split_request(&frame)?;
    // The log can keep records without copying if nothing else holds the frame.
    drop(frame);
    broker.counters.request(head.api_key);
    let (host, rights, muted) = (Arc::clone(&peer.host), peer.rights.clone(), Arc::clone(&peer.muted));
    let pace = Arc::clone(&peer.pace);
    let call = Call { broker: Arc::clone(broker), head, host, rights, pace, muted };
    if let Err(unserved) = Api::served(call.head.api_key, call.head.api_version) {
        return Ok(Decoded::Answered(unknown_version(&call, unserved)?));
    }
    let request = Request::decode(&call.head, body)?;
    Ok(Decoded::Request(call, request))
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

/// An answer whose work is done in its turn, by someone who may ask for it.
fn later<Q, F>(call: Call, request: Q, work: impl FnOnce(Call, Q) -> F + Send + 'static) -> Answer
where
    Q: Guarded,
    F: Future<Output = <Q as Message>::Response> + Send,
    Q::Response: Send,
{
    Answer::Later(Box::pin(async move {
        let body = match request.guard(&call) {
            Verdict::Serve(request) => work(call.clone(), request).await,
            Verdict::Partly(request, finish) => {
                let mut body = work(call.clone(), request).await;
                finish(&mut body);
                body
            }
            Verdict::Refuse(body) => body,
        };
        call.reply(Q::KEY, &body).map(Answer::Ready)
    }))
}

/// The same for work that is done with the request at once, and may then wait long.
fn begun<Q, F>(call: Call, request: Q, work: impl FnOnce(Call, Q) -> F + Send + 'static) -> Answer
where
    Q: Guarded,
    F: Future<Output = <Q as Message>::Response> + Send + 'static,
    Q::Response: Send,
{
    Answer::Later(Box::pin(async move {
        let (waiting, finish) = match request.guard(&call) {
            Verdict::Serve(request) => (work(call.clone(), request), None),
            Verdict::Partly(request, finish) => (work(call.clone(), request), Some(finish)),
            Verdict::Refuse(body) => return call.reply(Q::KEY, &body).map(Answer::Ready),
        };
        Ok(Answer::Begun(Box::pin(async move {
            let mut body = waiting.await;
            finish.into_iter().for_each(|finish| finish(&mut body));
            call.reply(Q::KEY, &body).map(Answer::Ready)
        })))
    }))
}

/// The same for work that waits for nothing.
fn soon<Q>(call: Call, request: Q, work: impl FnOnce(&Call, Q) -> Q::Response + Send + 'static) -> Answer
where
    Q: Guarded,
    Q::Response: Send,
{
    later(call, request, |call, request| std::future::ready(work(&call, request)))
}

/// The answer to a proof that nobody asked for.
fn out_of_place(call: &Call, key: ApiKey, body: &impl Encodable) -> Result<Answer, DoorError> {
    Ok(Answer::Ready(call.reply(key as i16, body)?))
}

/// Begins a request's work. An error closes the connection.
#[rustfmt::skip]
pub(crate) fn begin(call: Call, request: Request) -> Result<Answer, DoorError> {
    Ok(match request {
        Request::Produce(request) => return produce::produce(&call, request),
        Request::Fetch(request) => Answer::Later(Box::pin(async { fetch::fetch(call, request).await.map(Answer::Ready) })),
        Request::ListOffsets(r) => later(call, r, list_offsets::list_offsets),
        Request::OffsetForLeaderEpoch(r) => soon(call, r, |c, r| list_offsets::leader_epoch(c, &r)),
        Request::Metadata(r) => later(call, r, metadata::metadata),
        // Where peers prove who they are, these do not come this far.
        Request::SaslHandshake(_) => out_of_place(&call, ApiKey::SaslHandshake, &SaslHandshakeResponse::default().with_error_code(Code::IllegalSaslState.code()))?,
        Request::SaslAuthenticate(_) => out_of_place(&call, ApiKey::SaslAuthenticate, &SaslAuthenticateResponse::default().with_error_code(Code::IllegalSaslState.code()))?,
        Request::DescribeAcls(r) => soon(call, r, security::describe_acls),
        Request::CreateAcls(r) => later(call, r, security::create_acls),
        Request::DeleteAcls(r) => later(call, r, security::delete_acls),
        Request::DescribeUserScramCredentials(r) => soon(call, r, security::describe_users),
        Request::AlterUserScramCredentials(r) => later(call, r, security::alter_users),
        Request::DescribeClientQuotas(r) => soon(call, r, security::describe_quotas),
        Request::AlterClientQuotas(r) => later(call, r, security::alter_quotas),
        Request::ApiVersions(r) => soon(call, r, |c, _| cluster::api_versions(c.version())),
        Request::DescribeCluster(r) => soon(call, r, |c, r| cluster::describe_cluster(c, &r)),
        Request::DescribeTopicPartitions(r) => soon(call, r, describe::topic_partitions),
        Request::DescribeLogDirs(r) => soon(call, r, describe::log_dirs),
        Request::ElectLeaders(r) => soon(call, r, replicas::elect_leaders),
        Request::AlterPartitionReassignments(r) => soon(call, r, replicas::reassign),
        Request::ListPartitionReassignments(r) => soon(call, r, replicas::list_reassignments),
        Request::FindCoordinator(r) => soon(call, r, cluster::find_coordinator),
        Request::InitProducerId(r) => later(call, r, transactions::init_producer_id),
        Request::AddPartitionsToTxn(r) => later(call, r, transactions::add_partitions),
        Request::AddOffsetsToTxn(r) => later(call, r, transactions::add_offsets),
        Request::EndTxn(r) => later(call, r, transactions::end_transaction),
        Request::TxnOffsetCommit(r) => later(call, r, transactions::commit_offsets),
        Request::DescribeProducers(r) => soon(call, r, transactions::describe_producers),
        Request::DescribeTransactions(r) => soon(call, r, transactions::describe_transactions),
        Request::ListTransactions(r) => soon(call, r, transactions::list_transactions),
        Request::CreateTopics(r) => later(call, r, topics::create_topics),
        Request::DeleteTopics(r) => later(call, r, topics::delete_topics),
        Request::CreatePartitions(r) => later(call, r, topics::create_partitions),
        Request::DeleteRecords(r) => later(call, r, topics::delete_records),
        Request::DescribeConfigs(r) => soon(call, r, configs::describe),
        Request::AlterConfigs(r) => later(call, r, configs::alter),
        Request::IncrementalAlterConfigs(r) => later(call, r, configs::alter_incrementally),
        Request::JoinGroup(r) => begun(call, r, groups::join),
        Request::SyncGroup(r) => begun(call, r, groups::sync),
        Request::Heartbeat(r) => soon(call, r, |c, r| groups::heartbeat(c, &r)),
        Request::LeaveGroup(r) => later(call, r, groups::leave),
        Request::DescribeGroups(r) => soon(call, r, groups::describe),
        Request::ListGroups(r) => soon(call, r, |c, r| groups::list(c, &r)),
        Request::DeleteGroups(r) => later(call, r, groups::delete),
        Request::ConsumerGroupHeartbeat(r) => later(call, r, groups::consumer::heartbeat),
        Request::ConsumerGroupDescribe(r) => soon(call, r, groups::consumer::describe),
        Request::OffsetCommit(r) => later(call, r, offsets::commit),
        Request::OffsetFetch(r) => soon(call, r, offsets::fetch),
        Request::OffsetDelete(r) => later(call, r, offsets::delete),
    })
}
