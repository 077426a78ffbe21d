//! What runs in an epoch: stateless steps, and the operators that keep state.
//!
//! An operator takes the epoch's changes of its inputs, reads what it kept as of
//! the last commit, puts what it keeps from now on into the epoch's commit and
//! gives out its result's changes.

mod aggregate;
mod anew;
mod arrangement;
mod changelog;
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
mod ttl;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::compute::{not, prep_null_mask_filter};
use datafusion::common::cast::{as_boolean_array, as_timestamp_microsecond_array};
use pluvio_query::QueryError;

pub use aggregate::AggregateState;
pub use changelog::ChangelogState;
pub use delta::{Counted, Delta, batch_of, consolidate, copies, counted, gather, sum, take_rows};
pub use hold::HoldState;
pub use join::JoinState;
pub use over::OverState;
pub use session::SessionState;
pub use steps::StepRunner;
use steps::concat;
pub use ttl::TtlState;

use crate::compile::{Edge, Window, WindowClock};

/// An epoch, as operators see it.
#[derive(Debug, Default)]
pub struct Epoch {
    /// Its number.
    pub number: u64,
    /// Whether the view takes part for the first time.
    pub is_first: bool,
    /// Up to where the watermark has closed windows.
    pub event: Bounds,
    /// Up to where the clock has closed windows.
    pub processing: Bounds,
    /// Rows that came for windows that were closed.
    pub late: Vec<RecordBatch>,
    /// Rows that cannot be computed, each with the reason.
    pub failed: Vec<(RecordBatch, String)>,
}

/// Windows that end up to here are closed, in microseconds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Bounds {
    /// In this epoch.
    pub now_us: Option<i64>,
    /// In the epoch before.
    pub before_us: Option<i64>,
}

impl Bounds {
    /// The bound goes on to `now_us`, never back.
    pub fn to(now_us: Option<i64>, before_us: Option<i64>) -> Self {
        Self { now_us: now_us.max(before_us), before_us }
    }
}

impl Epoch {
    fn bounds(&self, edge: Edge) -> Bounds {
        match edge.clock {
            Some(WindowClock::Event) => self.event,
            Some(WindowClock::Processing) => self.processing,
            None => Bounds::default(),
        }
    }

    /// Up to where windows with this edge are closed.
    pub fn bound(&self, edge: Edge) -> Option<i64> {
        self.bounds(edge).now_us
    }

    /// The bound, if windows with this edge are closed in this epoch.
    pub fn closes(&self, edge: Edge) -> Option<i64> {
        let end = |bound_us: i64| bound_us - bound_us.rem_euclid(edge.every_us);
        let Bounds { now_us, before_us } = self.bounds(edge);
        now_us.filter(|now_us| before_us.map(end) < Some(end(*now_us)))
    }

    /// The rows whose window is not closed; the others are remembered as late.
    /// `edges` are those of the rows' windows.
    pub fn in_time(
        &mut self,
        delta: Delta,
        edges: &ArrayRef,
        edge: Edge,
        bound_us: i64,
    ) -> Result<Delta, QueryError> {
        let late = closed(edges, edge, bound_us)?;
        if late.true_count() == 0 {
            return Ok(delta);
        }
        self.late(&delta.filter(&late)?);
        delta.filter(&not(&late)?)
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

/// The window and up to where such windows are closed, if rows may be late.
pub fn late_bound(window: Option<Window>, guarded: bool, epoch: &Epoch) -> Option<(Window, i64)> {
    let window = window.filter(|_| !guarded)?;
    Some((window, epoch.bound(window.edge)?))
}

/// Which windows end at or before the bound.
pub fn closed(edges: &ArrayRef, edge: Edge, bound_us: i64) -> Result<BooleanArray, QueryError> {
    let edges: &TimestampMicrosecondArray = as_timestamp_microsecond_array(edges)?;
    Ok(BooleanArray::from_unary(edges, |at| at.saturating_add(edge.to_end_us) <= bound_us))
}
