//! Transactions in the simulated log. Each producer's decision to commit or to
//! abort is remembered outside of the log, as its coordinator would, before
//! the marker is written, and carried out again after every crash.

use super::World;
use crate::rig::{stored, transactional};
use bytes::Bytes;
use pluvio_foundation::{Clock, Random};
use pluvio_wire_kafka::records::{EndMarker, end_marker, parse_header, read_end_marker};
use std::collections::HashMap;

/// Transactional producers of each partition.
pub(super) const PRODUCERS: usize = 2;

#[derive(Default)]
pub(super) struct Producer {
    pub(super) id: i64,
    epoch: i16,
    next_sequence: i32,
    /// How each ended transaction ended, by epoch.
    decisions: HashMap<i16, bool>,
}

impl World {
    pub(super) fn append_transactional(&mut self, index: usize) {
        let number = self.below(PRODUCERS);
        let records = self.below(3) as i64 + 1;
        let producer = &self.models[index].transactional[number];
        let (id, epoch, sequence) = (producer.id, producer.epoch, producer.next_sequence);
        let sent = transactional(records, self.random.next_u64() as u8, (id, epoch, sequence));
        match self.partition(index).append(sent.clone()) {
            Ok(appended) => {
                self.models[index].transactional[number].next_sequence += i32::try_from(records).unwrap();
                self.accept(index, appended.base_offset, records, &sent);
            }
            Err(error) => {
                self.excuse(error.kind());
                self.decide(index, number, false);
            }
        }
    }

    pub(super) fn end_transaction(&mut self, index: usize) {
        let number = self.below(PRODUCERS);
        if self.models[index].transactional[number].next_sequence == 0 {
            return;
        }
        let wanted = self.below(3) > 0;
        // Only what is durable may be committed.
        let is_durable = wanted && self.partition(index).sync(i64::MAX).is_ok();
        self.decide(index, number, is_durable);
        if is_durable {
            self.learn_durable();
        }
    }

    /// Decides the producer's present transaction, and tries to say so.
    fn decide(&mut self, index: usize, number: usize, is_commit: bool) {
        let producer = &mut self.models[index].transactional[number];
        producer.decisions.insert(producer.epoch, is_commit);
        producer.epoch += 1;
        producer.next_sequence = 0;
        self.mark(index, number);
    }

    /// Writes the marker of the producer's last decision, if it is not there.
    fn mark(&mut self, index: usize, number: usize) {
        let producer = &self.models[index].transactional[number];
        let Some(is_commit) = producer.decisions.get(&(producer.epoch - 1)).copied() else { return };
        let marker = EndMarker { producer_id: producer.id, producer_epoch: producer.epoch, is_commit };
        match self.partition(index).end_transaction(&marker, producer.epoch - 1) {
            Ok(Some(appended)) => {
                let sent = end_marker(&marker, 0, self.rig.clock.now_ms()).unwrap();
                self.accept(index, appended.base_offset, 1, &sent);
            }
            Ok(None) => self.note("marked already", i64::from(marker.producer_epoch)),
            Err(error) => self.excuse(error.kind()),
        }
    }

    /// After a start: what was decided is said again, twice, and what was
    /// ongoing is given up.
    pub(super) fn end_again(&mut self, index: usize) {
        for number in 0..PRODUCERS {
            let known = self.models[index].batches.len();
            self.mark(index, number);
            let once = self.models[index].batches.len();
            self.mark(index, number);
            assert_eq!(self.models[index].batches.len(), once, "marked twice");
            assert!(once <= known + 1);
            if self.models[index].transactional[number].next_sequence > 0 {
                self.decide(index, number, false);
            }
        }
    }

    /// Compares the last stable offset and what is committed with what the
    /// batches themselves say, and these with the decisions.
    pub(super) fn check_committed(&mut self, index: usize) {
        let model = &self.models[index];
        let (stable, committed) = judged(&model.batches, model.end);
        let partition = self.partition(index);
        assert_eq!(partition.stable_offset(), stable);
        let max_bytes = self.below(3_000);
        let (mut from, mut read) = (0, Vec::new());
        while from < stable {
            let found = partition.read_committed(from, max_bytes).unwrap();
            assert!(found.next_offset > from && found.next_offset <= stable);
            from = found.next_offset;
            read.extend(found.batches.into_iter().map(|batch| (batch.base_offset, batch.bytes)));
        }
        assert_eq!(read, committed);
        assert!(partition.read_committed(stable, max_bytes).unwrap().batches.is_empty());
        for producer in &model.transactional {
            let visible = |epoch: i16| {
                committed.iter().any(|(_, bytes)| {
                    let header = parse_header(bytes).unwrap();
                    (header.producer_id, header.producer_epoch) == (producer.id, epoch)
                })
            };
            for (epoch, is_commit) in &producer.decisions {
                assert!(*is_commit || !visible(*epoch), "an aborted transaction is seen");
            }
            assert!(!visible(producer.epoch), "an undecided transaction is seen");
        }
        self.note("stable", stable);
    }
}

/// The last stable offset and the batches that count before it, found by going
/// through all batches once from the end.
fn judged(batches: &[(i64, Bytes)], end: i64) -> (i64, Vec<(i64, Bytes)>) {
    let mut ended: HashMap<i64, bool> = HashMap::new();
    let (mut stable, mut counted) = (end, Vec::new());
    for (offset, bytes) in batches.iter().rev() {
        let header = parse_header(bytes).unwrap();
        if let Some(marker) = read_end_marker(bytes).unwrap() {
            ended.insert(marker.producer_id, marker.is_commit);
            continue;
        }
        let is_counted = match (header.is_transactional(), ended.get(&header.producer_id)) {
            (false, _) => true,
            (true, Some(is_commit)) => *is_commit,
            (true, None) => {
                stable = *offset;
                false
            }
        };
        if is_counted {
            counted.push((*offset, bytes.clone()));
        }
    }
    counted.reverse();
    counted.retain(|(offset, _)| *offset < stable);
    assert!(counted.iter().all(|(offset, bytes)| stored(bytes, *offset) == *bytes));
    (stable, counted)
}
