//! The numbers the store shows.

use std::sync::Arc;

use pluvio_foundation::Metrics;
use pluvio_foundation::metrics::Cell;

/// The store's cells.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    registry: Metrics,
    /// Commits since the start.
    pub(crate) commits: Arc<Cell>,
    /// Time spent in commits, in microseconds.
    pub(crate) commit_us: Arc<Cell>,
    /// Checkpoints since the start.
    pub(crate) checkpoints: Arc<Cell>,
    /// Rows and deletions written to the keyed store.
    pub(crate) applied_rows: Arc<Cell>,
    /// Bytes of all hot tables.
    pub(crate) tables_bytes: Arc<Cell>,
    /// Bytes of all journal files.
    pub(crate) journal_bytes: Arc<Cell>,
}

impl StoreMetrics {
    /// Registers the cells.
    pub(crate) fn new(registry: Metrics) -> Self {
        Self {
            commits: registry.cell("tables_commits", ""),
            commit_us: registry.cell("tables_commit_us", ""),
            checkpoints: registry.cell("tables_checkpoints", ""),
            applied_rows: registry.cell("tables_applied_rows", ""),
            tables_bytes: registry.cell("tables_bytes", ""),
            journal_bytes: registry.cell("journal_bytes", ""),
            registry,
        }
    }

    /// Shows a table's rows.
    pub(crate) fn show_table(&self, name: &str, rows: usize) {
        self.registry.cell("tables_rows", name).set(rows as u64);
    }

    /// Shows a span's rows and bytes in memory.
    pub(crate) fn show_span(&self, name: &str, rows: u64, bytes: u64) {
        self.registry.cell("spans_rows", name).set(rows);
        self.registry.cell("spans_bytes", name).set(bytes);
    }
}
