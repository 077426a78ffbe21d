//! A pinned version of the table as a DataFusion table.
//!
//! Promises: the schema is the declared one, also where the files hold another
//! type; files whose bounds exclude the filters are not opened; counts come
//! from the log alone; the files outlive every plan made here, because each
//! plan's files carry the pin.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::{DFSchema, DataFusionError, Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use deltalake::logstore::object_store::ObjectMeta;
use deltalake::logstore::object_store::path::Path;

use crate::files::{FileSet, LakeFile};
use crate::pins::Pin;
use crate::stats::loosened;
use crate::table::{LakeTable, View};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct LakeProvider {
    schema: SchemaRef,
    /// The table's folder.
    folder: PathBuf,
    files: FileSet,
    pin: Arc<Pin>,
}

impl LakeProvider {
    pub(crate) fn new(table: &LakeTable, view: &View, pin: Arc<Pin>) -> Self {
        Self {
            schema: Arc::clone(&table.declared),
            folder: table.folder.clone(),
            files: view.files.clone(),
            pin,
        }
    }

    /// The files that may hold a row for which the predicate is true.
    fn remaining(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<&Arc<LakeFile>>> {
        let pruning = predicate.and_then(|predicate| {
            let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema));
            builder.build(Arc::clone(predicate))
        });
        let Some(pruning) = pruning else { return Ok(self.files.files.iter().collect()) };
        let statistics = self.files.files.iter().map(|file| Arc::clone(&file.statistics)).collect();
        let keep = pruning.prune(&PrunableStatistics::new(statistics, Arc::clone(&self.schema)))?;
        let kept = self.files.files.iter().zip(keep).filter(|(_, keep)| *keep);
        Ok(kept.map(|(file, _)| file).collect())
    }

    fn scanned(&self, file: &LakeFile) -> Result<PartitionedFile> {
        let location = Path::from_absolute_path(self.folder.join(&file.path))
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let meta = ObjectMeta {
            location,
            last_modified: DateTime::from_timestamp_millis(file.time_ms).unwrap_or_default(),
            size: file.bytes,
            e_tag: None,
            version: None,
        };
        Ok(PartitionedFile::new_from_meta(meta)
            .with_statistics(Arc::new(loosened(&file.statistics)))
            .with_extension(Arc::clone(&self.pin)))
    }

    fn sum(&self, files: &[&Arc<LakeFile>]) -> Result<Statistics> {
        let loose: Vec<_> = files.iter().map(|file| loosened(&file.statistics)).collect();
        Statistics::try_merge_iter(&loose, &self.schema)
    }
}

#[async_trait]
impl TableProvider for LakeProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = match conjunction(filters.to_vec()) {
            Some(all) => {
                let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(all, &columns)?)
            }
            None => None,
        };
        let files = self.remaining(predicate.as_ref())?;
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let statistics = self.sum(&files)?;
        let scanned: Vec<_> = files.into_iter().map(|file| self.scanned(file)).collect::<Result<_>>()?;
        let group = FileGroup::new(scanned);
        let groups = group.split_files(state.config().target_partitions().max(1));

        let url = ObjectStoreUrl::local_filesystem();
        let runtime = state.runtime_env();
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(runtime.object_store(&url)?, footers);
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_parquet_file_reader_factory(Arc::new(reader));
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
