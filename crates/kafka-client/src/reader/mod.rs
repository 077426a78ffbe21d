//! Reads a topic ahead of whoever uses its records.
//!
//! A task of the reader keeps, for each partition, an unbroken run of batches in
//! memory, from the offset last asked for on, within a byte budget. Records of
//! aborted transactions and the brokers' own markers are left out. When a broker
//! goes away, the task asks who leads now and goes on; nothing is given twice.

mod committed;
mod fetching;
mod partition;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::{ClientError, Connection};
pub use partition::{Batch, Batches, PartitionReader};

/// Memory for what was read ahead, over all partitions, in bytes.
const AHEAD_BYTES: usize = 64 << 20;
/// Each partition's share is at least this, in bytes.
const PARTITION_BYTES_MIN: usize = 1 << 20;

/// A topic being read. Reading ends when it is dropped.
#[derive(Debug)]
pub struct TopicReader {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub connection: Connection,
    pub topic: String,
    pub partitions: RwLock<Vec<Arc<PartitionReader>>>,
    /// Why nothing can be read at the moment, or ever.
    pub error: Mutex<Option<Arc<ClientError>>>,
    /// Told when there is room again, or another offset is wanted.
    pub wanted: Arc<Notify>,
}

impl Shared {
    /// What each partition may hold in memory, in bytes.
    pub fn partition_bytes_max(&self) -> usize {
        (AHEAD_BYTES / self.partitions.read().len().max(1)).max(PARTITION_BYTES_MIN)
    }
}

impl TopicReader {
    /// Begins to read a topic; what there is of it shows in
    /// [`Self::partitions`] once a broker has answered.
    pub fn start(runtime: &Handle, connection: Connection, topic: &str) -> Self {
        let shared = Arc::new(Shared {
            connection,
            topic: topic.to_owned(),
            partitions: RwLock::default(),
            error: Mutex::new(None),
            wanted: Arc::default(),
        });
        let task = runtime.spawn(fetching::run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// The partitions known so far, in order.
    pub fn partitions(&self) -> Vec<Arc<PartitionReader>> {
        self.shared.partitions.read().clone()
    }

    /// Why nothing is read at the moment, if that is so.
    pub fn error(&self) -> Option<Arc<ClientError>> {
        self.shared.error.lock().clone()
    }

    /// Waits until the partitions are known.
    ///
    /// # Errors
    /// Why no broker could tell within `patience`.
    pub fn wait(&self, patience: Duration) -> Result<Vec<Arc<PartitionReader>>, Arc<ClientError>> {
        let deadline = std::time::Instant::now() + patience;
        loop {
            let partitions = self.partitions();
            if !partitions.is_empty() {
                return Ok(partitions);
            }
            if std::time::Instant::now() >= deadline {
                let topic = &self.shared.topic;
                let silent =
                    || Arc::new(ClientError::Settings(format!("topic {topic:?}: no broker answers")));
                return Err(self.error().unwrap_or_else(silent));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
