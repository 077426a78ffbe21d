//! The registry, over a disk in memory.

use std::path::Path;

use pluvio_eventlog::{EventLog, LogOptions};
use pluvio_foundation::{Clock, Metrics, SystemRandom};
use pluvio_testkit::{ManualClock, SimDisk};

use super::*;
use crate::kafka::BrokerOptions;

fn options() -> BrokerOptions {
    BrokerOptions { groups_max: 2, offsets_retention_ms: 100, ..BrokerOptions::default() }
}

fn open_log(disk: &SimDisk, clock: &ManualClock) -> (Arc<EventLog>, Arc<dyn Clock>) {
    let random = Arc::new(SystemRandom::default());
    let (disk, clock): (_, Arc<dyn Clock>) = (Arc::new(disk.clone()), Arc::new(clock.clone()));
    let options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
    let (folder, metrics) = (Path::new("/log"), Metrics::default());
    (EventLog::open(folder, disk, Arc::clone(&clock), random, metrics, options).unwrap(), clock)
}

/// The groups on a disk, and the log that they are in.
pub(crate) fn open(disk: &SimDisk, clock: &ManualClock, options: &BrokerOptions) -> (Arc<EventLog>, Groups) {
    let (log, clock) = open_log(disk, clock);
    let groups = Groups::open(&log, clock, options).unwrap();
    (log, groups)
}

fn groups(options: &BrokerOptions) -> (Arc<EventLog>, Groups) {
    open(&SimDisk::new(), &ManualClock::default(), options)
}

fn joins(groups: &Groups, name: &str) -> Result<i32, Code> {
    let joining = member::Joining {
        member_id: String::new(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 1_000,
        rebalance_timeout_ms: 1_000,
        protocol_type: CONSUMER.into(),
        protocols: vec![("range".into(), bytes::Bytes::new())],
        id_first: false,
        may_skip: false,
    };
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    groups.with_new(name, |group| group.join(0, joining, "m".into(), answer))?;
    answered.try_recv().unwrap().map(|joined| joined.generation).map_err(|refusal| refusal.code)
}

/// The group gets a member and loses it.
fn used(groups: &Groups, name: &str, at_ms: u64) -> i32 {
    let generation = joins(groups, name).unwrap();
    groups.with(name, |group| group.leave(at_ms, "m", None)).unwrap().unwrap();
    assert!(groups.tick(name, at_ms).is_none());
    generation
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}

#[test]
fn groups_that_lost_their_members_lately_are_remembered_up_to_the_limit() {
    let (_log, groups) = groups(&options());
    for (at_ms, name) in [(100, "a"), (200, "b")] {
        used(&groups, name, at_ms);
    }
    let since = |since_ms| sorted(groups.active_since(since_ms));
    assert_eq!((since(100), since(101)), (vec!["a".into(), "b".into()], vec!["b".to_owned()]));
    used(&groups, "c", 300);
    assert_eq!(since(0), ["b", "c"]);
    let listed = |now_ms| groups.list(now_ms).into_iter().map(|it| (it.name, it.state));
    assert_eq!(
        listed(300).collect::<HashMap<_, _>>(),
        [("b", "Empty"), ("c", "Empty")].map(|(name, state)| (name.to_owned(), state)).into()
    );
    assert_eq!(sorted(listed(301).map(|(name, _)| name)), ["c"]);
    // Those with members are not given up for others.
    for name in ["c", "d"] {
        joins(&groups, name).unwrap();
    }
    assert_eq!(joins(&groups, "e"), Err(Code::CoordinatorNotAvailable));
}

#[test]
fn generations_rise_on_until_the_group_is_deleted() {
    let (_log, groups) = groups(&BrokerOptions::default());
    assert_eq!((used(&groups, "a", 1), used(&groups, "a", 2)), (1, 3));
    joins(&groups, "a").unwrap();
    let forgotten = |groups: &Groups| groups.forget("a").map(|wrote| wrote.is_some());
    assert_eq!(forgotten(&groups), Err(Code::NonEmptyGroup));
    groups.with("a", |group| group.leave(3, "m", None)).unwrap().unwrap();
    assert_eq!((forgotten(&groups), forgotten(&groups)), (Ok(true), Ok(false)));
    assert!(groups.list(3).is_empty());
    assert!(groups.tick("a", 3).is_none());
    assert_eq!(used(&groups, "a", 4), 1);
}

fn beating(member: &str) -> consumer::Beat {
    let subscribed =
        consumer::Beat { topics: Some(vec![]), owned: Some(Default::default()), ..Default::default() };
    consumer::Beat { member_id: member.into(), rebalance_timeout_ms: Some(1_000), ..subscribed }
}

/// No topics at all.
struct Nothing;

impl consumer::Topics for Nothing {
    fn version(&self) -> u64 {
        0
    }

    fn find(&self, _: &str) -> Option<(consumer::TopicId, u32)> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

fn beats(groups: &Groups, name: &str, beat: consumer::Beat) -> Result<i32, Code> {
    let join = beat.epoch == 0;
    let (beaten, _) = groups.with_consumer(name, join, |group| group.heartbeat(0, beat, &Nothing))?;
    beaten.map(|beaten| beaten.epoch).map_err(|refusal| refusal.code)
}

fn syncs(groups: &Groups, name: &str) -> Result<bytes::Bytes, Code> {
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    let work = vec![("m".to_owned(), bytes::Bytes::from_static(b"all"))];
    groups.with(name, |group| group.sync(0, "m", work, answer)).unwrap();
    answered.try_recv().unwrap().map(|synced| synced.assignment)
}

fn listed(groups: &Groups, now_ms: u64) -> Vec<(String, &'static str, &'static str)> {
    let shown = groups.list(now_ms).into_iter().map(|it| (it.name, it.state, it.group_type));
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    shown
}

#[test]
fn groups_come_back_as_they_were_until_they_are_too_old() {
    let options = BrokerOptions { offsets_retention_ms: 100, ..BrokerOptions::default() };
    let (disk, clock) = (SimDisk::new(), ManualClock::default());
    let (log, groups) = open(&disk, &clock, &options);
    assert_eq!((joins(&groups, "stable").unwrap(), &syncs(&groups, "stable").unwrap()[..]), (1, &b"all"[..]));
    joins(&groups, "completing").unwrap();
    assert_eq!(beats(&groups, "consumer", beating("m")), Ok(1));
    used(&groups, "empty", 0);
    beats(&groups, "changed", beating("m")).unwrap();
    beats(&groups, "changed", consumer::Beat { epoch: -1, ..beating("m") }).unwrap();
    used(&groups, "changed", 0);
    used(&groups, "deleted", 0);
    let _ = groups.forget("deleted").unwrap().unwrap();
    let seen = [
        ("changed".to_owned(), "Empty", "Classic"),
        ("consumer".into(), "Stable", "Consumer"),
        ("empty".into(), "Empty", "Classic"),
        ("stable".into(), "Stable", "Classic"),
    ];
    log.close();

    clock.advance_ms(100);
    let (log, groups) = open(&disk, &clock, &options);
    assert_eq!(listed(&groups, 100), seen);
    assert_eq!(sorted(groups.begin(100)), ["consumer", "stable"]);
    assert!(groups.begin(100).is_empty(), "somebody does");
    assert_eq!(groups.with("stable", |group| group.check("m", None, 1)), Some(Ok(())));
    assert_eq!(beats(&groups, "consumer", consumer::Beat { epoch: 1, ..beating("m") }), Ok(1));
    assert_eq!(used(&groups, "empty", 100), 3);
    log.close();

    // The others have members or had; this one is too old now.
    clock.advance_ms(1);
    let (log, groups) = open(&disk, &clock, &options);
    assert_eq!(sorted(groups.active_since(0)), ["consumer", "empty", "stable"]);
    log.close();
}

#[test]
fn heartbeats_that_race_are_written_in_their_order() {
    let (disk, clock) = (SimDisk::new(), ManualClock::default());
    let (log, groups) = open(&disk, &clock, &options());
    let live = |name: &str| {
        for round in 0..50 {
            beats(&groups, "a", beating(name)).unwrap();
            if round % 3 == 0 {
                beats(&groups, "a", consumer::Beat { epoch: -1, ..beating(name) }).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for name in ["k", "l", "m", "n"] {
            scope.spawn(move || live(name));
        }
    });
    let shown = |group: &mut ConsumerGroup| {
        let members = group.members.iter().map(|(id, member)| (id.clone(), member.epoch));
        (group.epoch, group.assignment_epoch, members.collect::<Vec<_>>())
    };
    let before = groups.with_consumer("a", false, shown).unwrap().0;
    assert_eq!(before.2.len(), 4);
    log.close();
    let (log, groups) = open(&disk, &clock, &options());
    assert_eq!(groups.with_consumer("a", false, shown).unwrap().0, before);
    log.close();
}

#[test]
fn what_is_not_listed_any_more_is_not_kept_either() {
    let (disk, clock) = (SimDisk::new(), ManualClock::default());
    let (log, groups) = open(&disk, &clock, &options());
    used(&groups, "old", 0);
    assert!(listed(&groups, 101).is_empty());
    for (at_ms, name) in [(200, "a"), (201, "b"), (202, "c")] {
        used(&groups, name, at_ms);
    }
    log.close();
    let (log, groups) = open(&disk, &clock, &options());
    assert_eq!(sorted(groups.active_since(0)), ["b", "c"]);
    log.close();
}

#[test]
fn a_group_that_would_change_its_protocol_and_does_not_is_gone() {
    let (_log, groups) = groups(&options());
    beats(&groups, "a", beating("m")).unwrap();
    beats(&groups, "a", consumer::Beat { epoch: -1, ..beating("m") }).unwrap();
    assert!(groups.tick("a", 0).is_none());
    let stored = || groups.journal.with(|table| table.records.len());
    assert_eq!(stored(), 1);
    groups.with_new("a", |group| assert!(group.is_idle())).unwrap();
    assert!(groups.tick("a", 0).is_none());
    assert_eq!((stored(), groups.active_since(0).len()), (0, 0));
}

#[test]
fn time_stands_still_while_nobody_can_be_heard() {
    let (_log, groups) = groups(&options());
    joins(&groups, "a").unwrap();
    syncs(&groups, "a").unwrap();
    groups.stop();
    assert!(groups.tick("a", 5_000).is_none());
    assert_eq!(groups.begin(5_000), ["a"]);
    assert_eq!(groups.tick("a", 5_000).map(|(deadline_ms, _)| deadline_ms), Some(6_000));
}

#[tokio::test]
async fn a_group_that_cannot_be_written_is_not_told_of_and_takes_nobody() {
    let (disk, clock) = (SimDisk::new(), ManualClock::default());
    let (log, groups) = open(&disk, &clock, &options());
    joins(&groups, "a").unwrap();
    disk.set_quota_bytes(Some(0));
    syncs(&groups, "a").unwrap();
    let full = Err(Code::CoordinatorNotAvailable);
    assert_eq!(groups.settled("a").await, full);
    assert_eq!(joins(&groups, "a"), Err(Code::CoordinatorNotAvailable));
    beats(&groups, "b", beating("m")).unwrap();
    assert_eq!(groups.settled("b").await, full);
    disk.set_quota_bytes(None);
    assert_eq!((groups.settled("a").await, groups.settled("b").await), (Ok(()), Ok(())));
    log.close();
    let (log, groups) = open(&disk.crash(&SystemRandom::default()), &clock, &options());
    assert_eq!(sorted(groups.begin(0)), ["a", "b"]);
    log.close();
}

#[test]
fn what_cannot_be_read_ends_the_start_and_members_astray_are_dropped() {
    let (disk, clock) = (SimDisk::new(), ManualClock::default());
    let (log, groups) = open(&disk, &clock, &options());
    beats(&groups, "a", beating("m")).unwrap();
    let _ = groups.journal.write(vec![(Key::Group("a".into()), None)]).unwrap();
    log.close();
    let (log, groups) = open(&disk, &clock, &options());
    assert!(groups.journal.with(|table| table.records.is_empty()));
    let _ = groups.journal.write(vec![(Key::Group("a".into()), Some(vec![9]))]).unwrap();
    log.close();
    let (log, clock) = open_log(&disk, &clock);
    let refused = Groups::open(&log, clock, &options()).unwrap_err().to_string();
    assert!(refused.contains("__consumer_groups") && refused.contains("newer"), "{refused}");
    log.close();
}

#[test]
fn all_groups_together_are_limited() {
    let (_log, groups) = groups(&options());
    let of = |name: &str, bytes| (Key::Group(name.into()), Some(vec![0; bytes]));
    let write = |changes| groups.journal.write(changes).map(|_| ()).map_err(|error| error.to_string());
    let most = (256 << 20) - 100;
    groups.journal.with(|table| {
        use crate::kafka::journal::Kept;
        table.admit(&[of("a", most)]).unwrap();
        assert!(table.admit(&[of("a", most), of("b", 100)]).is_err());
    });
    write(vec![of("a", 100)]).unwrap();
    write(vec![(Key::Group("a".into()), None)]).unwrap();
    assert_eq!(groups.journal.with(crate::kafka::journal::Kept::bytes), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_stays_small_and_the_groups_complete() {
    let (disk, clock) = (SimDisk::new(), ManualClock::default());
    let (log, groups) = open(&disk, &clock, &options());
    beats(&groups, "a", beating("quiet")).unwrap();
    for round in 0..100 {
        let topics = Some(vec![round.to_string(), "t".repeat(30_000), "u".repeat(30_000)]);
        beats(&groups, "a", consumer::Beat { topics, ..beating("m") }).unwrap();
        groups.settled("a").await.unwrap();
    }
    assert!(groups.journal.range().1 > 2 + 2 * 100, "the live state was written anew, on top of all changes");
    while groups.journal.range().0 == 0 {
        tokio::task::yield_now().await;
    }
    log.close();
    let (log, groups) = open(&disk, &clock, &options());
    assert_eq!(groups.begin(0), ["a"]);
    let topics = |group: &mut ConsumerGroup| group.members["m"].subscription.topics.first().cloned();
    assert_eq!(groups.with_consumer("a", false, topics).unwrap().0.as_deref(), Some("99"));
    assert_eq!(beats(&groups, "a", consumer::Beat { epoch: 1, ..beating("quiet") }), Ok(101));
    log.close();
}

#[test]
fn what_all_members_tell_is_limited_together() {
    let options = BrokerOptions { groups_bytes_max: 139, ..BrokerOptions::default() };
    let (_log, groups) = groups(&options);
    // Each tells one name: two are too much.
    joins(&groups, "a").unwrap();
    assert_eq!(joins(&groups, "b"), Err(Code::GroupMaxSizeReached));
    let beat = consumer::Beat { topics: Some(vec!["rain".into(), "sun".into()]), ..beating("m") };
    assert_eq!(beats(&groups, "c", beat.clone()), Err(Code::GroupMaxSizeReached));
    groups.with("a", |group| group.leave(1, "m", None)).unwrap().unwrap();
    beats(&groups, "c", beat).unwrap();
    assert_eq!(joins(&groups, "b"), Err(Code::GroupMaxSizeReached));
}
