//! A real-time table as its users see it: lookups by key and snapshots.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};

use crate::codec::key;
use crate::codec::row::RowLayout;
use crate::cold::{ColdTable, ColdView};
use crate::cold_lookup;
use crate::error::{Result, TableError};
use crate::hot::Hot;
use crate::hot::gather::gather;
use crate::hot::index::{Location, NOWHERE, location};
use crate::hot::keys::Keys;
use crate::recent::Recent;
use crate::snapshot::TableSnapshot;

/// Stored bytes of one batch read from the keyed store.
pub(crate) const COLD_BYTES: usize = 64 << 20;

/// Rows by primary key. Cheap to share.
#[derive(Debug)]
pub struct KeyTable {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) layout: Arc<RowLayout>,
    pub(crate) hot: RwLock<Hot>,
    pub(crate) cold: ColdTable,
    pub(crate) dropped: AtomicBool,
    pub(crate) version: AtomicU64,
    pub(crate) recent: Mutex<Option<Recent>>,
}

/// What a [`KeyTable::lookup`] found.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The projected columns, one row per key asked for, NULL where absent.
    pub columns: Vec<ArrayRef>,
    /// Which of the keys are there.
    pub found: BooleanArray,
}

/// The rows of a lookup before they are collected.
struct Located {
    slots: Vec<Option<Arc<crate::hot::chunk::Chunk>>>,
    found: Vec<Location>,
    /// Where to look for the rest, if some rows are only in the keyed store.
    cold: Option<(ColdView, Vec<usize>)>,
    /// The table's version at that instant.
    version: u64,
}

impl KeyTable {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    /// The positions of the key columns in the schema, in key order.
    pub fn key(&self) -> &[usize] {
        &self.layout.key
    }

    /// Rows in the table.
    pub fn len(&self) -> usize {
        self.hot.read().len()
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> u64 {
        self.hot.read().bytes()
    }

    /// Whether some rows are only in the keyed store.
    pub fn is_partial(&self) -> bool {
        self.hot.read().cold_rows > 0
    }

    /// The sequence number of the last commit that changed the table: another
    /// number means other content.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Finds many keys at once, all at one instant.
    ///
    /// `keys` are the key columns in key order, of the same types and all of one
    /// length. Returns for each of their rows the columns at `projection` (all
    /// if none), NULL where the key is absent, in the order asked. NULL is a key
    /// value like any other and finds a row whose key is NULL: whoever joins by
    /// SQL's rules masks null keys.
    pub fn lookup(&self, keys: &[ArrayRef], projection: Option<&[usize]>) -> Result<Lookup> {
        self.check_keys(keys)?;
        let projection = &*self.projected(projection)?;
        let probe = Keys::of(self.layout.shape, keys)?;
        let mut located = self.locate(&probe, keys)?;
        let extra = match located.cold.take() {
            None => Vec::new(),
            Some((view, missing)) => self.read_cold(&view, &missing, keys, &mut located)?,
        };
        let fields = self.layout.schema.fields();
        let columns = gather(&located.slots, &extra, &located.found, fields, projection)?;
        let found = located.found.iter().map(|at| *at != NOWHERE).collect::<Vec<bool>>();
        Ok(Lookup { columns, found: BooleanArray::from(found) })
    }

    /// The table at this instant. Cheap: nothing is copied.
    pub fn snapshot(&self) -> TableSnapshot {
        let hot = self.hot.read();
        TableSnapshot::new(Arc::clone(&self.layout), &hot, || self.cold.view(), self.version())
    }

    /// Fails if these are not the key columns' arrays.
    pub(crate) fn check_keys(&self, keys: &[ArrayRef]) -> Result<()> {
        self.check_leading(self.layout.key.len(), keys)
    }

    /// Fails if these are not the arrays of that many leading key columns.
    pub(crate) fn check_leading(&self, count: usize, keys: &[ArrayRef]) -> Result<()> {
        let fields = self.layout.schema.fields();
        let wanted = &self.layout.key[..count];
        let fits = keys.len() == count
            && wanted.iter().zip(keys).all(|(column, array)| {
                fields[*column].data_type() == array.data_type() && array.len() == keys[0].len()
            });
        if fits {
            return Ok(());
        }
        let wanted: Vec<_> = wanted.iter().map(|column| fields[*column].data_type().to_string()).collect();
        let given: Vec<_> = keys.iter().map(|array| array.data_type().to_string()).collect();
        Err(self.invalid(format!(
            "the {} has the types ({}), given were ({}) or arrays of unequal length: cast them first",
            if count == self.layout.key.len() { "key" } else { "group" },
            wanted.join(", "),
            given.join(", ")
        )))
    }

    /// The columns asked for: all if none are named. Fails if one does not exist.
    pub(crate) fn projected<'a>(&self, projection: Option<&'a [usize]>) -> Result<Cow<'a, [usize]>> {
        let columns = self.layout.schema.fields().len();
        let Some(projection) = projection else { return Ok((0..columns).collect()) };
        match projection.iter().find(|column| **column >= columns) {
            None => Ok(projection.into()),
            Some(column) => Err(self.invalid(format!("there is no column {column}, only {columns} columns"))),
        }
    }

    pub(crate) fn invalid(&self, detail: String) -> TableError {
        TableError::Invalid { what: "table", name: self.name.clone(), detail }
    }

    /// Finds the keys in memory and, in the same instant, what is needed to find
    /// the others in the keyed store.
    fn locate(&self, probe: &Keys, keys: &[ArrayRef]) -> Result<Located> {
        let hot = self.hot.read();
        let found = hot.index.find(&hot.slots, probe);
        hot.touch(&found);
        let slots = hot.slots.clone();
        let version = self.version();
        if hot.cold_rows == 0 {
            return Ok(Located { slots, found, cold: None, version });
        }
        let mut missing: Vec<usize> = (0..found.len()).filter(|row| found[*row] == NOWHERE).collect();
        if !hot.deleted.is_empty() || !hot.deleting.is_empty() {
            let encoded = key::encode(keys)?;
            missing.retain(|row| !hot.is_deleted(encoded.get(*row)));
        }
        let cold = if missing.is_empty() { None } else { Some((self.cold.view()?, missing)) };
        Ok(Located { slots, found, cold, version })
    }

    /// Reads the missing keys from the keyed store, in key order, and points
    /// their locations to the batches that are returned.
    fn read_cold(
        &self,
        view: &ColdView,
        missing: &[usize],
        keys: &[ArrayRef],
        located: &mut Located,
    ) -> Result<Vec<RecordBatch>> {
        let encoded = key::encode(keys)?;
        let mut order = missing.to_vec();
        encoded.sort(&mut order);
        let mut distinct = order.clone();
        distinct.dedup_by(|a, b| encoded.get(*a) == encoded.get(*b));
        let stored = cold_lookup::read(view, &self.layout, &encoded, &distinct)?;
        let mut recent = Recent::new(located.version);
        let mut next = order.into_iter().peekable();
        for (first, place) in distinct.iter().zip(&stored.places) {
            let key = encoded.get(*first);
            recent.push(key, place.is_some());
            let at = place.map_or(NOWHERE, |(batch, row)| location(located.slots.len() + batch, row));
            while let Some(row) = next.next_if(|row| encoded.get(*row) == key) {
                located.found[row] = at;
            }
        }
        let mut latest = self.recent.lock();
        if recent.replaces(latest.as_ref()) {
            *latest = Some(recent);
        }
        Ok(stored.batches)
    }
}
