//! Groups of the consumer protocol (KIP-848) over the wire.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DescribeGroupsRequest, GroupId, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, TopicName,
};
use pluvio_doors::kafka::BrokerOptions;
use pluvio_testkit::SimDisk;

use crate::groups::{enter, join};
use crate::harness::{Raw, Server, text};

fn group() -> GroupId {
    GroupId(text("g"))
}

fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![TopicName(text("rain"))]))
        .with_topic_partitions(Some(vec![]))
}

fn beating(told: &ConsumerGroupHeartbeatResponse, owned: Option<Vec<i32>>) -> ConsumerGroupHeartbeatRequest {
    let id = told.assignment.as_ref().and_then(|it| it.topic_partitions.first()).map(|it| it.topic_id);
    let owned = owned.map(|owned| match id {
        Some(id) => vec![TopicPartitions::default().with_topic_id(id).with_partitions(owned)],
        None => vec![],
    });
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(told.member_id.clone().unwrap())
        .with_member_epoch(told.member_epoch)
        .with_rebalance_timeout_ms(-1)
        .with_topic_partitions(owned)
}

fn parts(told: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let topics = &told.assignment.as_ref().expect("an assignment").topic_partitions;
    topics.iter().flat_map(|topic| topic.partitions.clone()).collect()
}

async fn commit(raw: &mut Raw, version: i16, member: &str, epoch: i32) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("rain")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![topic]);
    raw.ask(version, &request).await.topics[0].partitions[0].error_code
}

async fn fetch(raw: &mut Raw, member: &str, epoch: i32) -> i16 {
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_member_id(Some(text(member)))
        .with_member_epoch(epoch)
        .with_topics(None);
    raw.ask(9, &OffsetFetchRequest::default().with_groups(vec![group])).await.groups[0].error_code
}

/// Name, type and state of all groups that pass the filters.
async fn listed(raw: &mut Raw, types: &[&str], states: &[&str]) -> Vec<(String, String, String)> {
    let request = ListGroupsRequest::default()
        .with_types_filter(types.iter().map(|it| text(it)).collect())
        .with_states_filter(states.iter().map(|it| text(it)).collect());
    let groups = raw.ask(5, &request).await.groups;
    let shown = groups
        .iter()
        .map(|it| (it.group_id.to_string(), it.group_type.to_string(), it.group_state.to_string()));
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_commit_and_leave() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.client().await.create_topic("rain", 4, &[]).await.unwrap();
    let mut raw = server.raw().await;
    // In version 0 the broker names the member.
    let first = raw.ask(0, &joining("")).await;
    assert_eq!((first.error_code, first.member_epoch, first.heartbeat_interval_ms), (0, 1, 5_000));
    assert_eq!(parts(&first), [0, 1, 2, 3]);
    let a = first.member_id.as_deref().unwrap().to_owned();
    let second = raw.ask(1, &joining("b")).await;
    assert_eq!((second.error_code, parts(&second)), (0, vec![]));
    let shrunk = raw.ask(1, &beating(&first, Some(vec![0, 1, 2, 3]))).await;
    let kept = parts(&shrunk);
    assert_eq!(kept.len(), 2);
    let mut beat = beating(&shrunk, Some(kept.clone()));
    let gave = raw.ask(1, &beat).await;
    assert_eq!((gave.member_epoch, gave.assignment), (2, None));
    let got = raw.ask(1, &beating(&second, Some(vec![]))).await;
    assert_eq!((got.member_epoch, parts(&got).len()), (2, 2));

    assert_eq!(commit(&mut raw, 9, &a, 2).await, 0);
    assert_eq!(commit(&mut raw, 9, &a, 1).await, 113);
    assert_eq!(commit(&mut raw, 8, &a, 2).await, 35);
    assert_eq!(commit(&mut raw, 9, "c", 2).await, 25);
    assert_eq!(fetch(&mut raw, &a, 2).await, 0);
    assert_eq!(fetch(&mut raw, &a, 1).await, 113);
    assert_eq!(fetch(&mut raw, "c", 2).await, 25);
    assert_eq!(fetch(&mut raw, "", -1).await, 0);

    let one = |group_type: &str, state: &str| vec![("g".into(), group_type.into(), state.into())];
    assert_eq!(listed(&mut raw, &["consumer"], &["stable"]).await, one("Consumer", "Stable"));
    assert_eq!(listed(&mut raw, &["classic"], &[]).await, []);
    assert_eq!(listed(&mut raw, &[], &["Empty"]).await, []);
    beat.member_epoch = -1;
    assert_eq!(raw.ask(1, &beat).await.member_epoch, -1);
    let beat = beating(&got, None).with_member_epoch(-1);
    assert_eq!(raw.ask(1, &beat).await.error_code, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_protocol_tells_of_its_own_groups_and_an_empty_one_may_change() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.client().await.create_topic("rain", 2, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let versions = raw.ask(3, &ApiVersionsRequest::default()).await;
    let feature = versions.finalized_features.iter().find(|it| &*it.name == "group.version").unwrap();
    assert_eq!(feature.max_version_level, 1);
    let joined = raw.ask(1, &joining("a").with_instance_id(Some(text("one")))).await;
    let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(), GroupId(text("h"))]);
    let described = raw.ask(1, &describe).await.groups;
    assert_eq!((described[0].error_code, &*described[0].group_state), (0, "Stable"));
    assert_eq!((described[0].group_epoch, described[0].assignment_epoch), (1, 1));
    assert_eq!((&*described[0].assignor_name, described[1].error_code), ("uniform", 69));
    let member = &described[0].members[0];
    assert_eq!(
        (&*member.member_id, member.instance_id.as_deref(), member.member_type),
        ("a", Some("one"), 1)
    );
    assert_eq!(&**member.assignment.topic_partitions[0].topic_name, "rain");
    assert_eq!(member.assignment.topic_partitions[0].partitions, [0, 1]);
    let classic = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let shown = raw.ask(6, &classic).await.groups;
    assert_eq!((shown[0].error_code, &*shown[0].group_state), (69, "Dead"));
    // With members it stays what it is.
    assert_eq!(raw.ask(5, &join("")).await.error_code, 23);
    assert_eq!(raw.ask(1, &beating(&joined, None).with_member_epoch(-1)).await.error_code, 0);
    // Without, it becomes a classic one, and the other way round.
    let id = enter(&mut raw).await;
    assert_eq!(raw.ask(1, &joining("a")).await.error_code, 69);
    let member = raw.ask(5, &join(&id)).await;
    assert_eq!(member.error_code, 0);
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_member_id(member.member_id.clone());
    assert_eq!(raw.ask(1, &leave).await.error_code, 0);
    assert_eq!(raw.ask(1, &joining("a")).await.error_code, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_heartbeat_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions { consumer_session_timeout_ms: 200, ..BrokerOptions::default() };
    let server = Server::start_with(dir.path(), options).await;
    server.client().await.create_topic("rain", 2, &[]).await.unwrap();
    let mut raw = server.raw().await;
    for (request, code) in [
        (joining(""), 42),
        (joining("a").with_group_id(GroupId::default()), 42),
        (joining("a").with_instance_id(Some(text(""))), 42),
        (joining("a").with_rebalance_timeout_ms(-1), 42),
        (joining("a").with_topic_partitions(None), 42),
        (joining("a").with_subscribed_topic_names(None), 42),
        (joining("a").with_member_epoch(-3), 42),
        (joining("a").with_member_epoch(-2), 42),
        (joining("a").with_server_assignor(Some(text("mine"))), 112),
        (joining("a").with_subscribed_topic_regex(Some(text("*"))), 128),
        (joining("a").with_member_epoch(7), 25),
    ] {
        let answer = raw.ask(1, &request).await;
        assert_eq!(answer.error_code, code, "{request:?}");
        assert!(answer.error_message.is_some());
    }
    let joined = raw.ask(1, &joining("a").with_subscribed_topic_regex(Some(text("ra.n")))).await;
    assert_eq!(parts(&joined), [0, 1]);
    assert_eq!(raw.ask(1, &beating(&joined, None).with_member_epoch(5)).await.error_code, 110);
    // In silence the member is given up; the group stays, empty.
    while listed(&mut raw, &[], &["empty"]).await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.ask(1, &beating(&joined, None)).await.error_code, 25);
    server.stop().await;
}

async fn described(raw: &mut Raw) -> String {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
    format!("{:?} {:?}", raw.ask(1, &request).await, listed(raw, &[], &[]).await)
}

/// Joins of `a` and `b`, and a heartbeat of `a` that tells it to give two of
/// four partitions back.
async fn pair(raw: &mut Raw) -> [ConsumerGroupHeartbeatResponse; 2] {
    let first = raw.ask(1, &joining("a")).await;
    let second = raw.ask(1, &joining("b")).await;
    let told = raw.ask(1, &beating(&first, Some(vec![0, 1, 2, 3]))).await;
    assert_eq!((told.member_epoch, parts(&told).len(), second.member_epoch), (1, 2, 2));
    [told, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn members_go_on_at_any_step_after_a_stop_and_after_a_crash() {
    let mut disk = SimDisk::new();
    let mut server = Server::simulated(&disk, BrokerOptions::default()).await;
    server.client().await.create_topic("rain", 4, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let [of_a, of_b] = pair(&mut raw).await;
    let had = parts(&of_a);
    for crashes in [true, false] {
        let before = described(&mut raw).await;
        match crashes {
            true => disk = server.crash(&disk),
            false => server.stop().await,
        }
        server = Server::simulated(&disk, BrokerOptions::default()).await;
        raw = server.raw().await;
        assert_eq!(described(&mut raw).await, before);
        if crashes {
            // Before it gives back it goes on where it was, and b does not get anything.
            assert_eq!(commit(&mut raw, 9, "a", 1).await, 0);
            let waits = raw.ask(1, &beating(&of_b, Some(vec![]))).await;
            assert_eq!((waits.error_code, waits.member_epoch, waits.assignment), (0, 2, None));
            let gave = raw.ask(1, &beating(&of_a, Some(had.clone()))).await;
            assert_eq!((gave.error_code, gave.member_epoch, gave.assignment), (0, 2, None));
        } else {
            let got = raw.ask(1, &beating(&of_b, Some(vec![]))).await;
            assert_eq!((got.error_code, got.member_epoch, parts(&got).len()), (0, 2, 2));
            assert!(parts(&got).iter().all(|part| !had.contains(part)));
        }
        // Of b only once it has what it is to have.
        let quiet = [("a", Some(had.clone())), ("a", None), ("b", None)];
        let end_offset = server.end_offset("__consumer_groups");
        for _ in 0..10 {
            for (member, owned) in quiet.iter().take(if crashes { 2 } else { 3 }).cloned() {
                let beat = beating(&of_a, owned).with_member_id(text(member)).with_member_epoch(2);
                let told = raw.ask(1, &beat).await;
                assert_eq!((told.error_code, told.member_epoch, told.assignment), (0, 2, None));
            }
        }
        assert_eq!(server.end_offset("__consumer_groups"), end_offset, "quiet heartbeats write nothing");
    }
    assert_eq!((commit(&mut raw, 9, "a", 2).await, commit(&mut raw, 9, "b", 2).await), (0, 0));
    assert_eq!(listed(&mut raw, &["consumer"], &["stable"]).await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_durable_before_it_is_told() {
    let disk = SimDisk::new();
    let server = Server::simulated(&disk, BrokerOptions::default()).await;
    server.client().await.create_topic("rain", 1, &[]).await.unwrap();
    let mut raw = server.raw().await;
    disk.pause_syncs(true);
    let request = joining("a");
    let mut joining = std::pin::pin!(raw.ask(1, &request));
    while disk.syncs_waiting() == 0 {
        tokio::select! {
            biased;
            _ = &mut joining => panic!("answered before it was durable"),
            () = tokio::task::yield_now() => {}
        }
    }
    disk.pause_syncs(false);
    assert_eq!(parts(&joining.await), [0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_back_is_given_up_and_a_static_member_that_does_has_what_it_had() {
    let disk = SimDisk::new();
    let options = BrokerOptions { consumer_session_timeout_ms: 1_000, ..BrokerOptions::default() };
    let server = Server::simulated(&disk, options.clone()).await;
    server.client().await.create_topic("rain", 4, &[]).await.unwrap();
    let mut raw = server.raw().await;
    let fixed = |member: &str| joining(member).with_instance_id(Some(text("one")));
    let first = raw.ask(1, &fixed("a")).await;
    let lost = raw.ask(1, &joining("b")).await;
    assert_eq!((parts(&first).len(), parts(&lost).len()), (4, 0));
    let pause = beating(&first, None).with_instance_id(Some(text("one"))).with_member_epoch(-2);
    assert_eq!(raw.ask(1, &pause).await.error_code, 0);

    let disk = server.crash(&disk);
    let server = Server::simulated(&disk, options).await;
    let mut raw = server.raw().await;
    let back = raw.ask(1, &fixed("c")).await;
    assert_eq!((back.error_code, parts(&back).len()), (0, 2), "what is left to it of what it had");
    assert_eq!(raw.ask(1, &beating(&first, None)).await.error_code, 25);
    let mut now = back.clone();
    while now.member_epoch != 3 || parts(&now).len() != 4 {
        let owned = parts(&now);
        let told = raw.ask(1, &beating(&back, Some(owned)).with_member_epoch(now.member_epoch)).await;
        assert_eq!(told.error_code, 0);
        now.member_epoch = told.member_epoch;
        now.assignment = told.assignment.or(now.assignment);
    }
    assert_eq!(raw.ask(1, &beating(&lost, None)).await.error_code, 25);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_or_changed_its_protocol_stays_so() {
    let mut disk = SimDisk::new();
    let mut server = Server::simulated(&disk, BrokerOptions::default()).await;
    server.client().await.create_topic("rain", 4, &[]).await.unwrap();
    let mut raw = server.raw().await;
    for round in 0..3 {
        let joined = raw.ask(1, &joining("a")).await;
        assert_eq!((joined.error_code, joined.member_epoch), (0, [1, 3, 1][round]));
        assert_eq!(raw.ask(1, &beating(&joined, None).with_member_epoch(-1)).await.error_code, 0);
        match round {
            0 => {}
            1 => {
                let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
                assert_eq!(raw.ask(2, &delete).await.results[0].error_code, 0);
            }
            _ => {
                let id = enter(&mut raw).await;
                let joined = raw.ask(7, &join(&id)).await;
                let leave =
                    LeaveGroupRequest::default().with_group_id(group()).with_member_id(joined.member_id);
                assert_eq!(raw.ask(1, &leave).await.error_code, 0);
            }
        }
        disk = server.crash(&disk);
        server = Server::simulated(&disk, BrokerOptions::default()).await;
        raw = server.raw().await;
        let shown = |group_type: &str| vec![("g".to_owned(), group_type.to_owned(), "Empty".to_owned())];
        let expected = [shown("Consumer"), vec![], shown("Classic")];
        assert_eq!(listed(&mut raw, &[], &[]).await, expected[round]);
    }
    server.stop().await;
}
