//! Stops between any two steps of an end: the next start finishes it.

use std::path::Path;

use pluvio_eventlog::{LogOptions, TopicConfig};
use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use super::*;
use crate::kafka::BrokerOptions;
use crate::kafka::groups::Groups;
use crate::kafka::offsets::{Committed, Place};
use crate::kafka::transactions::Slot;
use crate::kafka::transactions::transaction::{Decision, Ending};

struct Program {
    log: Arc<EventLog>,
    offsets: OffsetStore,
    transactions: Transactions,
}

fn start(dir: &Path) -> Program {
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    let options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
    let disk = Arc::new(RealDisk);
    let log = EventLog::open(dir, disk, clock.clone(), random, Metrics::default(), options).unwrap();
    let options = BrokerOptions::default();
    let groups = Arc::new(Groups::open(&log, clock.clone(), &options).unwrap());
    let offsets = OffsetStore::open(&log, groups, clock.clone(), 1_000_000).unwrap();
    let transactions = Transactions::open(&log, clock, &options).unwrap();
    transactions.recover(&log, &offsets);
    Program { log, offsets, transactions }
}

fn place() -> Place {
    Place { group: "g".into(), topic: "t".into(), partition: 0 }
}

impl Program {
    fn set(&self, slot: &Slot, next: &Transaction) {
        let wrote = self.transactions.write(slot, next).unwrap();
        self.transactions.journal.sync(wrote).unwrap();
        *slot.now.lock() = next.clone();
    }

    /// A transaction with a record in each of two partitions, and an offset.
    fn begin(&self) -> Arc<Slot> {
        let topic = self.log.create_topic("t", 2, TopicConfig::default()).unwrap();
        let slot = self.transactions.find_or_make("tx", 60_000).unwrap();
        let places = [0, 1].map(|index| ("t".to_owned(), topic.id(), index));
        let known = slot.now.lock().identify(None, 60_000, self.transactions.now_ms(), 500).unwrap();
        let begun = known.add(&places, Some("g"), self.transactions.now_ms()).unwrap();
        self.set(&slot, &begun);
        for partition in topic.partitions() {
            let mut builder = BatchBuilder::new(0);
            builder.push(None, Some(b"x"), 0, &[]);
            let batch = builder.finish_transactional(Compression::None, (500, 0, 0)).unwrap();
            partition.append(batch).unwrap();
            partition.sync(1).unwrap();
        }
        let (topic_id, note) = (topic.id(), String::new());
        let offset = Committed { topic_id, offset: 7, leader_epoch: 0, committed_at_ms: 0, note };
        let wrote = self.offsets.write_pending(500, vec![(place(), offset)]).unwrap();
        self.offsets.sync(wrote).unwrap();
        slot
    }

    fn decide(&self, slot: &Slot, is_commit: bool) {
        let ending = Ending { producer_id: 500, epoch: 0, is_commit, raises_epoch: true };
        let Ok(Decision::Prepare(next)) = slot.now.lock().end(&ending, self.transactions.now_ms(), -1) else {
            panic!("it can end")
        };
        self.set(slot, &next);
    }

    /// How many partitions show the record, and the committed offset.
    fn seen(&self) -> (usize, Option<i64>) {
        let topic = self.log.topic("t").unwrap();
        let has = |partition: &Arc<Partition>| !partition.read_committed(0, 100).unwrap().batches.is_empty();
        let seen = topic.partitions().iter().filter(|partition| has(partition)).count();
        assert!(topic.partitions().iter().all(|it| it.stable_offset() == it.end_offset()), "all is decided");
        (seen, self.offsets.get("g", "t", 0).map(|committed| committed.offset))
    }

    fn state(&self) -> State {
        self.transactions.find("tx").unwrap().now.lock().state
    }
}

#[test]
fn what_was_decided_is_completed_wherever_it_stopped() {
    for is_commit in [true, false] {
        // How far it came: the decision, one marker, both, the offsets too.
        for steps in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let before = start(dir.path());
            let slot = before.begin();
            before.decide(&slot, is_commit);
            let marker = EndMarker { producer_id: 500, producer_epoch: 1, is_commit };
            for partition in before.log.topic("t").unwrap().partitions().iter().take(steps.min(2)) {
                assert!(partition.end_transaction(&marker, 0).unwrap().is_some());
            }
            if steps == 3 {
                before.offsets.sync(before.offsets.end_pending(500, is_commit).unwrap()).unwrap();
            }
            before.log.close();
            drop(before);
            for _ in 0..2 {
                let after = start(dir.path());
                let expected = if is_commit { (2, Some(7)) } else { (0, None) };
                assert_eq!(after.seen(), expected, "commit {is_commit}, {steps} steps");
                let state = if is_commit { State::CompleteCommit } else { State::CompleteAbort };
                assert_eq!(after.state(), state);
                let end_offset = after.log.topic("t").unwrap().partition(0).unwrap().end_offset();
                assert_eq!(end_offset, 2, "one marker, however often it started");
                assert!(after.offsets.pending_producers().is_empty());
                after.log.close();
            }
        }
    }
}

#[test]
fn what_is_ongoing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let before = start(dir.path());
    before.begin();
    before.log.close();
    drop(before);
    let after = start(dir.path());
    assert_eq!(after.state(), State::Ongoing);
    assert_eq!(after.log.topic("t").unwrap().partition(1).unwrap().stable_offset(), 0);
    assert_eq!(after.offsets.pending_producers(), [500]);
    after.log.close();
}

#[test]
fn what_nobody_answers_for_is_aborted() {
    let dir = tempfile::tempdir().unwrap();
    let before = start(dir.path());
    before.begin();
    before.log.delete_topic(super::super::TRANSACTION_STATE).unwrap();
    before.log.close();
    drop(before);
    let after = start(dir.path());
    assert_eq!(after.seen(), (0, None));
    assert!(after.offsets.pending_producers().is_empty());
    after.log.close();
}
