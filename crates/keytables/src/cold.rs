//! The durable keyed store (fjall) behind the tables.
//!
//! One database in `store/`: a keyspace `t{id}` per table with keys and values as
//! in [`crate::codec`], and a keyspace `meta`:
//!
//! ```text
//! "applied"            seq u64: every commit up to it is contained
//! "n/" name            a note's value
//! "s/" span id u32 BE  how far the span is committed (segment, length, last tag)
//! "h/" span id u32 BE holder    the tag behind which the holder needs rows, u64
//! "r/" table id u32 BE          rows of the table at "applied", u64
//! ```
//!
//! Only checkpoints write here. The last batch of a checkpoint moves "applied"
//! and is synced; batches before it may be lost or kept by a crash, because the
//! journal from the old "applied" on sets the same keys again. fjall does its
//! own I/O, outside of [`pluvio_foundation::Disk`]: a simulation covers the
//! journal and the spans, and fjall only as far as real folders go.
//!
//! **How a table's keyspace is set up.** Every file has a filter, so that a key
//! that is nowhere is told without its blocks. Filters and indexes of all but the
//! largest levels stay in memory as long as their file does: about 1.3 bytes per
//! row ([`FILTER_BITS_PER_KEY`]). A filter that is not kept is read again as a
//! whole for each lookup once it is larger than a part of the cache. Those of the
//! largest levels are cut into pieces that go through the cache. A keyspace keeps
//! the settings it was made with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use parking_lot::RwLock;

use crate::error::{Result, TableError};
use crate::journal::section::SpanEnd;
use crate::options::StoreOptions;
use crate::wire::Fields;

const META: &str = "meta";
/// Bits of a filter per key: one absent key in 100 is looked for in vain.
const FILTER_BITS_PER_KEY: f32 = 10.0;
/// Files of a keyspace that are merged together into the first level.
const UNMERGED_FILES: u8 = 8;
/// The key of the marker.
pub(crate) const APPLIED: &[u8] = b"applied";

/// The key of a note.
pub(crate) fn note_key(name: &str) -> Vec<u8> {
    [b"n/", name.as_bytes()].concat()
}

/// The key of a span's end.
pub(crate) fn span_key(span: u32) -> Vec<u8> {
    [b"s/".as_slice(), &span.to_be_bytes()].concat()
}

/// The key of a hold.
pub(crate) fn hold_key(span: u32, holder: &str) -> Vec<u8> {
    [b"h/".as_slice(), &span.to_be_bytes(), holder.as_bytes()].concat()
}

/// The key of a table's row count.
pub(crate) fn rows_key(table: u32) -> Vec<u8> {
    [b"r/".as_slice(), &table.to_be_bytes()].concat()
}

/// What `meta` holds.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    pub(crate) applied_seq: u64,
    pub(crate) notes: BTreeMap<String, Bytes>,
    pub(crate) span_ends: BTreeMap<u32, SpanEnd>,
    pub(crate) holds: BTreeMap<(u32, String), u64>,
    pub(crate) rows: BTreeMap<u32, u64>,
}

/// The open database.
pub(crate) struct Cold {
    database: Database,
    meta: Keyspace,
    memtable_bytes: u64,
}

impl std::fmt::Debug for Cold {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cold")
    }
}

impl Cold {
    /// Opens or makes the database.
    pub(crate) fn open(folder: &Path, options: &StoreOptions) -> Result<Self> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes())
            .manual_journal_persist(true)
            .max_journaling_size(64 << 20)
            .worker_threads(1)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => TableError::Locked { path: folder.to_owned() },
                other => TableError::store("opening")(other),
            })?;
        let memtable_bytes = options.memtable_bytes();
        let create = || KeyspaceCreateOptions::default().max_memtable_size(1 << 20);
        let meta = database.keyspace(META, create).map_err(TableError::store("opening its meta data"))?;
        Ok(Self { database, meta, memtable_bytes })
    }

    /// The keyspace of a table, made if absent.
    pub(crate) fn keyspace(&self, table: u32) -> Result<Keyspace> {
        let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS_PER_KEY));
        let create = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(self.memtable_bytes)
                .filter_policy(FilterPolicy::new([filter]))
                .filter_block_pinning_policy(PinningPolicy::all(true))
                .index_block_pinning_policy(PinningPolicy::all(true))
                .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(UNMERGED_FILES)))
        };
        self.database.keyspace(&keyspace_name(table), create).map_err(TableError::store("opening a table"))
    }

    /// Deletes the keyspaces of all tables but these.
    pub(crate) fn retain(&self, tables: &std::collections::BTreeSet<u32>) -> Result<()> {
        let failed = "deleting a dropped table";
        for name in self.database.list_keyspace_names() {
            let table = name.strip_prefix('t').and_then(|digits| digits.parse::<u32>().ok());
            if table.is_some_and(|table| !tables.contains(&table)) {
                let keyspace = self
                    .database
                    .keyspace(&name, KeyspaceCreateOptions::default)
                    .map_err(TableError::store(failed))?;
                self.database.delete_keyspace(keyspace).map_err(TableError::store(failed))?;
            }
        }
        Ok(())
    }

    /// Everything in `meta`.
    pub(crate) fn read_meta(&self) -> Result<Meta> {
        let mut meta = Meta::default();
        for item in self.meta.iter() {
            let (key, value) = item.into_inner().map_err(TableError::store("reading its meta data"))?;
            read_meta_entry(&mut meta, &key, &value)
                .ok_or_else(|| TableError::corrupt_row("an entry of the meta data does not decode"))?;
        }
        Ok(meta)
    }

    /// A batch of changes.
    pub(crate) fn batch(&self) -> fjall::OwnedWriteBatch {
        self.database.batch()
    }

    /// The keyspace of the meta data.
    pub(crate) fn meta(&self) -> &Keyspace {
        &self.meta
    }

    /// The present content, unaffected by later checkpoints.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.database.snapshot()
    }

    /// Writes a batch and makes it, and everything before it, durable.
    pub(crate) fn commit_synced(&self, batch: fjall::OwnedWriteBatch) -> Result<()> {
        batch
            .durability(Some(PersistMode::SyncAll))
            .commit()
            .map_err(TableError::store("marking a checkpoint"))
    }
}

fn keyspace_name(table: u32) -> String {
    format!("t{table}")
}

fn read_meta_entry(meta: &mut Meta, key: &[u8], value: &[u8]) -> Option<()> {
    let mut fields = Fields(value);
    if key == APPLIED {
        meta.applied_seq = fields.u64()?;
        return Some(());
    }
    let (kind, rest) = key.split_at_checked(2)?;
    if kind == b"n/" {
        meta.notes.insert(String::from_utf8(rest.to_vec()).ok()?, Bytes::copy_from_slice(value));
        return Some(());
    }
    let (id, rest) = rest.split_at_checked(4)?;
    let id = u32::from_be_bytes(id.try_into().ok()?);
    match kind {
        b"s/" => {
            meta.span_ends.insert(id, SpanEnd::decode(&mut fields)?);
        }
        b"h/" => {
            meta.holds.insert((id, String::from_utf8(rest.to_vec()).ok()?), fields.u64()?);
        }
        b"r/" => {
            meta.rows.insert(id, fields.u64()?);
        }
        _ => return None,
    }
    Some(())
}

/// The way of one table to its keyspace; gone once the store is closed.
pub(crate) struct ColdTable {
    open: RwLock<Option<(Arc<Cold>, Keyspace)>>,
}

impl std::fmt::Debug for ColdTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ColdTable")
    }
}

impl ColdTable {
    /// For a table of this id.
    pub(crate) fn open(cold: &Arc<Cold>, table: u32) -> Result<Self> {
        let keyspace = cold.keyspace(table)?;
        Ok(Self { open: RwLock::new(Some((Arc::clone(cold), keyspace))) })
    }

    /// Goes on in a database that was opened anew.
    pub(crate) fn reopen(&self, cold: &Arc<Cold>, table: u32) -> Result<()> {
        *self.open.write() = Some((Arc::clone(cold), cold.keyspace(table)?));
        Ok(())
    }

    /// Lets the keyspace go.
    pub(crate) fn close(&self) {
        *self.open.write() = None;
    }

    /// The keyspace.
    pub(crate) fn keyspace(&self) -> Result<Keyspace> {
        self.open.read().as_ref().map(|(_, keyspace)| keyspace.clone()).ok_or(TableError::Closed)
    }

    /// The table's content at this moment.
    pub(crate) fn view(&self) -> Result<ColdView> {
        let open = self.open.read();
        let (cold, keyspace) = open.as_ref().ok_or(TableError::Closed)?;
        Ok(ColdView { snapshot: cold.snapshot(), keyspace: keyspace.clone() })
    }
}

/// A table's content in the keyed store at one moment.
pub(crate) struct ColdView {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl std::fmt::Debug for ColdView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ColdView")
    }
}

impl ColdView {
    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<fjall::Slice>> {
        self.snapshot.get(&self.keyspace, key).map_err(TableError::store("reading a row"))
    }

    /// Whether the key is there.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.snapshot.contains_key(&self.keyspace, key).map_err(TableError::store("looking for a row"))
    }

    /// The rows whose keys begin so, in key order.
    pub(crate) fn prefix(&self, prefix: &[u8]) -> fjall::Iter {
        self.snapshot.prefix(&self.keyspace, prefix)
    }

    /// The rows behind a key, or all, in key order.
    pub(crate) fn after(&self, key: Option<&[u8]>) -> fjall::Iter {
        match key {
            None => self.iter(),
            Some(key) => {
                let behind = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
                self.snapshot.range::<&[u8], _>(&self.keyspace, behind)
            }
        }
    }

    /// All rows in key order.
    pub(crate) fn iter(&self) -> fjall::Iter {
        self.snapshot.iter(&self.keyspace)
    }
}

/// Where the database lies in the store's folder.
pub(crate) fn folder(store: &Path) -> PathBuf {
    store.join("store")
}
