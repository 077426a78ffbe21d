//! A full disk, failing writes, failing syncs.

use crate::rig::{Rig, batch, offsets, read_all};
use pluvio_eventlog::{EventLog, LogError, Partition};
use pluvio_foundation::ErrorKind;
use std::io;
use std::sync::Arc;

fn append_until_full(partition: &Partition) -> LogError {
    loop {
        if let Err(error) = partition.append(batch(1, 1000)) {
            return error;
        }
    }
}

fn check_goes_on(rig: &mut Rig, log: &Arc<EventLog>, partition: &Partition) {
    let end = partition.end_offset();
    assert_eq!(read_all(partition, 5000).len() as i64, end);
    rig.disk.set_quota_bytes(Some(1 << 20));
    assert_eq!(partition.append(batch(2, 1000)).unwrap().base_offset, end);
    log.tick().unwrap();
    rig.crash(4);
    let (log, partition) = rig.reopen();
    assert_eq!(partition.end_offset(), end + 1);
    assert_eq!(read_all(&partition, 5000).len() as i64, end + 1);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
}

#[test]
fn the_reserve_is_kept_and_appends_come_back_with_space() {
    let mut rig = Rig::without_tail();
    rig.options.disk_reserve_bytes = 10_000;
    rig.disk.set_quota_bytes(Some(50_000));
    let (log, partition) = rig.with_topic();
    let error = append_until_full(&partition);
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    assert!(error.to_string().contains("/data/log"), "{error}");
    assert!((38_000..=40_000).contains(&rig.disk.used_bytes()), "{}", rig.disk.used_bytes());
    assert_eq!(rig.metrics.cell("log_appends_refused_disk_full", "").get(), 1);
    check_goes_on(&mut rig, &log, &partition);
}

#[test]
fn a_write_that_does_not_fit_is_undone() {
    // At every distance to the end of the space: in segments and at rolls.
    for quota in (20_000..26_000).step_by(97) {
        let mut rig = Rig::without_tail();
        rig.disk.set_quota_bytes(Some(quota));
        let (log, partition) = rig.with_topic();
        // Looked at once and then trusted: the write itself hits the wall.
        rig.disk.set_quota_bytes(None);
        partition.append(batch(1, 1000)).unwrap();
        rig.disk.set_quota_bytes(Some(quota));
        let bytes = append_until_full(&partition);
        assert_eq!(bytes.kind(), ErrorKind::DiskFull);
        assert_eq!(append_until_full(&partition).kind(), ErrorKind::DiskFull);
        check_goes_on(&mut rig, &log, &partition);
    }
}

#[test]
fn a_failed_write_is_undone() {
    let mut rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    for number in 0..30 {
        rig.disk.fail_write(1, io::ErrorKind::Other);
        assert_eq!(partition.append(batch(number, 1000)).unwrap_err().kind(), ErrorKind::Io);
        partition.append(batch(number, 1000)).unwrap();
    }
    check_goes_on(&mut rig, &log, &partition);
}

#[test]
fn a_failed_sync_ends_the_partition_until_a_restart() {
    let mut rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    let other = log.create_topic("u", 1, crate::rig::small_segments()).unwrap().partition(0).unwrap();
    for number in 0..10 {
        partition.append(batch(number, 300)).unwrap();
    }
    partition.sync(10).unwrap();
    partition.append(batch(10, 300)).unwrap();
    rig.disk.fail_sync(1, io::ErrorKind::Other);
    let error = partition.sync(11).unwrap_err();
    assert!(matches!(error, LogError::PartitionFailed { .. }), "{error}");
    assert_eq!((partition.durable_offset(), error.kind()), (10, ErrorKind::Unavailable));
    // A later sync would succeed and prove nothing.
    assert!(partition.sync(11).is_err());
    let refused = partition.append(batch(11, 300)).unwrap_err().to_string();
    assert!(refused.contains("topic \"t\" partition 0") && refused.contains("restart"), "{refused}");
    // Readers go on with all that was written.
    assert_eq!(offsets(&read_all(&partition, 1_000)), (0..11).collect::<Vec<_>>());
    assert!(partition.sync(10).is_ok() && other.append(batch(1, 10)).is_ok());
    assert!(log.recovery_report()[0].contains("topic \"t\" partition 0"));
    assert_eq!(rig.metrics.cell("log_failed_partitions", "").get(), 1);
    log.close();
    rig.crash(6);
    let (_log, partition) = rig.reopen();
    assert!((10..=11).contains(&partition.end_offset()));
    let end = partition.end_offset();
    assert_eq!(read_all(&partition, 0).len() as i64, end);
    partition.append(batch(12, 300)).unwrap();
    partition.sync(end + 1).unwrap();
}

#[test]
fn a_disk_that_only_pretends_to_sync_is_found_out() {
    let mut told = 0;
    for seed in 0..40 {
        let mut rig = Rig::without_tail();
        let (log, partition) = rig.with_topic();
        for number in 0..30 {
            partition.append(batch(number, 300)).unwrap();
        }
        partition.sync(30).unwrap();
        log.tick().unwrap();
        rig.disk.lie_about_syncs(true);
        for number in 30..60 {
            partition.append(batch(number, 300)).unwrap();
        }
        partition.sync(60).unwrap();
        rig.disk.lie_about_syncs(false);
        // What is written down of the durable offset is true as far as the
        // disk says.
        log.tick().unwrap();
        rig.crash(seed);
        drop(log);
        let (log, partition) = rig.reopen();
        // Offsets that were given out are never given out again.
        assert_eq!(partition.end_offset(), 60);
        let read = offsets(&read_all(&partition, 1_000));
        assert!(read.len() >= 30 && read[..30].iter().copied().eq(0..30), "{read:?}");
        let report = log.recovery_report();
        assert_eq!(report.is_empty(), read.len() == 60, "{read:?} {report:?}");
        let named = |line: &String| line.contains("topic \"t\" partition 0") && line.contains("offset");
        assert!(report.iter().all(named), "{report:?}");
        told += usize::from(!report.is_empty());
        // And the log is as good as any other from here on.
        assert_eq!(partition.append(batch(1, 10)).unwrap().base_offset, 60);
        partition.sync(61).unwrap();
    }
    assert!(told > 5, "{told}");
}
