//! A partition: what is known of it at any moment, and waiting for it.
//!
//! Locks are taken in this order, and none of the later ones is held while an
//! earlier one is asked for: `upkeep`, `syncing`, `writer`, `segments`, then
//! the leaves (a segment's own, the tail's, `transactions`, `holds`).

use crate::changes::Followers;
use crate::producers::Producers;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::tail::Tail;
use crate::topic::TopicInfo;
use crate::transactions::{ALL_STABLE, Transactions};
use crate::{Durability, LogError, TopicConfig, compaction};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{Notify, watch};

/// One partition of a topic: an ordered, append-only run of events.
#[derive(Debug)]
pub struct Partition {
    pub(crate) me: Weak<Partition>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) topic: Arc<TopicInfo>,
    index: i32,
    pub(crate) writer: Mutex<Writer>,
    /// By base offset, without overlap.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) start: AtomicI64,
    pub(crate) end: AtomicI64,
    pub(crate) durable: AtomicI64,
    /// Held by whoever syncs.
    pub(crate) syncing: Mutex<()>,
    pub(crate) dirty: AtomicBool,
    wanted: AtomicBool,
    pub(crate) durable_changed: Notify,
    end_watch: OnceLock<watch::Sender<i64>>,
    pub(crate) followers: Followers,
    /// Changed by whoever holds `writer`.
    pub(crate) transactions: RwLock<Transactions>,
    /// The first offset of all ongoing transactions, or [`ALL_STABLE`].
    pub(crate) first_unstable: AtomicI64,
    pub(crate) stable_watch: OnceLock<watch::Sender<i64>>,
    holds: Mutex<BTreeMap<String, i64>>,
    /// Held by whoever removes or replaces segments.
    pub(crate) upkeep: Mutex<()>,
    /// Up to where it was compacted, or [`compaction::UNKNOWN`].
    pub(crate) compacted_to: AtomicI64,
    failure: OnceLock<String>,
}

/// What only the one who appends needs.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) producers: Producers,
    /// Segments with unsynced bytes, oldest first.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// Bytes of the newest segment that its sidecar describes, or soon will.
    pub(crate) described_bytes: u64,
    /// Bytes appended since the last sync began.
    pub(crate) unsynced_bytes: u64,
    /// Events appended since the last sync began.
    pub(crate) unsynced_events: u64,
    /// Closed segments whose sidecars are to be written once they are synced.
    pub(crate) closed: Vec<ClosedSegment>,
    /// Whether a segment's name is not durable yet.
    pub(crate) names_unsynced: bool,
    /// Whether the partition's folder is there.
    pub(crate) folder_made: bool,
    /// Whether anything was appended that the sidecars do not know.
    pub(crate) sidecars_stale: bool,
    /// Offsets of the producer snapshots on disk, ascending.
    pub(crate) snapshots: Vec<i64>,
}

/// What the sidecars are to say: of a segment just closed, or of one that
/// goes on, up to here.
#[derive(Debug)]
pub(crate) struct ClosedSegment {
    pub(crate) segment: Arc<Segment>,
    /// The index of a segment that goes on, as its sidecar's bytes.
    pub(crate) index: Option<Vec<u8>>,
    pub(crate) end_offset: i64,
    pub(crate) producers: Vec<u8>,
}

impl Partition {
    pub(crate) fn new(shared: &Arc<Shared>, topic: &Arc<TopicInfo>, index: i32) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            shared: Arc::clone(shared),
            topic: Arc::clone(topic),
            index,
            writer: Mutex::default(),
            segments: RwLock::default(),
            tail: Arc::default(),
            start: AtomicI64::new(0),
            end: AtomicI64::new(0),
            durable: AtomicI64::new(0),
            syncing: Mutex::default(),
            dirty: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            durable_changed: Notify::new(),
            end_watch: OnceLock::new(),
            followers: Followers::default(),
            transactions: RwLock::default(),
            first_unstable: AtomicI64::new(ALL_STABLE),
            stable_watch: OnceLock::new(),
            holds: Mutex::default(),
            upkeep: Mutex::default(),
            compacted_to: AtomicI64::new(compaction::UNKNOWN),
            failure: OnceLock::new(),
        })
    }

    /// Its number within the topic, from 0.
    pub fn index(&self) -> i32 {
        self.index
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// The offset that the next event will get.
    pub fn end_offset(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// Every event before this offset is on disk.
    pub fn durable_offset(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Bytes that its segments hold.
    pub fn bytes(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.bytes()).sum()
    }

    /// The end offset, and every later one.
    pub fn watch_end(&self) -> watch::Receiver<i64> {
        let sender = self.end_watch.get_or_init(|| watch::Sender::new(self.end_offset()));
        // An append between reading the end and making the sender is seen here.
        tell(sender, self.end_offset());
        sender.subscribe()
    }

    /// Publishes a new end offset.
    pub(crate) fn set_end(&self, end: i64) {
        self.end.store(end, Ordering::SeqCst);
        if let Some(sender) = self.end_watch.get() {
            tell(sender, end);
        }
        if let Some(sender) = self.stable_watch.get() {
            tell(sender, self.stable_offset());
        }
        self.followers.tell();
    }

    /// Whether its topic was deleted.
    pub fn is_deleted(&self) -> bool {
        self.topic.is_deleted()
    }

    /// Keeps events at or after `from_offset` from being removed by retention,
    /// on behalf of `holder`; `None` releases. Holds live in memory: a holder
    /// sets its own again after a start, before the first retention check.
    pub fn hold(&self, holder: &str, from_offset: Option<i64>) {
        let mut holds = self.holds.lock();
        match from_offset {
            Some(offset) => holds.insert(holder.to_owned(), offset),
            None => holds.remove(holder),
        };
    }

    /// The lowest offset that a holder needs.
    pub(crate) fn held_from(&self) -> i64 {
        self.holds.lock().values().copied().min().unwrap_or(i64::MAX)
    }

    /// Waits until every event before `upto_offset_exclusive` is on disk. An
    /// offset past the end counts as the end at the time of the call.
    ///
    /// Fails if the partition failed, or the log was closed, before that.
    pub async fn durable(&self, upto_offset_exclusive: i64) -> Result<(), LogError> {
        let upto = upto_offset_exclusive.min(self.end_offset());
        loop {
            if self.durable_offset() >= upto {
                return Ok(());
            }
            if !self.shared.options.background {
                return self.sync(upto);
            }
            let changed = self.durable_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.durable_offset() >= upto {
                return Ok(());
            }
            self.check_usable()?;
            self.want_sync()?;
            changed.await;
        }
    }

    /// Waits until the events before `upto_offset_exclusive` may be
    /// acknowledged to a producer that asked for every care: until they are on
    /// disk, or not at all if the topic is lazy.
    ///
    /// Fails as [`Partition::durable`] does.
    pub async fn acknowledged(&self, upto_offset_exclusive: i64) -> Result<(), LogError> {
        let durability = self.topic.config.read().durability();
        match durability {
            Durability::Synced => self.durable(upto_offset_exclusive).await,
            Durability::Lazy => self.check_usable(),
        }
    }

    pub(crate) fn want_sync(&self) -> Result<(), LogError> {
        if self.wanted.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        match self.me.upgrade() {
            Some(me) => self.shared.syncs.want(me),
            None => Err(LogError::Closed),
        }
    }

    /// A sync round that somebody asked for. If another round is running, the
    /// request is left to whoever runs it, so that one busy partition does not
    /// hold several threads.
    pub(crate) fn sync_wanted(&self) {
        {
            let Some(_syncing) = self.syncing.try_lock() else { return };
            // Whoever asks from here on is not surely covered and asks anew.
            self.wanted.store(false, Ordering::SeqCst);
            self.sync_locked();
        }
        self.pass_on_wanted();
    }

    /// After a round: puts the partition in line again if somebody asked
    /// meanwhile.
    pub(crate) fn pass_on_wanted(&self) {
        if self.wanted.load(Ordering::SeqCst)
            && let Some(me) = self.me.upgrade()
        {
            // Refused only at the close, which syncs everything itself.
            let _ = self.shared.syncs.want(me);
        }
    }

    /// The same as [`Partition::durable`], blocking the thread.
    pub fn sync(&self, upto: i64) -> Result<(), LogError> {
        let upto = upto.min(self.end_offset());
        if self.durable_offset() < upto {
            self.sync_round_upto(upto);
        }
        if self.durable_offset() < upto {
            self.check_usable()?;
        }
        Ok(())
    }

    /// Refuses what cannot be done after a failure, a deletion or the close.
    pub(crate) fn check_usable(&self) -> Result<(), LogError> {
        self.topic.check_alive()?;
        if let Some(reason) = self.failure.get() {
            return Err(LogError::PartitionFailed {
                topic: self.topic.name.clone(),
                partition: self.index,
                reason: reason.clone(),
            });
        }
        self.shared.check_open()
    }

    /// Refuses all further appends: what the disk holds is not known any more.
    pub(crate) fn fail(&self, reason: &str) {
        if !self.topic.is_deleted() && self.failure.set(reason.to_owned()).is_ok() {
            self.shared.cells.failed_partitions.add(1);
            self.shared.report(format!("{} accepts no more events: {reason}", self.label()));
        }
        self.durable_changed.notify_waiters();
    }

    pub(crate) fn check_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    pub(crate) fn config(&self) -> TopicConfig {
        self.topic.config.read().clone()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.topic.folder.join(self.index.to_string())
    }

    /// How reports name the partition.
    pub(crate) fn label(&self) -> String {
        format!("topic {:?} partition {}", self.topic.name, self.index)
    }

    /// The segment that an offset is in, or would be; with it the base offset
    /// of the next one.
    pub(crate) fn segment_of(&self, offset: i64) -> Option<(Arc<Segment>, Option<i64>)> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        let position = after.saturating_sub(1);
        let segment = segments.get(position)?;
        let next = segments.get(position + 1).map(|segment| segment.base_offset);
        Some((Arc::clone(segment), next))
    }
}

/// Lets those who watch an offset know if it grew.
pub(crate) fn tell(sender: &watch::Sender<i64>, offset: i64) {
    sender.send_if_modified(|known| {
        let newer = offset > *known;
        if newer {
            *known = offset;
        }
        newer
    });
}
