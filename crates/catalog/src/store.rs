//! The catalog's file: `catalog.json`, `{"version":1,"definitions":[…]}` in the
//! order of creation, so that what reads comes after what is read. It is
//! replaced whole: a crash leaves the old or the new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use pluvio_foundation::Disk;
use serde::{Deserialize, Serialize};

use crate::{CatalogError, Definition};

const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct File<D> {
    version: u32,
    definitions: Vec<D>,
}

/// The durable list of definitions. Shared by reference; every method is atomic.
#[derive(Debug)]
pub struct Catalog {
    /// `None` for a fork.
    path: Option<PathBuf>,
    disk: Arc<dyn Disk>,
    definitions: RwLock<Vec<Arc<Definition>>>,
}

impl Catalog {
    /// Opens the catalog of a data folder, empty if there is none.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self, CatalogError> {
        let path = folder.join("catalog.json");
        let definitions = match disk.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => parse(&path, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(CatalogError::Io { path: path.display().to_string(), source }),
        };
        Ok(Self { path: Some(path), disk, definitions: RwLock::new(definitions) })
    }

    /// A copy that is not stored: for checking definitions without making them.
    pub fn fork(&self) -> Self {
        let definitions = RwLock::new(self.definitions.read().clone());
        Self { path: None, disk: Arc::clone(&self.disk), definitions }
    }

    /// What has this name.
    pub fn get(&self, name: &str) -> Option<Arc<Definition>> {
        self.definitions.read().iter().find(|d| d.name() == name).cloned()
    }

    /// Everything, in the order of creation.
    pub fn all(&self) -> Vec<Arc<Definition>> {
        self.definitions.read().clone()
    }

    /// Adds a definition.
    ///
    /// # Errors
    /// The name is taken, or the file cannot be written.
    pub fn add(&self, definition: Definition) -> Result<Arc<Definition>, CatalogError> {
        let mut definitions = self.definitions.write();
        if let Some(other) = definitions.iter().find(|d| d.name() == definition.name()) {
            return Err(CatalogError::Exists { name: definition.name().to_owned(), kind: other.kind() });
        }
        let definition = Arc::new(definition);
        let mut next = definitions.clone();
        next.push(Arc::clone(&definition));
        self.write(&next)?;
        *definitions = next;
        Ok(definition)
    }

    /// Replaces a definition of the same name (changed options).
    ///
    /// # Errors
    /// There is none, or the file cannot be written.
    pub fn replace(&self, definition: Definition) -> Result<Arc<Definition>, CatalogError> {
        let mut definitions = self.definitions.write();
        let missing =
            || CatalogError::Missing { name: definition.name().to_owned(), kind: definition.kind() };
        let place = definitions.iter().position(|d| d.name() == definition.name()).ok_or_else(missing)?;
        let definition = Arc::new(definition);
        let mut next = definitions.clone();
        next[place] = Arc::clone(&definition);
        self.write(&next)?;
        *definitions = next;
        Ok(definition)
    }

    /// The names that read `name`.
    pub fn dependents(&self, name: &str) -> Vec<String> {
        let definitions = self.definitions.read();
        dependents(&definitions, name)
    }

    /// Fails unless `name` exists and nothing reads it.
    ///
    /// # Errors
    /// The name is missing or in use.
    pub fn check_removable(&self, name: &str) -> Result<Arc<Definition>, CatalogError> {
        let definitions = self.definitions.read();
        removable(&definitions, name)
    }

    /// Removes a definition that nothing reads.
    ///
    /// # Errors
    /// The name is missing or in use, or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<Arc<Definition>, CatalogError> {
        let mut definitions = self.definitions.write();
        let removed = removable(&definitions, name)?;
        let next: Vec<_> = definitions.iter().filter(|d| d.name() != name).cloned().collect();
        self.write(&next)?;
        *definitions = next;
        Ok(removed)
    }

    fn write(&self, definitions: &[Arc<Definition>]) -> Result<(), CatalogError> {
        let Some(path) = &self.path else { return Ok(()) };
        let file =
            File { version: VERSION, definitions: definitions.iter().map(Arc::as_ref).collect::<Vec<_>>() };
        let corrupt = |e: serde_json::Error| CatalogError::Corrupt {
            path: path.display().to_string(),
            reason: e.to_string(),
        };
        let bytes = serde_json::to_vec_pretty(&file).map_err(corrupt)?;
        let io = |source| CatalogError::Io { path: path.display().to_string(), source };
        self.disk.replace(path, &bytes).map_err(io)
    }
}

fn dependents(definitions: &[Arc<Definition>], name: &str) -> Vec<String> {
    definitions.iter().filter(|d| d.reads().contains(&name)).map(|d| d.name().to_owned()).collect()
}

fn removable(definitions: &[Arc<Definition>], name: &str) -> Result<Arc<Definition>, CatalogError> {
    let missing = || CatalogError::Missing { name: name.to_owned(), kind: "stream, table, view or sink" };
    let found = definitions.iter().find(|d| d.name() == name).ok_or_else(missing)?;
    match dependents(definitions, name) {
        users if users.is_empty() => Ok(Arc::clone(found)),
        users => Err(CatalogError::InUse { name: name.to_owned(), dependents: users.join(", ") }),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Arc<Definition>>, CatalogError> {
    let corrupt = |reason: String| CatalogError::Corrupt { path: path.display().to_string(), reason };
    let file: File<Definition> = serde_json::from_slice(bytes).map_err(|e| corrupt(e.to_string()))?;
    if file.version != VERSION {
        return Err(corrupt(format!("version {} is not {VERSION}", file.version)));
    }
    Ok(file.definitions.into_iter().map(Arc::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, SinkDef, SinkTarget, TableDef, ViewDef, ViewKind};
    use arrow::datatypes::{DataType, TimeUnit};
    use pluvio_foundation::RealDisk;

    fn table(name: &str) -> Definition {
        let column = |name: &str, data_type| Column { name: name.into(), data_type, nullable: true };
        let columns = vec![
            column("id", DataType::Int64),
            column("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
            column("cost", DataType::Decimal128(12, 2)),
        ];
        Definition::Table(TableDef { name: name.into(), columns, key: vec![0], sql: String::new() })
    }

    fn sink(name: &str, from: &str) -> Definition {
        Definition::Sink(SinkDef {
            name: name.into(),
            from: from.into(),
            to: SinkTarget::Lake { lake: "l".into(), retention_ms: None },
            commit_interval_ms: 1,
            commit_bytes: 1,
            sql: String::new(),
        })
    }

    fn view(name: &str, reads: &str) -> Definition {
        Definition::View(ViewDef {
            name: name.into(),
            query: format!("SELECT * FROM {reads}"),
            emit_on_window_close: false,
            columns: Vec::new(),
            kind: ViewKind::Keyed { key: vec![0] },
            reads: vec![reads.into()],
            retention_ms: None,
            retention_bytes: 1,
            trigger_ms: None,
            start: None,
            paused: false,
            parallelism: None,
            max_drift_ms: None,
            allowed_lateness_ms: None,
            unknown_key: crate::UnknownKey::Drop,
            ttl_ms: None,
            sql: String::new(),
        })
    }

    #[test]
    fn survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), Arc::new(RealDisk)).unwrap();
        catalog.add(table("a")).unwrap();
        catalog.add(view("v", "a")).unwrap();
        catalog.add(sink("s", "v")).unwrap();
        let again = Catalog::open(folder.path(), Arc::new(RealDisk)).unwrap();
        assert_eq!(again.all(), catalog.all());
    }

    #[test]
    fn guards_names_and_dependents() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), Arc::new(RealDisk)).unwrap();
        catalog.add(table("a")).unwrap();
        assert!(catalog.add(table("a")).unwrap_err().to_string().contains("exists already, as a table"));
        catalog.add(sink("s", "a")).unwrap();
        assert!(catalog.remove("a").unwrap_err().to_string().contains("used by s"));
        catalog.remove("s").unwrap();
        catalog.remove("a").unwrap();
        assert!(catalog.get("a").is_none());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("catalog.json"), "{").unwrap();
        let error = Catalog::open(folder.path(), Arc::new(RealDisk)).unwrap_err();
        assert!(error.to_string().contains("catalog.json"), "{error}");
    }

    #[test]
    fn the_frozen_sample_still_loads() {
        let folder = Path::new("../../tests/formats/v1/catalog");
        let bytes = std::fs::read(folder.join("catalog.json")).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let catalog = Catalog::open(folder, Arc::clone(&disk)).unwrap();
        let names: Vec<_> = catalog.all().iter().map(|d| format!("{} {}", d.kind(), d.name())).collect();
        let expected = [
            "stream payments",
            "table persons",
            "table companies",
            "materialized view enriched",
            "materialized view spend_per_minute",
            "materialized view spend_live",
            "materialized view alerts",
            "sink archive",
        ];
        assert_eq!(names, expected);
        // What this version writes is what it read: a field that was renamed or lost shows here.
        let copy = tempfile::tempdir().unwrap();
        let copied = Catalog::open(copy.path(), disk).unwrap();
        catalog.all().iter().for_each(|d| drop(copied.add(d.as_ref().clone()).unwrap()));
        let written = std::fs::read(copy.path().join("catalog.json")).unwrap();
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(value(&written), value(&bytes));
    }
}
