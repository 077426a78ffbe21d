//! A log with transactions, as version 2 of the producers' snapshot first
//! wrote it, must open for ever.
//!
//! The sample lies in `tests/formats/v2/eventlog`. It was written by
//! `write_the_sample` below and is never written again.

use crate::frozen::{copy, open, open_new};
use crate::rig::{batch, offsets, transactional};
use pluvio_eventlog::TopicConfig;
use pluvio_wire_kafka::records::EndMarker;
use std::fs;
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    PathBuf::from("../../tests/formats/v2/eventlog")
}

fn check(folder: &Path) {
    let log = open(folder);
    let partition = log.topic("payments").unwrap().partition(0).unwrap();
    assert_eq!((partition.stable_offset(), partition.end_offset()), (45, 47));
    let read = partition.read_committed(0, 1 << 20).unwrap();
    let data = (0..9).flat_map(|round| [round * 5, round * 5 + 2, round * 5 + 3]);
    let expected: Vec<i64> = data.filter(|offset| offset % 15 != 0).collect();
    assert_eq!(offsets(&read.batches), expected);
    let aborted = partition.aborted_in(0, 47);
    assert_eq!(aborted.iter().map(|it| it.first_offset).collect::<Vec<_>>(), [0, 15, 30]);
    assert_eq!(partition.ongoing_transactions(), [(5, 0)]);
    let again = partition.append(transactional(1, 9, (5, 0, 0))).unwrap();
    assert!(again.duplicate && again.base_offset == 45);
    let stale = partition.append(transactional(2, 1, (4, 8, 0)));
    assert!(stale.is_err(), "the epoch that the last marker raised is known");
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
}

#[test]
fn version_2_opens() {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    check(folder.path());
}

#[test]
fn version_2_opens_without_its_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    for entry in fs::read_dir(folder.path().join("topics/payments/0")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "producers") {
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
    let config = TopicConfig { segment_bytes: 2048, retention_ms: None, ..TopicConfig::default() };
    let partition = log.create_topic("payments", 1, config).unwrap().partition(0).unwrap();
    for round in 0..9_i16 {
        partition.append(transactional(2, 1, (4, round, 0))).unwrap();
        partition.append(batch(2, 300)).unwrap();
        partition.append(batch(3, 300)).unwrap();
        let marker = EndMarker { producer_id: 4, producer_epoch: round + 1, is_commit: round % 3 != 0 };
        partition.end_transaction(&marker, round).unwrap();
    }
    partition.append(transactional(1, 9, (5, 0, 0))).unwrap();
    partition.append(batch(4, 100)).unwrap();
    log.close();
}
