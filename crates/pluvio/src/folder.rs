//! The data folder's lock.

use std::path::Path;

use crate::error::CliError;

/// The file in the data folder that a running platform holds locked.
pub const LOCK_FILE: &str = "pluvio.lock";

/// One process a data folder: the lock is the file's, and ends with the process.
pub struct FolderLock(#[allow(dead_code)] std::fs::File);

impl FolderLock {
    /// Takes the folder, made if it is not there.
    ///
    /// # Errors
    /// Another process has it.
    pub fn take(folder: &Path) -> Result<Self, CliError> {
        let what = || format!("the data folder {}", folder.display());
        std::fs::create_dir_all(folder).map_err(|e| CliError::io(what(), e))?;
        let path = folder.join(LOCK_FILE);
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| CliError::io(what(), e))?;
        file.try_lock().map_err(|_| {
            CliError::Other(format!(
                "{} is in use by another process; stop it or choose another folder with --data-dir",
                what()
            ))
        })?;
        Ok(Self(file))
    }
}
