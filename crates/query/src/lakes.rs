//! The open lake tables, by name: the engine commits to them and readers read
//! them through the same handle, so there is one committer a table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use parking_lot::RwLock;
use pluvio_foundation::ErrorKind;
use pluvio_lake::LakeTable;
use tokio::sync::Notify;

use crate::QueryError;

/// How long a reader waits for its table's sink to open it.
const OPENING_MAX: Duration = Duration::from_secs(10);

/// The lake's folder and its open tables.
#[derive(Debug)]
pub struct Lakes {
    folder: PathBuf,
    open: RwLock<HashMap<String, Arc<LakeTable>>>,
    opened: Notify,
}

impl Lakes {
    /// No table open yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: RwLock::default(), opened: Notify::new() }
    }

    /// Where the table of this name lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The lake's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the tables that lie in the folder.
    pub fn found(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let tables = entries.filter(|entry| entry.path().join("_delta_log").is_dir());
        let mut names: Vec<_> = tables.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The newest version of a table that no sink of ours writes, for reading.
    ///
    /// # Errors
    /// Its Delta log cannot be read.
    pub async fn read_only(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, QueryError> {
        // A name that is no plain word would lead out of the folder.
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return Ok(None);
        }
        match pluvio_lake::read_only(&self.path(name), name).await {
            Ok(provider) => Ok(Some(provider)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The open table of this name.
    pub fn get(&self, name: &str) -> Option<Arc<LakeTable>> {
        self.open.read().get(name).cloned()
    }

    /// The table of this name, as soon as its sink has opened it: right after a
    /// start that may take a moment. `None` if it takes too long.
    pub async fn wait_for(&self, name: &str) -> Option<Arc<LakeTable>> {
        let open = async {
            loop {
                let opened = self.opened.notified();
                if let Some(table) = self.get(name) {
                    return table;
                }
                opened.await;
            }
        };
        tokio::time::timeout(OPENING_MAX, open).await.ok()
    }

    /// Makes an opened table known.
    pub fn insert(&self, name: &str, table: Arc<LakeTable>) {
        self.open.write().insert(name.to_owned(), table);
        self.opened.notify_waiters();
    }

    /// Forgets a table; its files stay.
    pub fn remove(&self, name: &str) {
        self.open.write().remove(name);
    }
}
