//! A table at one version, for reading.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::provider::LakeProvider;
use crate::table::LakeTable;

/// Everything the table held at one version, and up to which epoch that is.
///
/// The rows of `provider` are exactly those of the epochs up to `epochs[job]`
/// of each job, so a reader who adds a job's later rows from elsewhere misses
/// none and counts none twice.
#[derive(Debug, Clone)]
pub struct LakeSnapshot {
    /// The rows, in the declared columns.
    pub provider: Arc<dyn TableProvider>,
    /// The version.
    pub version: i64,
    /// The last epoch of every job that is included.
    pub epochs: HashMap<String, i64>,
    /// Number of rows.
    pub rows: u64,
}

impl LakeTable {
    pub(crate) fn pinned_snapshot(&self) -> LakeSnapshot {
        // Pinned while the view is held, so that no file of it can leave first.
        let view = self.view.lock();
        let pin = Arc::new(self.pins.pin(view.version));
        let provider = LakeProvider::new(self, &view, pin);
        LakeSnapshot {
            provider: Arc::new(provider),
            version: view.version,
            epochs: HashMap::clone(&view.epochs),
            rows: view.files.rows,
        }
    }
}
