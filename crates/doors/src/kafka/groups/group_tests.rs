//! The machine of a group, with time in the tests' hands.

use super::super::memory::ENTRY_BYTES;
use super::*;
use tokio::sync::oneshot;

type JoinReply = oneshot::Receiver<Result<Joined, Refusal>>;
type SyncReply = oneshot::Receiver<Result<Synced, Code>>;

fn joining(member_id: &str, protocols: &[&str]) -> Joining {
    Joining {
        member_id: member_id.into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 10,
        rebalance_timeout_ms: 100,
        protocol_type: "consumer".into(),
        protocols: protocols.iter().map(|name| ((*name).into(), Bytes::new())).collect(),
        id_first: false,
        may_skip: false,
    }
}

fn group() -> Group {
    Group::new(0, 10)
}

fn join(group: &mut Group, now_ms: u64, id: &str) -> JoinReply {
    join_as(group, now_ms, id, joining(if group.members.contains_key(id) { id } else { "" }, &["range"]))
}

fn join_as(group: &mut Group, now_ms: u64, new_id: &str, joining: Joining) -> JoinReply {
    let (answer, answered) = oneshot::channel();
    group.join(now_ms, joining, new_id.into(), answer);
    answered
}

fn sync(group: &mut Group, now_ms: u64, id: &str, work: &[(&str, &'static str)]) -> SyncReply {
    let work = work.iter().map(|(id, work)| ((*id).to_owned(), Bytes::from_static(work.as_bytes())));
    let (answer, answered) = oneshot::channel();
    group.sync(now_ms, id, work.collect(), answer);
    answered
}

fn refused(mut reply: JoinReply) -> Code {
    reply.try_recv().unwrap().unwrap_err().code
}

/// A stable group of `a`, the leader, and `b`, at time 0.
fn pair() -> Group {
    let mut group = group();
    let _first = join(&mut group, 0, "a");
    let mut of_b = join(&mut group, 0, "b");
    let mut of_a = join(&mut group, 0, "a");
    assert_eq!(of_a.try_recv().unwrap().unwrap().members.len(), 2);
    assert_eq!(of_b.try_recv().unwrap().unwrap().members.len(), 0);
    let mut of_b = sync(&mut group, 0, "b", &[]);
    assert!(of_b.try_recv().is_err());
    let mut of_a = sync(&mut group, 0, "a", &[("a", "left"), ("b", "right")]);
    assert_eq!(of_a.try_recv().unwrap().unwrap().assignment, "left");
    assert_eq!(of_b.try_recv().unwrap().unwrap().assignment, "right");
    assert_eq!(group.state, State::Stable);
    group
}

#[test]
fn a_silent_member_is_given_up_and_the_rest_rebalances() {
    let mut group = pair();
    group.heartbeat(6, "a").unwrap();
    assert_eq!(group.next_deadline_ms(), Some(10));
    group.on_time(10);
    assert_eq!(group.members.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(group.heartbeat(11, "a"), Err(Code::RebalanceInProgress));
    assert_eq!(group.heartbeat(11, "b"), Err(Code::UnknownMemberId));
    let mut alone = join(&mut group, 12, "a");
    assert_eq!(alone.try_recv().unwrap().unwrap().generation, 3);
}

#[test]
fn the_last_one_gone_leaves_it_idle() {
    let mut group = pair();
    group.leave(1, "a", None).unwrap();
    group.leave(1, "b", None).unwrap();
    assert!(group.is_idle());
    assert_eq!((group.state, group.next_deadline_ms()), (State::Empty, None));
    assert_eq!(group.leave(1, "b", None), Err(Code::UnknownMemberId));
}

#[test]
fn who_does_not_join_in_time_is_left_out() {
    let mut group = pair();
    let mut of_c = join(&mut group, 5, "c");
    let mut of_b = join(&mut group, 6, "b");
    // `a` shows itself but does not join.
    for now_ms in (6..105).step_by(5) {
        assert_eq!(group.heartbeat(now_ms, "a"), Err(Code::RebalanceInProgress));
        group.on_time(now_ms);
    }
    assert!(of_c.try_recv().is_err());
    group.on_time(105);
    let joined = of_b.try_recv().unwrap().unwrap();
    assert_eq!((joined.leader.as_str(), joined.members.len()), ("b", 2));
    assert!(of_c.try_recv().unwrap().is_ok());
    assert_eq!(group.heartbeat(106, "a"), Err(Code::UnknownMemberId));
}

#[test]
fn who_does_not_fetch_its_work_in_time_is_left_out() {
    let mut group = group();
    let _first = join(&mut group, 0, "a");
    let _of_b = join(&mut group, 0, "b");
    let _first = join(&mut group, 0, "a");
    assert_eq!(group.state, State::Completing);
    let mut of_b = sync(&mut group, 0, "b", &[]);
    for now_ms in (0..100).step_by(5) {
        group.heartbeat(now_ms, "a").unwrap();
        group.on_time(now_ms);
    }
    group.on_time(100);
    assert_eq!(of_b.try_recv().unwrap().unwrap_err(), Code::RebalanceInProgress);
    assert_eq!(group.members.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn an_id_that_never_comes_back_is_forgotten() {
    let mut group = group();
    let first = Joining { id_first: true, ..joining("", &["range"]) };
    assert_eq!(refused(join_as(&mut group, 0, "a", first)), Code::MemberIdRequired);
    assert!(!group.is_idle());
    let mut of_b = join(&mut group, 1, "b");
    assert!(of_b.try_recv().is_err(), "the group waits for the promised member");
    assert_eq!(group.next_deadline_ms(), Some(10));
    group.on_time(10);
    assert_eq!(of_b.try_recv().unwrap().unwrap().generation, 1);
    let late = join_as(&mut group, 11, "a", joining("a", &["range"]));
    assert_eq!(refused(late), Code::UnknownMemberId);
}

#[test]
fn the_protocol_most_members_prefer_is_chosen() {
    let mut group = group();
    let _first = join_as(&mut group, 0, "a", joining("", &["range", "sticky"]));
    let _of_b = join_as(&mut group, 0, "b", joining("", &["sticky", "range"]));
    let _of_c = join_as(&mut group, 0, "c", joining("", &["sticky", "other", "range"]));
    let mut of_a = join_as(&mut group, 0, "a", joining("a", &["range", "sticky"]));
    assert_eq!(of_a.try_recv().unwrap().unwrap().protocol, "sticky");
    let stranger = join_as(&mut group, 0, "d", joining("", &["none"]));
    assert_eq!(refused(stranger), Code::InconsistentGroupProtocol);
    let worker = Joining { protocol_type: "connect".into(), ..joining("", &["range"]) };
    assert_eq!(refused(join_as(&mut group, 0, "e", worker)), Code::InconsistentGroupProtocol);
}

#[test]
fn a_follower_that_asks_again_disturbs_nobody() {
    let mut group = pair();
    let mut of_b = join(&mut group, 1, "b");
    assert_eq!(of_b.try_recv().unwrap().unwrap().generation, 2);
    assert_eq!(group.state, State::Stable);
    let mut of_a = join(&mut group, 1, "a");
    assert!(of_a.try_recv().is_err(), "a leader that joins again wants a new assignment");
    assert_eq!(group.state, State::Preparing);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut group = group();
    let fixed =
        |id: &str, may_skip| Joining { instance_id: Some("one".into()), may_skip, ..joining(id, &["range"]) };
    let mut first = join_as(&mut group, 0, "a", fixed("", false));
    assert_eq!(first.try_recv().unwrap().unwrap().generation, 1);
    let mut work = sync(&mut group, 0, "a", &[("a", "all")]);
    assert_eq!(work.try_recv().unwrap().unwrap().assignment, "all");

    let mut back = join_as(&mut group, 5, "b", fixed("", false));
    let back = back.try_recv().unwrap().unwrap();
    assert_eq!((back.generation, back.leader.as_str(), back.members.len()), (1, "a", 0));
    assert_eq!(group.check("a", Some("one"), 1), Err(Code::FencedInstanceId));
    assert_eq!(sync(&mut group, 5, "b", &[]).try_recv().unwrap().unwrap().assignment, "all");

    let mut back = join_as(&mut group, 6, "c", fixed("", true));
    let back = back.try_recv().unwrap().unwrap();
    assert_eq!((back.generation, back.leader.as_str(), back.skip_assignment), (1, "c", true));
    group.leave(7, "", Some("one")).unwrap();
    assert!(group.is_idle());
}

/// What a consumer tells about itself: version, topics, what it has.
fn metadata(topic: &str, owned: &str) -> Bytes {
    let mut out = vec![0, 1, 0, 0, 0, 1, 0, topic.len() as u8];
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(owned.as_bytes());
    out.into()
}

#[test]
fn a_static_member_that_comes_back_without_what_it_had_keeps_it() {
    let mut group = group();
    let says = |instance: &str, topic: &str, owned: &str| Joining {
        instance_id: Some(instance.into()),
        protocols: vec![("cooperative-sticky".into(), metadata(topic, owned))],
        ..joining("", &[])
    };
    let _first = join_as(&mut group, 0, "a", says("one", "rain", ""));
    let _of_b = join_as(&mut group, 0, "b", says("two", "rain", ""));
    let again = Joining { member_id: "a".into(), ..says("one", "rain", "all") };
    let _of_a = join_as(&mut group, 0, "a", again);
    let _of_b = sync(&mut group, 0, "b", &[]);
    let _of_a = sync(&mut group, 0, "a", &[("a", "left"), ("b", "right")]);
    assert_eq!((group.state, group.generation), (State::Stable, 2));
    assert!(group.subscribes_to("rain") && !group.subscribes_to("sun"));
    let mut back = join_as(&mut group, 1, "c", says("one", "rain", ""));
    assert_eq!(back.try_recv().unwrap().unwrap().generation, 2);
    assert_eq!(sync(&mut group, 1, "c", &[]).try_recv().unwrap().unwrap().assignment, "left");
    // One that reads something else now is assigned anew.
    let mut other = join_as(&mut group, 2, "d", says("one", "sun", ""));
    assert!(other.try_recv().is_err());
    assert_eq!(group.state, State::Preparing);
}

#[test]
fn static_members_that_are_all_away_are_kept_until_their_sessions_end() {
    let mut group = group();
    let fixed = |id: &str, instance: Option<&str>| Joining {
        instance_id: instance.map(str::to_owned),
        session_timeout_ms: 500,
        ..joining(id, &["range"])
    };
    let _of_a = join_as(&mut group, 0, "a", fixed("", Some("one")));
    let _of_a = sync(&mut group, 0, "a", &[("a", "all")]);
    let _of_b = join_as(&mut group, 0, "b", fixed("", None));
    group.leave(1, "b", None).unwrap();
    group.on_time(101);
    assert_eq!((group.state, group.members.len()), (State::Preparing, 1));
    group.on_time(500);
    assert!(group.is_idle());
    assert_eq!(group.state, State::Empty);
}

#[test]
fn a_new_group_may_wait_for_more_members() {
    let mut group = Group::new(50, 10);
    let mut of_a = join(&mut group, 0, "a");
    let mut of_b = join(&mut group, 20, "b");
    assert!(of_a.try_recv().is_err() && of_b.try_recv().is_err());
    assert_eq!(group.next_deadline_ms(), Some(50));
    group.on_time(50);
    // Somebody came, so others may: once more, up to the time to join of 100.
    let mut of_c = join(&mut group, 70, "c");
    assert_eq!(group.next_deadline_ms(), Some(100));
    group.on_time(99);
    assert!(of_a.try_recv().is_err() && of_c.try_recv().is_err());
    group.on_time(100);
    assert_eq!(of_a.try_recv().unwrap().unwrap().members.len(), 3);
    assert!(of_b.try_recv().unwrap().is_ok() && of_c.try_recv().unwrap().is_ok());
    // A group that has members does not wait.
    let mut of_d = join(&mut group, 101, "d");
    let _others = ["a", "b", "c"].map(|id| join(&mut group, 101, id));
    assert_eq!(of_d.try_recv().unwrap().unwrap().generation, 2);
}

#[test]
fn a_new_group_waits_no_longer_when_nobody_comes_or_all_go() {
    let mut group = Group::new(50, 10);
    let mut of_a = join(&mut group, 0, "a");
    let first = Joining { id_first: true, ..joining("", &["range"]) };
    assert_eq!(refused(join_as(&mut group, 45, "b", first)), Code::MemberIdRequired);
    group.on_time(50);
    assert_eq!(of_a.try_recv().unwrap().unwrap().members.len(), 1);
    // Who was given an id before may still come with it.
    let _of_b = join_as(&mut group, 51, "b", joining("b", &["range"]));
    let mut of_a = join(&mut group, 52, "a");
    assert_eq!(of_a.try_recv().unwrap().unwrap().members.len(), 2);
    group.leave(60, "a", None).unwrap();
    group.leave(60, "b", None).unwrap();
    assert_eq!(group.state, State::Empty);
    let _of_c = join(&mut group, 70, "c");
    group.leave(71, "c", None).unwrap();
    assert_eq!((group.state, group.next_deadline_ms()), (State::Empty, None));
}

#[test]
fn members_are_limited() {
    let mut group = Group::new(0, 1);
    let _of_a = join(&mut group, 0, "a");
    assert_eq!(refused(join(&mut group, 0, "b")), Code::GroupMaxSizeReached);
}

#[test]
fn what_members_tell_is_limited() {
    let mut group = group();
    group.bytes_max = 1_000;
    let told = |id: &str, bytes: usize| {
        let protocols = vec![("range".into(), Bytes::from(vec![0; bytes]))];
        Joining { protocols, ..joining(id, &[]) }
    };
    let _of_a = join_as(&mut group, 0, "a", told("", 500));
    assert_eq!(refused(join_as(&mut group, 0, "b", told("", 400))), Code::GroupMaxSizeReached);
    let _of_b = join_as(&mut group, 0, "b", told("", 250));
    // A member that joins again replaces what it told before.
    let _of_a = join_as(&mut group, 1, "", told("a", 550));
    assert_eq!(refused(join_as(&mut group, 1, "", told("a", 650))), Code::GroupMaxSizeReached);
    assert_eq!(group.members["a"].told_bytes(), 550 + ENTRY_BYTES + "range".len() + "c".len());
}
