//! What a transaction touches is written down before it is touched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Slot, Transactions, enter};
use crate::kafka::broker::Broker;
use crate::kafka::codes::Code;

/// Topic, its identifier, and partition.
pub(crate) type Place = (String, [u8; 16], i32);

impl Transactions {
    /// Adds partitions and a group to the producer's transaction, which begins
    /// if none is ongoing. Returns once that is durable.
    pub async fn add(
        broker: &Arc<Broker>,
        slot: &Arc<Slot>,
        producer: (i64, i16),
        places: &[Place],
        group: Option<&str>,
    ) -> Result<(), Code> {
        let this = &broker.transactions;
        let _changing = enter(broker, slot).await?;
        let next = {
            let now = slot.now.lock();
            now.check_producer(producer.0, producer.1)?;
            let Some(next) = now.add(places, group, this.now_ms()) else { return Ok(()) };
            next
        };
        if next.len() > this.touched_max {
            let (count, count_max) = (next.len(), this.touched_max);
            tracing::warn!(transactional_id = slot.id, count, count_max, "transaction refused: too large");
            return Err(Code::PolicyViolation);
        }
        let wrote = this.write(slot, &next)?;
        this.durable(slot, wrote).await?;
        // Only now may records follow.
        *slot.now.lock() = next;
        Ok(())
    }

    /// Checks, without adding anything, that all of this is in the producer's
    /// ongoing transaction.
    pub fn verify(slot: &Slot, producer: (i64, i16), places: &[Place]) -> Result<(), Code> {
        let now = slot.now.lock();
        now.check_producer(producer.0, producer.1)?;
        let is_in = |(topic, id, index): &Place| now.has_partition(topic, *id, *index);
        match now.state == super::transaction::State::Ongoing && places.iter().all(is_in) {
            true => Ok(()),
            false => Err(Code::InvalidTxnState),
        }
    }
}

/// A Produce on its way into a transaction. While it lives, later ones of the
/// same producer wait their turn.
pub(crate) struct Joining(Arc<Slot>);

impl Joining {
    pub fn new(slot: &Arc<Slot>) -> Self {
        slot.arriving.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(slot))
    }

    /// Whether any is on its way.
    pub fn is_any(slot: &Slot) -> bool {
        slot.arriving.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::SeqCst);
    }
}
