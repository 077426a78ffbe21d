//! Flipped bits in durable events: reported, kept aside, stepped over.

use crate::rig::{Rig, batch, offsets, read_all, stored};
use pluvio_eventlog::Partition;
use pluvio_foundation::{Disk, OpenMode};
use std::path::PathBuf;

const COUNT: u8 = 40;

/// Forty durable batches of equal size; the segments' paths.
fn filled(rig: &Rig) -> Vec<PathBuf> {
    let (log, partition) = rig.with_topic();
    for number in 0..COUNT {
        partition.append(batch(number, 300)).unwrap();
    }
    log.close();
    rig.files(".log")
}

fn each() -> u64 {
    batch(0, 300).len() as u64
}

fn per_segment() -> i64 {
    i64::try_from(4096 / each()).unwrap()
}

fn without(lost: &[i64]) -> Vec<i64> {
    (0..i64::from(COUNT)).filter(|offset| !lost.contains(offset)).collect()
}

fn check_bytes(partition: &Partition) {
    for batch_read in read_all(partition, 3000) {
        let number = u8::try_from(batch_read.base_offset).unwrap();
        assert_eq!(batch_read.bytes, stored(&batch(number, 300), batch_read.base_offset));
    }
}

#[test]
fn any_flipped_bit_of_a_batch_loses_that_batch_only() {
    // In the payload, the magic, the base offset, the length, the crc.
    for position in [100, 16, 7, 0, 10, 8, 17, 22, 26] {
        let rig = Rig::without_tail();
        let logs = filled(&rig);
        rig.disk.flip_bit(&logs[1], each() + position, 2).unwrap();
        let lost = per_segment() + 1;
        for life in 0..3 {
            let (log, partition) = rig.reopen();
            for max_bytes in [0, 3000, 1 << 20] {
                assert_eq!(offsets(&read_all(&partition, max_bytes)), without(&[lost]), "byte {position}");
            }
            check_bytes(&partition);
            // Told when it is found; later lives know it and step over it.
            let report = log.recovery_report();
            assert_eq!(report.len(), usize::from(life == 0), "{report:?}");
            let kept = rig.files(".quarantined");
            assert_eq!(kept.len(), 1);
            assert_eq!(rig.disk.open(&kept[0], OpenMode::Read).unwrap().len().unwrap(), each());
            if life == 0 {
                let needed = ["topic \"t\" partition 0", &format!("offset {lost}"), "quarantined"];
                assert!(needed.iter().all(|part| report[0].contains(part)), "{report:?}");
            }
            let read = partition.read(lost, 0).unwrap();
            assert_eq!(offsets(&read.batches), [lost + 1]);
            partition.append(batch(1, 10)).unwrap();
            partition.sync(i64::MAX).unwrap();
            // The next life sees the same events again.
            let end = partition.end_offset();
            assert_eq!(end, i64::from(COUNT) + 1);
            partition.delete_records(0).unwrap();
            log.close();
            truncate_newest(&rig);
        }
    }
}

/// Takes the batch that a life appended away again.
fn truncate_newest(rig: &Rig) {
    let newest = rig.files(".log").pop().unwrap();
    let file = rig.disk.open(&newest, OpenMode::Write).unwrap();
    file.truncate(file.len().unwrap() - batch(1, 10).len() as u64).unwrap();
    for kind in [".index", ".producers"] {
        for path in rig.files(kind) {
            rig.disk.remove_file(&path).unwrap();
        }
    }
    rig.disk.remove_file(&crate::rig::folder().join("checkpoint")).unwrap();
}

#[test]
fn damage_up_to_the_end_of_a_closed_segment() {
    let rig = Rig::without_tail();
    let logs = filled(&rig);
    let last = per_segment() - 1;
    rig.disk.flip_bit(&logs[0], each() * last.unsigned_abs() + 50, 2).unwrap();
    let (log, partition) = rig.reopen();
    let read = partition.read(last, 0).unwrap();
    assert_eq!(offsets(&read.batches), [last + 1]);
    assert_eq!(offsets(&read_all(&partition, 10_000)), without(&[last]));
    assert_eq!(log.recovery_report().len(), 1);
}

#[test]
fn damage_at_the_very_end_lets_readers_go_on() {
    let rig = Rig::without_tail();
    let logs = filled(&rig);
    let newest = logs.last().unwrap();
    let bytes = rig.disk.open(newest, OpenMode::Read).unwrap().len().unwrap();
    rig.disk.flip_bit(newest, bytes - each() + 30, 2).unwrap();
    let (_log, partition) = rig.reopen();
    let last = i64::from(COUNT) - 1;
    let read = partition.read(last, 0).unwrap();
    assert!(read.batches.is_empty());
    assert_eq!(read.next_offset, i64::from(COUNT));
    // What is appended after the damage is found behind it.
    partition.append(batch(COUNT, 300)).unwrap();
    assert_eq!(offsets(&partition.read(last, 0).unwrap().batches), [last + 1]);
    partition.sync(i64::MAX).unwrap();
    let (_log, partition) = rig.reopen();
    assert_eq!(offsets(&partition.read(last, 0).unwrap().batches), [last + 1]);
    assert_eq!(partition.end_offset(), last + 2);
}

#[test]
fn damage_before_the_durable_offset_is_not_taken_for_a_torn_tail() {
    let mut rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    for number in 0..COUNT {
        partition.append(batch(number, 300)).unwrap();
        if number == 37 {
            // Everything so far is durable, and the checkpoint says so.
            log.tick().unwrap();
        }
    }
    let newest = rig.files(".log").pop().unwrap();
    let base: i64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(base < 35);
    rig.kill();
    // A header of a durable batch, and a payload of one that is not.
    rig.disk.flip_bit(&newest, each() * (35 - base).unsigned_abs() + 9, 2).unwrap();
    rig.disk.flip_bit(&newest, each() * (39 - base).unsigned_abs() + 90, 2).unwrap();
    let (log, partition) = rig.reopen();
    assert_eq!(partition.end_offset(), 39);
    assert_eq!(offsets(&read_all(&partition, 0)), without(&[35, 39]));
    let report = log.recovery_report();
    assert_eq!(report.len(), 2, "{report:?}");
    assert!(report[0].contains("offset 35 up to before 36") && report[1].contains("torn at offset 39"));
    assert_eq!((rig.files(".quarantined").len(), rig.files(".cut").len()), (1, 0));
}

#[test]
fn a_full_disk_does_not_keep_damage_from_being_stepped_over() {
    let rig = Rig::without_tail();
    let logs = filled(&rig);
    rig.disk.flip_bit(&logs[1], each() + 100, 2).unwrap();
    rig.disk.set_quota_bytes(Some(rig.disk.used_bytes() + 300));
    let (log, partition) = rig.reopen();
    assert_eq!(offsets(&read_all(&partition, 0)), without(&[per_segment() + 1]));
    assert!(log.recovery_report()[0].contains("could not be copied"), "{:?}", log.recovery_report());
}
