//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pluvio_eventlog::{EventLog, LogError, Partition, Topic};
use pluvio_foundation::metrics::Cell;
use pluvio_foundation::{Clock, Metrics, Random, limits};
use pluvio_wire_kafka::{APIS, TopicRef};
use tokio::sync::Semaphore;

use super::fetch::Sessions;
use super::groups::Groups;
use super::offsets::OffsetStore;
use super::security::Security;
use super::throttle::Throttle;
use super::transactions::Transactions;
use crate::DoorError;

/// What can be set about the Kafka door.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// The host name that clients are told to connect to.
    pub advertised_host: String,
    /// The port that clients are told to connect to.
    pub advertised_port: u16,
    /// This broker's number.
    pub node_id: i32,
    /// Whether a topic is made when a client first asks for it.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose maker did not say how many.
    pub default_partitions: u32,
    /// Most connections at once.
    pub connections_max: usize,
    /// Largest Produce request, in bytes.
    pub frame_bytes_max: usize,
    /// Most bytes of Produce requests being read or waiting for their transaction at
    /// once, over all connections.
    pub requests_bytes_max: usize,
    /// Most bytes of other large requests that are read and not carried out, over
    /// all connections. Apart, so that no waiting reader keeps producers waiting.
    pub waiting_bytes_max: usize,
    /// Most bytes of Fetch answers being sent at once, over all connections.
    pub answers_bytes_max: usize,
    /// Most fetch sessions at once.
    pub fetch_sessions_max: usize,
    /// Most partitions of all fetch sessions together.
    pub fetch_session_partitions_max: usize,
    /// How long a group that was empty waits for more members before it assigns
    /// anything, and again for as long whenever one comes, in milliseconds.
    pub group_initial_delay_ms: u64,
    /// Most groups with members at once.
    pub groups_max: usize,
    /// Most that the members of all groups tell and are given, in bytes.
    pub groups_bytes_max: usize,
    /// Most members of one group.
    pub group_members_max: usize,
    /// A member of a group of the consumer protocol is given up after so long
    /// without a heartbeat, in milliseconds.
    pub consumer_session_timeout_ms: u64,
    /// How often such a member is told to send one, in milliseconds.
    pub consumer_heartbeat_interval_ms: u64,
    /// A group without members, and what it committed, are kept this long, in
    /// milliseconds.
    pub offsets_retention_ms: i64,
    /// Most transactional ids.
    pub transactional_ids_max: usize,
    /// Most partitions and groups of one transaction.
    pub transaction_partitions_max: usize,
    /// Longest timeout that a producer may ask for its transactions, in
    /// milliseconds.
    pub transaction_timeout_ms_max: i32,
    /// A transactional id that is not used is forgotten after this long, in
    /// milliseconds.
    pub transactional_id_retention_ms: i64,
    /// Who may use the door; `None`: everybody, for everything.
    pub security: Option<Arc<Security>>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            advertised_host: "localhost".into(),
            advertised_port: 9092,
            node_id: 1,
            auto_create_topics: true,
            default_partitions: 1,
            connections_max: limits::CONNECTIONS_MAX,
            frame_bytes_max: limits::KAFKA_FRAME_BYTES_MAX,
            requests_bytes_max: 256 << 20,
            waiting_bytes_max: 64 << 20,
            answers_bytes_max: 256 << 20,
            fetch_sessions_max: 1_000,
            fetch_session_partitions_max: 1 << 20,
            group_initial_delay_ms: 0,
            groups_max: 10_000,
            groups_bytes_max: 256 << 20,
            group_members_max: 1_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            transactional_ids_max: 100_000,
            transaction_partitions_max: 2_000,
            transaction_timeout_ms_max: 15 * 60_000,
            transactional_id_retention_ms: 7 * 24 * 3_600_000,
            security: None,
        }
    }
}

/// The numbers of this door.
#[derive(Debug)]
pub(crate) struct Counters {
    open: AtomicU64,
    connections: Arc<Cell>,
    /// Bytes received.
    pub bytes_in: Arc<Cell>,
    /// Bytes sent.
    pub bytes_out: Arc<Cell>,
    /// Connections closed because of what the peer sent.
    pub malformed: Arc<Cell>,
    /// Proofs of who a peer is that were wrong.
    pub refused_proofs: Arc<Cell>,
    /// Batches refused for a reason that is the server's.
    pub produce_failures: Arc<Cell>,
    requests: Vec<(i16, Arc<Cell>)>,
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        let cell = |name| metrics.cell(name, "");
        let requests = APIS.iter().map(|api| {
            let label = format!("{:?}", api.key);
            (api.key as i16, metrics.cell("door_kafka_requests", &label))
        });
        Self {
            open: AtomicU64::new(0),
            connections: cell("door_kafka_connections"),
            bytes_in: cell("door_kafka_bytes_in"),
            bytes_out: cell("door_kafka_bytes_out"),
            malformed: cell("door_kafka_malformed_closes"),
            refused_proofs: cell("door_kafka_refused_authentications"),
            produce_failures: cell("door_kafka_produce_failures"),
            requests: requests.collect(),
        }
    }

    /// Counts a request.
    pub fn request(&self, api_key: i16) {
        if let Some((_, cell)) = self.requests.iter().find(|(key, _)| *key == api_key) {
            cell.add(1);
        }
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(self: &Arc<Self>) -> ConnectionCount {
        self.connections.set(self.open.fetch_add(1, Ordering::Relaxed) + 1);
        ConnectionCount(Arc::clone(self))
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct ConnectionCount(Arc<Counters>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.connections.set(self.0.open.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

/// Lets a complaint through once in a while.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    next_ms: AtomicU64,
}

const COMPLAINT_INTERVAL_MS: u64 = 1_000;

impl Complaints {
    /// Whether it is time for one.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let later = now_ms + COMPLAINT_INTERVAL_MS;
        now_ms >= next_ms
            && self.next_ms.compare_exchange(next_ms, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Bytes that one permit of a budget stands for.
const PERMIT_BYTES: usize = 1024;

/// A number of bytes that all connections share.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    permits: Arc<Semaphore>,
    permits_max: u32,
}

/// Bytes taken from a budget; given back when dropped.
pub(crate) type Taken = tokio::sync::OwnedSemaphorePermit;

impl ByteBudget {
    fn new(bytes: usize) -> Self {
        let permits_max = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 3).max(1);
        Self { permits: Arc::new(Semaphore::new(permits_max as usize)), permits_max }
    }

    fn permits_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.permits_max)
    }

    /// Waits until so many bytes are free and takes them.
    pub async fn take(&self, bytes: usize) -> Option<Taken> {
        Arc::clone(&self.permits).acquire_many_owned(self.permits_of(bytes)).await.ok()
    }

    /// Gives back what was taken beyond `bytes`.
    pub fn shrink(&self, taken: &mut Option<Taken>, bytes: usize) {
        let keep = self.permits_of(bytes) as usize;
        if let Some(held) = taken {
            let extra = held.num_permits().saturating_sub(keep);
            drop(held.split(extra));
        }
    }
}

/// The broker: an event log and what Kafka's protocol needs around it.
#[derive(Debug)]
pub struct Broker {
    pub(crate) log: Arc<EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) options: BrokerOptions,
    /// The cluster's name: the log's identity, written as Kafka does.
    pub(crate) cluster_id: String,
    pub(crate) counters: Arc<Counters>,
    pub(crate) complaints: Complaints,
    pub(crate) sessions: Sessions,
    pub(crate) groups: Arc<Groups>,
    pub(crate) offsets: OffsetStore,
    pub(crate) throttle: Throttle,
    pub(crate) transactions: Transactions,
    pub(crate) requests_budget: ByteBudget,
    pub(crate) waiting_budget: ByteBudget,
    pub(crate) answers_budget: ByteBudget,
}

impl Broker {
    /// A broker over `log`. Reads groups, committed offsets and transactions back,
    /// makes their topics if this is the first start, and completes transactions
    /// that were decided; blocks while it does.
    pub fn new(
        log: Arc<EventLog>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: &Metrics,
        options: BrokerOptions,
    ) -> Result<Self, DoorError> {
        let groups = Arc::new(Groups::open(&log, Arc::clone(&clock), &options)?);
        let retention_ms = options.offsets_retention_ms;
        let offsets = OffsetStore::open(&log, Arc::clone(&groups), Arc::clone(&clock), retention_ms)?;
        let transactions = Transactions::open(&log, Arc::clone(&clock), &options)?;
        transactions.recover(&log, &offsets);
        Ok(Self {
            sessions: Sessions::new(&options, metrics.cell("door_kafka_fetch_sessions", "")),
            groups,
            offsets,
            transactions,
            counters: Arc::new(Counters::new(metrics)),
            complaints: Complaints::default(),
            throttle: Throttle::default(),
            requests_budget: ByteBudget::new(options.requests_bytes_max),
            waiting_budget: ByteBudget::new(options.waiting_bytes_max),
            answers_budget: ByteBudget::new(options.answers_bytes_max),
            cluster_id: URL_SAFE_NO_PAD.encode(log.id()),
            log,
            clock,
            random,
            options,
        })
    }

    /// The topic that a request names.
    pub(crate) fn topic(&self, topic: &TopicRef) -> Option<Arc<Topic>> {
        match topic {
            TopicRef::Name(name) => self.log.topic(name),
            TopicRef::Id(id) => self.log.topic_by_id(*id),
        }
    }

    /// The partition of a named topic.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.log.topic(topic)?.partition(index)
    }

    /// Milliseconds on the clock that never goes back.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_us() / 1000
    }
}

/// Runs something that waits for the disk without holding up other work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(LogError::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_come_once_a_second() {
        let complaints = Complaints::default();
        let due: Vec<u64> = (0..2_500).filter(|now_ms| complaints.is_due(*now_ms)).collect();
        assert_eq!(due, [0, 1_000, 2_000]);
    }

    #[tokio::test]
    async fn a_budget_gives_no_more_than_it_has() {
        let budget = ByteBudget::new(10 << 10);
        let mut all = budget.take(1 << 20).await;
        assert_eq!(budget.permits.available_permits(), 0);
        budget.shrink(&mut all, 3 << 10);
        assert_eq!(budget.permits.available_permits(), 7);
        drop(all);
        assert_eq!(budget.permits.available_permits(), 10);
    }
}
