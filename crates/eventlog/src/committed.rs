//! A partition's transactions: ending them, and reading past them.

use crate::append::Appended;
use crate::partition::{Partition, tell};
use crate::read::{Read, StoredBatch};
use crate::transactions::{ABORTED_MAX, ALL_STABLE, Aborted};
use crate::{KnownProducer, LogError};
use pluvio_wire_kafka::records::{BatchHeader, EndMarker, end_marker, parse_header, read_end_marker};
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// There is one coordinator, which never changes.
const COORDINATOR_EPOCH: i32 = 0;

impl Partition {
    /// Ends the transaction that a producer ran in epoch `ran_in_epoch`, and
    /// raises its epoch to the marker's: older instances are fenced off.
    /// Visible at once, durable as any other append. `None` if the marker is
    /// here already, so that it can be asked for again after a crash: with an
    /// epoch above `ran_in_epoch` it never ends a later transaction.
    ///
    /// A marker is written also when appends are refused for want of space: it
    /// lets others go on.
    ///
    /// Fails with `StaleProducerEpoch`, `PartitionFailed`, `TopicDeleted`,
    /// `Closed`, `DiskFull` or `Io`.
    pub fn end_transaction(
        &self,
        marker: &EndMarker,
        ran_in_epoch: i16,
    ) -> Result<Option<Appended>, LogError> {
        let (producer_id, epoch) = (marker.producer_id, marker.producer_epoch);
        let batch = end_marker(marker, COORDINATOR_EPOCH, self.shared.clock.now_ms());
        let batch = batch.map_err(|error| self.invalid(&error.to_string()))?;
        let header = parse_header(&batch).map_err(|error| self.invalid(&error.to_string()))?;
        let mut writer = self.writer.lock();
        self.check_usable()?;
        let known = writer.producers.epoch_of(producer_id);
        if let Some(current) = known.filter(|current| *current > epoch) {
            let (topic, partition) = (self.topic.name.clone(), self.index());
            return Err(LogError::StaleProducerEpoch { topic, partition, producer_id, epoch, current });
        }
        let is_ongoing = self.transactions.read().ongoing_since(producer_id).is_some();
        if known == Some(epoch) && (epoch > ran_in_epoch || !is_ongoing) {
            return Ok(None);
        }
        self.place(&mut writer, &header, batch, Some(marker)).map(Some)
    }

    /// Refuses a batch that does not fit the producer's transaction. Looks at
    /// nothing if the batch is not transactional and no transaction is ongoing.
    pub(crate) fn check_transaction(&self, header: &BatchHeader) -> Result<(), LogError> {
        let (id, is_transactional) = (header.producer_id, header.is_transactional());
        if id < 0 || (!is_transactional && self.first_unstable.load(Ordering::Relaxed) == ALL_STABLE) {
            return Ok(());
        }
        let transactions = self.transactions.read();
        let reason = match (transactions.ongoing_since(id), is_transactional) {
            (Some(_), false) => "it has a transaction here and sent a batch outside of it".to_owned(),
            (None, true) if !transactions.has_room() => format!(
                "the events kept here hold {ABORTED_MAX} aborted or ongoing transactions, which is the most; \
                 lower the topic's retention"
            ),
            _ => return Ok(()),
        };
        let (topic, partition) = (self.topic.name.clone(), self.index());
        Err(LogError::TransactionState { topic, partition, producer_id: id, reason })
    }

    /// Takes an appended transactional batch in, before its offset is published.
    pub(crate) fn note_transaction(&self, header: &BatchHeader, marker: Option<&EndMarker>) {
        let mut transactions = self.transactions.write();
        match marker {
            None => transactions.note_data(header.producer_id, header.base_offset),
            Some(marker) => {
                transactions.note_marker(header.producer_id, header.base_offset, marker.is_commit);
            }
        }
        self.first_unstable.store(transactions.first_unstable(), Ordering::SeqCst);
    }

    /// Takes a transactional batch in that was found by recovery.
    pub(crate) fn replay_transaction(&self, header: &BatchHeader, batch: &[u8]) {
        if !header.is_control() {
            return self.note_transaction(header, None);
        }
        // A control batch of another type, from a newer program, ends nothing.
        if let Ok(Some(marker)) = read_end_marker(batch) {
            self.note_transaction(header, Some(&marker));
        }
    }

    /// After recovery: forgets what is before the start, and tells what is stable.
    pub(crate) fn settle_transactions(&self) {
        let mut transactions = self.transactions.write();
        transactions.forget_before(self.start_offset());
        self.first_unstable.store(transactions.first_unstable(), Ordering::SeqCst);
    }

    /// Forgets producers silent since `before_ms`, and aborted transactions
    /// whose events are gone.
    pub(crate) fn forget_idle_producers(&self, before_ms: i64) {
        let mut writer = self.writer.lock();
        let mut transactions = self.transactions.write();
        transactions.forget_before(self.start_offset());
        writer.producers.forget_idle(before_ms, |id| transactions.ongoing_since(id).is_some());
    }

    /// The last stable offset: every event before it is decided, in a
    /// transaction that ended or in none. At most the end offset.
    pub fn stable_offset(&self) -> i64 {
        // In this order: a transaction that begins meanwhile begins at this
        // end or later.
        let end = self.end.load(Ordering::SeqCst);
        let stable = end.min(self.first_unstable.load(Ordering::SeqCst));
        stable.max(self.start_offset())
    }

    /// The last stable offset, and every later one.
    pub fn watch_stable(&self) -> watch::Receiver<i64> {
        let sender = self.stable_watch.get_or_init(|| watch::Sender::new(self.stable_offset()));
        // An append between reading the offset and making the sender is seen here.
        tell(sender, self.stable_offset());
        sender.subscribe()
    }

    /// The aborted transactions with events in `[from, upto)`, by the offset
    /// of their marker. Complete if `upto` is a stable offset or less.
    pub fn aborted_in(&self, from: i64, upto: i64) -> Vec<Aborted> {
        self.transactions.read().aborted_in(from, upto)
    }

    /// The producers that the partition remembers, by id.
    pub fn known_producers(&self) -> Vec<KnownProducer> {
        let mut all = self.writer.lock().producers.all();
        let transactions = self.transactions.read();
        for producer in &mut all {
            producer.transaction_since = transactions.ongoing_since(producer.producer_id);
        }
        all
    }

    /// The ids of the producers with a transaction ongoing here, by its first
    /// offset, each with the newest epoch known.
    pub fn ongoing_transactions(&self) -> Vec<(i64, i16)> {
        let writer = self.writer.lock();
        let transactions = self.transactions.read();
        transactions.ongoing().map(|id| (id, writer.producers.epoch_of(id).unwrap_or(0))).collect()
    }

    /// The same as [`Partition::read`] without what does not count: markers,
    /// events of aborted transactions, and all from the last stable offset on.
    /// `next_offset` moves past what is left out. An empty answer means that
    /// nothing committed is left before the last stable offset.
    pub fn read_committed(&self, from: i64, max_bytes: usize) -> Result<Read, LogError> {
        let stable = self.stable_offset();
        let mut next = from;
        loop {
            let (start_offset, end_offset) = (self.start_offset(), self.end_offset());
            if (stable..=end_offset).contains(&next) {
                return Ok(Read { batches: Vec::new(), start_offset, end_offset, next_offset: next });
            }
            let mut read = self.read(next, max_bytes)?;
            self.leave_out(&mut read, stable);
            if !read.batches.is_empty() {
                return Ok(read);
            }
            // Damaged events may be all that was found: still further on.
            next = read.next_offset.max(next);
            if read.next_offset >= stable {
                return Ok(read);
            }
        }
    }

    /// Leaves what does not count out of a read, and what is not before `stable`.
    fn leave_out(&self, read: &mut Read, stable: i64) {
        let decided = read.batches.partition_point(|batch| batch.base_offset < stable);
        read.batches.truncate(decided);
        read.next_offset = read.next_offset.min(stable);
        let Some(first) = read.batches.first() else { return };
        let mut aborted = self.aborted_in(first.base_offset, read.next_offset);
        aborted.sort_unstable_by_key(|it| (it.producer_id, it.first_offset));
        read.batches.retain(|batch| counts(batch, &aborted));
    }
}

/// Whether the batch's events count; `aborted` is sorted by producer and offset.
fn counts(batch: &StoredBatch, aborted: &[Aborted]) -> bool {
    let Ok(header) = parse_header(&batch.bytes) else { return true };
    if header.is_control() {
        return false;
    }
    if !header.is_transactional() {
        return true;
    }
    let key = (header.producer_id, batch.base_offset);
    let after = aborted.partition_point(|it| (it.producer_id, it.first_offset) <= key);
    let before = aborted[..after].last().filter(|it| it.producer_id == header.producer_id);
    before.is_none_or(|it| it.last_offset < batch.base_offset)
}
