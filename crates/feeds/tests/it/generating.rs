//! Generated events: their content, and where they go on.

use std::collections::BTreeMap;
use std::fs;

use arrow::datatypes::DataType;
use pluvio_catalog::{Column, FeedDef, FieldDef, GeneratorDef};
use pluvio_eventlog::TopicConfig;
use pluvio_feeds::FeedState;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::rig::{Rig, column, wait_for};

pub fn columns() -> Vec<Column> {
    vec![column("n", DataType::Int64), column("word", DataType::Utf8), column("ratio", DataType::Float64)]
}

/// Numbers from 0 on, with something random beside them.
pub fn counting(rows_per_second: u64, rows: u64) -> GeneratorDef {
    let n = FieldDef { sequence: true, start: Some(0), ..FieldDef::default() };
    let word = FieldDef { length: Some(8), null_rate_ppm: 10_000, ..FieldDef::default() };
    let fields = BTreeMap::from([("n".to_owned(), n), ("word".to_owned(), word)]);
    GeneratorDef { rows_per_second, number_of_rows: Some(rows), seed: 42, fields }
}

/// Makes topic and stream.
fn generate(rig: &Rig, name: &str, def: GeneratorDef, partitions: u32) {
    rig.named(name, FeedDef::Generator(def), columns());
    rig.log.create_topic(name, partitions, TopicConfig::default()).unwrap();
}

/// The events of a topic by their number; each must be there once.
pub fn by_number(rig: &Rig, topic: &str) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for event in rig.events_of(topic) {
        let value: serde_json::Value = serde_json::from_str(&event.value).unwrap();
        let Some(number) = value["n"].as_u64() else { continue };
        assert_eq!(found.insert(number, event.value), None, "event {number} is there twice");
    }
    found
}

#[test]
fn as_many_as_were_asked_for() {
    let rig = Rig::new();
    generate(&rig, "s", counting(0, 25_000), 3);
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.state == FeedState::Finished);
    assert_eq!(
        (status.kind, status.events, status.source.as_str()),
        ("generator", 25_000, "event 25000 of 25000")
    );
    let events = by_number(&rig, "s");
    assert!(events.keys().copied().eq(0..25_000));
    assert!(rig.log.topic("s").unwrap().partitions().iter().all(|partition| partition.end_offset() > 0));
    let bytes: usize = events.values().map(String::len).sum();
    assert_eq!(status.bytes, bytes as u64);
    // It has nothing more to do after a restart either.
    drop(feeds);
    let feeds = rig.feeds();
    assert_eq!(wait_for(&feeds, |status| status.state == FeedState::Finished).events, 0);
    assert_eq!(by_number(&rig, "s").len(), 25_000);
}

#[test]
fn a_sequence_ends_it() {
    let rig = Rig::new();
    let mut def = counting(0, 1_000);
    def.fields.get_mut("n").unwrap().end = Some(99);
    generate(&rig, "s", def, 1);
    let feeds = rig.feeds();
    assert_eq!(wait_for(&feeds, |status| status.state == FeedState::Finished).events, 100);
    assert!(by_number(&rig, "s").keys().copied().eq(0..100));
}

#[test]
fn restarts_change_nothing() {
    const ROWS: u64 = 40_000;
    let mut rig = Rig::new();
    generate(&rig, "s", counting(200_000, ROWS), 2);
    let partition = rig.log.topic("s").unwrap().partition(0).unwrap();
    // What others append is not counted.
    let foreign = || {
        let mut builder = BatchBuilder::new(0);
        builder.push(None, Some(b"{}"), 0, &[("feed", Some(b"generator 0 99999999 other"))]);
        builder.push(None, Some(b"{}"), 0, &[]);
        partition.append(builder.finish(Compression::None, None).unwrap()).unwrap();
    };
    for round in 0..4 {
        // The last two times as long as there is no other checkpoint than at stops.
        rig.options.checkpoint_interval_ms = if round < 2 { 1 } else { 1 << 40 };
        let feeds = rig.feeds();
        wait_for(&feeds, |status| status.events >= 5_000);
        foreign();
        feeds.stop();
        if round % 2 == 1 {
            fs::remove_file(&rig.checkpoints()[0]).unwrap();
        }
    }
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.state == FeedState::Finished);
    drop(feeds);
    let restarted = by_number(&rig, "s");
    assert_eq!(restarted.len(), usize::try_from(ROWS).unwrap());
    // At one go, and in one partition.
    rig.catalog.remove("s").unwrap();
    generate(&rig, "t", counting(0, ROWS), 1);
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.state == FeedState::Finished);
    assert_eq!(by_number(&rig, "t"), restarted);
}

#[test]
fn what_was_lost_from_the_middle_is_made_again() {
    const ROWS: u64 = 30_000;
    let rig = Rig::new();
    generate(&rig, "s", counting(0, ROWS), 3);
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.state == FeedState::Finished);
    drop(feeds);
    let before = by_number(&rig, "s");
    // As after a loss of power that one partition stood worse than the others.
    let kept = |topic: &str, index| {
        let partition = rig.log.topic(topic).unwrap().partition(index).unwrap();
        partition.read(0, 64 << 20).unwrap().batches
    };
    let batches: Vec<_> = [0, 2].into_iter().map(|index| (index, kept("s", index))).collect();
    rig.log.delete_topic("s").unwrap();
    let topic = rig.log.create_topic("s", 3, TopicConfig::default()).unwrap();
    for (index, batches) in batches {
        let partition = topic.partition(index).unwrap();
        batches.into_iter().for_each(|batch| _ = partition.append(batch.bytes).unwrap());
    }
    let left = by_number(&rig, "s").len();
    assert!(left > 0 && left < before.len(), "{left}");
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.state == FeedState::Finished);
    assert_eq!(by_number(&rig, "s"), before);
}

#[test]
fn columns_that_are_not_made_are_told() {
    let rig = Rig::new();
    rig.named("s", FeedDef::Generator(counting(0, 1)), vec![column("n", DataType::Binary)]);
    rig.log.create_topic("s", 1, TopicConfig::default()).unwrap();
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.state == FeedState::Failed);
    assert!(status.error.is_some());
}
