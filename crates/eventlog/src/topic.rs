//! A topic: a name, a configuration and partitions.

use crate::internal::is_internal;
use crate::partition::Partition;
use crate::shared::Shared;
use crate::tail::TopicTail;
use crate::{LogError, TopicConfig, layout};
use parking_lot::RwLock;
use pluvio_foundation::metrics::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A topic. Handles stay valid when it is deleted; their operations then fail
/// with [`LogError::TopicDeleted`].
#[derive(Debug)]
pub struct Topic {
    pub(crate) info: Arc<TopicInfo>,
    pub(crate) partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Its id, a version 4 UUID; a topic made again under the same name has
    /// another one.
    pub fn id(&self) -> [u8; 16] {
        self.info.id
    }

    /// Its partitions, by index.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    /// One partition.
    pub fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.partitions.read().get(index).cloned()
    }

    /// Its configuration now.
    pub fn config(&self) -> TopicConfig {
        self.info.config.read().clone()
    }

    /// Whether it belongs to the system.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.info.name)
    }
}

/// What a topic's partitions know of it.
#[derive(Debug)]
pub(crate) struct TopicInfo {
    pub(crate) name: String,
    pub(crate) id: [u8; 16],
    pub(crate) config: RwLock<TopicConfig>,
    pub(crate) folder: PathBuf,
    pub(crate) tail: Arc<TopicTail>,
    /// Bytes appended that are not on disk yet.
    pub(crate) unsynced_bytes: AtomicU64,
    pub(crate) bytes_appended: Arc<Cell>,
    pub(crate) records_appended: Arc<Cell>,
    pub(crate) duplicates: Arc<Cell>,
    deleted: AtomicBool,
}

impl TopicInfo {
    pub(crate) fn new(shared: &Shared, name: &str, id: [u8; 16], config: TopicConfig) -> Self {
        let cell = |what| shared.metrics.cell(what, name);
        Self {
            name: name.to_owned(),
            id,
            folder: shared.root.join(layout::TOPICS).join(name),
            tail: shared.tails.new_topic(shared.options.tail_bytes(&config)),
            config: RwLock::new(config),
            unsynced_bytes: AtomicU64::new(0),
            bytes_appended: cell("log_bytes_appended"),
            records_appended: cell("log_records_appended"),
            duplicates: cell("log_duplicate_batches"),
            deleted: AtomicBool::new(false),
        }
    }

    pub(crate) fn check_alive(&self) -> Result<(), LogError> {
        if self.is_deleted() { Err(LogError::TopicDeleted { topic: self.name.clone() }) } else { Ok(()) }
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(crate) fn set_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }
}
