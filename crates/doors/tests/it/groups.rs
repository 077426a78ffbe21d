//! Two members of a group over the wire: one, then both, then the other.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, SyncGroupRequest,
    TopicName,
};

use crate::harness::{Raw, Server, text};

fn id() -> GroupId {
    GroupId(text("g"))
}

pub fn join(member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    JoinGroupRequest::default()
        .with_group_id(id())
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins for the first time: asks for an id, then comes back with it.
pub async fn enter(raw: &mut Raw) -> String {
    let told = raw.ask(7, &join("")).await;
    assert_eq!(told.error_code, 79);
    told.member_id.to_string()
}

async fn sync(raw: &mut Raw, joined: &JoinGroupResponse, work: &[(&str, &'static str)]) -> Bytes {
    let assignments = work.iter().map(|(member, work)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(Bytes::from_static(work.as_bytes()))
    });
    let request = SyncGroupRequest::default()
        .with_group_id(id())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(assignments.collect());
    let synced = raw.ask(3, &request).await;
    assert_eq!(synced.error_code, 0);
    synced.assignment
}

async fn heartbeat(raw: &mut Raw, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(id())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    raw.ask(3, &request).await.error_code
}

async fn commit(raw: &mut Raw, joined: &JoinGroupResponse) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("rain")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(id())
        .with_generation_id_or_member_epoch(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_topics(vec![topic]);
    raw.ask(7, &request).await.topics[0].partitions[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_and_one_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let (mut one, mut two) = (server.raw().await, server.raw().await);

    let one_id = enter(&mut one).await;
    let first = one.ask(7, &join(&one_id)).await;
    assert_eq!((first.error_code, first.generation_id, first.members.len()), (0, 1, 1));
    assert_eq!(first.leader, first.member_id);
    assert_eq!(sync(&mut one, &first, &[(&one_id, "all")]).await, "all");
    assert_eq!(heartbeat(&mut one, &first).await, 0);
    assert_eq!(commit(&mut one, &first).await, 0);

    let two_id = enter(&mut two).await;
    two.send(7, &join(&two_id)).await;
    // The first member learns that it must join again.
    while heartbeat(&mut one, &first).await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(heartbeat(&mut one, &first).await, 27);
    let again = one.ask(7, &join(&one_id)).await;
    let joined = two.receive::<JoinGroupRequest>(7).await;
    assert_eq!((again.generation_id, joined.generation_id), (2, 2));
    assert_eq!((again.members.len(), joined.members.len()), (2, 0));
    assert_eq!(commit(&mut one, &first).await, 22);

    let work: [(&str, &str); 2] = [(&one_id, "left"), (&two_id, "right")];
    let (of_two, of_one) = tokio::join!(sync(&mut two, &joined, &[]), sync(&mut one, &again, &work));
    assert_eq!((&of_one[..], &of_two[..]), (&b"left"[..], &b"right"[..]));

    let described = two.ask(5, &DescribeGroupsRequest::default().with_groups(vec![id()])).await;
    let described = &described.groups[0];
    assert_eq!((described.group_state.as_str(), described.members.len()), ("Stable", 2));
    assert_eq!(described.members[0].client_host.as_str(), "/127.0.0.1");

    let leaving = MemberIdentity::default().with_member_id(text(&one_id));
    let left =
        one.ask(3, &LeaveGroupRequest::default().with_group_id(id()).with_members(vec![leaving])).await;
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(heartbeat(&mut one, &again).await, 25);
    assert_eq!(heartbeat(&mut two, &joined).await, 27);
    let alone = two.ask(7, &join(&two_id)).await;
    assert_eq!((alone.generation_id, alone.leader, alone.members.len()), (3, text(&two_id), 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_group_stays_and_its_generations_rise() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut raw = server.raw().await;
    let mut generations = Vec::new();
    for _ in 0..2 {
        let member = enter(&mut raw).await;
        generations.push(raw.ask(7, &join(&member)).await.generation_id);
        let leaving = MemberIdentity::default().with_member_id(text(&member));
        let leave = LeaveGroupRequest::default().with_group_id(id()).with_members(vec![leaving]);
        assert_eq!(raw.ask(3, &leave).await.members[0].error_code, 0);
    }
    assert_eq!(generations, [1, 3]);
    let listed = raw.ask(5, &ListGroupsRequest::default()).await.groups;
    assert_eq!(listed.len(), 1);
    assert_eq!((&*listed[0].group_state, &*listed[0].protocol_type), ("Empty", "consumer"));
    let described = raw.ask(6, &DescribeGroupsRequest::default().with_groups(vec![id()])).await.groups;
    assert_eq!((described[0].error_code, &*described[0].group_state), (0, "Empty"));
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![id()]);
    assert_eq!(raw.ask(2, &delete).await.results[0].error_code, 0);
    assert_eq!(raw.ask(2, &delete).await.results[0].error_code, 69);
    assert!(raw.ask(5, &ListGroupsRequest::default()).await.groups.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_joining_works() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for version in 0..=9 {
        let mut raw = server.raw().await;
        let mut request = join("").with_group_id(GroupId(text(&format!("g{version}"))));
        let told = raw.ask(version, &request).await;
        let joined = match version {
            4.. => {
                assert_eq!(told.error_code, 79);
                request = request.with_member_id(told.member_id);
                raw.ask(version, &request).await
            }
            _ => told,
        };
        assert_eq!((joined.error_code, joined.members.len()), (0, 1), "version {version}");
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    }
    server.stop().await;
}
