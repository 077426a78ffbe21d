//! Real-time tables: rows by primary key, in memory for lookups and snapshots,
//! on disk before a commit returns.
//!
//! One [`Store`] is one folder:
//!
//! ```text
//! manifest        which tables and spans there are (store::manifest)
//! journal/        the write-ahead log: one frame per commit (journal)
//! spans/{id}/     segment files of each span (span::segment)
//! store/          fjall: the durable keyed store (cold)
//! ```
//!
//! **One write makes a commit true.** A [`Commit`] collects changes to any number
//! of tables, appends to spans, and notes. Span rows are written and synced
//! first, where nothing refers to them yet; then one journal frame holds the
//! rest and how long the spans are now; once it is synced, the commit exists and
//! is published to memory for all tables at once. A crash before leaves nothing
//! of it, a crash after all of it. A failed commit (a full disk, say) leaves
//! nothing either, and the next one may succeed.
//!
//! **Memory is where tables are read.** Each table is a set of immutable Arrow
//! chunks with a bit per row for "newest of its key", and a hash index from key
//! to row (hot; the index is our own, hot::probe, for batches of lookups). A snapshot shares the chunks. Small chunks are merged by size
//! tiers in the commit's path, chunks over half dead are rewritten.
//!
//! **A grouped table** ([`Store::create_grouped_table`]) also finds rows by the
//! leading columns of their key: each chunk knows which of its rows belong
//! together (hot::groups), one index per table which chunks have rows of a group
//! (hot::group_index), and the keyed store, whose keys sort by their leading
//! columns, is asked for a range.
//!
//! **The keyed store is where tables rest.** Every few seconds a checkpoint
//! writes the rows that changed since the last one, each key once however often
//! it changed, and then the mark "applied up to seq"; journal files up to that
//! mark are deleted. Which rows are to be written is one more bit per row: there
//! is no second copy of them. A start leaves the rows where they are and replays
//! the journal behind the mark: the journal sets whole rows, so that what a crash
//! left of an unfinished checkpoint does not matter, and says how many rows each
//! table has, so that nothing is counted. Tables that fit are then loaded into
//! memory in the background.
//!
//! **The memory budget** is for all that the store holds (store::memory). Near it,
//! chunks that are applied leave memory, the longest unused first. A lookup that
//! misses in memory then asks the keyed store as of the same instant, a snapshot
//! scans it for the cold rows, and a commit looks there to keep the row count exact,
//! unless a lookup right before has (recent).
//!
//! **Locks**, in the order they are taken: the checkpoint; the commit (one at a
//! time); publish (held exclusively while memory changes, shared by
//! [`Store::read_together`]); a span's writer; a table's or span's state.
//!
//! Not here: SQL, sorted scans, other secondary indexes, schema changes, and rows that
//! expire by themselves (spans do, tables do not).

mod block;
mod codec;
mod cold;
mod cold_lookup;
mod error;
mod fingerprint;
mod framing;
mod group_lookup;
mod hot;
mod journal;
mod options;
mod recent;
mod snapshot;
mod span;
mod store;
mod table;
mod wire;

pub use error::{Result, TableError};
pub use fingerprint::fingerprints;
pub use group_lookup::GroupLookup;
pub use options::{
    CHUNK_ROWS_MAX, ENTRIES_MAX, FRAME_BYTES_MAX, KEY_BYTES_MAX, MANIFEST_BYTES_MAX, NAME_BYTES_MAX,
    RECORD_BYTES_MAX, SpanRetention, StoreOptions,
};
pub use snapshot::{TableScan, TableSnapshot};
pub use span::Span;
pub use store::Store;
pub use store::commit::Commit;
pub use table::{KeyTable, Lookup};
