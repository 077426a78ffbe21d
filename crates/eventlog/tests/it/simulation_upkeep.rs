//! Random work with compaction, retention and deletion of records, under
//! crashes at any change of the disk: nothing acknowledged is lost, nothing
//! deleted comes back, and the same seed leaves the same bytes on the disk.
//!
//! `PLUVIO_SIMULATION_SEEDS=1000` runs more seeds than the default.

use crate::rig::{Rig, read_all};
use pluvio_eventlog::{Cleanup, EventLog, Partition, TopicConfig};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Clock, Random};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, for_each_record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const TOPICS: [(&str, Cleanup); 3] =
    [("kept", Cleanup::Compact), ("both", Cleanup::CompactDelete), ("aged", Cleanup::Delete)];
const HOUR_MS: i64 = 3_600_000;

/// An event: its key and its value.
type Event = (Vec<u8>, Option<Vec<u8>>);

/// What is known of one topic's partition.
#[derive(Default)]
struct Model {
    /// Everything appended, by offset.
    events: BTreeMap<i64, Event>,
    end: i64,
    durable: i64,
    /// Nothing before this offset may be read.
    deleted: i64,
}

struct World {
    rig: Rig,
    random: SeededRandom,
    log: Option<Arc<EventLog>>,
    models: [Model; 3],
    /// Whether the disk was told to stop at some change.
    stopping: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let mut rig = Rig::new();
        rig.seed = seed;
        rig.options.tail_bytes_per_topic = [0, 4_000][below(&random, 2)];
        rig.options.open_files_max = 2;
        rig.options.sidecar_interval_bytes = [300, 8 << 20][below(&random, 2)];
        rig.options.compaction_map_bytes = [1 << 10, 1 << 20][below(&random, 2)];
        let log = rig.open();
        for (name, cleanup) in TOPICS {
            let config = TopicConfig {
                cleanup,
                segment_bytes: 1_024,
                retention_ms: Some(24 * HOUR_MS),
                delete_retention_ms: HOUR_MS,
                dirty_ratio_min_ppm: [0, 500_000][below(&random, 2)],
                ..TopicConfig::default()
            };
            log.create_topic(name, 1, config).unwrap();
        }
        Self { rig, random, log: Some(log), models: Default::default(), stopping: false }
    }

    fn below(&self, limit: usize) -> usize {
        below(&self.random, limit)
    }

    fn partition(&self, index: usize) -> Arc<Partition> {
        self.log.as_ref().unwrap().topic(TOPICS[index].0).unwrap().partition(0).unwrap()
    }

    /// One step of work. False if the disk refused because it was stopped.
    fn work(&mut self) -> bool {
        let index = self.below(TOPICS.len());
        match self.below(100) {
            0..60 => self.append(index),
            60..75 => self.sync(index),
            75..80 => self.delete_records(index),
            80..85 => {
                self.check(index);
                true
            }
            _ => {
                self.rig.clock.advance_ms([1_000, HOUR_MS, 7 * HOUR_MS][self.below(3)]);
                let ticked = self.log.as_ref().unwrap().tick();
                assert!(ticked.is_ok() || self.stopping, "{ticked:?}");
                ticked.is_ok()
            }
        }
    }

    fn append(&mut self, index: usize) -> bool {
        let now_ms = self.rig.clock.now_ms();
        let mut builder = BatchBuilder::new(now_ms);
        let mut events = Vec::new();
        for _ in 0..=self.below(3) {
            let key = format!("key {}", self.below(12)).into_bytes();
            let value = (self.below(5) > 0).then(|| self.random.next_u64().to_be_bytes().repeat(4));
            builder.push(Some(&key), value.as_deref(), now_ms, &[]);
            events.push((key, value));
        }
        let codec = [Compression::None, Compression::Lz4][self.below(2)];
        let appended = self.partition(index).append(builder.finish(codec, None).unwrap());
        let Ok(appended) = appended else {
            assert!(self.stopping, "{appended:?}");
            return false;
        };
        let model = &mut self.models[index];
        assert_eq!(appended.base_offset, model.end);
        model.end += events.len() as i64;
        model.events.extend((appended.base_offset..).zip(events));
        true
    }

    fn sync(&mut self, index: usize) -> bool {
        let end = self.models[index].end;
        let synced = self.partition(index).sync(end);
        assert!(synced.is_ok() || self.stopping, "{synced:?}");
        if synced.is_ok() {
            self.models[index].durable = end;
        }
        synced.is_ok()
    }

    fn delete_records(&mut self, index: usize) -> bool {
        let model = &self.models[index];
        if TOPICS[index].1 == Cleanup::Compact || model.end == 0 {
            return true;
        }
        let before = model.deleted + self.below(usize::try_from(model.end - model.deleted).unwrap() + 1) as i64 / 4;
        let done = self.partition(index).delete_records(before);
        assert!(done.is_ok() || self.stopping, "{done:?}");
        let model = &mut self.models[index];
        if done.is_ok() {
            model.deleted = model.deleted.max(before);
            model.durable = model.durable.max(before);
        }
        done.is_ok()
    }

    /// Compares what can be read with what was appended.
    fn check(&self, index: usize) {
        let (partition, model, (name, cleanup)) = (self.partition(index), &self.models[index], TOPICS[index]);
        let (start, end) = (partition.start_offset(), partition.end_offset());
        assert!(start >= model.deleted && end == model.end, "{name}: [{start}, {end}]");
        let mut read: BTreeMap<i64, Event> = BTreeMap::new();
        for batch in read_all(&partition, 2_000) {
            for_each_record(&batch.bytes, 1 << 20, &mut Vec::new(), |record| {
                let event = (record.key.unwrap().to_vec(), record.value.map(<[u8]>::to_vec));
                assert!(read.insert(record.offset, event).is_none());
                Ok(())
            })
            .unwrap();
        }
        read.retain(|offset, _| *offset >= start);
        for (offset, event) in &read {
            assert_eq!(model.events.get(offset), Some(event), "{name} at {offset}");
        }
        let there: BTreeMap<_, _> = model.events.range(start..).collect();
        if !cleanup.compacts() {
            assert_eq!(read.len(), there.len(), "{name} from {start} to {end}");
        }
        let keys: BTreeSet<_> = there.values().map(|(key, _)| key).collect();
        for key in keys {
            let of_key = |event: &Event| &event.0 == key;
            let newest = there.iter().rev().find(|(_, event)| of_key(event)).unwrap();
            let found = read.iter().rev().find(|(_, event)| of_key(event));
            match found {
                Some((offset, _)) => assert_eq!(offset, *newest.0, "{name}: an old event of a key is the newest"),
                // A deletion may be gone, with all that it deleted.
                None => assert!(newest.1.1.is_none(), "{name}: the event at {} is lost", newest.0),
            }
        }
    }

    /// Cuts the power, starts again and checks everything.
    fn crash(&mut self) {
        let dead = self.log.take();
        self.rig.crash(self.random.next_u64());
        drop(dead);
        self.restart();
    }

    fn restart(&mut self) {
        self.stopping = false;
        let log = self.rig.open();
        let report = log.recovery_report();
        assert!(report.iter().all(|line| line.contains("never acknowledged")), "{report:?}");
        self.log = Some(log);
        for index in 0..TOPICS.len() {
            let end = self.partition(index).end_offset();
            let model = &mut self.models[index];
            assert!((model.durable..=model.end).contains(&end), "{} ends at {end}", TOPICS[index].0);
            model.events.retain(|offset, _| *offset < end);
            (model.end, model.durable) = (end, end);
            self.check(index);
        }
    }

    fn close(&mut self) {
        self.log.take().unwrap().close();
        self.rig.kill();
        self.restart();
    }
}

fn below(random: &SeededRandom, limit: usize) -> usize {
    usize::try_from(random.next_u64() % limit as u64).unwrap()
}

/// Runs a seed; the digest of the disk that it leaves.
fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..200 {
        match world.below(100) {
            0..95 => {
                if !world.work() {
                    world.crash();
                }
            }
            95..97 => {
                world.stopping = true;
                world.rig.disk.stop_after_changes(world.below(40) as u64);
            }
            97..99 if !world.stopping => world.close(),
            _ => world.crash(),
        }
    }
    world.crash();
    world.rig.disk.digest()
}

fn seeds() -> u64 {
    std::env::var("PLUVIO_SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Says which seed it was if it fails.
struct Tell(String);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

#[test]
fn upkeep_loses_nothing_and_brings_nothing_back() {
    for seed in 0..seeds() {
        let _tell = Tell(format!("seed {seed}"));
        run(seed);
    }
}

#[test]
fn the_same_seed_leaves_the_same_bytes() {
    for seed in 0..4 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

/// The same work, with the power cut at the first, the second, the third …
/// change of the disk, until it gets through.
#[test]
fn a_crash_at_every_change() {
    for seed in 0..2 {
        for changes in 0..10_000 {
            let _tell = Tell(format!("seed {seed}, stopped after {changes} changes"));
            let mut world = World::new(seed);
            world.stopping = true;
            world.rig.disk.stop_after_changes(changes);
            let whole = (0..120).all(|_| world.work());
            world.crash();
            for _ in 0..20 {
                world.work();
            }
            if whole {
                assert!(changes > 200, "{changes} changes are few");
                break;
            }
        }
    }
}
