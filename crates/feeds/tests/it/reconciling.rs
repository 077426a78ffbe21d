//! What runs follows what is defined.

use pluvio_catalog::{FeedDef, FileStart};
use pluvio_eventlog::TopicConfig;
use pluvio_feeds::FeedState;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::generating::{columns, counting};
use crate::rig::{Rig, append, files, wait_for};

#[test]
fn a_dropped_stream_is_fed_no_more() {
    let rig = Rig::new();
    rig.stream(files(rig.path("*.log"), FileStart::Beginning), 1);
    append(&rig.path("a.log"), "1\n");
    let feeds = rig.feeds();
    rig.expect(&["1"]);
    let dropped = rig.catalog.remove("s").unwrap();
    feeds.reconcile(&rig.catalog).unwrap();
    assert!(feeds.status().is_empty());
    assert!(rig.checkpoints().is_empty());
    append(&rig.path("a.log"), "2\n");
    // Made again over the same topic, it goes on behind what is there.
    rig.catalog.add(dropped.as_ref().clone()).unwrap();
    feeds.reconcile(&rig.catalog).unwrap();
    rig.expect(&["1", "2"]);
}

#[test]
fn other_feeds_go_on() {
    let rig = Rig::new();
    rig.stream(files(rig.path("*.log"), FileStart::Beginning), 1);
    let feeds = rig.feeds();
    append(&rig.path("a.log"), "1\n");
    wait_for(&feeds, |status| status.events == 1);
    rig.named("t", FeedDef::Generator(counting(0, 10)), columns());
    rig.log.create_topic("t", 1, TopicConfig::default()).unwrap();
    feeds.reconcile(&rig.catalog).unwrap();
    let names: Vec<_> = feeds.status().into_iter().map(|it| (it.stream, it.kind, it.events > 0)).collect();
    assert_eq!(names[0], ("s".into(), "files", true), "it was not started anew");
    assert_eq!((names[1].0.as_str(), names[1].1), ("t", "generator"));
    rig.catalog.remove("s").unwrap();
    feeds.reconcile(&rig.catalog).unwrap();
    wait_for(&feeds, |status| status.stream == "t" && status.state == FeedState::Finished);
}

#[test]
fn checkpoints_of_strangers_are_removed_at_the_start() {
    let rig = Rig::new();
    rig.stream(files(rig.path("*.log"), FileStart::Beginning), 1);
    append(&rig.path("a.log"), "1\n");
    let feeds = rig.feeds();
    rig.expect(&["1"]);
    drop(feeds);
    let own = rig.checkpoints();
    std::fs::write(rig.folder.join("feeds/gone-0123.json"), "{}").unwrap();
    let feeds = rig.feeds();
    assert_eq!(rig.checkpoints(), own);
    drop(feeds);
}

#[test]
fn retention_waits_for_the_checkpoint() {
    let mut rig = Rig::new();
    rig.options.checkpoint_interval_ms = 1 << 40;
    rig.named("s", files(rig.path("*.log"), FileStart::Beginning), Vec::new());
    let config = TopicConfig { retention_bytes: Some(0), segment_bytes: 1 << 10, ..TopicConfig::default() };
    let topic = rig.log.create_topic("s", 1, config).unwrap();
    let feeds = rig.feeds();
    let text: String = (0..500).map(|line| format!("line {line}\n")).collect();
    for round in 1..=2 {
        append(&rig.path("a.log"), &text);
        wait_for(&feeds, |status| status.events == round * 500);
    }
    let partition = topic.partition(0).unwrap();
    rig.log.tick().unwrap();
    assert_eq!(partition.start_offset(), 0, "nothing is removed that the checkpoint does not know");
    feeds.stop();
    rig.log.tick().unwrap();
    assert!(partition.start_offset() > 0);
}

#[test]
fn retention_does_not_wait_for_a_feed_that_has_nothing_to_take() {
    let rig = Rig::new();
    rig.named("s", files(rig.path("*.log"), FileStart::Beginning), Vec::new());
    let config = TopicConfig { retention_bytes: Some(0), segment_bytes: 1 << 10, ..TopicConfig::default() };
    let partition = rig.log.create_topic("s", 1, config).unwrap().partition(0).unwrap();
    let feeds = rig.feeds();
    append(&rig.path("a.log"), "1\n");
    wait_for(&feeds, |status| status.events == 1);
    for _ in 0..50 {
        let mut builder = BatchBuilder::new(0);
        builder.push(None, Some(&[b'x'; 100]), 0, &[]);
        partition.append(builder.finish(Compression::None, None).unwrap()).unwrap();
    }
    let others = partition.end_offset() - 10;
    wait_for(&feeds, |_| {
        rig.log.tick().unwrap();
        partition.start_offset() > others
    });
}
