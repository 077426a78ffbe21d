//! Opening a table: lock, create if absent, load the log, sweep what a killed
//! process left.

use futures::future::BoxFuture;
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::create::CreateBuilder;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use parking_lot::Mutex;

use crate::columns::stored_schema;
use crate::durable_store::{DurableStore, sync_dir};
use crate::error::LakeError;
use crate::log::{self, LOG_FOLDER, LogListing};
use crate::options::LakeOptions;
use crate::table::{Cells, Committer, LakeTable, Maintenance, RemovedFile, View, lock};

/// The table's folder and as many above it are made durable with a new table:
/// `DATA/lake/TABLE`.
const NEW_FOLDERS_MAX: usize = 3;
/// Table property: the declared Arrow schema, as JSON.
const SCHEMA_PROPERTY: &str = "pluvio.schema";

impl LakeTable {
    /// Opens the table in the folder `path`, or creates it with these columns.
    ///
    /// # Errors
    /// [`LakeError::Column`] for a type or name that Delta cannot hold,
    /// [`LakeError::Schema`] if a table is there with other columns,
    /// [`LakeError::Locked`] if it is open already, [`LakeError::Feature`],
    /// and failures of the disk.
    pub fn open<'a>(
        path: &'a Path,
        name: &'a str,
        schema: SchemaRef,
        options: LakeOptions,
    ) -> BoxFuture<'a, Result<Arc<Self>, LakeError>> {
        Box::pin(async move {
            log::process_start();
            let stored = stored_schema(name, &schema)?;
            let log_folder = path.join(LOG_FOLDER);
            fs::create_dir_all(&log_folder).map_err(|error| LakeError::io("create", &log_folder, error))?;
            let opening = Opening::begin(path, name)?;
            if !opening.listing.exists {
                opening.create(&schema, &stored, &options).await?;
            }
            opening.load(Some((schema, stored)), options).await
        })
    }

    /// Opens the table in the folder `path`, with the columns it has. A table
    /// that this crate did not create has the Arrow types of its Delta types.
    ///
    /// # Errors
    /// [`LakeError::NotFound`] if there is none, otherwise as for
    /// [`LakeTable::open`].
    pub fn open_existing(path: &Path, options: LakeOptions) -> BoxFuture<'_, Result<Arc<Self>, LakeError>> {
        Box::pin(async move {
            log::process_start();
            let not_found = || LakeError::NotFound { path: path.to_owned() };
            if !path.join(LOG_FOLDER).is_dir() {
                return Err(not_found());
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let opening = Opening::begin(path, &name.unwrap_or_default())?;
            if !opening.listing.exists {
                return Err(not_found());
            }
            opening.load(None, options).await
        })
    }
}

/// The newest version of a table that another process commits to, for reading
/// only: nothing is locked and nothing written.
///
/// # Errors
/// [`LakeError::NotFound`] if there is none, [`LakeError::Delta`] if its log
/// cannot be read.
pub async fn read_only(path: &Path, name: &str) -> Result<Arc<dyn TableProvider>, LakeError> {
    let not_found = || LakeError::NotFound { path: path.to_owned() };
    let folder = fs::canonicalize(path).map_err(|_| not_found())?;
    if !folder.join(LOG_FOLDER).is_dir() {
        return Err(not_found());
    }
    let failed = |error| LakeError::delta(name, error);
    let mut delta = delta_table(&folder).map_err(failed)?;
    delta.load().await.map_err(failed)?;
    let provider = delta.table_provider().await;
    provider.map_err(|error| failed(DeltaTableError::Generic(error.to_string())))
}

struct Opening {
    name: String,
    folder: std::path::PathBuf,
    lock: fs::File,
    listing: LogListing,
    delta: DeltaTable,
}

impl Opening {
    fn begin(path: &Path, name: &str) -> Result<Self, LakeError> {
        let folder = fs::canonicalize(path).map_err(|error| LakeError::io("resolve", path, error))?;
        let lock = lock(&folder)?;
        let listing = log::list(&folder)?;
        let delta = delta_table(&folder).map_err(|error| LakeError::delta(name, error))?;
        Ok(Self { name: name.to_owned(), folder, lock, listing, delta })
    }

    async fn create(
        &self,
        declared: &SchemaRef,
        stored: &SchemaRef,
        options: &LakeOptions,
    ) -> Result<(), LakeError> {
        let failed = |error| LakeError::delta(&self.name, error);
        let columns: StructType =
            stored.as_ref().try_into_kernel().map_err(|source| LakeError::arrow(&self.name, source))?;
        let seconds = |ms: i64| format!("interval {} seconds", (ms / 1000).max(0));
        let declared = serde_json::to_string(declared.as_ref())
            .map_err(|error| failed(DeltaTableError::Generic(error.to_string())))?;
        let properties = [
            (SCHEMA_PROPERTY, declared),
            ("delta.checkpointInterval", options.checkpoint_versions.max(1).to_string()),
            ("delta.deletedFileRetentionDuration", seconds(options.vacuum_delay_ms)),
            ("delta.logRetentionDuration", seconds(options.log_retention_ms)),
        ];
        CreateBuilder::new()
            .with_log_store(self.delta.log_store())
            .with_table_name(&self.name)
            .with_columns(columns.fields().cloned())
            .with_configuration(properties.map(|(key, value)| (key, Some(value))))
            .with_raise_if_key_not_exists(false)
            .with_commit_properties(CommitProperties::default())
            .await
            .map_err(failed)?;
        // The folders above may be as new as the table.
        for folder in self.folder.ancestors().take(NEW_FOLDERS_MAX) {
            sync_dir(folder).map_err(|error| LakeError::io("sync", folder, error))?;
        }
        Ok(())
    }

    async fn load(
        mut self,
        wanted: Option<(SchemaRef, SchemaRef)>,
        options: LakeOptions,
    ) -> Result<Arc<LakeTable>, LakeError> {
        self.delta.load().await.map_err(|error| LakeError::delta(&self.name, error))?;
        let state = self.delta.snapshot().map_err(|error| LakeError::delta(&self.name, error))?;
        if wanted.is_none()
            && let Some(name) = state.metadata().name()
        {
            self.name = name.to_owned();
        }
        self.check_features()?;
        let (declared, stored) = self.schemas(wanted)?;
        let removed = self.sweep().await?;
        let checkpoint = self.listing.checkpoint.as_ref().map_or(-1, |(version, _)| *version);
        let table = LakeTable {
            cells: Cells::new(&options, &self.name),
            name: self.name,
            folder: self.folder,
            declared,
            stored,
            options,
            committer: tokio::sync::Mutex::new(Committer { delta: self.delta, uncertain: false, removed }),
            maintenance: tokio::sync::Mutex::new(Maintenance { checkpoint }),
            view: Mutex::new(View::default()),
            pins: Arc::default(),
            _lock: self.lock,
        };
        {
            let committer = table.committer.lock().await;
            table.publish(table.view_of(&committer.delta)?);
        }
        Ok(Arc::new(table))
    }

    fn check_features(&self) -> Result<(), LakeError> {
        let failed = |error| LakeError::delta(&self.name, error);
        let state = self.delta.snapshot().map_err(failed)?;
        let refuse = |feature: String| Err(LakeError::Feature { table: self.name.clone(), feature });
        if state.protocol().min_reader_version() > 1 {
            let features = state.protocol().reader_features().unwrap_or_default();
            let version = state.protocol().min_reader_version();
            return refuse(format!("reader version {version} (features {features:?})"));
        }
        if !state.metadata().partition_columns().is_empty() {
            return refuse(format!("partitions {:?}", state.metadata().partition_columns()));
        }
        Ok(())
    }

    /// The declared and the stored schema of the loaded table.
    fn schemas(&self, wanted: Option<(SchemaRef, SchemaRef)>) -> Result<(SchemaRef, SchemaRef), LakeError> {
        let state = self.delta.snapshot().map_err(|error| LakeError::delta(&self.name, error))?;
        let actual: Schema = state
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|source| LakeError::arrow(&self.name, source))?;
        let (declared, stored) = match wanted {
            Some(wanted) => wanted,
            None => {
                let property = state.metadata().configuration().get(SCHEMA_PROPERTY);
                let declared: Schema = property
                    .and_then(|text| serde_json::from_str(text).ok())
                    .unwrap_or_else(|| actual.clone());
                let stored = stored_schema(&self.name, &declared)?;
                (Arc::new(declared), stored)
            }
        };
        same_columns(&self.name, &stored, &actual)?;
        Ok((declared, stored))
    }

    /// Removes what no log names, and lists what the log says has left the
    /// table but still lies on the disk.
    async fn sweep(&self) -> Result<VecDeque<RemovedFile>, LakeError> {
        let failed = |error| LakeError::delta(&self.name, error);
        let state = self.delta.snapshot().map_err(failed)?;
        let present = log::own_files(&self.folder)?;
        let active: std::collections::HashSet<String> =
            state.log_data().iter().map(|file| file.path().into_owned()).collect();
        let log_store = self.delta.log_store();
        let tombstones: HashMap<String, i64> = state
            .all_tombstones(&log_store)
            .map_ok(|tombstone| (tombstone.path().into_owned(), tombstone.deletion_timestamp().unwrap_or(0)))
            .try_collect()
            .await
            .map_err(failed)?;
        let mut removed = Vec::new();
        for (name, before_us) in present {
            if active.contains(&name) {
                continue;
            }
            match tombstones.get(&name) {
                // No snapshot of this process looks at it: version 0.
                Some(&time_ms) => removed.push(RemovedFile { path: name, time_ms, version: 0 }),
                None if before_us => {
                    tracing::info!(table = self.name, file = name, "removing a file that no commit names");
                    log::remove(&self.folder.join(&name))?;
                }
                None => {}
            }
        }
        removed.sort_by_key(|file| file.time_ms);
        Ok(removed.into())
    }
}

fn delta_table(folder: &Path) -> Result<DeltaTable, DeltaTableError> {
    let location = folder
        .to_str()
        .ok_or_else(|| DeltaTableError::InvalidTableLocation(format!("{} is not UTF-8", folder.display())))?;
    let url = deltalake::ensure_table_uri(location)?;
    DeltaTableBuilder::from_url(url.clone())?
        .with_storage_backend(Arc::new(DurableStore::default()), url)
        .build()
}

fn same_columns(table: &str, wanted: &Schema, actual: &Schema) -> Result<(), LakeError> {
    let differ = |reason: String| Err(LakeError::Schema { table: table.to_owned(), reason });
    if wanted.fields().len() != actual.fields().len() {
        let (want, have) = (wanted.fields().len(), actual.fields().len());
        return differ(format!(
            "it was asked for with {want} columns, but it has {have}: use another name or path"
        ));
    }
    for (want, have) in wanted.fields().iter().zip(actual.fields()) {
        if want.name() != have.name() || !want.data_type().equals_datatype(have.data_type()) {
            return differ(format!(
                "it was asked for with column '{}' {}, but it has '{}' {}: use another name or path",
                want.name(),
                want.data_type(),
                have.name(),
                have.data_type()
            ));
        }
    }
    Ok(())
}
