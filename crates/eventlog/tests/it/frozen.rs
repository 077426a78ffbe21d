//! A log written by version 1 of the format must open for ever.
//!
//! The sample lies in `tests/formats/v1/eventlog`. It was written by
//! `write_the_sample` below and is never written again.

use crate::rig::{batch_of, offsets, read_all, stored};
use bytes::Bytes;
use pluvio_eventlog::{Cleanup, EventLog, LogOptions, TopicConfig};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Metrics, RealDisk};
use pluvio_testkit::ManualClock;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PRODUCER: i64 = 0;

fn sample() -> PathBuf {
    PathBuf::from("../../tests/formats/v1/eventlog")
}

pub fn open(folder: &Path) -> Arc<EventLog> {
    let options = LogOptions {
        background: false,
        disk_reserve_bytes: 0,
        tail_bytes_per_topic: 0,
        ..LogOptions::default()
    };
    let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
    EventLog::open(folder, Arc::new(RealDisk), clock, random, Metrics::default(), options).unwrap()
}

/// An empty log for a new sample.
pub fn open_new(folder: &Path) -> Arc<EventLog> {
    assert!(!folder.exists(), "a frozen sample is never written again");
    fs::create_dir_all(folder).unwrap();
    open(folder)
}

fn orders_config() -> TopicConfig {
    TopicConfig {
        retention_ms: None,
        retention_bytes: Some(1 << 30),
        segment_bytes: 2048,
        max_message_bytes: 65_536,
        cleanup: Cleanup::Compact,
        ..TopicConfig::default()
    }
}

/// The batches of topic `orders`, partition 1, in order.
fn orders() -> Vec<Bytes> {
    (0..12_u8)
        .map(|number| {
            let producer = (number % 2 == 0).then(|| (PRODUCER, 2, i32::from(number) / 2 * 3));
            let records = if number % 2 == 0 { 3 } else { 1 };
            batch_of(records, number, 150, 1_700_000_000_000 + i64::from(number) * 1000, producer)
        })
        .collect()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

fn check(folder: &Path) {
    let log = open(folder);
    let names: Vec<String> = log.topics().iter().map(|topic| topic.name().to_owned()).collect();
    assert_eq!(names, ["__internal", "orders"]);
    let topic = log.topic("orders").unwrap();
    let config = TopicConfig { given: topic.config().given, ..orders_config() };
    assert_eq!((topic.config(), topic.partitions().len()), (config, 3));
    let partition = topic.partition(1).unwrap();
    assert_eq!((partition.start_offset(), partition.end_offset()), (3, 24));
    let expected: Vec<Bytes> = orders()
        .iter()
        .scan(0, |offset, batch| {
            let at = *offset;
            *offset += i64::from(batch[60]);
            Some(stored(batch, at))
        })
        .collect();
    // The batch with offset 4 was damaged before the sample was frozen.
    let read: Vec<Bytes> = read_all(&partition, 1000).into_iter().map(|batch| batch.bytes).collect();
    assert!(read == [&expected[1..2], &expected[3..]].concat(), "{} batches", read.len());
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
    assert_eq!(partition.offset_for_time(1_700_000_005_000).unwrap(), Some((11, 1_700_000_005_000)));
    let again = partition.append(orders()[10].clone()).unwrap();
    assert!(again.duplicate && again.base_offset == 20);
    assert_eq!(log.new_producer_id().unwrap(), 1000);
    let internal = log.topic("__internal").unwrap().partition(0).unwrap();
    assert_eq!(offsets(&read_all(&internal, 0)), [0]);
}

#[test]
fn version_1_opens() {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    check(folder.path());
}

#[test]
fn version_1_opens_without_what_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    let partition = folder.path().join("topics/orders/1");
    for entry in fs::read_dir(&partition).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "index" || kind == "producers") {
            fs::remove_file(path).unwrap();
        }
    }
    check(folder.path());
}

#[test]
#[ignore = "writes the frozen sample; only for a new version of the format"]
fn write_the_sample() {
    let folder = sample();
    let log = open_new(&folder);
    log.create_topic("__internal", 1, TopicConfig::default()).unwrap();
    let topic = log.create_topic("orders", 3, orders_config()).unwrap();
    assert_eq!(log.new_producer_id().unwrap(), PRODUCER);
    let partition = topic.partition(1).unwrap();
    for batch in orders() {
        partition.append(batch).unwrap();
    }
    log.topic("__internal").unwrap().partition(0).unwrap().append(batch_of(1, 1, 9, 1000, None)).unwrap();
    partition.sync(i64::MAX).unwrap();
    partition.delete_records(3).unwrap();
    // Damage the third batch and let a read find it.
    let first = folder.join("topics/orders/1/00000000000000000000.log");
    let before: usize = orders()[..2].iter().map(Bytes::len).sum();
    let mut bytes = fs::read(&first).unwrap();
    bytes[before + 200] ^= 1;
    fs::write(&first, bytes).unwrap();
    assert_eq!(partition.read(4, 0).unwrap().batches[0].base_offset, 7);
    log.close();
}
