//! What can be set, and every limit of this crate, named once.

/// Longest encoded key, in bytes (the keyed store takes no longer one).
pub const KEY_BYTES_MAX: usize = 65_535;
/// Largest journal frame (one commit without its span rows), in bytes.
pub const FRAME_BYTES_MAX: u64 = 1 << 30;
/// Largest record of a span segment (one append), in bytes.
pub const RECORD_BYTES_MAX: u64 = 1 << 30;
/// Longest name of a table, span, note or holder, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Most tables and spans of one store.
pub const ENTRIES_MAX: usize = 100_000;
/// Largest manifest file, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// Most rows of one chunk of a hot table.
pub const CHUNK_ROWS_MAX: usize = 128 << 10;

/// How a [`crate::Store`] behaves.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes that the store may hold in memory: hot tables, the keyed store's
    /// cache and write buffers, and what a checkpoint needs. Near it, rows that are
    /// already in the keyed store leave memory.
    pub memory_budget_bytes: u64,
    /// Longest time between two checkpoints, in milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Journal size that causes a checkpoint, in bytes.
    pub journal_bytes_max: u64,
    /// Size at which a span starts a new segment file, in bytes.
    pub segment_bytes: u64,
    /// Block cache of the keyed store, in bytes; 0 for a share of the budget.
    pub store_cache_bytes: u64,
    /// Write buffer of the keyed store per table, in bytes; 0 for a share of the
    /// budget. A table keeps the one it was made with.
    pub store_memtable_bytes: u64,
    /// Share of one core that a background checkpoint takes, in percent.
    pub checkpoint_cpu_percent: u8,
    /// Whether a thread makes checkpoints by itself. Without it only
    /// [`crate::Store::checkpoint`] does, which a simulation wants.
    pub background: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            memory_budget_bytes: 1 << 30,
            checkpoint_interval_ms: 10_000,
            journal_bytes_max: 128 << 20,
            segment_bytes: 16 << 20,
            store_cache_bytes: 0,
            store_memtable_bytes: 0,
            checkpoint_cpu_percent: 50,
            background: true,
        }
    }
}

impl StoreOptions {
    /// Bytes of the keyed store's cache: what is asked for, or an eighth of the
    /// budget.
    pub(crate) fn cache_bytes(&self) -> u64 {
        match self.store_cache_bytes {
            0 => (self.memory_budget_bytes / 8).clamp(CACHE_BYTES_MIN, CACHE_BYTES_MAX),
            bytes => bytes,
        }
    }

    /// Bytes of a table's write buffer: what is asked for, or a 64th of the budget.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        match self.store_memtable_bytes {
            0 => (self.memory_budget_bytes / 64).clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX),
            bytes => bytes.max(MEMTABLE_BYTES_MIN),
        }
    }
}

/// Least cache that keeps the pieces of filters and indexes in use.
const CACHE_BYTES_MIN: u64 = 4 << 20;
const CACHE_BYTES_MAX: u64 = 1 << 30;
const MEMTABLE_BYTES_MIN: u64 = 1 << 20;
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;

/// How long a span keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanRetention {
    /// Age by commit time after which rows go, in milliseconds; none if only
    /// the size counts.
    pub age_ms: Option<i64>,
    /// Bytes of rows kept, in memory and (unless a holder needs more) on disk.
    pub bytes_max: u64,
}
