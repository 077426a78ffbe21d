//! The power goes at any moment: what was acknowledged is there, what was not is
//! there whole or not at all, and a failed commit leaves nothing.
//!
//! The simulated disk carries the journal, the spans and the manifest; the keyed
//! store lies in a real folder, which a simulated crash leaves as it is.

use std::sync::Arc;

use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Disk, Random};
use pluvio_keytables::{KeyTable, Span, SpanRetention, Store, StoreOptions};
use pluvio_testkit::{ManualClock, SimDisk};

use crate::model::random_commit;
use crate::rows::*;

const RETENTION: SpanRetention = SpanRetention { age_ms: None, bytes_max: u64::MAX };

/// What should be there.
#[derive(Clone)]
struct World {
    models: Vec<Model>,
    note: u64,
    span: Vec<(u64, i64)>,
}

struct Machine {
    store: Arc<Store>,
    tables: Vec<Arc<KeyTable>>,
    span: Arc<Span>,
}

fn start(folder: &std::path::Path, disk: &SimDisk) -> Machine {
    let options = StoreOptions { segment_bytes: 4096, memory_budget_bytes: 1 << 20, ..quiet() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = open(folder, disk, Arc::new(ManualClock::default()), options);
    let tables = create_all(&store);
    let span = store.create_span("span", span_schema(), RETENTION).unwrap();
    Machine { store, tables, span }
}

impl Machine {
    fn holds(&self, world: &World) -> bool {
        let note = self.store.note("at").map_or(0, |note| u64::from_le_bytes(note[..].try_into().unwrap()));
        note == world.note
    }

    fn assert_holds(&self, world: &World, context: &str) {
        for kind in 0..KINDS {
            assert_holds(&self.tables[kind], kind, &world.models[kind], context);
            // One key of every group.
            let asked: Vec<u64> = match kind {
                3 => (1..8).collect(),
                4 => vec![1, 2],
                _ => (0..KEYS).collect(),
            };
            let found =
                self.tables[kind].lookup_group(&keys(kind, &asked).columns()[..1], Some(&[])).unwrap();
            assert_eq!(found.probes.len(), world.models[kind].len(), "{context}: groups of kind {kind}");
        }
        let found = self.span.snapshot(None).unwrap();
        let numbers: Vec<(u64, i64)> = found
            .iter()
            .flat_map(|part| numbers(std::slice::from_ref(part)).into_iter().map(|n| (part.0, n)))
            .collect();
        assert_eq!(numbers, world.span, "{context}: span");
        assert_eq!(self.span.last_tag(), world.span.last().map(|(tag, _)| *tag), "{context}: last tag");
    }

    /// Commits something; the world if it becomes true.
    fn step(&self, random: &SeededRandom, world: &World, next_value: &mut u64) -> (World, bool) {
        let mut after = world.clone();
        let mut commit = self.store.begin();
        random_commit(random, &mut commit, &self.tables, &mut after.models, next_value);
        if below(random, 2) == 0 {
            for _ in 0..=below(random, 2) {
                let tag = world.note + 1;
                let first = after.span.last().map_or(0, |(_, number)| number + 1);
                let count = below(random, 40) as i64 + 1;
                commit.append(&self.span, tag, span_rows(first, count));
                after.span.extend((first..first + count).map(|number| (tag, number)));
            }
        }
        after.note = world.note + 1;
        commit.note("at", Some(after.note.to_le_bytes().to_vec().into()));
        let committed = commit.commit().is_ok();
        (after, committed)
    }
}

fn random_fault(random: &SeededRandom, disk: &SimDisk) {
    let kind =
        if below(random, 2) == 0 { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::Other };
    match below(random, 6) {
        0 => disk.fail_write(below(random, 4) + 1, kind),
        1 => disk.fail_sync(below(random, 3) + 1, kind),
        2 => disk.set_quota_bytes(Some(disk.used_bytes() + below(random, 6000))),
        _ => disk.set_quota_bytes(None),
    }
}

fn run(seed: u64) {
    let random = SeededRandom::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut disk = SimDisk::new();
    let mut world = World { models: vec![Model::new(); KINDS], note: 0, span: Vec::new() };
    let mut next_value = 0;
    for life in 0..6 {
        disk.set_quota_bytes(None);
        let machine = start(folder.path(), &disk);
        machine.assert_holds(&world, &format!("seed {seed} life {life}"));
        let mut unsure = None;
        for step in 0..below(&random, 12) {
            let context = format!("seed {seed} life {life} step {step}");
            random_fault(&random, &disk);
            if below(&random, 8) == 0 {
                // May fail; must not change anything that can be seen.
                let _outcome = machine.store.checkpoint();
            }
            let (after, committed) = machine.step(&random, &world, &mut next_value);
            unsure = None;
            if committed {
                world = after;
            } else {
                unsure = Some(after);
            }
            machine.assert_holds(&world, &context);
        }
        disk = if below(&random, 4) == 0 { disk.kill() } else { disk.crash(&random) };
        drop(machine);
        // Only a commit that failed right before the crash may turn out durable.
        if let Some(after) = unsure {
            let machine = start(folder.path(), &disk);
            if machine.holds(&after) {
                world = after;
            }
            drop(machine);
        }
    }
    assert!(random.next_u64() > 0);
}

#[test]
fn crashes_and_faults_leave_what_was_committed() {
    for seed in 0..20 {
        run(seed);
    }
}

#[test]
fn damage_in_the_middle_is_reported_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SimDisk::new();
    let machine = start(folder.path(), &disk);
    let world = World { models: vec![Model::new(); KINDS], note: 0, span: Vec::new() };
    let (world, _) = machine.step(&SeededRandom::new(1), &world, &mut 0);
    machine.step(&SeededRandom::new(2), &world, &mut 1000);
    drop(machine);
    let disk = disk.kill();
    let journal = folder.path().join("journal/00000000000000000001.log");
    disk.flip_bit(&journal, 16 + 12 + 30, 1).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let clock = Arc::new(ManualClock::default());
    let error = Store::open(folder.path(), disk, clock, Default::default(), quiet()).unwrap_err();
    assert_eq!(error.kind(), pluvio_foundation::ErrorKind::Corrupt, "{error}");
}
