//! Rows stay for a while: each goes on as it comes, and is taken back when its time
//! is over, so that what comes behind holds what a batch over the rows of that time
//! gives, and its state is bounded.
//!
//! A keyed table of its own keeps the rows by the end of the slice of time in which
//! they came. A slice goes as a whole: nothing else is looked at.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, TimestampMicrosecondArray, UInt32Array};
use datafusion::arrow::compute::take;
use pluvio_foundation::ErrorKind;
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::windows::TIME_TYPE;

use super::Epoch;
use super::arrangement::Arrangement;
use super::delta::{Delta, gather_as};
use crate::compile::{Edge, TtlPlan};

/// Rows whose time is not over.
pub struct TtlState {
    plan: TtlPlan,
    rows: Arrangement,
}

impl TtlState {
    /// Opens what is kept under `name`.
    pub fn open(plan: TtlPlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let rows = Arrangement::open(store, &format!("{name}/recent"), &[TIME_TYPE], &plan.row, true)?;
        Ok(Self { plan, rows })
    }

    /// When slices go, if there are any.
    pub fn edge(&self) -> Option<Edge> {
        (!self.rows.is_empty()).then_some(self.plan.edge)
    }

    /// The rows that come, and those whose time is over, taken back.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &Epoch,
        deltas: Vec<Delta>,
    ) -> Result<Vec<Delta>, QueryError> {
        let Some(now_us) = epoch.processing.now_us else {
            let message = "rows with a time to live came without the instant";
            return Err(QueryError::new(ErrorKind::Internal, message));
        };
        let mut out = self.expire(commit, epoch.processing.before_us, now_us)?;
        if let Some(delta) = gather_as(&self.plan.row, deltas)?.filter(|delta| delta.len() > 0) {
            let slice = vec![self.plan.slice_end(now_us); delta.len()];
            let slice: ArrayRef = Arc::new(TimestampMicrosecondArray::from(slice));
            self.rows.apply(commit, epoch.number, &[slice], &delta)?;
            out.push(delta);
        }
        Ok(out)
    }

    fn expire(
        &self,
        commit: &mut Commit,
        before_us: Option<i64>,
        now_us: i64,
    ) -> Result<Vec<Delta>, QueryError> {
        let Some(before_us) = before_us else { return Ok(Vec::new()) };
        let over = self.plan.over(before_us, now_us);
        if over.is_empty() || self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let slices: ArrayRef = Arc::new(TimestampMicrosecondArray::from(over));
        let found = self.rows.rows(std::slice::from_ref(&slices))?;
        let count = u32::try_from(found.rows.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(Vec::new());
        }
        let at = [take(&slices, &found.probes, None)?, Arc::new(found.ids) as ArrayRef];
        self.rows.remove(commit, &at, &UInt32Array::from_iter_values(0..count))?;
        Ok(vec![Delta::taken_back(found.rows.rows)])
    }
}
