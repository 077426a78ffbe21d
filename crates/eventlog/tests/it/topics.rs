//! Making, changing and deleting topics, through crashes.

use crate::rig::{Rig, batch, folder, read_all, small_segments};
use pluvio_eventlog::{Cleanup, LogError, TopicConfig, TopicSetting};
use pluvio_foundation::{Disk, ErrorKind};
use std::collections::HashSet;

#[test]
fn topics_survive_any_crash() {
    for seed in 0..30 {
        let mut rig = Rig::new();
        rig.seed = seed;
        let log = rig.open();
        let made = log.create_topic("orders", 3, small_segments()).unwrap();
        assert!(!made.is_internal());
        log.create_topic("__consumer_offsets", 1, TopicConfig::default()).unwrap();
        log.create_topic("gone", 2, TopicConfig::default()).unwrap();
        log.add_partitions("orders", 5).unwrap();
        let altered = TopicConfig { retention_bytes: Some(7), cleanup: Cleanup::Compact, ..small_segments() };
        log.alter_topic("orders", altered.clone()).unwrap();
        log.delete_topic("gone").unwrap();
        rig.crash(seed);
        let log = rig.open();
        let names: Vec<_> = log.topics().iter().map(|topic| topic.name().to_owned()).collect();
        assert_eq!(names, ["__consumer_offsets", "orders"]);
        let orders = log.topic_by_id(made.id()).unwrap();
        let altered = TopicConfig { given: orders.config().given, ..altered };
        assert_eq!((orders.partitions().len(), orders.config()), (5, altered));
        assert!(orders.partition(4).is_some() && orders.partition(5).is_none());
        assert!(orders.partition(-1).is_none() && log.topic("__consumer_offsets").unwrap().is_internal());
        assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
    }
}

#[test]
fn a_failed_creation_leaves_nothing() {
    for fails_at_sync in [false, true] {
        let rig = Rig::new();
        let log = rig.open();
        if fails_at_sync {
            rig.disk.fail_sync(1, std::io::ErrorKind::Other);
        } else {
            rig.disk.fail_write(1, std::io::ErrorKind::StorageFull);
        }
        let error = log.create_topic("t", 2, TopicConfig::default()).unwrap_err();
        assert_eq!(error.kind(), if fails_at_sync { ErrorKind::Io } else { ErrorKind::DiskFull });
        assert!(log.topic("t").is_none() && rig.open().topic("t").is_none());
        log.create_topic("t", 2, TopicConfig::default()).unwrap();
    }
}

#[test]
fn a_topic_made_again_is_another_one() {
    let mut rig = Rig::new();
    let (log, old) = rig.with_topic();
    let old_id = log.topic("t").unwrap().id();
    for number in 0..50 {
        old.append(batch(number, 300)).unwrap();
    }
    old.sync(50).unwrap();
    log.tick().unwrap();
    log.delete_topic("t").unwrap();
    assert_eq!(old.append(batch(0, 10)).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(matches!(old.read(0, 100), Err(LogError::TopicDeleted { .. })));
    assert_eq!(rig.metrics.cell("log_tail_bytes", "").get(), 0);
    assert!(rig.disk.list(&folder().join("deleted")).unwrap().is_empty());

    let new = log.create_topic("t", 1, small_segments()).unwrap();
    assert_ne!(new.id(), old_id);
    let partition = new.partition(0).unwrap();
    assert_eq!(partition.append(batch(7, 10)).unwrap().base_offset, 0);
    partition.sync(1).unwrap();
    rig.crash(3);
    let (log, partition) = rig.reopen();
    assert_eq!(read_all(&partition, 100).len(), 1);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
}

#[test]
fn wrong_requests_are_refused() {
    let rig = Rig::new();
    let (log, _) = rig.with_topic();
    let config = TopicConfig::default;
    let kinds = [
        log.create_topic("t", 1, config()).unwrap_err().kind(),
        log.create_topic("a/b", 1, config()).unwrap_err().kind(),
        log.create_topic("u", 0, config()).unwrap_err().kind(),
        log.create_topic("u", 1, TopicConfig { segment_bytes: 1, ..config() }).unwrap_err().kind(),
        log.add_partitions("t", 0).unwrap_err().kind(),
        log.delete_topic("u").unwrap_err().kind(),
    ];
    use ErrorKind::{AlreadyExists, Invalid, NotFound};
    assert_eq!(kinds, [AlreadyExists, Invalid, Invalid, Invalid, Invalid, NotFound]);
    log.add_partitions("t", 4).unwrap();
    let error = log.add_partitions("t", 3).unwrap_err();
    assert!(error.to_string().contains("it has 4 partitions"), "{error}");
}

#[test]
fn settings_that_were_not_given_are_what_the_log_is_opened_with() {
    let mut rig = Rig::new();
    let log = rig.open();
    let mut kept = TopicConfig::default();
    kept.give(TopicSetting::RetentionMs);
    log.create_topic("kept", 1, kept).unwrap();
    log.create_topic("plain", 1, TopicConfig::default()).unwrap();
    // It is not as the log has it: so it was given.
    log.create_topic("small", 1, small_segments()).unwrap();
    log.close();
    rig.options.topic.retention_ms = Some(5);
    rig.options.topic.segment_bytes = 2048;
    let log = rig.open();
    let found = |name: &str| {
        let config = log.topic(name).unwrap().config();
        (config.retention_ms, config.segment_bytes)
    };
    let before = TopicConfig::default();
    assert_eq!(found("kept"), (before.retention_ms, 2048));
    assert_eq!(found("plain"), (Some(5), 2048));
    assert_eq!(found("small"), (Some(5), 4096));
    // A setting that is reset follows the log again.
    let mut config = log.topic("kept").unwrap().config();
    config.reset(TopicSetting::RetentionMs, &log.options().topic);
    log.alter_topic("kept", config).unwrap();
    log.add_partitions("kept", 2).unwrap();
    log.close();
    rig.options.topic.retention_ms = None;
    assert_eq!(rig.open().topic("kept").unwrap().config().retention_ms, None);
}

#[test]
fn a_description_of_an_older_version_is_written_anew() {
    let mut rig = Rig::new();
    let log = rig.open();
    log.create_topic("t", 1, TopicConfig::default()).unwrap();
    log.close();
    let path = folder().join("topics/t/meta.json");
    let text = String::from_utf8(rig.disk.read(&path, 2000).unwrap()).unwrap();
    let config = "\"config\": {\"retention_ms\": 604800000, \"retention_bytes\": 9, \"segment_bytes\": 134217728, \
                  \"max_message_bytes\": 1048588, \"compact\": false}";
    let old = text.replace("\"version\": 3", "\"version\": 1").replace("\"config\": {}", config);
    assert_ne!(old, text);
    rig.disk.replace(&path, old.as_bytes()).unwrap();
    rig.open().close();
    rig.options.topic.retention_ms = Some(5);
    let config = rig.open().topic("t").unwrap().config();
    assert_eq!((config.retention_ms, config.retention_bytes), (Some(5), Some(9)));
    assert!(config.is_given(TopicSetting::RetentionBytes) && !config.is_given(TopicSetting::RetentionMs));
}

#[test]
fn what_a_topic_keeps_in_memory_is_its_own_setting() {
    let mut rig = Rig::new();
    rig.options.tail_bytes_per_topic = 1_500;
    let (log, partition) = rig.with_topic();
    let shown = || rig.metrics.cell("log_tail_bytes", "").get();
    let limit = |tail_bytes| {
        let config = TopicConfig { tail_bytes, ..log.topic("t").unwrap().config() };
        log.alter_topic("t", config).unwrap();
    };
    let fill = || (0..20).for_each(|number| _ = partition.append(batch(number, 300)).unwrap());
    fill();
    assert!((1_000..=1_500).contains(&shown()), "{}", shown());
    limit(Some(u64::MAX));
    fill();
    assert!(shown() > 6_000, "{}", shown());
    limit(Some(600));
    assert!((1..=600).contains(&shown()), "{}", shown());
    limit(Some(0));
    fill();
    assert_eq!(shown(), 0);
    assert_eq!(read_all(&partition, 100).len(), 60);
}

#[test]
fn topics_and_partitions_are_limited() {
    let mut rig = Rig::new();
    (rig.options.topics_max, rig.options.partitions_max) = (2, 5);
    let log = rig.open();
    let make = |name, partitions| log.create_topic(name, partitions, TopicConfig::default()).map(|_| ());
    let refused = |done: Result<(), LogError>, says: &str| {
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(make("a", 6), "6 partitions would be more than the 5");
    make("a", 3).unwrap();
    refused(make("b", 3), "6 partitions");
    make("b", 1).unwrap();
    refused(make("c", 1), "3 topics would be more than the 2");
    refused(log.add_partitions("a", 5), "6 partitions");
    log.add_partitions("a", 4).unwrap();
    make("__consumer_offsets", 1).unwrap();
    log.close();
    // What is there is served, whatever the limit is now.
    rig.options.topics_max = 0;
    let log = rig.open();
    assert_eq!(log.topics().len(), 3);
    log.delete_topic("a").unwrap();
}

#[test]
fn a_damaged_description_does_not_stop_the_others() {
    let rig = Rig::new();
    let (log, partition) = rig.with_topic();
    partition.append(batch(1, 10)).unwrap();
    log.create_topic("other", 1, TopicConfig::default()).unwrap();
    log.close();
    rig.disk.flip_bit(&folder().join("topics/t/meta.json"), 0, 0).unwrap();
    let log = rig.open();
    assert!(log.topic("other").is_some() && log.topic("t").is_none());
    assert!(log.recovery_report()[0].contains("topics/t/meta.json"), "{:?}", log.recovery_report());
    assert_eq!(log.create_topic("t", 1, TopicConfig::default()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn producer_ids_are_unique_over_crashes() {
    let mut rig = Rig::new();
    let mut seen = HashSet::new();
    for life in 0..5 {
        let log = rig.open();
        assert!((0..700).all(|_| seen.insert(log.new_producer_id().unwrap())));
        rig.crash(life);
    }
}

#[test]
fn closed_means_closed() {
    let rig = Rig::new();
    let (log, partition) = rig.with_topic();
    partition.append(batch(1, 10)).unwrap();
    log.close();
    log.close();
    assert_eq!(partition.durable_offset(), 1);
    assert!(matches!(partition.append(batch(1, 10)), Err(LogError::Closed)));
    assert!(matches!(log.create_topic("u", 1, TopicConfig::default()), Err(LogError::Closed)));
    assert!(log.new_producer_id().is_err() && log.tick().is_err());
    assert_eq!(partition.read(0, 100).unwrap().batches.len(), 1);
}
