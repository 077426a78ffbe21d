//! A lake table united with the rows its sink has not delivered yet: exact, no
//! gap and no overlap.
//!
//! The hot rows are taken first, then the lake's version; hot rows of epochs that
//! the version holds are left out. A commit in between moves rows from the one
//! to the other, and they are counted where the version says they are.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use pluvio_catalog::SinkDef;
use pluvio_keytables::Store;

use crate::QueryError;
use crate::lakes::Lakes;

#[derive(Debug)]
pub(super) struct LakeUnion {
    sink: SinkDef,
    lake: String,
    schema: SchemaRef,
    store: Arc<Store>,
    lakes: Arc<Lakes>,
}

impl LakeUnion {
    pub fn new(sink: SinkDef, lake: &str, schema: SchemaRef, store: Arc<Store>, lakes: Arc<Lakes>) -> Self {
        // Delta keeps no promise about NULLs, so the union promises none.
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { sink, lake: lake.to_owned(), schema, store, lakes }
    }

    fn hot_rows(&self) -> Result<Vec<(u64, RecordBatch)>> {
        match self.store.span(&self.sink.from) {
            Some(span) => Ok(span.snapshot(None).map_err(QueryError::from)?),
            None => Ok(Vec::new()),
        }
    }
}

/// Gives a plan exactly the types of `schema`.
fn cast_to(plan: Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.schema().fields() == schema.fields() {
        return Ok(plan);
    }
    let cast = |(i, field): (usize, &Arc<datafusion::arrow::datatypes::Field>)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), i));
        let cast: Arc<dyn PhysicalExpr> = Arc::new(CastExpr::new(column, field.data_type().clone(), None));
        (cast, field.name().clone())
    };
    let columns: Vec<_> = schema.fields().iter().enumerate().map(cast).collect();
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

#[async_trait]
impl TableProvider for LakeUnion {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(table) = self.lakes.wait_for(&self.lake).await else {
            let message =
                format!("the sink of the lake table '{}' could not open it: see pluvio.jobs", self.lake);
            return Err(QueryError::new(pluvio_foundation::ErrorKind::Unavailable, message).into());
        };
        let hot = self.hot_rows()?;
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let snapshot = table.snapshot().await.map_err(QueryError::from)?;
        let committed = snapshot.epochs.get(&self.sink.name).copied().unwrap_or(-1);
        let newer = |tag: u64| i64::try_from(tag).unwrap_or(i64::MAX) > committed;
        let project = |rows: RecordBatch| -> Result<RecordBatch> {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let columns = rows.project(&columns)?.columns().to_vec();
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?)
        };
        let hot = hot.into_iter().filter(|(tag, _)| newer(*tag)).map(|(_, rows)| project(rows));
        let hot = hot.collect::<Result<Vec<_>>>()?;
        let hot: Arc<dyn ExecutionPlan> =
            MemorySourceConfig::try_new_exec(&[hot], Arc::clone(&schema), None)?;
        let lake = snapshot.provider.scan(state, Some(&columns), filters, limit).await?;
        UnionExec::try_new(vec![hot, cast_to(lake, &schema)?])
    }
}
