//! Stateless steps: filter, project, take lists apart, look up.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt32Builder,
};
use datafusion::arrow::compute::{concat_batches, filter, filter_record_batch, not, take};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::NullHandling;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_keytables::{KeyTable, Store};
use pluvio_query::rows::loose;
use pluvio_query::{QueryError, isolate};

use super::delta::Delta;
use super::lookup::LookupRunner;
use super::{Epoch, truth};
use crate::compile::{LookupJoin, Step, Unnest};

/// A chain of steps with its tables at hand.
pub struct StepRunner {
    steps: Vec<Runner>,
}

enum Runner {
    Filter(Arc<dyn PhysicalExpr>),
    Project { columns: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
    Unnest(Unnest),
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
                Step::Unnest(unnest) => Runner::Unnest(Unnest { schema: loose(&unnest.schema), ..unnest }),
                Step::Lookup(lookup) => {
                    let table = table(&lookup.table)?;
                    Runner::Lookup(LookupRunner { lookup, table })
                }
            })
        };
        let steps = steps.into_iter().map(prepare).collect::<Result<_, QueryError>>()?;
        Ok(Self { steps })
    }

    /// The tables that its lookups ask.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Runner::Lookup(lookup) => Some(lookup.table.name()),
            _ => None,
        })
    }

    /// Runs a batch through all steps.
    ///
    /// # Errors
    /// A failing expression (a division by zero, an overflow).
    pub fn run(&self, batch: RecordBatch) -> Result<RecordBatch, QueryError> {
        self.steps.iter().try_fold(batch, |batch, step| match step {
            Runner::Filter(predicate) => keep(&batch, &mask(&batch, predicate)?),
            Runner::Project { columns, schema } => project(&batch, columns, schema),
            Runner::Unnest(unnest) => Ok(take_apart(&batch, unnest)?.0),
            Runner::Lookup(lookup) => {
                let joined = lookup.run(&batch)?;
                keep(&joined.rows, &joined.kept)
            }
        })
    }

    /// Runs changes through all steps; rows that cannot be computed are left out,
    /// and told of where they are added.
    ///
    /// # Errors
    /// Storage that cannot be read.
    pub fn run_delta(&self, epoch: &mut Epoch, delta: Delta) -> Result<Delta, QueryError> {
        if self.steps.is_empty() {
            return Ok(delta);
        }
        let run = |delta: &Delta| -> Result<Delta, QueryError> {
            if delta.weights.is_none() {
                return Ok(Delta::added(self.run(delta.rows.clone())?));
            }
            let tracked = self.run_tracked(delta.rows.clone())?;
            let weights = tracked.rows.iter().map(|row| delta.weight(*row as usize)).collect();
            Ok(Delta { rows: tracked.batch, weights: Some(weights) })
        };
        match run(&delta) {
            Ok(out) => Ok(out),
            Err(_) => run(&sound(epoch, delta, &|rows| self.run(rows.clone()).map(|_| ()))?),
        }
    }

    /// Runs a batch through all steps and tells which of its rows came out, and
    /// which a lookup did not find.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_tracked(&self, mut batch: RecordBatch) -> Result<Tracked, QueryError> {
        let count = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        let mut rows: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..count));
        let mut missed = Vec::new();
        for step in &self.steps {
            let mask = match step {
                Runner::Filter(predicate) => mask(&batch, predicate)?,
                Runner::Project { columns, schema } => {
                    batch = project(&batch, columns, schema)?;
                    continue;
                }
                Runner::Unnest(unnest) => {
                    let (parts, from) = take_apart(&batch, unnest)?;
                    rows = take(&rows, &from, None)?;
                    batch = parts;
                    continue;
                }
                Runner::Lookup(lookup) => {
                    let joined = lookup.run(&batch)?;
                    batch = joined.rows;
                    let gone = filter(&rows, &not(&joined.known)?)?;
                    if lookup.lookup.join == LookupJoin::Inner {
                        missed
                            .extend(numbers(&gone).iter().map(|row| (*row, lookup.table.name().to_owned())));
                    }
                    joined.kept
                }
            };
            rows = filter(&rows, &mask)?;
            batch = keep(&batch, &mask)?;
        }
        Ok(Tracked { batch, rows: numbers(&rows).to_vec(), missed })
    }
}

/// What came of a batch.
pub struct Tracked {
    /// The rows that came out.
    pub batch: RecordBatch,
    /// For each, the place of the row it was made from.
    pub rows: Vec<u32>,
    /// The rows whose key a lookup did not find, each with the table's name.
    pub missed: Vec<(u32, String)>,
}

fn numbers(rows: &ArrayRef) -> &[u32] {
    rows.as_primitive::<datafusion::arrow::datatypes::UInt32Type>().values()
}

fn mask(batch: &RecordBatch, predicate: &Arc<dyn PhysicalExpr>) -> Result<BooleanArray, QueryError> {
    let value = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    truth(&value)
}

fn keep(batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch, QueryError> {
    if mask.true_count() == batch.num_rows() {
        return Ok(batch.clone());
    }
    Ok(filter_record_batch(batch, mask)?)
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

/// A row for each element of a list, and of each the row it comes from.
fn take_apart(batch: &RecordBatch, unnest: &Unnest) -> Result<(RecordBatch, UInt32Array), QueryError> {
    let lists = batch.column(unnest.list).as_list::<i32>();
    let (mut from, mut elements) = (UInt32Builder::new(), UInt32Builder::new());
    for (row, range) in (0_u32..).zip(lists.offsets().windows(2)) {
        let elements_of = if lists.is_null(row as usize) { 0..0 } else { range[0]..range[1] };
        let stays = match unnest.nulls {
            NullHandling::Drop => false,
            NullHandling::Preserve => lists.is_null(row as usize),
            NullHandling::PreserveAndExpandEmpty => elements_of.is_empty(),
        };
        if stays {
            from.append_value(row);
            elements.append_null();
        }
        for element in elements_of {
            from.append_value(row);
            elements.append_value(element.unsigned_abs());
        }
    }
    let (from, elements) = (from.finish(), elements.finish());
    let column = |source: &usize| match *source == unnest.list {
        true => take(lists.values(), &elements, None),
        false => take(batch.column(*source), &from, None),
    };
    let columns = unnest.from.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(from.len()));
    Ok((RecordBatch::try_new_with_options(Arc::clone(&unnest.schema), columns, &options)?, from))
}

/// The changes whose rows pass the check; each of the others is told of, with the
/// reason, where it is added.
///
/// # Errors
/// Arrow's, in taking rows out.
pub fn sound(
    epoch: &mut Epoch,
    delta: Delta,
    check: &impl Fn(&RecordBatch) -> Result<(), QueryError>,
) -> Result<Delta, QueryError> {
    let mut failed = Vec::new();
    isolate(&delta.rows, 0, &|rows| check(rows), &mut Vec::new(), &mut failed);
    if failed.is_empty() {
        return Ok(delta);
    }
    let mut good = vec![true; delta.len()];
    for (row, error) in failed {
        good[row] = false;
        if delta.weight(row) > 0 {
            epoch.failed.push((delta.rows.slice(row, 1), error.message().to_owned()));
        }
    }
    delta.filter(&good.into())
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
