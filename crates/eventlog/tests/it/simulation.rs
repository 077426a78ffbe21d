//! Random work, random crashes: what was acknowledged as durable is there
//! exactly once, in order, byte for byte, and the same seed does the same.
//! Transactions among it (`ending`) are seen whole or not at all.
//!
//! `PLUVIO_SIMULATION_SEEDS=1000` runs more seeds than the default.

#[path = "simulation_ending.rs"]
mod ending;

use crate::rig::{Rig, batch_of, read_all, stored};
use bytes::Bytes;
use pluvio_eventlog::{EventLog, Partition, TopicConfig};
use pluvio_foundation::hash::stable_hash;
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Clock, ErrorKind, Random};
use std::io;
use std::sync::Arc;

const STEPS: u64 = 150;
const PARTITIONS: usize = 3;
/// An idempotent producer may have this many batches in flight.
const IN_FLIGHT_MAX: usize = 5;

/// What a partition must hold.
#[derive(Default)]
struct Model {
    /// Base offset and stored bytes of all batches, oldest first.
    batches: Vec<(i64, Bytes)>,
    end: i64,
    durable: i64,
    /// Sequence numbers of its one idempotent producer: the next to send, and
    /// what was sent and is not durable yet.
    next_sequence: i32,
    in_flight: Vec<(i32, Bytes)>,
    transactional: [ending::Producer; ending::PRODUCERS],
}

struct World {
    rig: Rig,
    random: SeededRandom,
    log: Option<Arc<EventLog>>,
    models: [Model; PARTITIONS],
    producer_id: i64,
    trace: Vec<u8>,
    faults: bool,
}

impl World {
    fn new(seed: u64, faults: bool) -> Self {
        let random = SeededRandom::new(seed);
        let mut rig = Rig::new();
        rig.seed = seed;
        rig.options.tail_bytes_per_topic = [0, 3_000, 1 << 20][below(&random, 3)];
        rig.options.open_files_max = 2;
        rig.options.sidecar_interval_bytes = [500, 8 << 20][below(&random, 2)];
        let log = rig.open();
        let segment_bytes = [1024, 4096, 1 << 20][below(&random, 3)];
        let config = TopicConfig { segment_bytes, retention_ms: None, ..TopicConfig::default() };
        log.create_topic("t", PARTITIONS as u32, config).unwrap();
        let producer_id = log.new_producer_id().unwrap();
        let (mut models, trace) = (<[Model; PARTITIONS]>::default(), Vec::new());
        for producer in models.iter_mut().flat_map(|model| &mut model.transactional) {
            producer.id = log.new_producer_id().unwrap();
        }
        Self { rig, random, log: Some(log), models, producer_id, trace, faults }
    }

    fn below(&self, limit: usize) -> usize {
        below(&self.random, limit)
    }

    fn partition(&self, index: usize) -> Arc<Partition> {
        let topic = self.log.as_ref().unwrap().topic("t").unwrap();
        topic.partition(i32::try_from(index).unwrap()).unwrap()
    }

    fn note(&mut self, what: &str, value: i64) {
        self.trace.extend_from_slice(what.as_bytes());
        self.trace.extend_from_slice(&value.to_be_bytes());
    }

    fn step(&mut self) {
        let index = self.below(PARTITIONS);
        match self.below(100) {
            0..35 => self.append(index),
            35..45 => self.append_idempotent(index),
            45..60 => self.append_transactional(index),
            60..66 => self.end_transaction(index),
            66..80 => self.sync(index),
            80..84 => self.read_some(index),
            84..88 => self.check_committed(index),
            88..92 => {
                self.rig.clock.advance_ms(500);
                let ticked = self.log.as_ref().unwrap().tick();
                assert!(ticked.is_ok() || self.faults);
                self.learn_durable();
            }
            92..96 if self.faults => self.plan_fault(),
            92..97 => self.crash(),
            97..98 => self.kill(),
            _ => self.close(),
        }
    }

    fn append(&mut self, index: usize) {
        let records = self.below(4) as i64 + 1;
        let bytes = [5, 200, 1_500][self.below(3)];
        let fill = self.random.next_u64() as u8;
        let sent = batch_of(records, fill, bytes, self.rig.clock.now_ms(), None);
        match self.partition(index).append(sent.clone()) {
            Ok(appended) => self.accept(index, appended.base_offset, records, &sent),
            Err(error) => self.excuse(error.kind()),
        }
    }

    fn accept(&mut self, index: usize, base_offset: i64, records: i64, sent: &Bytes) {
        let model = &mut self.models[index];
        assert_eq!(base_offset, model.end);
        model.batches.push((base_offset, stored(sent, base_offset)));
        model.end += records;
        self.note("append", base_offset);
    }

    fn excuse(&mut self, kind: ErrorKind) {
        use ErrorKind::{DiskFull, Io, Unavailable};
        assert!(self.faults && matches!(kind, DiskFull | Io | Unavailable), "{kind:?}");
        self.note("refused", kind as i64);
    }

    fn append_idempotent(&mut self, index: usize) {
        let model = &mut self.models[index];
        if model.in_flight.len() == IN_FLIGHT_MAX {
            return self.sync(index);
        }
        let sequence = model.next_sequence;
        let sent = batch_of(2, 7, 100, 1000, Some((self.producer_id, 0, sequence)));
        model.next_sequence += 2;
        model.in_flight.push((sequence, sent));
        self.send_in_flight(index);
    }

    /// Sends what is not acknowledged, again if it was sent before. A producer
    /// stops at the first refusal, to keep its order.
    fn send_in_flight(&mut self, index: usize) {
        for (sequence, sent) in self.models[index].in_flight.clone() {
            match self.partition(index).append(sent.clone()) {
                Ok(appended) if appended.duplicate => {
                    let at = appended.base_offset;
                    let known = self.models[index].batches.iter().find(|(offset, _)| *offset == at);
                    assert_eq!(known.unwrap().1, stored(&sent, at), "sequence {sequence}");
                }
                Ok(appended) => {
                    let twice = stored(&sent, 0)[8..].to_vec();
                    let there = self.models[index].batches.iter().any(|(_, bytes)| bytes[8..] == twice);
                    assert!(!there, "sequence {sequence} was appended twice");
                    self.accept(index, appended.base_offset, 2, &sent);
                }
                Err(error) => return self.excuse(error.kind()),
            }
        }
    }

    fn sync(&mut self, index: usize) {
        let upto = self.models[index].end;
        match self.partition(index).sync(upto) {
            Ok(()) => {
                self.models[index].durable = upto;
                self.forget_acknowledged(index);
                self.note("durable", upto);
            }
            Err(error) => self.excuse(error.kind()),
        }
    }

    fn forget_acknowledged(&mut self, index: usize) {
        let model = &mut self.models[index];
        let (batches, durable) = (&model.batches, model.durable);
        model.in_flight.retain(|(_, sent)| {
            let kept =
                |(offset, bytes): &(i64, Bytes)| *offset < durable && bytes[8..] == stored(sent, 0)[8..];
            !batches.iter().any(kept)
        });
    }

    fn learn_durable(&mut self) {
        for index in 0..PARTITIONS {
            let durable = self.partition(index).durable_offset();
            assert!(durable >= self.models[index].durable && durable <= self.models[index].end);
            self.models[index].durable = durable;
            self.forget_acknowledged(index);
        }
    }

    fn read_some(&mut self, index: usize) {
        let (partition, model) = (self.partition(index), &self.models[index]);
        let from = self.below(usize::try_from(model.end).unwrap() + 1) as i64;
        let max_bytes = self.below(6_000);
        let read = partition.read(from, max_bytes).unwrap();
        assert_eq!(read.end_offset, model.end);
        let first = model.batches.partition_point(|(offset, _)| *offset <= from).saturating_sub(1);
        let mut expected = model.batches[first..].iter();
        assert_eq!(read.batches.is_empty(), from == model.end);
        for batch in read.batches {
            let (offset, bytes) = expected.next().unwrap();
            assert_eq!((batch.base_offset, &batch.bytes), (*offset, bytes));
        }
    }

    fn plan_fault(&mut self) {
        let nth = self.below(6) as u64 + 1;
        match self.below(4) {
            0 => self.rig.disk.fail_write(nth, io::ErrorKind::Other),
            1 => self.rig.disk.fail_sync(nth, io::ErrorKind::Other),
            2 => self.rig.disk.set_quota_bytes(Some(self.rig.disk.used_bytes() + 2_000)),
            _ => self.rig.disk.set_quota_bytes(None),
        }
    }

    fn crash(&mut self) {
        let seed = self.random.next_u64();
        let dead = self.log.take();
        self.rig.crash(seed);
        drop(dead);
        self.restart(false);
    }

    fn kill(&mut self) {
        let dead = self.log.take();
        self.rig.kill();
        drop(dead);
        self.restart(!self.faults);
    }

    fn close(&mut self) {
        self.log.take().unwrap().close();
        // A failed partition was not closed cleanly: its unsynced end may go.
        let failed = self.faults;
        self.rig.kill();
        self.restart(!failed);
    }

    /// Opens the log again and checks everything in it.
    fn restart(&mut self, all_kept: bool) {
        // A planned fault is not to hit the start, which may well fail then.
        self.rig.disk.set_quota_bytes(None);
        self.rig.disk.fail_write(u64::MAX, io::ErrorKind::Other);
        self.rig.disk.fail_sync(u64::MAX, io::ErrorKind::Other);
        let log = self.rig.open();
        let id = log.new_producer_id().unwrap();
        assert!(id > self.producer_id);
        self.log = Some(log);
        for index in 0..PARTITIONS {
            let partition = self.partition(index);
            let end = partition.end_offset();
            let model = &mut self.models[index];
            let (durable, known_end) = (model.durable, model.end);
            assert!(
                end >= durable && end <= known_end,
                "partition {index} ends at {end}, not in [{durable}, {known_end}]: {:?}",
                self.log.as_ref().unwrap().recovery_report()
            );
            assert!(!all_kept || end == model.end);
            model.batches.retain(|(offset, _)| *offset < end);
            (model.end, model.durable) = (end, end);
            assert_eq!(partition.durable_offset(), end);
            let read: Vec<_> = read_all(&partition, 4_000)
                .into_iter()
                .map(|batch| (batch.base_offset, batch.bytes))
                .collect();
            let same = read.iter().zip(&model.batches).take_while(|(read, known)| read == known).count();
            assert!(
                read == model.batches,
                "partition {index}: {} batches read, {} known, the first {same} alike; then {:?} and {:?}",
                read.len(),
                model.batches.len(),
                read.get(same).map(|(offset, bytes)| (offset, bytes.len())),
                model.batches.get(same).map(|(offset, bytes)| (offset, bytes.len())),
            );
            self.note("restart", end);
            self.send_in_flight(index);
            self.end_again(index);
            self.check_committed(index);
        }
        let report = self.log.as_ref().unwrap().recovery_report();
        assert!(report.iter().all(|line| line.contains("never acknowledged")), "{report:?}");
    }
}

fn below(random: &SeededRandom, limit: usize) -> usize {
    usize::try_from(random.next_u64() % limit as u64).unwrap()
}

/// Runs a seed; what it did and what it left on the disk, as digests.
fn run(seed: u64, faults: bool) -> (u64, u64) {
    let mut world = World::new(seed, faults);
    for _ in 0..STEPS {
        world.step();
    }
    world.crash();
    (stable_hash(&world.trace), world.rig.disk.digest())
}

fn seeds() -> u64 {
    std::env::var("PLUVIO_SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Runs one seed and says which it was if it fails.
fn run_told(seed: u64, faults: bool) {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {}", self.0);
            }
        }
    }
    let _tell = Tell(seed);
    run(seed, faults);
}

#[test]
fn what_was_durable_survives_crashes() {
    (0..seeds()).for_each(|seed| run_told(seed, false));
}

#[test]
fn what_was_durable_survives_crashes_and_disk_faults() {
    (1_000_000..1_000_000 + seeds()).for_each(|seed| run_told(seed, true));
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..5 {
        assert_eq!(run(seed, true), run(seed, true));
    }
    assert_ne!(run(1, false), run(2, false));
}
