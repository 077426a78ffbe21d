//! Removing what is old.

use crate::rig::{Rig, batch, batch_of, offsets, read_all, small_segments};
use pluvio_eventlog::{Cleanup, EventLog, LogError, Partition, TopicConfig};
use pluvio_foundation::Clock;
use std::sync::Arc;

const HOUR_MS: i64 = 3_600_000;

/// Twenty batches of one record, a minute apart, seven to a segment.
fn hourly(rig: &Rig) -> (Arc<EventLog>, Arc<Partition>) {
    let (log, partition) = rig.with_topic();
    let config = TopicConfig { retention_ms: Some(HOUR_MS), ..small_segments() };
    log.alter_topic("t", config).unwrap();
    for number in 0..20 {
        partition.append(batch_of(1, number, 500, rig.clock.now_ms(), None)).unwrap();
        rig.clock.advance_ms(60_000);
    }
    (log, partition)
}

#[test]
fn whole_segments_expire_by_time() {
    let mut rig = Rig::without_tail();
    let (log, partition) = hourly(&rig);
    log.tick().unwrap();
    assert_eq!(partition.start_offset(), 0);
    rig.clock.advance_ms(HOUR_MS - 12 * 60_000);
    log.tick().unwrap();
    // The first segment's newest event is one hour and one minute old.
    assert_eq!(partition.start_offset(), 7);
    assert!(matches!(partition.read(6, 0), Err(LogError::OffsetOutOfRange { start: 7, .. })));
    assert_eq!(read_all(&partition, 9000).len(), 13);
    // At last the newest segment too, and the offsets go on where they were.
    rig.clock.advance_ms(HOUR_MS);
    log.tick().unwrap();
    assert_eq!((partition.start_offset(), partition.end_offset(), partition.bytes()), (20, 20, 0));
    assert_eq!(rig.files(".log").len(), 1);
    assert_eq!(rig.metrics.cell("log_removed_segments", "").get(), 3);
    rig.crash(8);
    let (log, partition) = rig.reopen();
    assert_eq!(partition.append(batch(1, 10)).unwrap().base_offset, 20);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
}

#[test]
fn a_quiet_partition_expires_too() {
    let rig = Rig::new();
    let (log, partition) = rig.with_topic();
    log.alter_topic("t", TopicConfig { retention_ms: Some(HOUR_MS), ..TopicConfig::default() }).unwrap();
    // A trickle never fills the segment, and its newest event is never old.
    for _ in 0..100 {
        partition.append(batch_of(1, 1, 10, rig.clock.now_ms(), None)).unwrap();
        rig.clock.advance_ms(5 * 60_000);
        log.tick().unwrap();
    }
    let kept = partition.end_offset() - partition.start_offset();
    assert!((12..=17).contains(&kept), "{kept} events of five minutes each");
}

#[test]
fn segments_expire_by_size() {
    let rig = Rig::new();
    let (log, partition) = rig.with_topic();
    log.alter_topic("t", TopicConfig { retention_bytes: Some(10_000), ..small_segments() }).unwrap();
    for number in 0..100 {
        partition.append(batch(number, 500)).unwrap();
    }
    log.tick().unwrap();
    assert!((10_000..14_096).contains(&partition.bytes()), "{}", partition.bytes());
    assert_eq!(read_all(&partition, 0).len() as i64, 100 - partition.start_offset());
}

#[test]
fn holders_keep_what_they_need() {
    let rig = Rig::new();
    let (log, partition) = hourly(&rig);
    rig.clock.advance_ms(10 * HOUR_MS);
    partition.hold("view a", Some(13));
    partition.hold("view b", Some(15));
    log.tick().unwrap();
    assert_eq!(partition.start_offset(), 7);
    assert_eq!(offsets(&partition.read(13, 0).unwrap().batches), [13]);
    partition.hold("view a", Some(14));
    log.tick().unwrap();
    assert_eq!(partition.start_offset(), 14);
    partition.hold("view a", None);
    partition.hold("view b", None);
    log.tick().unwrap();
    assert_eq!(partition.start_offset(), 20);
}

#[test]
fn a_topic_to_be_compacted_keeps_everything() {
    let rig = Rig::new();
    let (log, partition) = hourly(&rig);
    let config =
        TopicConfig { cleanup: Cleanup::Compact, retention_bytes: Some(1), ..partition_config(&log) };
    log.alter_topic("t", config).unwrap();
    rig.clock.advance_ms(100 * HOUR_MS);
    log.tick().unwrap();
    assert_eq!(partition.start_offset(), 0);
    log.alter_topic("t", TopicConfig { cleanup: Cleanup::Delete, ..partition_config(&log) }).unwrap();
    log.tick().unwrap();
    assert_eq!(partition.start_offset(), 20);
}

fn partition_config(log: &EventLog) -> TopicConfig {
    log.topic("t").unwrap().config()
}

#[test]
fn deleted_records_stay_deleted() {
    let mut rig = Rig::new();
    let (log, partition) = hourly(&rig);
    partition.sync(20).unwrap();
    partition.hold("view", Some(0));
    assert_eq!(partition.delete_records(9).unwrap(), 9);
    assert_eq!(partition.delete_records(4).unwrap(), 9);
    assert!(matches!(partition.delete_records(21), Err(LogError::OffsetOutOfRange { .. })));
    assert!(partition.read(8, 0).is_err());
    rig.crash(5);
    drop(log);
    let (log, partition) = rig.reopen();
    assert_eq!((partition.start_offset(), partition.end_offset()), (9, 20));
    assert_eq!(offsets(&partition.read(9, 0).unwrap().batches), [9]);
    assert_eq!(rig.files(".log").len(), 2);
    partition.delete_records(20).unwrap();
    log.tick().unwrap();
    assert_eq!(rig.files(".log").len(), 1);
    assert!(read_all(&partition, 0).is_empty());
}
