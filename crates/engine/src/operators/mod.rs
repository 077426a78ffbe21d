//! What runs in an epoch: stateless steps, and the operators that keep state.
//!
//! An operator takes the epoch's changes of its inputs, reads what it kept as of
//! the last commit, puts what it keeps from now on into the epoch's commit and
//! gives out its result's changes.

mod aggregate;
mod anew;
mod arrangement;
mod delta;
mod distinct;
mod hold;
mod join;
mod keys;
mod lookup;
mod over;
mod session;
mod states;
mod steps;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::compute::prep_null_mask_filter;
use datafusion::common::cast::{as_boolean_array, as_timestamp_microsecond_array};
use pluvio_query::QueryError;

pub use aggregate::AggregateState;
pub use delta::{Delta, batch_of, consolidate, copies, gather, sum, take_rows};
pub use hold::HoldState;
pub use join::JoinState;
pub use over::OverState;
pub use session::SessionState;
use steps::concat;
pub use steps::{StepRunner, isolate};

use crate::compile::Edge;

/// An epoch, as operators see it.
#[derive(Debug, Default)]
pub struct Epoch {
    /// Its number.
    pub number: u64,
    /// Windows that end up to here are closed, in microseconds.
    pub bound_us: Option<i64>,
    /// The same, in the epoch before.
    pub bound_before_us: Option<i64>,
    /// Rows that came for windows that were closed.
    pub late: Vec<RecordBatch>,
    /// Rows that cannot be computed, each with the reason.
    pub failed: Vec<(RecordBatch, String)>,
}

impl Epoch {
    /// The bound, if windows with this edge are closed in this epoch.
    pub fn closes(&self, edge: Edge) -> Option<i64> {
        let end = |bound_us: i64| bound_us - bound_us.rem_euclid(edge.every_us);
        let bound_us = self.bound_us?;
        (self.bound_before_us.map(end) < Some(end(bound_us))).then_some(bound_us)
    }

    /// Remembers rows that came too late; rows that are taken back are the other
    /// half of some that did.
    pub fn late(&mut self, delta: &Delta) {
        for row in (0..delta.len()).filter(|row| delta.weight(*row) > 0) {
            self.late.push(delta.rows.slice(row, 1));
        }
    }
}

/// Where a condition is true: NULL is not.
pub fn truth(condition: &ArrayRef) -> Result<BooleanArray, QueryError> {
    let condition = as_boolean_array(condition)?;
    Ok(if condition.null_count() > 0 { prep_null_mask_filter(condition) } else { condition.clone() })
}

/// Which windows end at or before the bound.
pub fn closed(edges: &ArrayRef, edge: Edge, bound_us: i64) -> Result<BooleanArray, QueryError> {
    let edges: &TimestampMicrosecondArray = as_timestamp_microsecond_array(edges)?;
    Ok(BooleanArray::from_unary(edges, |at| at.saturating_add(edge.to_end_us) <= bound_us))
}
