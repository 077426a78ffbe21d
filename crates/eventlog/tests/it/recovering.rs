//! What a start makes of what a crash left.

use crate::rig::{Rig, batch, batch_of, folder, offsets, read_all, small_segments};
use pluvio_foundation::{Disk, OpenMode};
use std::path::Path;

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let mut rig = Rig::without_tail();
    let (_log, partition) = rig.with_topic();
    for number in 0..5 {
        partition.append(batch(number, 100)).unwrap();
    }
    let whole = partition.bytes();
    partition.append(batch(5, 100)).unwrap();
    let path = rig.files(".log").remove(0);
    rig.kill();
    rig.disk.open(&path, OpenMode::Write).unwrap().truncate(whole + 70).unwrap();
    let (log, partition) = rig.reopen();
    assert_eq!((partition.end_offset(), partition.durable_offset(), partition.bytes()), (5, 5, whole));
    let report = log.recovery_report();
    assert_eq!(report.len(), 1);
    assert!(report[0].contains("topic \"t\" partition 0") && report[0].contains("offset 5"), "{report:?}");
    assert!(rig.files(".cut").is_empty());
    // The next start has nothing to say, and the offset is used again.
    assert_eq!(partition.append(batch(6, 100)).unwrap().base_offset, 5);
    partition.sync(6).unwrap();
    rig.crash(1);
    let (log, partition) = rig.reopen();
    assert!(log.recovery_report().is_empty());
    assert_eq!(read_all(&partition, 0).len(), 6);
}

#[test]
fn what_follows_a_tear_is_kept_aside() {
    let mut rig = Rig::without_tail();
    let (_log, partition) = rig.with_topic();
    for number in 0..40 {
        partition.append(batch(number, 300)).unwrap();
    }
    let logs = rig.files(".log");
    rig.kill();
    // Nothing was synced: the third batch of the second segment is torn, and
    // whole batches and segments follow it.
    let each = batch(0, 300).len() as u64;
    rig.disk.flip_bit(&logs[1], 2 * each + 100, 1).unwrap();
    let (log, partition) = rig.reopen();
    let end = partition.end_offset();
    assert_eq!(end, read_all(&partition, 0).len() as i64);
    assert_eq!(rig.files(".log").len(), 2);
    assert_eq!(rig.files(".cut").len(), logs.len() - 1);
    assert_eq!(log.recovery_report().len(), logs.len() - 1);
    let kept: u64 = rig
        .files(".cut")
        .iter()
        .map(|path| rig.disk.open(path, OpenMode::Read).unwrap().len().unwrap())
        .sum();
    assert_eq!(kept + partition.bytes(), 40 * each);
    assert_eq!(partition.append(batch(1, 300)).unwrap().base_offset, end);
}

#[test]
fn a_clean_close_is_opened_without_reading_events() {
    let rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    for number in 0..40 {
        partition.append(batch(number, 300)).unwrap();
    }
    log.close();
    // The newest segment's last batch is damaged: nothing looks at it...
    let newest = rig.files(".log").pop().unwrap();
    let bytes = rig.disk.open(&newest, OpenMode::Read).unwrap().len().unwrap();
    rig.disk.flip_bit(&newest, bytes - 5, 0).unwrap();
    let (log, partition) = rig.reopen();
    assert_eq!(partition.end_offset(), 40);
    assert!(log.recovery_report().is_empty());
    // ... until it is read.
    assert_eq!(read_all(&partition, 0).len(), 39);
    assert!(log.recovery_report()[0].contains("offset 39"), "{:?}", log.recovery_report());
}

#[test]
fn everything_but_segments_and_descriptions_can_be_lost() {
    let rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    for number in 0..40 {
        partition.append(batch(number, 300)).unwrap();
    }
    log.close();
    let expected = read_all(&partition, 1000);
    let lost = [rig.files(".index"), rig.files(".producers"), vec![folder().join("checkpoint")]].concat();
    assert!(lost.len() > 4, "{lost:?}");
    for path in &lost {
        rig.disk.remove_file(path).unwrap();
    }
    let (log, partition) = rig.reopen();
    assert_eq!(read_all(&partition, 1000), expected);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
    log.close();
    for path in &lost {
        if rig.disk.exists(path) {
            rig.disk.flip_bit(path, 9, 1).unwrap();
        }
    }
    let (log, partition) = rig.reopen();
    assert_eq!(read_all(&partition, 1000), expected);
    assert!(log.recovery_report()[0].contains("checkpoint is damaged"));
}

#[test]
fn missing_durable_events_are_told_and_their_offsets_not_used_again() {
    let rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    for number in 0..40 {
        partition.append(batch(number, 300)).unwrap();
    }
    log.close();
    let logs = rig.files(".log");
    let base = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<i64>().unwrap();
    let (second, third, last) = (base(&logs[1]), base(&logs[2]), base(&logs[logs.len() - 1]));
    rig.disk.remove_file(&logs[1]).unwrap();
    rig.disk.remove_file(&logs[logs.len() - 1]).unwrap();
    let (log, partition) = rig.reopen();
    assert_eq!(partition.end_offset(), 40);
    let read = offsets(&read_all(&partition, 0));
    let expected: Vec<i64> = (0..second).chain(third..last).collect();
    assert_eq!(read, expected);
    let report = log.recovery_report();
    for (from, to) in [(last, 40), (second, third)] {
        let told = format!("offset {from} to before {to}");
        assert!(report.iter().filter(|line| line.contains(&told)).count() == 1, "{report:?}");
    }
    assert_eq!(partition.append(batch(1, 300)).unwrap().base_offset, 40);
    log.close();
    let (_log, partition) = rig.reopen();
    assert_eq!(read_all(&partition, 0).len(), expected.len() + 1);
}

#[test]
fn many_empty_partitions_are_cheap() {
    let mut rig = Rig::new();
    let log = rig.open();
    log.create_topic("wide", 10_000, small_segments()).unwrap();
    assert_eq!(rig.disk.list(&folder().join("topics/wide")).unwrap(), ["meta.json"]);
    let used = rig.disk.used_bytes();
    assert!(used < 2_000, "{used} bytes on disk");
    log.topic("wide").unwrap().partition(9_999).unwrap().append(batch(1, 10)).unwrap();
    log.close();
    rig.crash(2);
    let log = rig.open();
    let topic = log.topic("wide").unwrap();
    let ends: i64 = topic.partitions().iter().map(|partition| partition.end_offset()).sum();
    assert_eq!(ends, 1);
}

#[test]
fn a_start_after_a_kill_reads_only_what_no_sidecar_describes() {
    let mut rig = Rig::without_tail();
    rig.options.sidecar_interval_bytes = 200_000;
    rig.topic.segment_bytes = 8 << 20;
    let (log, partition) = rig.with_topic();
    let id = log.new_producer_id().unwrap();
    for number in 0..40 {
        let sent = batch_of(1, 7, 30_000, 1_000, Some((id, 0, number)));
        partition.append(sent).unwrap();
        partition.sync(i64::MAX).unwrap();
    }
    let path = rig.files(".log").remove(0);
    assert_eq!((rig.files(".index").len(), rig.files(".producers").len()), (1, 2));
    rig.kill();
    drop(log);
    // Damage where a sidecar describes the segment: the start does not look.
    rig.disk.flip_bit(&path, 150, 1).unwrap();
    let (log, partition) = rig.reopen();
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
    assert_eq!(partition.end_offset(), 40);
    let again = partition.append(batch_of(1, 7, 30_000, 1_000, Some((id, 0, 39)))).unwrap();
    assert!(again.duplicate && again.base_offset == 39);
    assert_eq!(read_all(&partition, 1 << 20).len(), 39);
    assert!(log.recovery_report()[0].contains("offset 0"), "{:?}", log.recovery_report());
}
