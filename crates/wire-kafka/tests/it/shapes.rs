//! Every request, filled so that each array has elements, encoded by the
//! library in each version, must fit its shape exactly and decode to itself.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::alter_configs_request as alter;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{self as m, BrokerId, GroupId, ProducerId, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use pluvio_wire_kafka::{APIS, Api, Request, RequestHead};

use crate::shapes_access;

pub fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(text: &str) -> TopicName {
    TopicName(s(text))
}

fn group() -> GroupId {
    GroupId(s("group"))
}

pub fn bytes_of(message: &impl Encodable, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

/// One version of one request, well filled.
pub fn sample(key: m::ApiKey, v: i16) -> Bytes {
    use m::ApiKey as K;
    match key {
        K::ListOffsets => bytes_of(&list_offsets(), v),
        K::Metadata => bytes_of(&metadata(v), v),
        K::OffsetCommit => bytes_of(&offset_commit(v), v),
        K::OffsetFetch => bytes_of(&offset_fetch(v), v),
        K::FindCoordinator => bytes_of(&find_coordinator(v), v),
        K::JoinGroup => bytes_of(&join_group(v), v),
        K::Heartbeat => bytes_of(&m::HeartbeatRequest::default().with_group_id(group()), v),
        K::LeaveGroup => bytes_of(&leave_group(v), v),
        K::SyncGroup => bytes_of(&sync_group(v), v),
        K::DescribeGroups => {
            bytes_of(&m::DescribeGroupsRequest::default().with_groups(vec![group(), group()]), v)
        }
        K::ListGroups => bytes_of(&list_groups(v), v),
        K::ApiVersions => bytes_of(&m::ApiVersionsRequest::default(), v),
        K::CreateTopics => bytes_of(&create_topics(), v),
        K::DeleteTopics => bytes_of(&delete_topics(v), v),
        K::DeleteRecords => bytes_of(&delete_records(), v),
        K::InitProducerId => bytes_of(
            &m::InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id(ProducerId(if v >= 3 { 7 } else { -1 })),
            v,
        ),
        K::AddPartitionsToTxn => bytes_of(&add_partitions(v), v),
        K::AddOffsetsToTxn => bytes_of(
            &m::AddOffsetsToTxnRequest::default().with_transactional_id(transaction()).with_group_id(group()),
            v,
        ),
        K::EndTxn => bytes_of(&m::EndTxnRequest::default().with_transactional_id(transaction()), v),
        K::TxnOffsetCommit => bytes_of(&transactional_offsets(v), v),
        K::DescribeProducers => bytes_of(&describe_producers(), v),
        K::DescribeTransactions => bytes_of(
            &m::DescribeTransactionsRequest::default()
                .with_transactional_ids(vec![transaction(), transaction()]),
            v,
        ),
        K::ListTransactions => bytes_of(&list_transactions(v), v),
        K::OffsetForLeaderEpoch => bytes_of(&leader_epoch(), v),
        K::DescribeConfigs => bytes_of(&describe_configs(), v),
        K::AlterConfigs => bytes_of(&alter_configs(), v),
        K::CreatePartitions => bytes_of(&create_partitions(), v),
        K::DeleteGroups => bytes_of(&m::DeleteGroupsRequest::default().with_groups_names(vec![group()]), v),
        K::IncrementalAlterConfigs => bytes_of(&incremental_alter_configs(), v),
        K::OffsetDelete => bytes_of(&offset_delete(), v),
        K::DescribeCluster => bytes_of(&m::DescribeClusterRequest::default(), v),
        K::ConsumerGroupHeartbeat => bytes_of(&consumer_group_heartbeat(v), v),
        K::ConsumerGroupDescribe => {
            bytes_of(&m::ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(), group()]), v)
        }
        K::DescribeLogDirs => bytes_of(&describe_log_dirs(), v),
        K::ElectLeaders => bytes_of(&elect_leaders(v), v),
        K::AlterPartitionReassignments => bytes_of(&reassignments(), v),
        K::ListPartitionReassignments => bytes_of(&list_reassignments(), v),
        K::DescribeTopicPartitions => bytes_of(&describe_topic_partitions(), v),
        other => shapes_access::sample(other, v),
    }
}

fn transaction() -> m::TransactionalId {
    m::TransactionalId(s("tx"))
}

fn add_partitions(v: i16) -> m::AddPartitionsToTxnRequest {
    use m::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
    let topic = AddPartitionsToTxnTopic::default().with_name(topic("t")).with_partitions(vec![1, 2]);
    let request = m::AddPartitionsToTxnRequest::default();
    if v < 4 {
        return request
            .with_v3_and_below_transactional_id(transaction())
            .with_v3_and_below_topics(vec![topic]);
    }
    let one = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(transaction())
        .with_topics(vec![topic.clone(), topic]);
    request.with_transactions(vec![one.clone(), one])
}

fn transactional_offsets(v: i16) -> m::TxnOffsetCommitRequest {
    use m::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    let mut partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(1)
        .with_committed_metadata(Some(s("note")));
    if v >= 2 {
        partition = partition.with_committed_leader_epoch(1);
    }
    let topic = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = m::TxnOffsetCommitRequest::default()
        .with_transactional_id(transaction())
        .with_group_id(group())
        .with_topics(vec![topic]);
    match v {
        3.. => request.with_member_id(s("member")).with_group_instance_id(Some(s("one"))),
        _ => request,
    }
}

fn describe_producers() -> m::DescribeProducersRequest {
    use m::describe_producers_request::TopicRequest;
    let topic = TopicRequest::default().with_name(topic("t")).with_partition_indexes(vec![0, 1]);
    m::DescribeProducersRequest::default().with_topics(vec![topic])
}

fn list_transactions(v: i16) -> m::ListTransactionsRequest {
    let request = m::ListTransactionsRequest::default()
        .with_state_filters(vec![s("Ongoing"), s("Empty")])
        .with_producer_id_filters(vec![ProducerId(5), ProducerId(6)]);
    match v {
        2.. => request.with_duration_filter(9).with_transactional_id_pattern(Some(s("t.*"))),
        1 => request.with_duration_filter(9),
        _ => request,
    }
}

fn list_offsets() -> m::ListOffsetsRequest {
    let partition = ListOffsetsPartition::default().with_partition_index(1).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    m::ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

fn metadata(v: i16) -> m::MetadataRequest {
    let mut named = MetadataRequestTopic::default().with_name(Some(topic("t")));
    if v >= 10 {
        named = named.with_topic_id(uuid::Uuid::from_bytes([7; 16]));
    }
    m::MetadataRequest::default().with_topics(Some(vec![named.clone(), named]))
}

fn offset_commit(v: i16) -> m::OffsetCommitRequest {
    let mut partition = OffsetCommitRequestPartition::default()
        .with_partition_index(3)
        .with_committed_offset(44)
        .with_committed_metadata(Some(s("note")));
    if v >= 6 {
        partition = partition.with_committed_leader_epoch(1);
    }
    let topic = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    m::OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![topic])
}

fn offset_fetch(v: i16) -> m::OffsetFetchRequest {
    if v < 8 {
        let topic =
            OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![1, 2]);
        return m::OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    }
    let topic = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![1, 2]);
    let one = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
    m::OffsetFetchRequest::default().with_groups(vec![one.clone(), one.with_topics(None)])
}

fn find_coordinator(v: i16) -> m::FindCoordinatorRequest {
    match v {
        0..4 => m::FindCoordinatorRequest::default().with_key(s("group")),
        _ => m::FindCoordinatorRequest::default().with_coordinator_keys(vec![s("a"), s("b")]),
    }
}

fn join_group(v: i16) -> m::JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(s("range")).with_metadata(Bytes::from_static(b"meta"));
    let request = m::JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_protocol_type(s("consumer"))
        .with_protocols(vec![protocol.clone(), protocol]);
    match v {
        8.. => request.with_reason(Some(s("because"))).with_group_instance_id(Some(s("one"))),
        5..8 => request.with_group_instance_id(Some(s("one"))),
        _ => request,
    }
}

fn leave_group(v: i16) -> m::LeaveGroupRequest {
    let request = m::LeaveGroupRequest::default().with_group_id(group());
    if v < 3 {
        return request.with_member_id(s("member"));
    }
    let mut member = MemberIdentity::default().with_member_id(s("member"));
    if v >= 5 {
        member = member.with_reason(Some(s("bye")));
    }
    request.with_members(vec![member])
}

fn sync_group(v: i16) -> m::SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(s("member"))
        .with_assignment(Bytes::from_static(b"parts"));
    let request = m::SyncGroupRequest::default().with_group_id(group()).with_assignments(vec![assignment]);
    match v {
        5.. => request.with_protocol_type(Some(s("consumer"))).with_protocol_name(Some(s("range"))),
        _ => request,
    }
}

fn list_groups(v: i16) -> m::ListGroupsRequest {
    let request = m::ListGroupsRequest::default();
    match v {
        5.. => request.with_states_filter(vec![s("Stable")]).with_types_filter(vec![s("classic")]),
        4 => request.with_states_filter(vec![s("Stable"), s("Empty")]),
        _ => request,
    }
}

fn create_topics() -> m::CreateTopicsRequest {
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let config = CreatableTopicConfig::default().with_name(s("retention.ms")).with_value(Some(s("1000")));
    let topic = CreatableTopic::default()
        .with_name(topic("t"))
        .with_num_partitions(3)
        .with_assignments(vec![assignment])
        .with_configs(vec![config.clone(), config.with_value(None)]);
    m::CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)
}

fn delete_topics(v: i16) -> m::DeleteTopicsRequest {
    match v {
        6.. => m::DeleteTopicsRequest::default()
            .with_topics(vec![DeleteTopicState::default().with_name(Some(topic("t")))]),
        _ => m::DeleteTopicsRequest::default().with_topic_names(vec![topic("t"), topic("u")]),
    }
}

fn delete_records() -> m::DeleteRecordsRequest {
    let partition = DeleteRecordsPartition::default().with_offset(9);
    let topic = DeleteRecordsTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    m::DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn leader_epoch() -> m::OffsetForLeaderEpochRequest {
    let partition = OffsetForLeaderPartition::default().with_partition(2).with_leader_epoch(0);
    let topic = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![partition]);
    m::OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

fn describe_configs() -> m::DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(s("t"))
        .with_configuration_keys(Some(vec![s("retention.ms")]));
    m::DescribeConfigsRequest::default().with_resources(vec![resource])
}

fn alter_configs() -> m::AlterConfigsRequest {
    let config = alter::AlterableConfig::default().with_name(s("retention.ms")).with_value(Some(s("1")));
    let resource = alter::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(s("t"))
        .with_configs(vec![config]);
    m::AlterConfigsRequest::default().with_resources(vec![resource])
}

fn incremental_alter_configs() -> m::IncrementalAlterConfigsRequest {
    let config = incremental::AlterableConfig::default().with_name(s("retention.ms")).with_value(None);
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(s("t"))
        .with_configs(vec![config]);
    m::IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn create_partitions() -> m::CreatePartitionsRequest {
    let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
    let topic = CreatePartitionsTopic::default()
        .with_name(topic("t"))
        .with_count(4)
        .with_assignments(Some(vec![assignment]));
    m::CreatePartitionsRequest::default().with_topics(vec![topic.clone(), topic.with_assignments(None)])
}

fn offset_delete() -> m::OffsetDeleteRequest {
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(1);
    let topic = OffsetDeleteRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    m::OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic])
}

fn consumer_group_heartbeat(v: i16) -> m::ConsumerGroupHeartbeatRequest {
    use m::consumer_group_heartbeat_request::TopicPartitions;
    let owned =
        TopicPartitions::default().with_topic_id(uuid::Uuid::from_bytes([7; 16])).with_partitions(vec![1, 2]);
    let request = m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(s("member"))
        .with_instance_id(Some(s("one")))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic("t"), topic("u")]))
        .with_server_assignor(Some(s("uniform")))
        .with_topic_partitions(Some(vec![owned]));
    match v {
        1.. => request.with_subscribed_topic_regex(Some(s("t.*"))),
        _ => request,
    }
}

fn describe_log_dirs() -> m::DescribeLogDirsRequest {
    use m::describe_log_dirs_request::DescribableLogDirTopic;
    let topic = DescribableLogDirTopic::default().with_topic(topic("t")).with_partitions(vec![1, 2]);
    m::DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
}

fn elect_leaders(v: i16) -> m::ElectLeadersRequest {
    use m::elect_leaders_request::TopicPartitions;
    let topic = TopicPartitions::default().with_topic(topic("t")).with_partitions(vec![1, 2]);
    let request = m::ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
    if v >= 1 { request.with_election_type(0) } else { request }
}

fn reassignments() -> m::AlterPartitionReassignmentsRequest {
    use m::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let partition = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(1), BrokerId(2)]));
    let partitions = vec![partition.clone(), partition.with_replicas(None)];
    let topic = ReassignableTopic::default().with_name(topic("t")).with_partitions(partitions);
    m::AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
}

fn list_reassignments() -> m::ListPartitionReassignmentsRequest {
    use m::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    let topic =
        ListPartitionReassignmentsTopics::default().with_name(topic("t")).with_partition_indexes(vec![1]);
    m::ListPartitionReassignmentsRequest::default().with_topics(Some(vec![topic]))
}

fn describe_topic_partitions() -> m::DescribeTopicPartitionsRequest {
    use m::describe_topic_partitions_request::{Cursor, TopicRequest};
    let cursor = Cursor::default().with_topic_name(topic("t")).with_partition_index(3);
    m::DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(topic("t"))])
        .with_response_partition_limit(100)
        .with_cursor(Some(cursor))
}

fn by_library() -> impl Iterator<Item = (&'static Api, i16)> {
    let hot = [m::ApiKey::Produce, m::ApiKey::Fetch];
    APIS.iter()
        .filter(move |api| !hot.contains(&api.key))
        .flat_map(|api| (api.version_min..=api.version_max).map(move |version| (api, version)))
}

fn head(api: &Api, version: i16) -> RequestHead {
    RequestHead { api_key: api.key as i16, api_version: version, correlation_id: 1, client_id: String::new() }
}

#[test]
fn every_version_fits_its_shape() {
    for (api, version) in by_library() {
        let body = sample(api.key, version);
        let decoded = Request::decode(&head(api, version), body);
        assert!(decoded.is_ok(), "{:?} v{version}: {decoded:?}", api.key);
    }
}

#[test]
fn a_cut_body_is_refused_and_what_follows_a_whole_one_is_ignored() {
    for (api, version) in by_library() {
        let body = sample(api.key, version);
        for length in 0..body.len() {
            let cut = Request::decode(&head(api, version), body.slice(..length));
            assert!(cut.is_err(), "{:?} v{version} cut to {length} of {}", api.key, body.len());
        }
        let longer = Bytes::from([&body[..], &[0]].concat());
        assert!(Request::decode(&head(api, version), longer).is_ok(), "{:?} v{version}", api.key);
    }
}

#[test]
fn versions_not_served_are_refused() {
    for api in APIS {
        for version in [api.version_min - 1, api.version_max + 1] {
            assert!(Request::decode(&head(api, version), Bytes::new()).is_err());
        }
    }
}
