//! The fetch sessions of all clients: a bounded number of them, with a bounded
//! number of partitions in all.
//!
//! Promises: when there is no room, a new session takes the place of one that
//! was not used for [`EVICTION_MS`], or of the smallest one that is older than
//! that and smaller than the new one; otherwise the client is told session 0
//! and goes on without, as it would with Kafka. (Kafka also prefers replicas'
//! sessions; there are none here.)

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pluvio_foundation::metrics::Cell;
use pluvio_wire_kafka::fetch::FetchRequest;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::session::Session;
use crate::kafka::broker::{Broker, BrokerOptions};
use crate::kafka::codes::Code;

/// The epoch of a full fetch that begins a session.
pub(super) const EPOCH_OPEN: i32 = 0;
/// The epoch of a full fetch that wants none, and ends the one it names.
pub(super) const EPOCH_CLOSE: i32 = -1;
/// A session unused for this long may be ended for another, in milliseconds.
const EVICTION_MS: u64 = 120_000;

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    kept: Mutex<Kept>,
    sessions_max: usize,
    partitions_max: usize,
    open: Arc<Cell>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<i32, Entry>,
    partitions: usize,
}

#[derive(Debug)]
struct Entry {
    session: Arc<AsyncMutex<Session>>,
    /// The epoch that the next fetch must carry.
    epoch: i32,
    by_id: bool,
    partitions: usize,
    created_ms: u64,
    used_ms: u64,
}

impl Sessions {
    pub(crate) fn new(options: &BrokerOptions, open: Arc<Cell>) -> Self {
        let (sessions_max, partitions_max) =
            (options.fetch_sessions_max, options.fetch_session_partitions_max);
        Self { kept: Mutex::default(), sessions_max, partitions_max, open }
    }

    /// Opens a session, if there is room; gives its id, or 0. `begin` makes it
    /// while nobody else is held up.
    pub(super) fn open(
        &self,
        broker: &Broker,
        partitions: usize,
        by_id: bool,
        begin: impl FnOnce() -> Session,
    ) -> i32 {
        let now_ms = broker.monotonic_ms();
        if partitions == 0 || !self.make_room(&mut self.kept.lock(), partitions, now_ms) {
            return 0;
        }
        let session = begin();
        let partitions = session.len();
        let session = Arc::new(AsyncMutex::new(session));
        let mut kept = self.kept.lock();
        if !self.make_room(&mut kept, partitions, now_ms) {
            return 0;
        }
        let id = loop {
            let id = i32::try_from(broker.random.next_u64() >> 33).unwrap_or(0);
            if id != 0 && !kept.sessions.contains_key(&id) {
                break id;
            }
        };
        let entry = Entry { session, epoch: 1, by_id, partitions, created_ms: now_ms, used_ms: now_ms };
        kept.sessions.insert(id, entry);
        kept.partitions += partitions;
        self.open.set(kept.sessions.len() as u64);
        id
    }

    /// Makes room for one more session with so many partitions, if it can.
    fn make_room(&self, kept: &mut Kept, partitions: usize, now_ms: u64) -> bool {
        let fits = |kept: &Kept| {
            kept.sessions.len() < self.sessions_max && kept.partitions + partitions <= self.partitions_max
        };
        while !fits(kept) {
            let Some(id) = evictable(kept, partitions, now_ms) else { return false };
            kept.remove(id);
        }
        true
    }

    /// The session that an incremental fetch goes on with; it is the only one
    /// to use it for as long as it holds it.
    pub(super) fn resume(
        &self,
        now_ms: u64,
        request: &FetchRequest,
        by_id: bool,
    ) -> Result<OwnedMutexGuard<Session>, Code> {
        let mut kept = self.kept.lock();
        let entry = kept.sessions.get_mut(&request.session_id).ok_or(Code::FetchSessionIdNotFound)?;
        if entry.epoch != request.session_epoch {
            return Err(Code::InvalidFetchSessionEpoch);
        }
        if entry.by_id != by_id {
            return Err(Code::FetchSessionTopicIdError);
        }
        // One that is held belongs to a connection whose client has left it.
        let session = Arc::clone(&entry.session).try_lock_owned();
        let session = session.map_err(|_| Code::InvalidFetchSessionEpoch)?;
        entry.epoch = if entry.epoch == i32::MAX { 1 } else { entry.epoch + 1 };
        entry.used_ms = now_ms;
        Ok(session)
    }

    /// Notes how many partitions a session has now. False if that is too many
    /// and the session was ended.
    pub(super) fn resize(&self, id: i32, partitions: usize) -> bool {
        let mut kept = self.kept.lock();
        let Some(entry) = kept.sessions.get_mut(&id) else { return false };
        let before = std::mem::replace(&mut entry.partitions, partitions);
        kept.partitions = kept.partitions - before + partitions;
        let fits = kept.partitions <= self.partitions_max || partitions <= before;
        if !fits {
            kept.remove(id);
            self.open.set(kept.sessions.len() as u64);
        }
        fits
    }

    /// Ends a session.
    pub(super) fn close(&self, id: i32) {
        let mut kept = self.kept.lock();
        kept.remove(id);
        self.open.set(kept.sessions.len() as u64);
    }
}

impl Kept {
    fn remove(&mut self, id: i32) {
        if let Some(entry) = self.sessions.remove(&id) {
            self.partitions -= entry.partitions;
        }
    }
}

fn evictable(kept: &Kept, partitions: usize, now_ms: u64) -> Option<i32> {
    let (stale, entry) = kept.sessions.iter().min_by_key(|(_, entry)| entry.used_ms)?;
    if now_ms.saturating_sub(entry.used_ms) > EVICTION_MS {
        return Some(*stale);
    }
    let aged = kept.sessions.iter().filter(|(_, it)| now_ms.saturating_sub(it.created_ms) > EVICTION_MS);
    let (smallest, entry) = aged.min_by_key(|(id, entry)| (entry.partitions, **id))?;
    (entry.partitions < partitions).then_some(*smallest)
}
