//! Decoded rows, and what is done to them before anyone reads them: computed
//! columns, the bound on event time.
//!
//! Promise: of an event that is rejected no row stays, also if it became two.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::{cast, filter, filter_record_batch};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use datafusion::physical_expr::PhysicalExpr;

use crate::QueryError;
use crate::isolate::isolate;
use crate::windows::TIME_TYPE;

/// Rows of one read, with their events.
pub struct Rows {
    /// The rows.
    pub batch: RecordBatch,
    /// For each, its event's place among those that were pushed; ascending.
    pub ordinals: Vec<u32>,
    /// For each, whether it comes (+1) or goes (-1); `None`: all come.
    pub weights: Option<Int64Array>,
}

/// Events that are rejected after all: their places, ascending, and the reasons.
pub type Refused = Vec<(u32, String)>;

impl Rows {
    /// The rows of other events than these.
    fn without(mut self, refused: &Refused) -> Result<Self, QueryError> {
        if refused.is_empty() {
            return Ok(self);
        }
        let stays = |ordinal: &u32| refused.binary_search_by_key(ordinal, |(event, _)| *event).is_err();
        let mask: BooleanArray = self.ordinals.iter().map(|ordinal| Some(stays(ordinal))).collect();
        self.ordinals.retain(stays);
        let weights = self.weights.map(|weights| filter(&weights, &mask)).transpose()?;
        Ok(Self {
            batch: filter_record_batch(&self.batch, &mask)?,
            weights: weights.map(|weights| weights.as_primitive::<Int64Type>().clone()),
            ..self
        })
    }

    /// Adds computed columns; refuses the events for which one cannot be computed.
    ///
    /// # Errors
    /// Arrow's.
    pub fn compute(
        self,
        columns: &[Arc<dyn PhysicalExpr>],
        schema: &SchemaRef,
    ) -> Result<(Self, Refused), QueryError> {
        if columns.is_empty() {
            return Ok((self, Vec::new()));
        }
        let run = |batch: &RecordBatch| -> Result<RecordBatch, QueryError> {
            let computed = columns.iter().enumerate().map(|(i, expression)| {
                let field = schema.field(batch.num_columns() + i);
                let value = expression.evaluate(batch)?.into_array(batch.num_rows())?;
                Ok(cast(&value, field.data_type())?)
            });
            let computed = computed.collect::<Result<Vec<_>, QueryError>>()?;
            let columns = batch.columns().iter().cloned().chain(computed).collect();
            Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
        };
        if let Ok(batch) = run(&self.batch) {
            return Ok((Self { batch, ..self }, Vec::new()));
        }
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        isolate(&self.batch, 0, &run, &mut done, &mut failed);
        let refused = failed.into_iter().map(|(row, error)| (self.ordinals[row], error.message().to_owned()));
        let refused = refused.collect();
        let rows = self.without(&refused)?;
        Ok((Self { batch: run(&rows.batch)?, ..rows }, refused))
    }

    /// Refuses events whose time in `column` is beyond their bound, in
    /// microseconds since 1970.
    ///
    /// # Errors
    /// Arrow's.
    pub fn bound_time(
        self,
        column: usize,
        bound_us: impl Fn(u32) -> i64,
    ) -> Result<(Self, Refused), QueryError> {
        let times = cast(self.batch.column(column), &TIME_TYPE)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let name = self.batch.schema_ref().field(column).name();
        let reason = || format!("{name} is further ahead of the time it was written than max_future allows");
        let ahead = |(row, event): (usize, &u32)| {
            (times.is_valid(row) && times.value(row) > bound_us(*event)).then(|| (*event, reason()))
        };
        let refused = self.ordinals.iter().enumerate().filter_map(ahead).collect();
        Ok((self.without(&refused)?, refused))
    }
}
