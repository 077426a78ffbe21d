//! The log with its own threads: waiting, gathering, reading while writing.

use crate::rig::{Rig, batch, batch_of, offsets, read_all};
use pluvio_eventlog::{LogError, LogOptions, TopicConfig};
use std::io;
use std::sync::Arc;
use std::thread;

fn threaded() -> Rig {
    let mut rig = Rig::new();
    let (never, disk_reserve_bytes) = (3_600_000, 0);
    rig.options = LogOptions {
        background: true,
        checkpoint_interval_ms: never,
        disk_reserve_bytes,
        ..LogOptions::default()
    };
    rig.topic.flush_ms = i64::MAX;
    rig
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn one_sync_serves_all_who_gathered() {
    let rig = threaded();
    let (log, partition) = rig.with_topic();
    rig.disk.pause_syncs(true);
    partition.append(batch(0, 10)).unwrap();
    let first = {
        let partition = Arc::clone(&partition);
        thread::spawn(move || block_on(partition.durable(1)))
    };
    while rig.disk.syncs_waiting() == 0 {
        thread::yield_now();
    }
    // While the first sync stands still, a hundred appends gather.
    let waiters: Vec<_> = (1..=100)
        .map(|number| {
            let appended = partition.append(batch(number, 10)).unwrap();
            let partition = Arc::clone(&partition);
            thread::spawn(move || block_on(partition.durable(appended.last_offset + 1)))
        })
        .collect();
    assert_eq!(partition.durable_offset(), 0);
    let before = rig.disk.syncs();
    rig.disk.pause_syncs(false);
    first.join().unwrap().unwrap();
    for waiter in waiters {
        waiter.join().unwrap().unwrap();
    }
    assert_eq!(partition.durable_offset(), 101);
    // The one that stood still, one for all who gathered, and perhaps one that
    // found a straggler's request.
    let syncs = rig.disk.syncs() - before;
    assert!(syncs <= 3 + 3, "{syncs} syncs");
    log.close();
}

#[test]
fn writers_and_readers_of_one_partition() {
    let rig = threaded();
    let (log, partition) = rig.with_topic();
    let writers: Vec<_> = (0..4)
        .map(|writer: u8| {
            let partition = Arc::clone(&partition);
            thread::spawn(move || {
                for number in 0..200 {
                    let records = i64::from(number % 3 + 1);
                    let sent = batch_of(records, writer, 50, 1000, None);
                    let appended = partition.append(sent).unwrap();
                    if number % 20 == 0 {
                        partition.sync(appended.last_offset + 1).unwrap();
                        assert!(partition.durable_offset() > appended.last_offset);
                    }
                }
            })
        })
        .collect();
    let total = 4 * (0..200).map(|number| i64::from(number % 3 + 1)).sum::<i64>();
    let readers: Vec<_> = [100, 10_000]
        .map(|max_bytes| {
            let partition = Arc::clone(&partition);
            thread::spawn(move || {
                let mut ends = partition.watch_end();
                let mut from = 0;
                while from < total {
                    let read = partition.read(from, max_bytes).unwrap();
                    for batch in &read.batches {
                        assert_eq!(batch.base_offset, from);
                        from = batch.last_offset + 1;
                    }
                    if read.batches.is_empty() {
                        block_on(ends.wait_for(|end| *end > from)).unwrap();
                    }
                }
            })
        })
        .into_iter()
        .collect();
    for thread in writers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
    assert_eq!(partition.end_offset(), total);
    log.close();
    let (_log, partition) = rig.reopen();
    let batches = read_all(&partition, 5000);
    assert_eq!(batches.len(), 800);
    assert!(offsets(&batches).is_sorted());
}

#[test]
fn waiters_hear_of_a_failure_a_deletion_and_the_close() {
    let rig = threaded();
    let (log, partition) = rig.with_topic();
    partition.append(batch(0, 10)).unwrap();
    rig.disk.fail_sync(1, io::ErrorKind::Other);
    assert!(matches!(block_on(partition.durable(1)), Err(LogError::PartitionFailed { .. })));

    let doomed = log.create_topic("doomed", 1, TopicConfig::default()).unwrap().partition(0).unwrap();
    doomed.append(batch(0, 10)).unwrap();
    rig.disk.pause_syncs(true);
    let waiter = thread::spawn(move || block_on(doomed.durable(1)));
    while rig.disk.syncs_waiting() == 0 {
        thread::yield_now();
    }
    // The deletion itself needs no file synced.
    log.delete_topic("doomed").unwrap();
    assert!(matches!(waiter.join().unwrap(), Err(LogError::TopicDeleted { .. })));
    rig.disk.pause_syncs(false);

    let kept = log.create_topic("kept", 1, TopicConfig::default()).unwrap().partition(0).unwrap();
    kept.append(batch(0, 10)).unwrap();
    log.close();
    // The close made it durable; what was never appended cannot be.
    block_on(kept.durable(1)).unwrap();
    assert_eq!(kept.durable_offset(), 1);
}

#[test]
fn appends_nobody_waits_for_become_durable_too() {
    let mut rig = threaded();
    rig.topic.flush_ms = 1;
    let (log, partition) = rig.with_topic();
    for number in 0..3 {
        partition.append(batch(number, 10)).unwrap();
        while partition.durable_offset() <= i64::from(number) {
            thread::yield_now();
        }
    }
    log.close();
}

/// The time of many comes at once: one pass over all files, and then each is synced.
#[test]
fn many_partitions_are_made_durable_behind_one_pass() {
    let rig = threaded();
    let log = rig.open();
    let config = TopicConfig { flush_ms: 100, ..crate::rig::small_segments() };
    let partitions = log.create_topic("t", 100, config).unwrap().partitions();
    for round in 1..=3 {
        let (passes, syncs) = (rig.disk.write_backs(), rig.disk.syncs());
        for partition in &partitions {
            partition.append(batch(0, 10)).unwrap();
        }
        while partitions.iter().any(|partition| partition.durable_offset() < round) {
            thread::yield_now();
        }
        assert!(rig.disk.write_backs() > passes);
        assert!(rig.disk.syncs() >= syncs + 100);
    }
    log.close();
}

#[test]
fn partitions_are_recovered_by_many_threads_alike() {
    let rig = threaded();
    let log = rig.open();
    let topic = log.create_topic("t", 50, crate::rig::small_segments()).unwrap();
    for partition in topic.partitions() {
        for number in 0..u8::try_from(partition.index()).unwrap() {
            partition.append(batch(number, 300)).unwrap();
        }
    }
    drop(log);
    let log = rig.open();
    for partition in log.topic("t").unwrap().partitions() {
        assert_eq!(partition.end_offset(), i64::from(partition.index()));
        assert_eq!(read_all(&partition, 1000).len() as i64, partition.end_offset());
    }
}

#[test]
fn every_change_of_a_followed_partition_is_told_once() {
    let rig = threaded();
    let (log, partition) = rig.with_topic();
    let changes = pluvio_eventlog::Changes::default();
    let taken = || {
        let mut tokens = Vec::new();
        changes.take(&mut tokens);
        tokens
    };
    let followed = changes.follow(&partition, 7);
    assert!(taken().is_empty());
    partition.append(batch(0, 10)).unwrap();
    partition.append(batch(0, 10)).unwrap();
    block_on(changes.changed());
    assert_eq!(taken(), [7]);
    assert!(taken().is_empty());
    partition.delete_records(1).unwrap();
    assert_eq!(taken(), [7]);
    let appender = {
        let partition = Arc::clone(&partition);
        thread::spawn(move || {
            for _ in 0..1_000 {
                partition.append(batch(0, 10)).unwrap();
            }
        })
    };
    // Whatever is read after taking is not older than what was told.
    while partition.end_offset() < 1_002 {
        block_on(changes.changed());
        assert_eq!(taken(), [7]);
    }
    appender.join().unwrap();
    taken();
    log.delete_topic("t").unwrap();
    assert_eq!(taken(), [7]);
    assert!(followed.partition().is_deleted());
    drop(followed);
}

#[test]
fn a_lazy_topic_is_acknowledged_before_the_disk_has_it() {
    let mut rig = threaded();
    rig.topic.flush_messages = 3;
    let (log, partition) = rig.with_topic();
    rig.disk.pause_syncs(true);
    partition.append(batch(0, 10)).unwrap();
    block_on(partition.acknowledged(1)).unwrap();
    assert_eq!((partition.durable_offset(), rig.disk.syncs_waiting()), (0, 0));
    // The third event begins a sync, though nobody waits for it.
    partition.append(batch(1, 10)).unwrap();
    partition.append(batch(2, 10)).unwrap();
    rig.disk.pause_syncs(false);
    while partition.durable_offset() < 3 {
        thread::yield_now();
    }
    assert_eq!(log.topic("t").unwrap().config().durability().name(), "lazy");
    log.close();
}

#[test]
fn who_appends_waits_while_the_disk_is_behind() {
    let mut rig = threaded();
    rig.options.unsynced_bytes_per_topic = 1_000;
    let (log, partition) = rig.with_topic();
    let calm = log.create_topic("calm", 1, rig.topic.clone()).unwrap().partition(0).unwrap();
    rig.disk.pause_syncs(true);
    while !partition.is_crowded() {
        partition.append(batch(1, 100)).unwrap();
    }
    assert!(partition.end_offset() < 10 && !calm.is_crowded());
    let waiting = {
        let partition = Arc::clone(&partition);
        thread::spawn(move || block_on(partition.room()))
    };
    // Nobody waits for these events, and their own time is far off.
    while rig.disk.syncs_waiting() == 0 {
        thread::yield_now();
    }
    assert!(!waiting.is_finished());
    block_on(calm.room());
    rig.disk.pause_syncs(false);
    waiting.join().unwrap();
    assert_eq!((partition.durable_offset(), partition.is_crowded()), (partition.end_offset(), false));
    // The limit over all topics, and a disk that fails: nobody waits for ever.
    log.close();
    let mut rig = threaded();
    rig.options.unsynced_bytes_total = 1_000;
    let (log, partition) = rig.with_topic();
    let other = log.create_topic("other", 1, rig.topic.clone()).unwrap().partition(0).unwrap();
    rig.disk.fail_sync(1, io::ErrorKind::Other);
    other.append(batch(1, 2_000)).unwrap();
    assert!(partition.is_crowded());
    block_on(partition.room());
    assert!(other.append(batch(1, 10)).is_err() && partition.append(batch(1, 10)).is_ok());
    log.close();
}
