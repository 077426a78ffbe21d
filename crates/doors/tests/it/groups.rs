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

use pluvio_doors::kafka::BrokerOptions;
use pluvio_testkit::SimDisk;

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
    let generation = joined.generation_id;
    heartbeat_of(raw, &joined.member_id, generation).await
}

async fn heartbeat_of(raw: &mut Raw, member: &str, generation: i32) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(id())
        .with_generation_id(generation)
        .with_member_id(text(member));
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

/// A group of two: the leader has `left`, the other `right`.
async fn pair(raw: [&mut Raw; 2]) -> [JoinGroupResponse; 2] {
    let [one, two] = raw;
    let first = enter(one).await;
    let alone = one.ask(7, &join(&first)).await;
    sync(one, &alone, &[]).await;
    let second = enter(two).await;
    two.send(7, &join(&second)).await;
    let leader = one.ask(7, &join(&first)).await;
    let other = two.receive::<JoinGroupRequest>(7).await;
    assert_eq!((leader.generation_id, leader.members.len()), (2, 2));
    let work: [(&str, &str); 2] = [(&first, "left"), (&second, "right")];
    let (of_two, of_one) = tokio::join!(sync(two, &other, &[]), sync(one, &leader, &work));
    assert_eq!((&of_one[..], &of_two[..]), (&b"left"[..], &b"right"[..]));
    [leader, other]
}

async fn described(raw: &mut Raw) -> String {
    let described = raw.ask(5, &DescribeGroupsRequest::default().with_groups(vec![id()])).await;
    format!("{described:?} {:?}", raw.ask(5, &ListGroupsRequest::default()).await)
}

async fn leave(raw: &mut Raw, member: &str) {
    let leaving = MemberIdentity::default().with_member_id(text(member));
    let left = LeaveGroupRequest::default().with_group_id(id()).with_members(vec![leaving]);
    assert_eq!(raw.ask(3, &left).await.members[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_go_on_after_a_stop_and_after_a_crash() {
    let mut disk = SimDisk::new();
    let mut server = Server::simulated(&disk, BrokerOptions::default()).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let (mut one, mut two) = (server.raw().await, server.raw().await);
    let [leader, other] = pair([&mut one, &mut two]).await;
    let before = described(&mut one).await;
    assert!(before.contains("Stable") && before.contains("right"), "{before}");
    for crashes in [true, false] {
        match crashes {
            true => disk = server.crash(&disk),
            false => server.stop().await,
        }
        server = Server::simulated(&disk, BrokerOptions::default()).await;
        let end_offset = server.end_offset("__consumer_groups");
        (one, two) = (server.raw().await, server.raw().await);
        assert_eq!(described(&mut one).await, before);
        for (raw, member, work) in [(&mut one, &leader, "left"), (&mut two, &other, "right")] {
            assert_eq!(heartbeat(raw, member).await, 0);
            assert_eq!(commit(raw, member).await, 0);
            // One that did not get the answer asks again.
            assert_eq!(sync(raw, member, &[]).await, work);
        }
        let again = two.ask(7, &join(&other.member_id)).await;
        assert_eq!((again.error_code, again.generation_id, &again.leader), (0, 2, &leader.leader));
        assert_eq!(heartbeat_of(&mut two, &other.member_id, 1).await, 22);
        assert_eq!(heartbeat_of(&mut two, "nobody", 2).await, 25);
        assert_eq!(server.end_offset("__consumer_groups"), end_offset, "nothing changed");
    }
    // The next rebalance is as any other.
    leave(&mut two, &other.member_id).await;
    assert_eq!(heartbeat(&mut one, &leader).await, 27);
    let alone = one.ask(7, &join(&leader.member_id)).await;
    assert_eq!((alone.generation_id, alone.members.len()), (3, 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_durable_before_anybody_has_its_part() {
    let disk = SimDisk::new();
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let mut raw = server.raw().await;
    let member = enter(&mut raw).await;
    let joined = raw.ask(7, &join(&member)).await;
    disk.pause_syncs(true);
    let work: [(&str, &str); 1] = [(&member, "all")];
    let mut syncing = std::pin::pin!(sync(&mut raw, &joined, &work));
    while disk.syncs_waiting() == 0 {
        tokio::select! {
            biased;
            _ = &mut syncing => panic!("answered before it was durable"),
            () = tokio::task::yield_now() => {}
        }
    }
    disk.pause_syncs(false);
    assert_eq!(syncing.await, "all");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_that_was_cut_short_begins_anew() {
    let disk = SimDisk::new();
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let (mut one, mut two) = (server.raw().await, server.raw().await);
    let first = enter(&mut one).await;
    let joined = one.ask(7, &join(&first)).await;
    sync(&mut one, &joined, &[(&first, "all")]).await;
    let second = enter(&mut two).await;
    two.send(7, &join(&second)).await;
    let again = one.ask(7, &join(&first)).await;
    let of_two = two.receive::<JoinGroupRequest>(7).await;
    assert_eq!((again.generation_id, of_two.generation_id), (2, 2));
    // The second generation is not stable yet.
    let disk = server.crash(&disk);
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let (mut one, mut two) = (server.raw().await, server.raw().await);
    assert_eq!(heartbeat(&mut one, &again).await, 22);
    assert_eq!(heartbeat(&mut two, &of_two).await, 25);
    assert_eq!(heartbeat(&mut one, &joined).await, 0);
    assert_eq!(sync(&mut one, &joined, &[]).await, "all");
    let third = enter(&mut two).await;
    two.send(7, &join(&third)).await;
    let again = one.ask(7, &join(&first)).await;
    assert_eq!((again.generation_id, again.members.len()), (2, 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_come_back_is_given_up() {
    let disk = SimDisk::new();
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let mut raw = server.raw().await;
    let hasty = |member: &str| join(member).with_session_timeout_ms(1_000);
    let told = raw.ask(7, &hasty("")).await;
    let joined = raw.ask(7, &hasty(&told.member_id)).await;
    sync(&mut raw, &joined, &[]).await;
    let disk = server.crash(&disk);
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let mut raw = server.raw().await;
    assert!(described(&mut raw).await.contains("Stable"));
    while described(&mut raw).await.contains("Stable") {
        tokio::task::yield_now().await;
    }
    assert_eq!(heartbeat(&mut raw, &joined).await, 25);
    let next = enter(&mut raw).await;
    assert_eq!(raw.ask(7, &join(&next)).await.generation_id, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_was_replaced_is_known_by_its_new_id() {
    let disk = SimDisk::new();
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let mut raw = server.raw().await;
    let fixed = || join("").with_group_instance_id(Some(text("one")));
    let first = raw.ask(7, &fixed()).await;
    sync(&mut raw, &first, &[(&first.member_id, "all")]).await;
    let second = raw.ask(7, &fixed()).await;
    assert_eq!((second.error_code, second.generation_id), (0, 1));
    let disk = server.crash(&disk);
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    let mut raw = server.raw().await;
    assert_eq!((heartbeat(&mut raw, &second).await, heartbeat(&mut raw, &first).await), (0, 25));
    assert_eq!(sync(&mut raw, &second, &[]).await, "all");
    let third = raw.ask(7, &fixed()).await;
    assert_eq!((third.error_code, third.generation_id, third.members.len()), (0, 1, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_rise_on_after_a_crash_until_the_group_is_deleted() {
    let mut disk = SimDisk::new();
    let mut generations = Vec::new();
    for round in 0..4 {
        let server = Server::simulated(&disk, BrokerOptions::default()).await;
        let mut raw = server.raw().await;
        let listed = raw.ask(5, &ListGroupsRequest::default()).await.groups;
        assert_eq!(listed.len(), [0, 1, 1, 0][round]);
        let member = enter(&mut raw).await;
        generations.push(raw.ask(7, &join(&member)).await.generation_id);
        leave(&mut raw, &member).await;
        if round == 2 {
            let delete = DeleteGroupsRequest::default().with_groups_names(vec![id()]);
            assert_eq!(raw.ask(2, &delete).await.results[0].error_code, 0);
        }
        disk = server.crash(&disk);
    }
    assert_eq!(generations, [1, 3, 5, 1]);
}
