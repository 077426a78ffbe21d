//! The data folder's lock.

use std::path::Path;

use pluvio_foundation::ErrorKind;
use pluvio_query::QueryError;

/// The file in the data folder that a running platform holds locked.
pub const LOCK_FILE: &str = "pluvio.lock";

/// One process a data folder: the lock is the file's, and ends with the process.
#[derive(Debug)]
pub struct FolderLock(#[allow(dead_code)] std::fs::File);

impl FolderLock {
    /// Takes the folder, made if it is not there.
    ///
    /// # Errors
    /// Another process has it.
    pub fn take(folder: &Path) -> Result<Self, QueryError> {
        let failed = |e: std::io::Error| {
            QueryError::new(ErrorKind::Io, format!("the data folder {}: {e}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(LOCK_FILE);
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(failed)?;
        file.try_lock().map_err(|_| {
            let message = format!(
                "the data folder {} is in use by another process; stop it or choose another folder with --data-dir",
                folder.display()
            );
            QueryError::new(ErrorKind::Unavailable, message)
        })?;
        Ok(Self(file))
    }
}
