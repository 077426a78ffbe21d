//! Appending and reading back, from memory and from the file.

use crate::rig::{Rig, batch, batch_of, offsets, read_all, stored};
use bytes::Bytes;
use pluvio_eventlog::{LogError, TimestampType};
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, parse_header, validate_produced};

#[test]
fn what_goes_in_comes_out() {
    for rig in [Rig::new(), Rig::without_tail()] {
        let (_log, partition) = rig.with_topic();
        let mut expected = Vec::new();
        for number in 0..200_u8 {
            let records = i64::from(number % 3 + 1);
            let sent = batch_of(records, number, usize::from(number) * 20, 1000, None);
            let appended = partition.append(sent.clone()).unwrap();
            assert_eq!(appended.base_offset, partition.end_offset() - records);
            assert_eq!(appended.last_offset, partition.end_offset() - 1);
            assert!(!appended.duplicate);
            expected.push((appended.base_offset, stored(&sent, appended.base_offset)));
        }
        assert!(rig.files(".log").len() > 20);
        for max_bytes in [0, 100, 5_000, 1 << 20] {
            let read = read_all(&partition, max_bytes);
            let read: Vec<_> = read.into_iter().map(|batch| (batch.base_offset, batch.bytes)).collect();
            assert!(read == expected, "in steps of {max_bytes}");
        }
        let bytes: u64 = expected.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(partition.bytes(), bytes);
    }
}

#[test]
fn reads_begin_anywhere_and_respect_the_limit() {
    for rig in [Rig::new(), Rig::without_tail()] {
        let (_log, partition) = rig.with_topic();
        for number in 0..50 {
            partition.append(batch_of(4, number, 100, 1000, None)).unwrap();
        }
        for from in 0..200 {
            let read = partition.read(from, 2000).unwrap();
            assert_eq!(read.batches[0].base_offset, from / 4 * 4);
            assert!(read.batches[0].last_offset >= from);
            let bytes: usize = read.batches.iter().map(|batch| batch.bytes.len()).sum();
            assert!(bytes <= 2000 && read.batches.len() >= 2.min(50 - usize::try_from(from / 4).unwrap()));
            assert_eq!((read.start_offset, read.end_offset), (0, 200));
        }
        assert!(partition.read(200, 2000).unwrap().batches.is_empty());
        for outside in [-1, 201] {
            let error = partition.read(outside, 2000).unwrap_err();
            assert!(matches!(error, LogError::OffsetOutOfRange { start: 0, end: 200, .. }));
        }
    }
}

#[test]
fn append_times_are_known_while_in_memory() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    rig.clock.set_ms(77_000);
    let appended = partition.append(batch(1, 10)).unwrap();
    assert_eq!(appended.append_time_ms, 77_000);
    assert_eq!(partition.read(0, 0).unwrap().batches[0].append_time_ms, Some(77_000));
    let rig = Rig::without_tail();
    let (_log, partition) = rig.with_topic();
    partition.append(batch(1, 10)).unwrap();
    assert_eq!(partition.read(0, 0).unwrap().batches[0].append_time_ms, None);
}

#[test]
fn what_is_not_one_batch_is_refused() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    let good = batch(1, 100);
    let two: Vec<u8> = [&good[..], &good[..]].concat();
    let mut old = good.to_vec();
    old[16] = 1;
    let mut negative = good.to_vec();
    negative[23] = 0x80;
    for bad in [two, old, negative, good[..good.len() - 1].to_vec(), good[..20].to_vec(), Vec::new()] {
        let error = partition.append(Bytes::from(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let error = partition.append(batch(1, 2 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!((partition.end_offset(), partition.bytes()), (0, 0));
}

#[test]
fn idempotent_producers() {
    let rig = Rig::new();
    let (log, partition) = rig.with_topic();
    let id = log.new_producer_id().unwrap();
    let sent = |epoch, sequence| batch_of(2, 9, 50, 1000, Some((id, epoch, sequence)));
    let first = partition.append(sent(0, 0)).unwrap();
    let second = partition.append(sent(0, 2)).unwrap();
    let again = partition.append(sent(0, 0)).unwrap();
    assert_eq!((again.base_offset, again.last_offset), (first.base_offset, first.last_offset));
    assert!(again.duplicate && !second.duplicate);
    let gap = partition.append(sent(0, 6)).unwrap_err();
    assert!(matches!(gap, LogError::OutOfOrderSequence { expected: 4, sequence: 6, .. }), "{gap}");
    partition.append(sent(1, 0)).unwrap();
    let stale = partition.append(sent(0, 4)).unwrap_err();
    assert!(matches!(stale, LogError::StaleProducerEpoch { current: 1, .. }), "{stale}");
    assert_eq!(partition.end_offset(), 6);
}

#[test]
fn producers_survive_restarts_of_every_sort() {
    let mut rig = Rig::new();
    let (log, partition) = rig.with_topic();
    let id = log.new_producer_id().unwrap();
    let sent = |number: i32| batch_of(2, 9, 700, 1000, Some((id, 0, number * 2)));
    for number in 0..20 {
        partition.append(sent(number)).unwrap();
    }
    partition.sync(40).unwrap();
    assert!(rig.files(".producers").len() == 2 && rig.files(".log").len() > 3);
    let check = |rig: &Rig| {
        let (log, partition) = rig.reopen();
        let again = partition.append(sent(15)).unwrap();
        assert!(again.duplicate && again.base_offset == 30, "{again:?}");
        assert!(partition.append(sent(14)).is_err() && partition.append(sent(21)).is_err());
        log
    };
    rig.crash(1);
    drop(check(&rig));
    // A clean close leaves a snapshot of the end; without any, all is replayed.
    check(&rig).close();
    use pluvio_foundation::Disk;
    for path in rig.files(".producers") {
        rig.disk.remove_file(&path).unwrap();
    }
    drop(check(&rig));
}

#[test]
fn offsets_are_found_by_time() {
    for rig in [Rig::new(), Rig::without_tail()] {
        let (log, partition) = rig.with_topic();
        for number in 0..300_i64 {
            // Batch n holds the times 100n .. 100n+4; every tenth one is late.
            let time = if number % 10 == 5 { 100 } else { 100 * number };
            partition.append(batch_of(5, 1, 300, time, None)).unwrap();
        }
        let found = |ts_ms| partition.offset_for_time(ts_ms).unwrap();
        assert_eq!(found(0), Some((0, 0)));
        assert_eq!(found(1_203), Some((12 * 5 + 3, 1_203)));
        assert_eq!(found(1_205), Some((13 * 5, 1_300)));
        assert_eq!(found(1_450), Some((16 * 5, 1_600)));
        assert_eq!(found(29_904), Some((299 * 5 + 4, 29_904)));
        assert_eq!(found(29_905), None);
        partition.delete_records(500).unwrap();
        assert_eq!(found(0), Some((500, 10_000)));
        log.close();
        let (_log, partition) = rig.reopen();
        assert_eq!(partition.offset_for_time(20_001).unwrap(), Some((1001, 20_001)));
    }
}

#[test]
fn numbers_are_counted() {
    let rig = Rig::new();
    let (_log, partition) = rig.with_topic();
    for _ in 0..3 {
        partition.append(batch_of(7, 1, 50, 1000, None)).unwrap();
    }
    partition.sync(i64::MAX).unwrap();
    let cell = |name, label| rig.metrics.cell(name, label).get();
    assert_eq!(cell("log_records_appended", "t"), 21);
    assert_eq!(cell("log_bytes_appended", "t"), partition.bytes());
    assert_eq!(cell("log_tail_bytes", ""), partition.bytes() + 3 * 128);
    assert_eq!(cell("log_fsyncs", ""), 1);
    assert_eq!(offsets(&read_all(&partition, 0)), [0, 7, 14]);
}

#[test]
fn the_logs_own_time_is_written_into_the_batch() {
    let mut rig = Rig::without_tail();
    rig.topic.timestamp = TimestampType::LogAppendTime;
    let (log, partition) = rig.with_topic();
    rig.clock.set_ms(77_000);
    partition.append(batch_of(3, 1, 50, 1000, None)).unwrap();
    rig.clock.set_ms(78_000);
    partition.append(batch_of(3, 1, 50, 500_000, None)).unwrap();
    let read = partition.read(0, 10_000).unwrap().batches;
    let times: Vec<_> = read.iter().map(|batch| batch.append_time_ms).collect();
    assert_eq!(times, [Some(77_000), Some(78_000)]);
    for stored in &read {
        pluvio_wire_kafka::records::verify_crc(&stored.bytes).unwrap();
    }
    assert_eq!(partition.offset_for_time(77_500).unwrap(), Some((3, 78_000)));
    assert_eq!(partition.offset_for_time(78_001).unwrap(), None);
    log.close();
    let (_log, partition) = rig.reopen();
    assert_eq!(partition.offset_for_time(1).unwrap(), Some((0, 77_000)));
}

#[test]
fn a_topic_has_the_compression_it_asks_for() {
    let mut rig = Rig::without_tail();
    rig.topic.compression = Some(Compression::Zstd);
    let (_log, partition) = rig.with_topic();
    let sent = batch_of(5, 7, 300, 1000, Some((3, 1, 0)));
    assert_eq!(partition.append(sent.clone()).unwrap().last_offset, 4);
    assert!(partition.append(sent.clone()).unwrap().duplicate);
    let stored = partition.read(0, 0).unwrap().batches.remove(0);
    let (is, was) = (validate_produced(&stored.bytes, 1000).unwrap(), parse_header(&sent).unwrap());
    assert_eq!((is.compression().unwrap(), is.total_bytes()), (Compression::Zstd, stored.bytes.len()));
    assert!(stored.bytes.len() < sent.len() / 2);
    assert_eq!(
        (is.producer_id, is.producer_epoch, is.base_sequence, is.records_count, is.max_timestamp),
        (was.producer_id, was.producer_epoch, was.base_sequence, was.records_count, was.max_timestamp)
    );
}

#[test]
fn the_size_that_counts_is_also_the_one_after_compressing_anew() {
    let mut rig = Rig::new();
    rig.topic.compression = Some(Compression::None);
    rig.topic.max_message_bytes = 1_000;
    let (_log, partition) = rig.with_topic();
    let of = |bytes: usize| {
        let mut builder = BatchBuilder::new(1000);
        builder.push(None, Some(&vec![1; bytes]), 1000, &[]);
        builder.finish(Compression::Lz4, None).unwrap()
    };
    assert_eq!(partition.append(of(900)).unwrap().last_offset, 0);
    let refused = partition.append(of(1_000)).unwrap_err();
    assert!(matches!(refused, LogError::TooLarge { bytes_max: 1_000, .. }), "{refused}");
    let mut noise = of(900).to_vec();
    noise[61..].fill(0xee);
    let refused = partition.append(noise.into()).unwrap_err();
    assert!(matches!(refused, LogError::InvalidBatch { .. }), "{refused}");
    assert_eq!(partition.end_offset(), 1);
}
