//! Stateless steps: filter, project, look up.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::{concat_batches, filter, filter_record_batch, prep_null_mask_filter};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_keytables::{KeyTable, Store};
use pluvio_query::QueryError;

use super::lookup::LookupRunner;
use crate::compile::Step;

/// A chain of steps with its tables at hand.
pub struct StepRunner {
    steps: Vec<Runner>,
}

enum Runner {
    Filter(Arc<dyn PhysicalExpr>),
    Project { columns: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
    Lookup(LookupRunner),
}

impl StepRunner {
    /// Prepares the steps.
    ///
    /// # Errors
    /// A table that does not exist.
    pub fn new(steps: Vec<Step>, store: &Store) -> Result<Self, QueryError> {
        let table = |name: &str| -> Result<Arc<KeyTable>, QueryError> {
            let missing = || {
                QueryError::new(
                    pluvio_foundation::ErrorKind::NotFound,
                    format!("there is no table \"{name}\""),
                )
            };
            store.table(name).ok_or_else(missing)
        };
        let prepare = |step| {
            Ok(match step {
                Step::Filter(predicate) => Runner::Filter(predicate),
                Step::Project { columns, schema } => Runner::Project { columns, schema: loose(&schema) },
                Step::Lookup(lookup) => {
                    let table = table(&lookup.table)?;
                    Runner::Lookup(LookupRunner { lookup, table })
                }
            })
        };
        let steps = steps.into_iter().map(prepare).collect::<Result<_, QueryError>>()?;
        Ok(Self { steps })
    }

    /// Runs a batch through all steps.
    ///
    /// # Errors
    /// A failing expression (a division by zero, an overflow).
    pub fn run(&self, batch: RecordBatch) -> Result<RecordBatch, QueryError> {
        self.steps.iter().try_fold(batch, |batch, step| match step {
            Runner::Filter(predicate) => keep(&batch, predicate),
            Runner::Project { columns, schema } => project(&batch, columns, schema),
            Runner::Lookup(lookup) => lookup.run(&batch),
        })
    }

    /// Runs a batch through all steps and tells which of its rows came out.
    ///
    /// # Errors
    /// As [`Self::run`]; a lookup that drops rows is not expected here.
    pub fn run_tracked(&self, batch: RecordBatch) -> Result<(RecordBatch, Vec<u32>), QueryError> {
        let count = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        let mut rows: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..count));
        let mut batch = batch;
        for step in &self.steps {
            batch = match step {
                Runner::Filter(predicate) => {
                    let mask = mask(&batch, predicate)?;
                    rows = filter(&rows, &mask)?;
                    filter_record_batch(&batch, &mask)?
                }
                Runner::Project { columns, schema } => project(&batch, columns, schema)?,
                Runner::Lookup(lookup) => lookup.run(&batch)?,
            };
        }
        Ok((batch, rows.as_primitive::<datafusion::arrow::datatypes::UInt32Type>().values().to_vec()))
    }
}

/// The schema with every column nullable: a step promises types, not more.
fn loose(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(datafusion::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}

fn mask(
    batch: &RecordBatch,
    predicate: &Arc<dyn PhysicalExpr>,
) -> Result<datafusion::arrow::array::BooleanArray, QueryError> {
    let value = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let mask = as_boolean_array(&value)?;
    Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
}

use datafusion::arrow::array::Array;

fn keep(batch: &RecordBatch, predicate: &Arc<dyn PhysicalExpr>) -> Result<RecordBatch, QueryError> {
    let mask = mask(batch, predicate)?;
    if mask.true_count() == batch.num_rows() {
        return Ok(batch.clone());
    }
    Ok(filter_record_batch(batch, &mask)?)
}

fn project(
    batch: &RecordBatch,
    columns: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
) -> Result<RecordBatch, QueryError> {
    let rows = batch.num_rows();
    let evaluate = |e: &Arc<dyn PhysicalExpr>| e.evaluate(batch)?.into_array(rows);
    let arrays = columns.iter().map(evaluate).collect::<datafusion::error::Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

/// Several batches as one; `None` if there is no row.
pub fn concat(batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>, QueryError> {
    let mut batches: Vec<_> = batches.into_iter().filter(|b| b.num_rows() > 0).collect();
    match batches.len() {
        0 => Ok(None),
        1 => Ok(batches.pop()),
        _ => Ok(Some(concat_batches(&batches[0].schema(), &batches)?)),
    }
}
