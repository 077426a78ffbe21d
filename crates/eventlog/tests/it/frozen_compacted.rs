//! A compacted log, and a topic with every setting that `meta.json` version 2
//! knows, must open for ever.
//!
//! The sample lies in `tests/formats/v2/eventlog-compacted`. It was written by
//! `write_the_sample` below and is never written again.

use crate::frozen::{copy, open, open_new};
use crate::rig::read_all;
use pluvio_eventlog::{Cleanup, Partition, TimestampType, TopicConfig};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, for_each_record};
use std::fs;
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    PathBuf::from("../../tests/formats/v2/eventlog-compacted")
}

fn config() -> TopicConfig {
    TopicConfig {
        cleanup: Cleanup::CompactDelete,
        retention_ms: Some(86_400_000_000),
        retention_bytes: Some(1 << 30),
        segment_bytes: 1024,
        segment_ms: 3_600_000,
        max_message_bytes: 65_536,
        compression: Some(Compression::Lz4),
        delete_retention_ms: 7_200_000,
        dirty_ratio_min_ppm: 1,
        compaction_lag_min_ms: 0,
        compaction_lag_max_ms: 86_400_000,
        timestamp: TimestampType::LogAppendTime,
        timestamp_before_max_ms: 1_000_000,
        timestamp_after_max_ms: 2_000_000,
        flush_messages: 10,
        flush_ms: 500,
        ..TopicConfig::default()
    }
}

/// A line for each event: its offset, its key and its number, -1 for a deletion.
fn events(partition: &Partition) -> String {
    let mut lines = String::new();
    for stored in read_all(partition, 2_000) {
        for_each_record(&stored.bytes, 1 << 20, &mut Vec::new(), |record| {
            let number = record.value.map_or(-1, |value| i64::from(value[0]));
            lines += &format!("{} {} {number}\n", record.offset, record.key.unwrap()[0]);
            Ok(())
        })
        .unwrap();
    }
    lines
}

fn check(folder: &Path) {
    let log = open(folder);
    let topic = log.topic("states").unwrap();
    assert_eq!(topic.config(), TopicConfig { given: topic.config().given, ..config() });
    let partition = topic.partition(0).unwrap();
    assert_eq!((partition.start_offset(), partition.end_offset()), (0, 40));
    // The newest event of each key in what was compacted, and all that came later. Key 3 was deleted last.
    let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
    assert_eq!(events(&partition), expected);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
}

#[test]
fn a_compacted_log_opens() {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    check(folder.path());
    // And once more, from what the first opening left.
    check(folder.path());
}

#[test]
#[ignore = "writes the frozen sample; only for a new version of the format"]
fn write_the_sample() {
    let folder = sample();
    let log = open_new(&folder);
    let partition = log.create_topic("states", 1, config()).unwrap().partition(0).unwrap();
    for number in 0..40_u8 {
        let mut builder = BatchBuilder::new(0);
        // Bytes that lz4 does not make much smaller, so that segments fill up.
        let mut value: Vec<u8> = (0..120_u8).map(|at| at.wrapping_mul(number | 1).rotate_left(3)).collect();
        value[0] = number;
        let deleted = number % 4 == 3 && number > 20;
        builder.push(Some(&[number % 4]), (!deleted).then_some(&value), 0, &[]);
        partition.append(builder.finish(Compression::None, None).unwrap()).unwrap();
    }
    partition.sync(i64::MAX).unwrap();
    log.tick().unwrap();
    fs::write(folder.join("expected.txt"), events(&partition)).unwrap();
    log.close();
}
