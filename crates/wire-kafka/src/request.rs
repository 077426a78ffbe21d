//! A decoded request: one variant per request that is understood.

use bytes::Bytes;
use kafka_protocol::messages as wire;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Decodable;

use crate::api::Api;
use crate::fetch::FetchRequest;
use crate::frame::RequestHead;
use crate::produce::ProduceRequest;
use crate::{WireError, shape};

/// Declares the variants and decodes them: the two hot requests by hand, the
/// others through the library, after their lengths were checked.
macro_rules! requests {
    ($($name:ident($message:ident)),* $(,)?) => {
        /// A request, decoded.
        #[derive(Debug, Clone)]
        #[allow(missing_docs, reason = "the names are the protocol's")]
        pub enum Request {
            Produce(ProduceRequest),
            Fetch(FetchRequest),
            $($name(wire::$message),)*
        }

        impl Request {
            /// Decodes the body that came after `head`.
            pub fn decode(head: &RequestHead, body: Bytes) -> Result<Self, WireError> {
                let version = head.api_version;
                let api = Api::served(head.api_key, version)?;
                match api.key {
                    ApiKey::Produce => Ok(Self::Produce(ProduceRequest::decode(&body, version)?)),
                    ApiKey::Fetch => Ok(Self::Fetch(FetchRequest::decode(&body, version)?)),
                    $(ApiKey::$name => Ok(Self::$name(decode_checked(api, version, body)?)),)*
                    _ => Err(WireError::ApiVersion { api_key: head.api_key, version }),
                }
            }
        }
    };
}

requests! {
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    FindCoordinator(FindCoordinatorRequest),
    JoinGroup(JoinGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    SyncGroup(SyncGroupRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    SaslHandshake(SaslHandshakeRequest),
    SaslAuthenticate(SaslAuthenticateRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    DeleteRecords(DeleteRecordsRequest),
    InitProducerId(InitProducerIdRequest),
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    EndTxn(EndTxnRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    DescribeProducers(DescribeProducersRequest),
    DescribeTransactions(DescribeTransactionsRequest),
    ListTransactions(ListTransactionsRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    DescribeConfigs(DescribeConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    CreatePartitions(CreatePartitionsRequest),
    DeleteGroups(DeleteGroupsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    OffsetDelete(OffsetDeleteRequest),
    DescribeAcls(DescribeAclsRequest),
    CreateAcls(CreateAclsRequest),
    DeleteAcls(DeleteAclsRequest),
    DescribeClientQuotas(DescribeClientQuotasRequest),
    AlterClientQuotas(AlterClientQuotasRequest),
    DescribeUserScramCredentials(DescribeUserScramCredentialsRequest),
    AlterUserScramCredentials(AlterUserScramCredentialsRequest),
    DescribeCluster(DescribeClusterRequest),
    DescribeLogDirs(DescribeLogDirsRequest),
    ElectLeaders(ElectLeadersRequest),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
}

fn decode_checked<T: Decodable>(api: &Api, version: i16, body: Bytes) -> Result<T, WireError> {
    shape::check("Kafka request", api.shape, version, api.is_flexible(version), &body)?;
    decode(body, version, "Kafka request")
}

fn decode<T: Decodable>(mut body: Bytes, version: i16, what: &'static str) -> Result<T, WireError> {
    T::decode(&mut body, version).map_err(|error| WireError::malformed(what, error.to_string()))
}

/// Decodes a response of `shape`, after checking its lengths.
pub(crate) fn decode_response<T: Decodable>(
    shape: &str,
    version: i16,
    flexible: bool,
    body: Bytes,
) -> Result<T, WireError> {
    shape::check("Kafka response", shape, version, flexible, &body)?;
    decode(body, version, "Kafka response")
}
