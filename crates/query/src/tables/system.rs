//! The system's own tables, in the schema `pluvio`: each is made when it is read.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::system_rows;
use crate::{Platform, QueryError};

/// A table's columns: name and values.
pub(crate) type Columns = Vec<(&'static str, ArrayRef)>;
type Rows = fn(&Platform) -> std::result::Result<Columns, QueryError>;

const TABLES: [(&str, Rows); 14] = [
    ("columns", system_rows::columns),
    ("dead_letters", system_rows::dead_letters),
    ("epochs", system_rows::epochs),
    ("feeds", system_rows::feeds),
    ("jobs", system_rows::jobs),
    ("metrics", system_rows::metrics),
    ("operators", system_rows::operators),
    ("partitions", system_rows::partitions),
    ("sinks", system_rows::sinks),
    ("state", system_rows::state),
    ("streams", system_rows::streams),
    ("tables", system_rows::tables),
    ("topics", system_rows::topics),
    ("views", system_rows::views),
];

/// The schema `pluvio`.
#[derive(Debug)]
pub(crate) struct SystemTables {
    pub platform: Weak<Platform>,
}

impl SystemTables {
    fn find(&self, name: &str) -> Option<Result<SystemTable>> {
        let (name, rows) = TABLES.iter().find(|(n, _)| *n == name)?;
        Some(SystemTable::new(name, *rows, self.platform.clone()))
    }
}

#[async_trait]
impl SchemaProvider for SystemTables {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.find(name).map(|t| t.map(|t| Arc::new(t) as Arc<dyn TableProvider>)).transpose()
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.iter().any(|(n, _)| *n == name)
    }
}

#[derive(Debug)]
struct SystemTable {
    name: &'static str,
    rows: Rows,
    schema: SchemaRef,
    platform: Weak<Platform>,
}

impl SystemTable {
    fn new(name: &'static str, rows: Rows, platform: Weak<Platform>) -> Result<Self> {
        let schema = read(&platform, rows)?.schema();
        Ok(Self { name, rows, schema, platform })
    }
}

fn read(platform: &Weak<Platform>, rows: Rows) -> Result<RecordBatch> {
    let Some(platform) = platform.upgrade() else {
        return Err(
            QueryError::new(pluvio_foundation::ErrorKind::Unavailable, "the platform is closing").into()
        );
    };
    let columns = rows(&platform)?;
    let field = |(name, values): &(&str, ArrayRef)| Field::new(*name, values.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns.into_iter().map(|(_, values)| values).collect())?)
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        tracing::trace!(table = self.name, "system table read");
        let rows = read(&self.platform, self.rows)?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![rows]], self.schema(), projection.cloned())?)
    }
}
