//! A view whose rows are only added: its newest span, newest rows first.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use pluvio_keytables::{Span, Store};

use crate::QueryError;

/// An append-only view.
#[derive(Debug, Clone)]
pub struct AppendProvider {
    name: String,
    schema: SchemaRef,
    time_column: Option<String>,
    store: Arc<Store>,
    /// The newest tag that a query reads, if all that it reads is to be of one
    /// instant.
    up_to: Option<u64>,
}

impl AppendProvider {
    /// The view called `name`.
    pub fn new(name: &str, schema: SchemaRef, time_column: Option<String>, store: Arc<Store>) -> Self {
        Self { name: name.to_owned(), schema, time_column, store, up_to: None }
    }

    /// The same view as far as it was then, whatever is committed later.
    pub(crate) fn pinned(&self, up_to: u64) -> Self {
        Self { up_to: Some(up_to), ..self.clone() }
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The column that still carries the stream's event time.
    pub fn time_column(&self) -> Option<&str> {
        self.time_column.as_deref()
    }

    /// The stored rows.
    ///
    /// # Errors
    /// The view's job has not started.
    pub fn span(&self) -> std::result::Result<Arc<Span>, QueryError> {
        let missing = || {
            let message = format!("\"{}\" is not ready: its job has not started", self.name);
            QueryError::new(pluvio_foundation::ErrorKind::Unavailable, message)
        };
        self.store.span(&self.name).ok_or_else(missing)
    }
}

/// Batches newest first, cut off once `limit` rows are there.
pub(crate) fn newest_first(mut batches: Vec<RecordBatch>, limit: Option<usize>) -> Vec<RecordBatch> {
    batches.reverse();
    let Some(limit) = limit else { return batches };
    let mut rows = 0;
    let mut kept = Vec::new();
    for batch in batches {
        if rows >= limit {
            break;
        }
        let take = batch.num_rows().min(limit - rows);
        rows += take;
        kept.push(batch.slice(batch.num_rows() - take, take));
    }
    kept
}

#[async_trait]
impl TableProvider for AppendProvider {
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
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut rows = self.span()?.snapshot(None).map_err(QueryError::from)?;
        rows.retain(|(tag, _)| self.up_to.is_none_or(|up_to| *tag <= up_to));
        let rows = newest_first(rows.into_iter().map(|(_, batch)| batch).collect(), limit);
        Ok(MemorySourceConfig::try_new_exec(&[rows], self.schema(), projection.cloned())?)
    }
}
