//! The end of a transaction: the decision, the markers, and the note that all
//! is done. Each step may be repeated after a crash.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pluvio_eventlog::{LogError, Partition};
use pluvio_wire_kafka::records::EndMarker;

use super::transaction::{Decision, Ending, NO_ID, State, Transaction};
use super::{Changing, Slot, Transactions, enter, failed};
use crate::DoorError;
use crate::kafka::broker::{Broker, blocking};
use crate::kafka::codes::Code;
use crate::kafka::journal::Wrote;

/// What a completion waits for.
pub(super) struct Marked {
    pub(super) partitions: Vec<(Arc<Partition>, i64)>,
    pub(super) offsets: Wrote,
}

/// Ends a producer's transaction; gives the identity under which it goes on.
/// Returns once the decision is durable and the markers are seen.
pub(super) async fn end(broker: &Arc<Broker>, slot: &Arc<Slot>, ending: Ending) -> Result<(i64, i16), Code> {
    let changing = enter(broker, slot).await?;
    let this = &broker.transactions;
    let exhausted = ending.raises_epoch && slot.now.lock().is_exhausted();
    let new_id = if exhausted { new_producer_id(broker).await? } else { NO_ID };
    let (identity, wrote) = {
        let mut now = slot.now.lock();
        match now.end(&ending, this.now_ms(), new_id)? {
            Decision::Done => return Ok((now.producer_id, now.producer_epoch)),
            Decision::Prepare(next) => {
                let wrote = this.decide(slot, &mut now, *next)?;
                (now.identity_after(), wrote)
            }
        }
    };
    this.durable(slot, wrote).await?;
    finish(broker, slot, changing);
    Ok(identity)
}

/// Aborts the ongoing transaction of a producer that is given up.
pub(super) async fn abort(broker: &Arc<Broker>, slot: &Arc<Slot>) -> Result<(), Code> {
    let this = &broker.transactions;
    let wrote = {
        let mut now = slot.now.lock();
        let next = now.fence(this.now_ms());
        this.decide(slot, &mut now, next)?
    };
    this.durable(slot, wrote).await
}

/// An id for a producer.
pub(super) async fn new_producer_id(broker: &Broker) -> Result<i64, Code> {
    let log = Arc::clone(&broker.log);
    blocking(move || log.new_producer_id()).await.map_err(|error| failed("", &DoorError::Log(error)))
}

/// Writes the markers of a prepared transaction, and notes in the background
/// that it is complete; whoever changes the state next waits for that.
fn finish(broker: &Arc<Broker>, slot: &Arc<Slot>, changing: Changing) {
    let marked = mark(broker, slot);
    let (broker, slot) = (Arc::clone(broker), Arc::clone(slot));
    tokio::spawn(async move {
        let _changing = changing;
        // What cannot be completed now is tried again by whoever needs it, by
        // the next check and at the next start.
        let _ = settle(&broker, &slot, marked).await;
    });
}

/// Completes a prepared transaction. The caller holds `changing`.
pub(super) async fn complete(broker: &Arc<Broker>, slot: &Arc<Slot>) -> Result<(), Code> {
    // Whoever decided may have gone before the decision was durable.
    let decided = *slot.decided.lock();
    if let Some(wrote) = decided {
        broker.transactions.durable(slot, wrote).await?;
    }
    let marked = mark(broker, slot);
    settle(broker, slot, marked).await
}

async fn settle(broker: &Broker, slot: &Slot, marked: Result<Marked, DoorError>) -> Result<(), Code> {
    let settled = async {
        let marked = marked?;
        for (partition, end_offset) in &marked.partitions {
            still_there(partition.durable(*end_offset).await)?;
        }
        broker.offsets.durable(marked.offsets).await
    };
    if let Err(error) = settled.await {
        tracing::error!(transactional_id = slot.id, %error, "transaction decided, but not completed yet");
        return Err(Code::ConcurrentTransactions);
    }
    let this = &broker.transactions;
    let mut now = slot.now.lock();
    let next = now.completed(this.now_ms());
    // Not waited for: without this record the markers are asked for again.
    let wrote = this.write(slot, &next)?;
    this.journal.leave(wrote);
    *now = next;
    Ok(())
}

/// A topic that is gone needs no marker; nor does a partition where the
/// producer has a newer epoch, for that was given out after the end.
pub(super) fn still_there(result: Result<(), LogError>) -> Result<(), DoorError> {
    match result {
        Err(LogError::TopicDeleted { .. } | LogError::StaleProducerEpoch { .. }) => Ok(()),
        result => Ok(result?),
    }
}

/// Writes what is missing of the markers of a prepared transaction, and ends
/// its pending offsets.
pub(super) fn mark(broker: &Broker, slot: &Slot) -> Result<Marked, DoorError> {
    let transaction = slot.now.lock().clone();
    mark_all(&broker.log, &broker.offsets, &transaction)
}

/// The same for who has no broker yet.
pub(super) fn mark_all(
    log: &pluvio_eventlog::EventLog,
    offsets: &crate::kafka::offsets::OffsetStore,
    transaction: &Transaction,
) -> Result<Marked, DoorError> {
    let marker = EndMarker {
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        is_commit: transaction.state == State::PrepareCommit,
    };
    let mut partitions = Vec::with_capacity(transaction.len());
    for (name, touched) in &transaction.topics {
        let topic = log.topic(name).filter(|topic| topic.id() == touched.topic_id);
        let Some(topic) = topic else { continue };
        for partition in touched.partitions.iter().filter_map(|index| topic.partition(*index)) {
            still_there(partition.end_transaction(&marker, transaction.ran_in_epoch).map(drop))?;
            let end_offset = partition.end_offset();
            partitions.push((partition, end_offset));
        }
    }
    let offsets = offsets.end_pending(transaction.producer_id, marker.is_commit)?;
    Ok(Marked { partitions, offsets })
}

/// Does what is due; see [`super::watch`].
pub(super) async fn check_all(broker: &Arc<Broker>) {
    for slot in broker.transactions.all() {
        let this = &broker.transactions;
        let now_ms = this.now_ms();
        let due = |now: &Transaction| {
            now.is_prepared() || now.is_overdue(now_ms) || now.is_idle_since(now_ms - this.retention_ms)
        };
        if !due(&slot.now.lock()) {
            continue;
        }
        // One that is changing is somebody's already.
        let Ok(changing) = Arc::clone(&slot.changing).try_lock_owned() else { continue };
        let broker = Arc::clone(broker);
        let checked = tokio::spawn(async move { check(&broker, &slot, now_ms, changing).await });
        let _ = checked.await;
    }
}

async fn check(broker: &Arc<Broker>, slot: &Arc<Slot>, now_ms: i64, changing: Changing) {
    let this = &broker.transactions;
    if slot.now.lock().is_prepared() {
        // A failure was told there.
        let _ = complete(broker, slot).await;
    }
    let (is_overdue, is_idle) = {
        let now = slot.now.lock();
        (now.is_overdue(now_ms), now.is_idle_since(now_ms - this.retention_ms))
    };
    if is_overdue {
        let timeout_ms = slot.now.lock().timeout_ms;
        tracing::warn!(transactional_id = slot.id, timeout_ms, "transaction took too long and is aborted");
        if abort(broker, slot).await.is_ok() {
            let _ = complete(broker, slot).await;
        }
    } else if is_idle {
        this.forget(slot);
    }
    drop(changing);
}

impl Transactions {
    /// Writes the decision about a producer's transaction: from here on no
    /// record can be added to it.
    fn decide(&self, slot: &Slot, now: &mut Transaction, next: Transaction) -> Result<Wrote, Code> {
        let wrote = self.write(slot, &next)?;
        *slot.decided.lock() = Some(wrote);
        *now = next;
        Ok(wrote)
    }

    /// Forgets a producer that is no longer used. Who waits to change it is
    /// told to come again.
    fn forget(&self, slot: &Slot) {
        if let Ok(wrote) = self.journal.write(vec![(slot.id.clone(), None)]) {
            self.journal.leave(wrote);
            slot.is_forgotten.store(true, Ordering::SeqCst);
            self.slots.write().remove(&slot.id);
        }
    }
}
