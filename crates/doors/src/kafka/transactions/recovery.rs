//! The start: what was decided is completed, and what nobody answers for is
//! aborted, before anything is served.

use std::collections::HashSet;
use std::sync::Arc;

use pluvio_eventlog::{EventLog, Partition, Topic};
use pluvio_wire_kafka::records::EndMarker;

use super::ending::{mark_all, still_there};
use super::transaction::{State, Transaction};
use super::{Transactions, record};
use crate::DoorError;
use crate::kafka::offsets::OffsetStore;

impl Transactions {
    /// Completes prepared transactions, then aborts in each partition those
    /// that no producer's state knows of: that state was lost.
    ///
    /// What fails, for want of disk space for instance, is told and left: the
    /// first check or the first request that needs it tries again.
    pub fn recover(&self, log: &EventLog, offsets: &OffsetStore) {
        for slot in self.all() {
            let transaction = slot.now.lock().clone();
            if !transaction.is_prepared() {
                continue;
            }
            match self.complete_at_start(&slot.id, &transaction, log, offsets) {
                Ok(()) => *slot.now.lock() = transaction.completed(self.now_ms()),
                Err(error) => {
                    let transactional_id = &slot.id;
                    tracing::error!(transactional_id, %error, "transaction decided, but not completed yet");
                }
            }
        }
        for topic in log.topics() {
            for partition in topic.partitions() {
                if let Err(error) = self.abort_unknown(&topic, &partition) {
                    tracing::error!(%error, "a transaction nobody knows of remains");
                }
            }
        }
        if let Err(error) = self.forget_unknown_offsets(offsets) {
            tracing::error!(%error, "offsets of a transaction nobody knows of remain");
        }
    }

    fn forget_unknown_offsets(&self, offsets: &OffsetStore) -> Result<(), DoorError> {
        let ongoing: HashSet<i64> = self.under_way().map(|transaction| transaction.producer_id).collect();
        for producer_id in offsets.pending_producers() {
            if !ongoing.contains(&producer_id) {
                offsets.sync(offsets.end_pending(producer_id, false)?)?;
            }
        }
        Ok(())
    }

    /// The transactions that are ongoing, or decided and not complete.
    fn under_way(&self) -> impl Iterator<Item = Transaction> {
        let all = self.all().into_iter().map(|slot| slot.now.lock().clone());
        all.filter(|transaction| transaction.state == State::Ongoing || transaction.is_prepared())
    }

    fn complete_at_start(
        &self,
        id: &str,
        transaction: &Transaction,
        log: &EventLog,
        offsets: &OffsetStore,
    ) -> Result<(), DoorError> {
        let marked = mark_all(log, offsets, transaction)?;
        for (partition, end_offset) in &marked.partitions {
            still_there(partition.sync(*end_offset))?;
        }
        offsets.sync(marked.offsets)?;
        let completed = record::encode(&transaction.completed(self.now_ms()));
        let wrote = self.journal.write(vec![(id.to_owned(), Some(completed))])?;
        self.journal.sync(wrote)?;
        tracing::info!(transactional_id = id, "a transaction that was decided before the stop is completed");
        Ok(())
    }

    fn abort_unknown(&self, topic: &Topic, partition: &Arc<Partition>) -> Result<(), DoorError> {
        for (producer_id, producer_epoch) in partition.ongoing_transactions() {
            let is_known = self.under_way().any(|transaction| {
                transaction.producer_id == producer_id
                    && transaction.has_partition(topic.name(), topic.id(), partition.index())
            });
            if is_known {
                continue;
            }
            let (topic, index) = (topic.name(), partition.index());
            tracing::error!(
                topic,
                partition = index,
                producer_id,
                "a transaction nobody knows of is aborted"
            );
            let marker = EndMarker { producer_id, producer_epoch, is_commit: false };
            partition.end_transaction(&marker, producer_epoch)?;
            partition.sync(partition.end_offset())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
