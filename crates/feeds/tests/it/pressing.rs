//! A disk that is full, and one that is slow: feeds wait, and lose nothing.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use pluvio_catalog::{FeedDef, LinesDef};
use pluvio_eventlog::{EventLog, LogOptions, TopicConfig};
use pluvio_feeds::FeedState;
use pluvio_foundation::{Metrics, SystemClock, SystemRandom};
use pluvio_testkit::SimDisk;

use crate::generating::{by_number, columns, counting};
use crate::rig::{Rig, wait_for};

/// Bytes that may wait for the disk.
const UNSYNCED_BYTES: u64 = 1 << 20;

/// A rig whose log is on a disk of its own.
fn rig() -> (Rig, SimDisk) {
    let (mut rig, disk) = (Rig::new(), SimDisk::new());
    let options = LogOptions {
        disk_reserve_bytes: 0,
        unsynced_bytes_per_topic: UNSYNCED_BYTES,
        ..LogOptions::default()
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    let own = Arc::new(disk.clone());
    rig.log = EventLog::open(Path::new("/log"), own, clock, random, Metrics::default(), options).unwrap();
    (rig, disk)
}

/// A disk whose syncs wait as long as this lives.
struct Paused<'a>(&'a SimDisk);

impl<'a> Paused<'a> {
    fn new(disk: &'a SimDisk) -> Self {
        disk.pause_syncs(true);
        Self(disk)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.pause_syncs(false);
    }
}

fn listening() -> FeedDef {
    FeedDef::Lines(LinesDef {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow: Vec::new(),
        connections_max: 2,
        line_bytes_max: 1 << 20,
        idle_timeout_ms: 0,
    })
}

#[test]
fn lines_wait_for_a_full_disk() {
    let (rig, disk) = rig();
    rig.stream(listening(), 1);
    let feeds = rig.feeds();
    let address = wait_for(&feeds, |status| status.state == FeedState::Running).source;
    let mut socket = TcpStream::connect(&address).unwrap();
    socket.write_all(b"one\n").unwrap();
    rig.expect(&["one"]);
    disk.set_quota_bytes(Some(disk.used_bytes()));
    let long = "x".repeat(1000);
    let text: String = (0..100).map(|line| format!("{line}{long}\n")).collect();
    socket.write_all(text.as_bytes()).unwrap();
    let status = wait_for(&feeds, |status| status.state == FeedState::Failed);
    assert!(status.error.unwrap().contains("full"));
    disk.set_quota_bytes(None);
    wait_for(&feeds, |status| status.events == 101 && status.state == FeedState::Running);
    let wanted = (0..100).map(|line| format!("{line}{long}"));
    assert!(rig.values().into_iter().skip(1).eq(wanted));
}

#[test]
fn a_generator_goes_on_once_there_is_space() {
    let (rig, disk) = rig();
    rig.named("s", FeedDef::Generator(counting(100_000, 20_000)), columns());
    rig.log.create_topic("s", 2, TopicConfig::default()).unwrap();
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.events > 0);
    disk.set_quota_bytes(Some(disk.used_bytes()));
    wait_for(&feeds, |status| status.state == FeedState::Failed);
    disk.set_quota_bytes(None);
    wait_for(&feeds, |status| status.state == FeedState::Finished);
    assert!(by_number(&rig, "s").keys().copied().eq(0..20_000));
}

#[test]
fn lines_wait_for_a_slow_disk() {
    const LINES: usize = 20_000;
    let (rig, disk) = rig();
    rig.stream(listening(), 1);
    let feeds = rig.feeds();
    let address = wait_for(&feeds, |status| status.state == FeedState::Running).source;
    let paused = Paused::new(&disk);
    let mut socket = TcpStream::connect(&address).unwrap();
    let text = format!("{}\n", "x".repeat(999)).repeat(LINES);
    let sender = std::thread::spawn(move || socket.write_all(text.as_bytes()).unwrap());
    let partition = rig.log.topic("s").unwrap().partition(0).unwrap();
    wait_for(&feeds, |_| partition.is_crowded());
    // What is beyond the limit is one batch, in which one read may end.
    assert!(partition.bytes() < UNSYNCED_BYTES + (1 << 20), "{}", partition.bytes());
    assert!(!sender.is_finished());
    drop(paused);
    sender.join().unwrap();
    wait_for(&feeds, |status| status.events == LINES as u64);
}

#[test]
fn a_generator_waits_for_a_slow_disk() {
    let (mut rig, disk) = rig();
    // A checkpoint waits for the disk itself.
    rig.options.checkpoint_interval_ms = 1 << 40;
    rig.named("s", FeedDef::Generator(counting(0, 1_000_000)), columns());
    rig.log.create_topic("s", 2, TopicConfig::default()).unwrap();
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.events > 0);
    let paused = Paused::new(&disk);
    let topic = rig.log.topic("s").unwrap();
    wait_for(&feeds, |_| topic.partitions()[0].is_crowded());
    let bytes: u64 = topic.partitions().iter().map(|partition| partition.bytes()).sum();
    assert!(bytes < 1 << 26, "{bytes}");
    drop(paused);
    feeds.stop();
    let made = by_number(&rig, "s");
    assert!(made.keys().copied().eq(0..made.len() as u64));
}
