//! Transactions: the coordinator of all transactional producers.
//!
//! Promises: what a transaction wrote is seen whole by those who read committed
//! records, or not at all, whatever crashes; an answer to EndTxn means that the
//! decision is durable; a producer with an older epoch changes nothing; a
//! transaction that takes longer than its timeout is aborted, and its producer
//! fenced. After a restart what was decided is completed before anything is
//! served, and what was ongoing goes on.
//!
//! How: a partition is in the coordinator's durable state before a record of
//! the transaction is in the partition (`adding`). The end is written to that
//! state first, and then into every partition as a marker (`ending`). Records
//! are appended under the lock that the end takes (`Slot::now`), so that none
//! comes late. The state machine is in `transaction`, its stored form in
//! `record`, the topic in the journal that committed offsets use too.

mod adding;
mod describe;
mod ending;
mod offsets;
mod producing;
mod record;
mod recovery;
mod requests;
mod table;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use pluvio_eventlog::EventLog;
use pluvio_eventlog::internal::TRANSACTION_STATE;
use pluvio_foundation::Clock;

use super::broker::{Broker, BrokerOptions};
use super::codes::{self, Code};
use super::journal::{Journal, Wrote};
use crate::DoorError;
pub(crate) use describe::{describe_producers, describe_transactions, list_transactions};
pub(crate) use offsets::commit_offsets;
pub(crate) use producing::produce;
pub(crate) use requests::{add_offsets, add_partitions, end_transaction, init_producer_id};
use table::Table;
pub(crate) use transaction::Transaction;

/// Longest transactional id, in bytes.
const ID_BYTES_MAX: usize = 1_024;

/// All transactional producers.
#[derive(Debug)]
pub(crate) struct Transactions {
    slots: RwLock<HashMap<String, Arc<Slot>>>,
    journal: Journal<Table>,
    ids_max: usize,
    pub(crate) touched_max: usize,
    timeout_ms_max: i32,
    retention_ms: i64,
}

/// One transactional producer.
#[derive(Debug)]
pub(crate) struct Slot {
    pub id: String,
    /// Held from the beginning of a change of state until it is complete, so
    /// that whoever comes meanwhile waits for it.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// The state as everybody sees it. Held while records are appended.
    pub now: Mutex<Transaction>,
    /// Produces that wait for their partitions to be added: what comes after
    /// them must not overtake them.
    arriving: AtomicUsize,
    /// Where the decision of the prepared transaction was written.
    decided: Mutex<Option<Wrote>>,
    /// Whether the id was forgotten: what is found later is another slot.
    is_forgotten: AtomicBool,
}

/// The right to change a producer's state.
type Changing = tokio::sync::OwnedMutexGuard<()>;

impl Slot {
    fn new(id: &str, transaction: Transaction) -> Arc<Self> {
        Arc::new(Self {
            id: id.to_owned(),
            changing: Arc::default(),
            now: Mutex::new(transaction),
            arriving: AtomicUsize::new(0),
            decided: Mutex::default(),
            is_forgotten: AtomicBool::new(false),
        })
    }
}

impl Transactions {
    /// Reads the state back, from the topic that is made if it is not there.
    /// [`Self::recover`] must follow before anything is served.
    pub fn open(log: &EventLog, clock: Arc<dyn Clock>, options: &BrokerOptions) -> Result<Self, DoorError> {
        let journal = Journal::open(log, TRANSACTION_STATE, clock, Table::default())?;
        let slots = journal.with(Table::transactions)?;
        let slots: HashMap<String, Arc<Slot>> = slots
            .into_iter()
            .map(|(id, transaction)| {
                let slot = Slot::new(&id, transaction);
                (id, slot)
            })
            .collect();
        tracing::info!(transactional_ids = slots.len(), "transactional producers read");
        Ok(Self {
            slots: RwLock::new(slots),
            journal,
            ids_max: options.transactional_ids_max,
            touched_max: options.transaction_partitions_max,
            timeout_ms_max: options.transaction_timeout_ms_max,
            retention_ms: options.transactional_id_retention_ms,
        })
    }

    fn now_ms(&self) -> i64 {
        self.journal.now_ms()
    }

    /// The producer of this transactional id.
    pub fn find(&self, id: &str) -> Result<Arc<Slot>, Code> {
        if id.is_empty() {
            return Err(Code::InvalidRequest);
        }
        self.slots.read().get(id).cloned().ok_or(Code::InvalidProducerIdMapping)
    }

    /// The same, made if it is not there.
    fn find_or_make(&self, id: &str, timeout_ms: i32) -> Result<Arc<Slot>, Code> {
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(Code::InvalidRequest);
        }
        if !(1..=self.timeout_ms_max).contains(&timeout_ms) {
            return Err(Code::InvalidTransactionTimeout);
        }
        let mut slots = self.slots.write();
        if let Some(slot) = slots.get(id) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.ids_max {
            tracing::warn!(ids_max = self.ids_max, "too many transactional ids; one was refused");
            return Err(Code::PolicyViolation);
        }
        let slot = Slot::new(id, Transaction::new(timeout_ms, self.now_ms()));
        slots.insert(id.to_owned(), Arc::clone(&slot));
        Ok(slot)
    }

    /// All producers.
    fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.read().values().cloned().collect()
    }

    /// Writes a producer's new state. The caller holds its `now` or `changing`.
    fn write(&self, slot: &Slot, next: &Transaction) -> Result<Wrote, Code> {
        let change = (slot.id.clone(), Some(record::encode(next)));
        self.journal.write(vec![change]).map_err(|error| failed(&slot.id, &error))
    }

    async fn durable(&self, slot: &Slot, wrote: Wrote) -> Result<(), Code> {
        self.journal.durable(wrote).await.map_err(|error| failed(&slot.id, &error))
    }
}

/// Tells the operator that a producer's state could not be kept, and the client
/// to try again.
fn failed(id: &str, error: &DoorError) -> Code {
    tracing::error!(transactional_id = id, %error, "transaction state not kept");
    match codes::of_door(error) {
        Code::KafkaStorageError | Code::NotLeaderOrFollower => Code::CoordinatorNotAvailable,
        code => code,
    }
}

/// Waits until the change that is under way is complete, and for the right to
/// make the next one.
async fn enter(broker: &Arc<Broker>, slot: &Arc<Slot>) -> Result<Changing, Code> {
    let changing = Arc::clone(&slot.changing).lock_owned().await;
    if slot.is_forgotten.load(Ordering::SeqCst) {
        return Err(Code::ConcurrentTransactions);
    }
    if !slot.now.lock().is_prepared() {
        return Ok(changing);
    }
    // Its markers could not all be written; perhaps they can now.
    ending::complete(broker, slot).await?;
    Ok(changing)
}

/// How often overdue transactions are looked for.
const CHECK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(1_000);

/// Aborts overdue transactions, completes what could not be completed and
/// forgets producers that are no longer used, for ever.
pub(crate) async fn watch(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        ending::check_all(&broker).await;
    }
}

impl Broker {
    /// Does now what time alone makes due in transactions: those that took too
    /// long are aborted. [`super::serve`] does so once a second.
    pub async fn check_transactions(self: &Arc<Self>) {
        ending::check_all(self).await;
    }
}
