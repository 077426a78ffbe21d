//! Making and dropping tables and spans.
//!
//! The manifest is replaced under the catalog's write lock before the change is
//! seen. A drop takes the name away at once; the table's keyspace goes with the
//! next checkpoint, the span's files right after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};

use super::manifest::{Entry, Manifest, Shape};
use super::{Catalog, Inner};
use crate::codec::row::{RowLayout, check_storable};
use crate::cold::ColdTable;
use crate::error::{Result, TableError};
use crate::hot::Hot;
use crate::journal::section::SpanEnd;
use crate::options::{NAME_BYTES_MAX, SpanRetention};
use crate::span::segment::SegmentWriter;
use crate::span::{Span, SpanState};
use crate::table::KeyTable;

impl Inner {
    pub(super) fn create_table(
        self: &Arc<Self>,
        name: &str,
        schema: SchemaRef,
        key: &[usize],
        group: usize,
    ) -> Result<Arc<KeyTable>> {
        self.check_open()?;
        check_name("table", name)?;
        let mut catalog = self.catalog.write();
        if let Some(table) = catalog.tables.get(name) {
            let layout = &table.layout;
            let same =
                layout.schema.fields() == schema.fields() && layout.key == key && layout.group() == group;
            let exists = TableError::AlreadyExists { what: "table", name: name.to_owned() };
            return if same { Ok(Arc::clone(table)) } else { Err(exists) };
        }
        let layout = RowLayout::grouped(name, schema.clone(), key, group)?;
        let id = catalog.next_id;
        let mut manifest = manifest_of(&catalog);
        let shape = Shape::Table { key: key.to_vec(), group };
        manifest.entries.push(Entry { id, name: name.to_owned(), schema, shape });
        manifest.next_id += 1;
        manifest.save(&*self.disk, &self.folder)?;
        catalog.next_id += 1;
        let table = self.make_table(id, name, layout)?;
        catalog.tables.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    /// A table that is in the manifest, without rows in memory.
    pub(super) fn make_table(&self, id: u32, name: &str, layout: RowLayout) -> Result<Arc<KeyTable>> {
        let hot = Hot::new(Arc::clone(&self.uses));
        self.metrics.show_table(name, 0);
        Ok(Arc::new(KeyTable {
            id,
            name: name.to_owned(),
            layout: Arc::new(layout),
            hot: RwLock::new(hot),
            cold: ColdTable::open(&self.cold()?, id)?,
            dropped: AtomicBool::new(false),
            version: AtomicU64::new(self.committed.load(Ordering::Acquire)),
            recent: Mutex::default(),
        }))
    }

    pub(super) fn drop_table(&self, name: &str) -> Result<()> {
        self.check_open()?;
        let mut catalog = self.catalog.write();
        let Some(table) = catalog.tables.get(name).cloned() else {
            return Err(TableError::NotFound { what: "table", name: name.to_owned() });
        };
        let mut manifest = manifest_of(&catalog);
        manifest.entries.retain(|entry| entry.id != table.id);
        manifest.save(&*self.disk, &self.folder)?;
        table.dropped.store(true, Ordering::Release);
        catalog.tables.remove(name);
        table.cold.close();
        self.metrics.show_table(name, 0);
        Ok(())
    }

    pub(super) fn create_span(
        self: &Arc<Self>,
        name: &str,
        schema: SchemaRef,
        retention: SpanRetention,
    ) -> Result<Arc<Span>> {
        self.check_open()?;
        check_name("span", name)?;
        let mut catalog = self.catalog.write();
        if let Some(span) = catalog.spans.get(name) {
            if span.schema.fields() != schema.fields() {
                return Err(TableError::AlreadyExists { what: "span", name: name.to_owned() });
            }
            let span = Arc::clone(span);
            if span.retention() != retention {
                self.change_retention(&catalog, &span, retention)?;
            }
            return Ok(span);
        }
        check_storable(&schema)?;
        let id = catalog.next_id;
        let mut manifest = manifest_of(&catalog);
        let entry = Entry { id, name: name.to_owned(), schema, shape: Shape::Span { retention } };
        manifest.entries.push(entry.clone());
        manifest.next_id += 1;
        manifest.save(&*self.disk, &self.folder)?;
        catalog.next_id += 1;
        let span = self.make_span(&entry, retention, SpanEnd::default(), SpanState::default());
        catalog.spans.insert(name.to_owned(), Arc::clone(&span));
        Ok(span)
    }

    fn change_retention(&self, catalog: &Catalog, span: &Span, retention: SpanRetention) -> Result<()> {
        let mut manifest = manifest_of(catalog);
        for entry in manifest.entries.iter_mut().filter(|entry| entry.id == span.id) {
            entry.shape = Shape::Span { retention };
        }
        manifest.save(&*self.disk, &self.folder)?;
        *span.retention.write() = retention;
        Ok(())
    }

    /// A span that is in the manifest.
    pub(super) fn make_span(
        self: &Arc<Self>,
        entry: &Entry,
        retention: SpanRetention,
        end: SpanEnd,
        state: SpanState,
    ) -> Arc<Span> {
        self.metrics.show_span(&entry.name, state.rows, state.memory_bytes);
        Arc::new(Span {
            id: entry.id,
            name: entry.name.clone(),
            schema: Arc::clone(&entry.schema),
            retention: RwLock::new(retention),
            dropped: AtomicBool::new(false),
            state: RwLock::new(state),
            writer: Mutex::new(SegmentWriter::new(end)),
            disk: Arc::clone(&self.disk),
            clock: Arc::clone(&self.clock),
            folder: self.span_folder(entry.id),
            store: Arc::downgrade(self),
        })
    }

    pub(super) fn drop_span(&self, name: &str) -> Result<()> {
        self.check_open()?;
        let span = {
            let mut catalog = self.catalog.write();
            let Some(span) = catalog.spans.get(name).cloned() else {
                return Err(TableError::NotFound { what: "span", name: name.to_owned() });
            };
            let mut manifest = manifest_of(&catalog);
            manifest.entries.retain(|entry| entry.id != span.id);
            manifest.save(&*self.disk, &self.folder)?;
            span.dropped.store(true, Ordering::Release);
            catalog.spans.remove(name);
            span
        };
        self.metrics.show_span(name, 0, 0);
        let _no_append = span.writer.lock();
        if self.disk.exists(&span.folder)
            && let Err(error) = self.disk.remove_dir_all(&span.folder)
        {
            tracing::warn!(span = name, %error, "a dropped span's files go with the next start");
        }
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(TableError::Closed) } else { Ok(()) }
    }

    /// Where a span's segments lie.
    pub(super) fn span_folder(&self, span: u32) -> std::path::PathBuf {
        self.folder.join("spans").join(span.to_string())
    }
}

fn manifest_of(catalog: &Catalog) -> Manifest {
    let tables = catalog.tables.values().map(|table| Entry {
        id: table.id,
        name: table.name.clone(),
        schema: Arc::clone(&table.layout.schema),
        shape: Shape::Table { key: table.layout.key.clone(), group: table.layout.group() },
    });
    let spans = catalog.spans.values().map(|span| Entry {
        id: span.id,
        name: span.name.clone(),
        schema: Arc::clone(&span.schema),
        shape: Shape::Span { retention: span.retention() },
    });
    Manifest { next_id: catalog.next_id, entries: tables.chain(spans).collect() }
}

/// Fails for a name that is empty or too long.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let shown: String = name.chars().take(40).collect();
    let detail = format!("a name has 1 to {NAME_BYTES_MAX} bytes, this one has {}", name.len());
    Err(TableError::Invalid { what, name: shown, detail })
}
