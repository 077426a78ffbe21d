//! Compaction by key: what stays, what goes, and crashes in the middle of it.

use crate::rig::{Rig, offsets, read_all};
use bytes::Bytes;
use pluvio_eventlog::{Cleanup, EventLog, Partition, StoredBatch, TopicConfig};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Clock, Disk, OpenMode, Random};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, for_each_record, parse_header, verify_crc};
use std::collections::BTreeMap;

const DAY_MS: i64 = 24 * 3_600_000;

fn compacted() -> TopicConfig {
    TopicConfig {
        cleanup: Cleanup::Compact,
        segment_bytes: 4096,
        dirty_ratio_min_ppm: 0,
        ..TopicConfig::default()
    }
}

fn rig() -> Rig {
    let mut rig = Rig::without_tail();
    rig.topic = compacted();
    rig
}

type Event<'a> = (&'a str, Option<&'a str>);

fn batch(rig: &Rig, events: &[Event<'_>], producer: Option<(i64, i16, i32)>) -> Bytes {
    batch_with(rig, events, producer, Compression::None)
}

fn batch_with(
    rig: &Rig,
    events: &[Event<'_>],
    producer: Option<(i64, i16, i32)>,
    codec: Compression,
) -> Bytes {
    let now_ms = rig.clock.now_ms();
    let mut builder = BatchBuilder::new(now_ms);
    for (key, value) in events {
        builder.push(Some(key.as_bytes()), value.map(str::as_bytes), now_ms, &[("from", Some(b"test"))]);
    }
    builder.finish(codec, producer).unwrap()
}

/// Fills up the newest segment, so that all before is closed.
fn close_segment(rig: &Rig, log: &EventLog, partition: &Partition) {
    let filler = "f".repeat(4_000);
    for _ in 0..2 {
        partition.append(batch(rig, &[("filler", Some(&filler))], None)).unwrap();
    }
    partition.sync(i64::MAX).unwrap();
    log.tick().unwrap();
}

/// Offset, key and value of every event.
fn events(batches: &[StoredBatch]) -> Vec<(i64, String, Option<String>)> {
    let mut found = Vec::new();
    for stored in batches {
        verify_crc(&stored.bytes).unwrap();
        assert_eq!(parse_header(&stored.bytes).unwrap().partition_leader_epoch, 0);
        for_each_record(&stored.bytes, 1 << 20, &mut Vec::new(), |record| {
            assert_eq!(record.headers().count(), 1);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((record.offset, text(record.key.unwrap()), record.value.map(text)));
            Ok(())
        })
        .unwrap();
    }
    found.retain(|(_, key, _)| key != "filler");
    found
}

/// What the log says of each key, in the end.
fn state(partition: &Partition) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for (_, key, value) in events(&read_all(partition, 5_000)) {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

#[test]
fn memory_does_not_serve_what_is_gone() {
    let mut rig = Rig::new();
    rig.topic = compacted();
    let (log, partition) = rig.with_topic();
    for round in 0..50 {
        partition.append(batch(&rig, &[("a", Some(&format!("value {round}")))], None)).unwrap();
    }
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 50);
    close_segment(&rig, &log, &partition);
    let left = events(&read_all(&partition, 3_000));
    assert_eq!(left, [(49, "a".to_owned(), Some("value 49".to_owned()))]);
    // What was not compacted is in memory still.
    assert!(rig.metrics.cell("log_tail_bytes", "").get() > 4_000);
}

#[test]
fn the_newest_of_each_key_stays() {
    for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let rig = rig();
        let (log, partition) = rig.with_topic();
        for round in 0..50 {
            let value = format!("value {round}");
            let keys = [("a", Some(&*value)), ("b", Some(&*value)), ("only", Some("x"))];
            let count = if round == 0 { 3 } else { 2 };
            partition.append(batch_with(&rig, &keys[..count], None, codec)).unwrap();
        }
        let end = partition.end_offset();
        close_segment(&rig, &log, &partition);
        let left = events(&read_all(&partition, 3_000));
        let text = |text: &str| text.to_owned();
        let expected = [
            (2, text("only"), Some(text("x"))),
            (end - 2, text("a"), Some(text("value 49"))),
            (end - 1, text("b"), Some(text("value 49"))),
        ];
        assert_eq!(left, expected);
        assert!(rig.metrics.cell("log_compacted_bytes", "").get() > 1_000);
        // Reading begins anywhere, also in a gap, and goes on with what is next.
        for from in 0..partition.end_offset() {
            let read = partition.read(from, 0).unwrap();
            assert!(read.batches[0].last_offset >= from && read.batches.len() == 1);
        }
        let found = partition.offset_for_time(rig.clock.now_ms()).unwrap();
        assert_eq!(found, Some((2, rig.clock.now_ms())));
        // A start takes it as it is, also without what can be made again.
        log.close();
        for path in [rig.files(".index"), rig.files(".producers")].concat() {
            rig.disk.remove_file(&path).unwrap();
        }
        let (log, partition) = rig.reopen();
        assert_eq!(events(&read_all(&partition, 3_000)), expected);
        assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
    }
}

#[test]
fn deletions_go_after_their_time_and_nothing_comes_back() {
    let rig = rig();
    let (log, partition) = rig.with_topic();
    for round in 0..20 {
        let value = format!("value {round}");
        partition.append(batch(&rig, &[("gone", Some(&value)), ("here", Some(&value))], None)).unwrap();
    }
    partition.append(batch(&rig, &[("gone", None)], None)).unwrap();
    let marks = |partition: &Partition| {
        let all = events(&read_all(partition, 3_000));
        all.iter().filter(|(_, key, value)| key == "gone" && value.is_none()).count()
    };
    close_segment(&rig, &log, &partition);
    assert_eq!((marks(&partition), state(&partition).len()), (1, 1));
    rig.clock.advance_ms(DAY_MS - 1_000);
    close_segment(&rig, &log, &partition);
    assert_eq!(marks(&partition), 1);
    rig.clock.advance_ms(2_000);
    close_segment(&rig, &log, &partition);
    assert_eq!(marks(&partition), 0);
    assert_eq!(state(&partition), BTreeMap::from([("here".to_owned(), "value 19".to_owned())]));
}

#[test]
fn many_keys_take_several_passes() {
    let mut rig = rig();
    rig.options.compaction_map_bytes = 1 << 10;
    let (log, partition) = rig.with_topic();
    for round in 0..5 {
        for key in 0..100 {
            let (key, value) = (format!("key {key}"), format!("{round}"));
            partition.append(batch(&rig, &[(&key, Some(&value))], None)).unwrap();
        }
    }
    let before = rig.files(".log").len();
    close_segment(&rig, &log, &partition);
    let left = events(&read_all(&partition, 3_000));
    assert_eq!(left.len(), 100);
    assert!(left.iter().all(|(offset, _, value)| *offset >= 400 && value.as_deref() == Some("4")));
    // The small segments that are left were put together.
    assert!(rig.files(".log").len() < before, "{before}: {:?}", rig.files(".log"));
}

#[test]
fn producers_are_known_though_their_events_are_gone() {
    let rig = rig();
    let (log, partition) = rig.with_topic();
    let id = log.new_producer_id().unwrap();
    let sent = |number: i32| batch(&rig, &[("a", Some("x")), ("b", Some("y"))], Some((id, 0, number * 2)));
    for number in 0..10 {
        partition.append(sent(number)).unwrap();
    }
    partition.append(batch(&rig, &[("a", Some("other")), ("b", Some("other"))], None)).unwrap();
    close_segment(&rig, &log, &partition);
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 2);
    log.close();
    for path in rig.files(".producers") {
        rig.disk.remove_file(&path).unwrap();
    }
    let (_log, partition) = rig.reopen();
    let again = partition.append(sent(9)).unwrap();
    assert!(again.duplicate && again.base_offset == 18, "{again:?}");
    assert!(partition.append(sent(11)).is_err());
    assert!(!partition.append(sent(10)).unwrap().duplicate);
}

#[test]
fn lags_ratios_and_holders_are_respected() {
    let mut rig = rig();
    rig.topic.compaction_lag_min_ms = 60_000;
    let (log, partition) = rig.with_topic();
    let fill = |partition: &Partition| {
        for _ in 0..40 {
            partition.append(batch(&rig, &[("a", Some("x"))], None)).unwrap();
        }
    };
    fill(&partition);
    close_segment(&rig, &log, &partition);
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 40);
    partition.hold("view", Some(5));
    rig.clock.advance_ms(60_001);
    log.tick().unwrap();
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 40);
    partition.hold("view", None);
    log.tick().unwrap();
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 1);
    // Half of it must be new, or what is new must be old enough.
    let lazy = TopicConfig {
        dirty_ratio_min_ppm: 900_000,
        compaction_lag_max_ms: 3_600_000,
        ..log.topic("t").unwrap().config()
    };
    log.alter_topic("t", lazy).unwrap();
    fill(&partition);
    close_segment(&rig, &log, &partition);
    rig.clock.advance_ms(3_500_000);
    log.tick().unwrap();
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 41);
    rig.clock.advance_ms(200_000);
    log.tick().unwrap();
    assert_eq!(events(&read_all(&partition, 3_000)).len(), 1);
}

#[test]
fn both_policies_together() {
    let mut rig = rig();
    rig.topic.cleanup = Cleanup::CompactDelete;
    rig.topic.retention_ms = Some(3_600_000);
    let (log, partition) = rig.with_topic();
    for round in 0..40 {
        let value = format!("{round}");
        partition.append(batch(&rig, &[("a", Some(&value))], None)).unwrap();
    }
    close_segment(&rig, &log, &partition);
    assert_eq!(state(&partition).len(), 1);
    rig.clock.advance_ms(3_700_000);
    close_segment(&rig, &log, &partition);
    assert_eq!(state(&partition).len(), 0);
    assert!(partition.start_offset() >= 40);
}

#[test]
fn a_damaged_segment_is_left_as_it_is() {
    let rig = rig();
    let (log, partition) = rig.with_topic();
    for round in 0..60 {
        let value = format!("value {round}");
        partition.append(batch(&rig, &[("a", Some(&value)), ("b", None)], None)).unwrap();
    }
    partition.sync(i64::MAX).unwrap();
    let first = rig.files(".log").remove(0);
    rig.disk.flip_bit(&first, 300, 1).unwrap();
    let length = rig.disk.open(&first, OpenMode::Read).unwrap().len().unwrap();
    close_segment(&rig, &log, &partition);
    assert_eq!(rig.disk.open(&first, OpenMode::Read).unwrap().len().unwrap(), length);
    assert_eq!(log.recovery_report().len(), 1);
    assert_eq!(state(&partition), BTreeMap::from([("a".to_owned(), "value 59".to_owned())]));
    // What the damage may hide could be older events of the deleted key.
    rig.clock.advance_ms(2 * DAY_MS);
    close_segment(&rig, &log, &partition);
    close_segment(&rig, &log, &partition);
    let left = events(&read_all(&partition, 3_000));
    assert!(left.iter().any(|(_, key, value)| key == "b" && value.is_none()));
}

#[test]
fn readers_of_a_replaced_segment_go_on() {
    let mut rig = rig();
    rig.options.open_files_max = 1;
    let (log, partition) = rig.with_topic();
    for round in 0..100 {
        let (key, value) = (format!("key {}", round % 7), format!("{round}"));
        partition.append(batch(&rig, &[(&key, Some(&value))], None)).unwrap();
    }
    let before = state(&partition);
    // Between two reads the segments are replaced under the reader.
    let mut from = 0;
    let mut seen = BTreeMap::new();
    while from < partition.end_offset() {
        let read = partition.read(from, 300).unwrap();
        for (_, key, value) in events(&read.batches) {
            seen.insert(key, value.unwrap());
        }
        from = read.next_offset;
        close_segment(&rig, &log, &partition);
        if from > 100 {
            break;
        }
    }
    assert_eq!((seen, state(&partition)), (before.clone(), before));
}

/// Work with a few keys under a seed, and what must be there in the end.
fn churn(rig: &Rig, partition: &Partition, random: &SeededRandom, model: &mut BTreeMap<String, String>) {
    for number in 0..60 {
        let key = format!("key {}", random.next_u64() % 9);
        let value = format!("{number} {}", random.next_u64());
        let value = (!random.next_u64().is_multiple_of(4)).then_some(&*value);
        if partition.append(batch(rig, &[(&key, value)], None)).is_err() {
            return;
        }
        match value {
            Some(value) => model.insert(key, value.to_owned()),
            None => model.remove(&key),
        };
    }
    partition.sync(i64::MAX).unwrap();
}

#[test]
fn a_crash_at_any_write_of_a_compaction_loses_nothing() {
    for seed in 0..3_u64 {
        let mut crashed = 0;
        for at in 1..400 {
            let mut rig = rig();
            rig.seed = seed;
            let random = SeededRandom::new(seed);
            let (log, partition) = rig.with_topic();
            let mut model = BTreeMap::new();
            churn(&rig, &partition, &random, &mut model);
            let ends = offsets(&read_all(&partition, 9_000)).len();
            assert_eq!(ends, 60);
            rig.disk.stop_after_changes(at);
            let whole = log.tick().is_ok();
            crashed += u64::from(!whole);
            rig.crash(seed * 1_000 + at);
            drop(log);
            let (log, partition) = rig.reopen();
            assert_eq!(partition.end_offset(), 60);
            assert_eq!(state(&partition), model, "seed {seed}, stopped after {at} changes");
            assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
            assert!(rig.files(".compacting").is_empty() && rig.files(".compacted").is_empty());
            close_segment(&rig, &log, &partition);
            assert_eq!(state(&partition), model);
            if whole {
                break;
            }
        }
        assert!(crashed > 10, "{crashed}");
    }
}

#[test]
fn aborted_events_go_and_markers_follow() {
    use pluvio_wire_kafka::records::EndMarker;
    let rig = rig();
    let (log, partition) = rig.with_topic();
    let id = log.new_producer_id().unwrap();
    let mut sequence = 0;
    let mut transaction = |key: &str, value: &str, is_commit: bool| {
        let mut sent = BatchBuilder::new(rig.clock.now_ms());
        sent.push(Some(key.as_bytes()), Some(value.as_bytes()), rig.clock.now_ms(), &[("h", None)]);
        let sent = sent.finish_transactional(Compression::None, (id, 0, sequence)).unwrap();
        sequence += 1;
        partition.append(sent).unwrap();
        let end = EndMarker { producer_id: id, producer_epoch: 0, is_commit };
        partition.end_transaction(&end, 0).unwrap();
    };
    for round in 0..30 {
        transaction("a", &format!("good {round}"), true);
        transaction("a", &format!("bad {round}"), false);
    }
    close_segment(&rig, &log, &partition);
    let committed = |partition: &Partition| {
        let mut found = Vec::new();
        let mut from = partition.start_offset();
        while from < partition.stable_offset() {
            let read = partition.read_committed(from, 3_000).unwrap();
            found.extend(events(&read.batches).into_iter().filter_map(|(_, _, value)| value));
            from = read.next_offset;
        }
        found
    };
    let batches = || read_all(&partition, 3_000);
    let markers =
        |all: &[StoredBatch]| all.iter().filter(|it| parse_header(&it.bytes).unwrap().is_control()).count();
    assert_eq!(committed(&partition), ["good 29"]);
    assert_eq!(markers(&batches()), 60);
    // The markers of transactions without any event left go when their time
    // has come; the one of the event that is left stays, so does the last, and
    // whatever is the last batch of a segment.
    rig.clock.advance_ms(DAY_MS + 1);
    close_segment(&rig, &log, &partition);
    assert_eq!(committed(&partition), ["good 29"]);
    assert!((2..=3).contains(&markers(&batches())), "{}", markers(&batches()));
    // Replayed without a snapshot nothing is left undecided.
    log.close();
    for path in rig.files(".producers") {
        rig.disk.remove_file(&path).unwrap();
    }
    let (_log, partition) = rig.reopen();
    assert_eq!(partition.stable_offset(), partition.end_offset());
    assert_eq!(committed(&partition), ["good 29"]);
}
