//! What this crate reads of the Delta log itself: the transaction versions of
//! all writers (the Delta library answers for a known writer only), and what a
//! killed process left lying in the folders.
//!
//! A writer's version is in the newest `{"txn":{"appId":JOB,"version":EPOCH}}`:
//! in the checkpoint, or in an entry after it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use arrow::array::{Array, AsArray, StructArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::durable_store::is_staged;
use crate::encoder::is_own_name;
use crate::error::LakeError;

/// The log's folder within the table's.
pub(crate) const LOG_FOLDER: &str = "_delta_log";
/// Largest log entry that is read, in bytes.
const ENTRY_BYTES_MAX: u64 = 1 << 30;
const VERSION_DIGITS: usize = 20;

/// The names in the log's folder that carry versions.
#[derive(Debug, Default)]
pub(crate) struct LogListing {
    /// The newest checkpoint's version and files.
    pub checkpoint: Option<(i64, Vec<PathBuf>)>,
    /// Whether there is any entry or checkpoint.
    pub exists: bool,
}

/// Lists the log. Removes objects that were never completed.
///
/// # Errors
/// [`LakeError::Io`].
pub(crate) fn list(folder: &Path) -> Result<LogListing, LakeError> {
    let log = folder.join(LOG_FOLDER);
    let mut listing = LogListing::default();
    for name in names(&log)? {
        let path = log.join(&name);
        if is_staged(&name) {
            remove(&path)?;
            continue;
        }
        let Some(version) = version_of(&name) else { continue };
        listing.exists = true;
        if !name.contains(".checkpoint") {
            continue;
        }
        match &mut listing.checkpoint {
            Some((newest, _)) if *newest > version => {}
            Some((newest, files)) if *newest == version => files.push(path),
            _ => listing.checkpoint = Some((version, vec![path])),
        }
    }
    Ok(listing)
}

fn version_of(name: &str) -> Option<i64> {
    let digits = name.get(..VERSION_DIGITS)?;
    match name.as_bytes().get(VERSION_DIGITS) {
        Some(b'.') => digits.parse().ok(),
        _ => None,
    }
}

/// The version of every writer's last transaction, as of `version`.
///
/// # Errors
/// [`LakeError::Log`] if an entry is missing or unreadable.
pub(crate) fn transactions(
    table: &str,
    folder: &Path,
    version: i64,
) -> Result<HashMap<String, i64>, LakeError> {
    let mut epochs = HashMap::new();
    let mut next = 0;
    if let Some((checkpoint, files)) = list(folder)?.checkpoint.filter(|(at, _)| *at <= version) {
        for file in files {
            match file.extension().is_some_and(|extension| extension == "json") {
                true => read_entry(table, &file, &mut epochs)?,
                false => read_checkpoint(&file, &mut epochs)?,
            }
        }
        next = checkpoint + 1;
    }
    for entry in next..=version {
        let path = folder.join(LOG_FOLDER).join(format!("{entry:020}.json"));
        read_entry(table, &path, &mut epochs)?;
    }
    Ok(epochs)
}

fn read_entry(table: &str, path: &Path, epochs: &mut HashMap<String, i64>) -> Result<(), LakeError> {
    let file = File::open(path).map_err(|error| LakeError::io("open", path, error))?;
    for line in BufReader::new(file.take(ENTRY_BYTES_MAX)).lines() {
        let line = line.map_err(|error| LakeError::io("read", path, error))?;
        if !line.contains("\"txn\"") {
            continue;
        }
        let action: Value = serde_json::from_str(&line).map_err(|error| LakeError::Log {
            table: table.to_owned(),
            reason: format!("{} is not JSON: {error}", path.display()),
        })?;
        let Some(transaction) = action.get("txn") else { continue };
        let job = transaction.get("appId").and_then(Value::as_str);
        let epoch = transaction.get("version").and_then(Value::as_i64);
        if let (Some(job), Some(epoch)) = (job, epoch) {
            epochs.insert(job.to_owned(), epoch);
        }
    }
    Ok(())
}

fn read_checkpoint(path: &Path, epochs: &mut HashMap<String, i64>) -> Result<(), LakeError> {
    let failed = |error| LakeError::parquet(path, error);
    let file = File::open(path).map_err(|error| LakeError::io("open", path, error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let reader = builder.with_projection(mask).build().map_err(failed)?;
    for batch in reader {
        let batch = batch.map_err(|error| LakeError::parquet(path, error.into()))?;
        let Some(transactions) = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()) else {
            continue;
        };
        read_transactions(transactions, epochs);
    }
    Ok(())
}

fn read_transactions(transactions: &StructArray, epochs: &mut HashMap<String, i64>) {
    let jobs = transactions.column_by_name("appId").and_then(|c| c.as_string_opt::<i32>());
    let versions = transactions.column_by_name("version").and_then(|c| c.as_primitive_opt::<Int64Type>());
    let (Some(jobs), Some(versions)) = (jobs, versions) else { return };
    for row in 0..transactions.len() {
        if transactions.is_valid(row) && jobs.is_valid(row) && versions.is_valid(row) {
            epochs.insert(jobs.value(row).to_owned(), versions.value(row));
        }
    }
}

/// The table's files of our own naming that lie in the folder, and whether each
/// was last written before this process began.
///
/// # Errors
/// [`LakeError::Io`].
pub(crate) fn own_files(folder: &Path) -> Result<Vec<(String, bool)>, LakeError> {
    let mut files = Vec::new();
    for name in names(folder)? {
        if !is_own_name(&name) {
            continue;
        }
        let path = folder.join(&name);
        let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let written = written.map_err(|error| LakeError::io("measure", &path, error))?;
        files.push((name, written < process_start()));
    }
    Ok(files)
}

/// When this process first used a lake table.
pub(crate) fn process_start() -> SystemTime {
    static START: OnceLock<SystemTime> = OnceLock::new();
    *START.get_or_init(SystemTime::now)
}

/// Removes a file; it is no error if there is none.
pub(crate) fn remove(path: &Path) -> Result<(), LakeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LakeError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn names(folder: &Path) -> Result<Vec<String>, LakeError> {
    let failed = |error| LakeError::io("list", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_other_names() {
        assert_eq!(version_of("00000000000000000012.json"), Some(12));
        assert_eq!(version_of("00000000000000000012.checkpoint.parquet"), Some(12));
        assert_eq!(version_of("_last_checkpoint"), None);
        assert_eq!(version_of("00000000000000000012_json"), None);
    }
}
