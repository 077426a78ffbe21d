//! A table by primary key: a real-time table, or a view that updates its rows.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use pluvio_keytables::{KeyTable, Store, TableSnapshot};

use super::table_scan::TableScan;
use crate::QueryError;
use crate::rows::{batch_of, loose};

/// The hidden column that tells rows without a key apart: 16 bytes.
pub const ROW: &str = "$row";
/// The hidden column that tells how often such a row is there.
pub const COPIES: &str = "$copies";
/// The column that says whether a change comes (+1) or goes (-1).
pub const WEIGHT: &str = "$weight";

/// A keyed table as readers see it: the first `schema.fields().len()` columns of
/// the stored table (a view may keep hidden key columns behind them).
#[derive(Debug, Clone)]
pub struct KeyedProvider {
    name: String,
    schema: SchemaRef,
    key: Vec<usize>,
    constraints: Constraints,
    store: Arc<Store>,
    /// A view is written by its job only.
    is_view: bool,
    /// A join looks rows up in it, as they are when it does.
    is_lookup: bool,
    /// What a query reads, if all that it reads is to be of one instant.
    pinned: Option<Arc<TableSnapshot>>,
}

impl KeyedProvider {
    /// The table called `name` with its visible columns and key.
    pub fn new(name: &str, schema: SchemaRef, key: Vec<usize>, store: Arc<Store>, is_view: bool) -> Self {
        let visible = key.iter().all(|k| *k < schema.fields().len());
        let constraints = if visible { vec![Constraint::PrimaryKey(key.clone())] } else { Vec::new() };
        let constraints = Constraints::new_unverified(constraints);
        Self {
            name: name.to_owned(),
            schema,
            key,
            constraints,
            store,
            is_view,
            is_lookup: false,
            pinned: None,
        }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Positions of the key's columns.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// Whether this is a view.
    pub fn is_view(&self) -> bool {
        self.is_view
    }

    /// Whether a join is to look rows up in it, as they are at that moment. Of a
    /// real-time table, every join does.
    pub fn is_lookup(&self) -> bool {
        self.is_lookup || !self.is_view
    }

    /// The same table, for a join that looks rows up in it.
    pub fn as_lookup(&self) -> Self {
        Self { is_lookup: true, ..self.clone() }
    }

    /// The same table as it was then, whatever is committed later.
    pub(crate) fn pinned(&self, then: &Arc<TableSnapshot>) -> Self {
        Self { pinned: Some(Arc::clone(then)), ..self.clone() }
    }

    fn snapshot(&self, table: &KeyTable) -> Arc<TableSnapshot> {
        self.pinned.clone().unwrap_or_else(|| Arc::new(table.snapshot()))
    }

    /// The stored table.
    ///
    /// # Errors
    /// A view whose job has not started.
    pub fn table(&self) -> std::result::Result<Arc<KeyTable>, QueryError> {
        let missing = || {
            let message = format!("\"{}\" is not ready: its job has not started", self.name);
            QueryError::new(pluvio_foundation::ErrorKind::Unavailable, message)
        };
        self.store.table(&self.name).ok_or_else(missing)
    }

    /// The values of the whole key, if the filters fix every key column.
    fn point(&self, filters: &[Expr]) -> Option<Vec<ArrayRef>> {
        let value_of = |position: &usize| {
            let field = self.schema.fields().get(*position)?;
            let value = filters.iter().find_map(|f| equals(f, field.name()))?;
            value.cast_to(field.data_type()).ok()?.to_array().ok()
        };
        self.key.iter().map(value_of).collect()
    }

    fn lookup(&self, table: &KeyTable, keys: &[ArrayRef]) -> Result<Vec<RecordBatch>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let found = table.lookup(keys, Some(&all)).map_err(QueryError::from)?;
        let row = RecordBatch::try_new(loose(&self.schema), found.columns)?;
        let row = filter_record_batch(&row, &found.found)?;
        Ok(vec![RecordBatch::try_new(Arc::clone(&self.schema), row.columns().to_vec())?])
    }
}

/// The literal that `filter` says the column equals.
fn equals(filter: &Expr, column: &str) -> Option<ScalarValue> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(c), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(c))
            if c.name == column && !value.is_null() =>
        {
            Some(value.clone())
        }
        _ => None,
    }
}

#[async_trait]
impl TableProvider for KeyedProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        if self.is_view { TableType::View } else { TableType::Base }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let is_key = |f: &&Expr| {
            self.key
                .iter()
                .any(|k| self.schema.fields().get(*k).is_some_and(|field| equals(f, field.name()).is_some()))
        };
        let support = |f: &&Expr| match is_key(f) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = self.table()?;
        if let Some(keys) = self.point(filters) {
            let rows = self.lookup(&table, &keys)?;
            // Of another instant if the table has changed since: all rows are, then,
            // and the filters are applied to them.
            let is_now = |pinned: &Arc<TableSnapshot>| pinned.version() == table.version();
            if self.pinned.as_ref().is_none_or(is_now) {
                return Ok(MemorySourceConfig::try_new_exec(&[rows], self.schema(), projection.cloned())?);
            }
        }
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let snapshot = self.snapshot(&table);
        let copies = table.schema().index_of(COPIES).ok();
        if copies.is_none() && columns.is_empty() {
            // Only how many there are.
            let rows = vec![batch_of(&schema, Vec::new(), snapshot.len())?];
            return Ok(MemorySourceConfig::try_new_exec(&[rows], schema, None)?);
        }
        if copies.is_none() && !snapshot.is_partial() {
            let rows = snapshot.batches(Some(&columns)).map_err(QueryError::from)?;
            return Ok(MemorySourceConfig::try_new_exec(&[rows], schema, None)?);
        }
        TableScan { snapshot, columns, schema, copies }.plan(limit)
    }
}

/// Fails with a name if a column's type cannot be a key.
pub fn check_key_type(name: &str, data_type: &DataType) -> std::result::Result<(), DataFusionError> {
    match data_type {
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => Err(QueryError::unsupported(format!(
            "the column \"{name}\" cannot be a key: its type is {data_type}"
        ))
        .into()),
        _ => Ok(()),
    }
}
