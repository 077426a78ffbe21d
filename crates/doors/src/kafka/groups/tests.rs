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

/// The groups on a disk, and the log that they are in.
pub(crate) fn open(disk: &SimDisk, clock: &ManualClock, options: &BrokerOptions) -> (Arc<EventLog>, Groups) {
    let random = Arc::new(SystemRandom::default());
    let (disk, clock): (_, Arc<dyn Clock>) = (Arc::new(disk.clone()), Arc::new(clock.clone()));
    let log_options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
    let (folder, metrics) = (Path::new("/log"), Metrics::default());
    let log = EventLog::open(folder, disk, Arc::clone(&clock), random, metrics, log_options).unwrap();
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
    Ok(answered.try_recv().unwrap().unwrap().generation)
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
