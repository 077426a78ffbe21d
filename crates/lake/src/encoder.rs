//! One Parquet file on its way: rows in, pages encoded and written as they
//! fill, so that memory holds one row group at most.
//!
//! Promises: a finished file is durable before its entry for the log exists; an
//! unfinished one is removed when dropped. All files of this crate are named
//! `pluvio-TIME-UUID.parquet` (TIME: milliseconds in hexadecimal), by which
//! those that a killed process left are found.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Add;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use uuid::Uuid;

use crate::encoding::writer_properties;
use crate::error::LakeError;
use crate::options::LakeOptions;
use crate::stats::{self, FloatColumns};

const NAME_START: &str = "pluvio-";
const NAME_END: &str = ".parquet";

/// Whether a file of this name was written by this crate.
pub(crate) fn is_own_name(name: &str) -> bool {
    name.starts_with(NAME_START) && name.ends_with(NAME_END)
}

/// A file being written.
#[derive(Debug)]
pub(crate) struct FileEncoder {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    name: String,
    /// Removes the file unless it is finished and committed.
    path: RemoveOnDrop,
    rows: u64,
    floats: FloatColumns,
}

/// A file that is written and durable, but that no log names yet. Removed when
/// dropped, unless kept.
#[derive(Debug)]
pub(crate) struct FinishedFile {
    /// Name in the table's folder.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// The log's statistics.
    pub stats: String,
    path: RemoveOnDrop,
}

impl FileEncoder {
    /// Begins a file; the first rows decide how columns are encoded.
    ///
    /// # Errors
    /// [`LakeError::Io`], [`LakeError::Parquet`].
    pub(crate) fn begin(
        folder: &Path,
        schema: &SchemaRef,
        options: &LakeOptions,
        first: &RecordBatch,
    ) -> Result<Self, LakeError> {
        let name = format!("{NAME_START}{:012x}-{}{NAME_END}", options.clock.now_ms(), Uuid::new_v4());
        let path = folder.join(&name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| LakeError::io("create", &path, error))?;
        let path = RemoveOnDrop::new(path);
        // Readers must take the types from Parquet's own schema.
        let settings = ArrowWriterOptions::new()
            .with_properties(writer_properties(schema, options, first))
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, SchemaRef::clone(schema), settings)
            .map_err(|error| LakeError::parquet(path.get(), error))?;
        let (schema, floats) = (SchemaRef::clone(schema), FloatColumns::default());
        Ok(Self { writer, schema, name, path, rows: 0, floats })
    }

    /// Adds rows of the stored schema.
    ///
    /// # Errors
    /// [`LakeError::Parquet`]; the file is then of no use.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.floats.note(batch);
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|error| LakeError::parquet(self.path.get(), error))
    }

    /// Bytes written so far, and those that wait in memory for their row group.
    pub(crate) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what remains and makes the file's bytes durable. Its name becomes
    /// durable when the folder is synced.
    ///
    /// # Errors
    /// [`LakeError::Io`], [`LakeError::Parquet`].
    pub(crate) fn finish(mut self) -> Result<FinishedFile, LakeError> {
        let path = self.path.get();
        let metadata = self.writer.finish().map_err(|error| LakeError::parquet(path, error))?;
        let file = self.writer.inner();
        file.sync_all().map_err(|error| LakeError::io("sync", path, error))?;
        let length = file.metadata().map_err(|error| LakeError::io("measure", path, error))?;
        Ok(FinishedFile {
            bytes: length.len(),
            rows: self.rows,
            stats: stats::to_json(&self.schema, &metadata, &self.floats),
            name: self.name,
            path: self.path,
        })
    }
}

impl FinishedFile {
    /// The log's entry: `time_ms` is the age that retention goes by.
    pub(crate) fn add(&self, time_ms: i64, data_change: bool) -> Add {
        Add {
            path: self.name.clone(),
            size: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            modification_time: time_ms,
            data_change,
            stats: Some(self.stats.clone()),
            ..Add::default()
        }
    }

    /// Whether the file stays when this is dropped: it must as soon as a log
    /// entry might name it.
    pub(crate) fn keep(&mut self, keep: bool) {
        self.path.kept = keep;
    }
}

#[derive(Debug)]
struct RemoveOnDrop {
    path: PathBuf,
    kept: bool,
}

impl RemoveOnDrop {
    fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    fn get(&self) -> &Path {
        &self.path
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            // The next open finds it again.
            tracing::warn!(path = %self.path.display(), %error, "unfinished lake file stays for now");
        }
    }
}
