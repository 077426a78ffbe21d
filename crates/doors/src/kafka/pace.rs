//! The pace of a connection: no request is read while the disk is too far
//! behind what the connection's last ones brought. The peer's socket fills up,
//! and it slows down, without an error and without a thread held.

use std::sync::Arc;

use parking_lot::Mutex;
use pluvio_eventlog::Partition;

/// What one connection has to wait for.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    crowded: Mutex<Vec<Arc<Partition>>>,
}

impl Pace {
    /// Something was appended to this partition.
    pub fn note(&self, partition: &Arc<Partition>) {
        if partition.is_crowded() {
            self.crowded.lock().push(Arc::clone(partition));
        }
    }

    /// Waits until more may be appended.
    pub async fn room(&self) {
        let crowded = std::mem::take(&mut *self.crowded.lock());
        for partition in crowded {
            partition.room().await;
        }
    }
}
