//! Transactions: what is stable, what is committed, who is fenced.

use crate::rig::{Rig, batch, batch_of, offsets, small_segments, transactional};
use pluvio_eventlog::{LogError, Partition, TopicConfig};
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::records::{EndMarker, end_marker};

fn end(partition: &Partition, producer_id: i64, producer_epoch: i16, is_commit: bool) -> Option<i64> {
    let marker = EndMarker { producer_id, producer_epoch, is_commit };
    partition.end_transaction(&marker, producer_epoch - 1).unwrap().map(|it| it.base_offset)
}

fn committed(partition: &Partition) -> Vec<i64> {
    let (mut all, mut from) = (Vec::new(), partition.start_offset());
    while from < partition.stable_offset() {
        let read = partition.read_committed(from, 1).unwrap();
        from = read.next_offset;
        all.extend(read.batches);
    }
    offsets(&all)
}

#[test]
fn committed_events_are_read_once_they_are_decided() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    partition.append(batch(1, 10)).unwrap();
    partition.append(transactional(2, 2, (7, 0, 0))).unwrap();
    partition.append(transactional(1, 3, (8, 0, 0))).unwrap();
    partition.append(batch(4, 10)).unwrap();
    assert_eq!((partition.stable_offset(), partition.end_offset()), (1, 5));
    assert_eq!(committed(&partition), [0]);
    assert!(partition.read_committed(3, 100).unwrap().batches.is_empty());
    assert_eq!(end(&partition, 8, 1, false), Some(5));
    assert_eq!(partition.stable_offset(), 1);
    assert_eq!(end(&partition, 7, 1, true), Some(6));
    assert_eq!((partition.stable_offset(), partition.end_offset()), (7, 7));
    assert_eq!(committed(&partition), [0, 1, 4]);
    let aborted = partition.aborted_in(0, 7);
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].producer_id, aborted[0].first_offset, aborted[0].last_offset), (8, 3, 5));
    // What is asked from within is stepped over as well.
    let read = partition.read_committed(3, 1 << 20).unwrap();
    assert_eq!((offsets(&read.batches), read.next_offset), (vec![4], 7));
    assert!(matches!(partition.read_committed(8, 1).unwrap_err(), LogError::OffsetOutOfRange { .. }));
}

#[test]
fn a_marker_fences_and_begins_an_epoch_at_sequence_zero() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    partition.append(transactional(3, 1, (7, 0, 0))).unwrap();
    assert_eq!(end(&partition, 7, 1, true), Some(3));
    // Said again it changes nothing, also when the next transaction began.
    assert_eq!(end(&partition, 7, 1, true), None);
    let stale = partition.append(transactional(1, 2, (7, 0, 3))).unwrap_err();
    assert!(matches!(stale, LogError::StaleProducerEpoch { current: 1, .. }), "{stale}");
    let skipped = partition.append(transactional(1, 2, (7, 1, 3))).unwrap_err();
    assert!(matches!(skipped, LogError::OutOfOrderSequence { expected: 0, .. }), "{skipped}");
    partition.append(transactional(1, 2, (7, 1, 0))).unwrap();
    assert_eq!(end(&partition, 7, 1, true), None);
    assert_eq!(partition.stable_offset(), 4);
    let marker = EndMarker { producer_id: 7, producer_epoch: 0, is_commit: false };
    let stale = partition.end_transaction(&marker, 0).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Denied);
    let unknown = partition.append_from_zero(transactional(1, 2, (9, 0, 1))).unwrap_err();
    assert!(matches!(unknown, LogError::OutOfOrderSequence { expected: 0, .. }), "{unknown}");
}

#[test]
fn an_older_producer_keeps_its_epoch_and_its_sequence() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    let commit = EndMarker { producer_id: 7, producer_epoch: 0, is_commit: true };
    for round in 0..3 {
        partition.append(transactional(2, 1, (7, 0, round * 2))).unwrap();
        assert!(partition.end_transaction(&commit, 0).unwrap().is_some());
        assert!(partition.end_transaction(&commit, 0).unwrap().is_none());
    }
    assert_eq!(committed(&partition), [0, 3, 6]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    let marker = EndMarker { producer_id: 7, producer_epoch: 0, is_commit: true };
    let forged = end_marker(&marker, 0, 0).unwrap();
    assert!(matches!(partition.append(forged).unwrap_err(), LogError::InvalidBatch { .. }));
    let anonymous = transactional(1, 1, (-1, -1, -1));
    assert!(matches!(partition.append(anonymous).unwrap_err(), LogError::InvalidBatch { .. }));
    partition.append(transactional(1, 1, (7, 0, 0))).unwrap();
    let outside = partition.append(batch_of(1, 1, 10, 0, Some((7, 0, 1)))).unwrap_err();
    assert!(matches!(outside, LogError::TransactionState { .. }), "{outside}");
    partition.append(batch_of(1, 1, 10, 0, Some((8, 0, 0)))).unwrap();
}

#[test]
fn the_stable_offset_is_watched() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    let mut stable = partition.watch_stable();
    partition.append(batch(1, 10)).unwrap();
    assert_eq!(*stable.borrow_and_update(), 1);
    partition.append(transactional(1, 2, (7, 0, 0))).unwrap();
    partition.append(batch(1, 10)).unwrap();
    assert!(!stable.has_changed().unwrap(), "nothing more is decided");
    end(&partition, 7, 1, false);
    assert_eq!(*stable.borrow_and_update(), 4);
}

#[test]
fn it_all_survives_with_and_without_snapshots() {
    for without_snapshots in [false, true] {
        let mut rig = Rig::new();
        let (log, partition) = rig.with_topic();
        for round in 0..40_i16 {
            partition.append(transactional(2, 1, (7, round, 0))).unwrap();
            partition.append(batch(2, 200)).unwrap();
            end(&partition, 7, round + 1, round % 3 != 0);
        }
        partition.append(transactional(1, 3, (8, 0, 0))).unwrap();
        partition.append(batch(4, 100)).unwrap();
        let before = (partition.stable_offset(), committed(&partition), partition.aborted_in(0, 1 << 40));
        assert_eq!((before.1.len(), before.2.len()), (66, 14));
        let known = partition.known_producers();
        assert_eq!(known[1].transaction_since, Some(before.0));
        log.close();
        drop((log, partition));
        assert!(rig.files(".producers").len() > 1);
        if without_snapshots {
            for path in rig.files(".producers") {
                pluvio_foundation::Disk::remove_file(&rig.disk, &path).unwrap();
            }
        }
        rig.kill();
        let (_log, partition) = rig.reopen();
        let after = (partition.stable_offset(), committed(&partition), partition.aborted_in(0, 1 << 40));
        assert_eq!(after, before);
        assert_eq!(partition.ongoing_transactions(), [(8, 0)]);
        assert_eq!(partition.known_producers().len(), 2);
        assert!(partition.append(transactional(2, 1, (7, 39, 0))).is_err(), "the epoch is remembered");
        partition.append(transactional(2, 1, (7, 40, 0))).unwrap();
    }
}

#[test]
fn aborted_transactions_are_forgotten_with_their_events() {
    let rig = Rig::new();
    let (log, partition) = rig.with_topic();
    for round in 0..100 {
        partition.append(transactional(1, 1, (7, round, 0))).unwrap();
        end(&partition, 7, round + 1, false);
    }
    assert_eq!(partition.aborted_in(0, 1000).len(), 100);
    partition.delete_records(151).unwrap();
    log.tick().unwrap();
    // The one that spans the start is still needed.
    assert_eq!(partition.aborted_in(0, 1000).len(), 25);
    assert_eq!(partition.stable_offset(), 200);
    assert!(partition.read_committed(151, 1).unwrap().batches.is_empty());
    // An ongoing transaction whose events are gone holds nothing back but itself.
    partition.append(transactional(1, 1, (7, 100, 0))).unwrap();
    partition.append(batch(1, 10)).unwrap();
    partition.delete_records(202).unwrap();
    assert_eq!(partition.stable_offset(), 202);
}

#[test]
fn a_full_disk_does_not_keep_transactions_from_ending() {
    let mut rig = Rig::new();
    rig.options.disk_reserve_bytes = 1 << 20;
    let log = rig.open();
    let config = TopicConfig { ..small_segments() };
    let partition = log.create_topic("t", 1, config).unwrap().partition(0).unwrap();
    partition.append(transactional(1, 1, (7, 0, 0))).unwrap();
    rig.disk.set_quota_bytes(Some(rig.disk.used_bytes() + 2_000));
    rig.clock.advance_ms(60_000);
    let refused = partition.append(batch(1, 10)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DiskFull);
    assert_eq!(end(&partition, 7, 1, true), Some(1));
    assert_eq!(committed(&partition), [0]);
}
