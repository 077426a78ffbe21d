//! The open lake tables, by name: the engine commits to them and readers read
//! them through the same handle, so there is one committer a table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use pluvio_lake::LakeTable;

/// The lake's folder and its open tables.
#[derive(Debug)]
pub struct Lakes {
    folder: PathBuf,
    open: RwLock<HashMap<String, Arc<LakeTable>>>,
}

impl Lakes {
    /// No table open yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: RwLock::default() }
    }

    /// Where the table of this name lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The lake's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The open table of this name.
    pub fn get(&self, name: &str) -> Option<Arc<LakeTable>> {
        self.open.read().get(name).cloned()
    }

    /// Makes an opened table known.
    pub fn insert(&self, name: &str, table: Arc<LakeTable>) {
        self.open.write().insert(name.to_owned(), table);
    }

    /// Forgets a table; its files stay.
    pub fn remove(&self, name: &str) {
        self.open.write().remove(name);
    }
}
