//! `meta.json` of version 3, which has only the settings that were given, must be
//! read for ever.
//!
//! The sample lies in `tests/formats/v3/eventlog`. It was written by
//! `write_the_sample` below and is never written again.

use crate::frozen::{copy, open, open_new};
use pluvio_eventlog::{Cleanup, TimestampType, TopicConfig, TopicSetting};
use pluvio_wire_kafka::Compression;
use std::path::PathBuf;

fn sample() -> PathBuf {
    PathBuf::from("../../tests/formats/v3/eventlog")
}

/// Every setting, each other than by default.
fn all() -> TopicConfig {
    let mut config = TopicConfig {
        cleanup: Cleanup::CompactDelete,
        retention_ms: None,
        retention_bytes: Some(1 << 30),
        segment_bytes: 1024,
        segment_ms: 3_600_000,
        max_message_bytes: 65_536,
        compression: Some(Compression::Zstd),
        delete_retention_ms: 7_200_000,
        dirty_ratio_min_ppm: 1,
        compaction_lag_min_ms: 1_000,
        compaction_lag_max_ms: 86_400_000,
        timestamp: TimestampType::LogAppendTime,
        timestamp_before_max_ms: 1_000_000,
        timestamp_after_max_ms: 2_000_000,
        flush_messages: 10,
        flush_ms: 500,
        tail_bytes: Some(u64::MAX),
        ..TopicConfig::default()
    };
    config.give_all();
    config
}

/// Two settings, each as it was by default.
fn some() -> TopicConfig {
    let mut config =
        TopicConfig { retention_ms: Some(604_800_000), compression: None, ..TopicConfig::default() };
    config.give(TopicSetting::RetentionMs);
    config.give(TopicSetting::Compression);
    config
}

#[test]
fn version_3_opens() {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    let log = open(folder.path());
    let names: Vec<String> = log.topics().iter().map(|topic| topic.name().to_owned()).collect();
    assert_eq!(names, ["all", "none", "some"]);
    let config = |name: &str| log.topic(name).unwrap().config();
    assert_eq!((config("all"), config("none"), config("some")), (all(), TopicConfig::default(), some()));
    assert_eq!(log.topic("some").unwrap().partitions().len(), 3);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
}

#[test]
#[ignore = "writes the frozen sample; only for a new version of the format"]
fn write_the_sample() {
    let log = open_new(&sample());
    for (name, config) in [("all", all()), ("none", TopicConfig::default()), ("some", some())] {
        log.create_topic(name, 3, config).unwrap();
    }
    log.close();
}
