//! Rows wait until their window is closed: what comes behind sees each window
//! once, and whole.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::compute::{cast, not};
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::windows::TIME_TYPE;

use super::arrangement::Arrangement;
use super::delta::{Delta, copies, gather, take_rows};
use super::{Epoch, closed};
use crate::compile::{Edge, HoldPlan};

/// Rows that wait.
pub struct HoldState {
    plan: HoldPlan,
    waiting: Arrangement,
}

impl HoldState {
    /// Opens what is kept under `name`.
    pub fn open(plan: HoldPlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let waiting =
            Arrangement::open(store, &format!("{name}/waiting"), &[TIME_TYPE], &plan.row, plan.appends)?;
        Ok(Self { plan, waiting })
    }

    /// The windows by which rows go.
    pub fn edge(&self) -> Edge {
        self.plan.edge
    }

    /// Takes rows in; gives those whose window is closed now.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        deltas: Vec<Delta>,
    ) -> Result<Option<Delta>, QueryError> {
        let mut given = None;
        if let Some(bound_us) = epoch.closes(self.plan.edge) {
            let due = |edges: &ArrayRef| closed(edges, self.plan.edge, bound_us);
            if let Some((at, rows)) = self.waiting.select(0, due)? {
                let all: UInt32Array = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
                self.waiting.remove(commit, &at, &all)?;
                let rows = match &rows.weights {
                    None => rows.rows,
                    Some(weights) => take_rows(&rows.rows, &copies(weights)?)?,
                };
                given = Some(Delta::added(rows));
            }
        }
        let width = self.plan.row.fields().len();
        let narrow = |delta: Delta| delta.narrow(width, &self.plan.row);
        let deltas = deltas.into_iter().map(narrow).collect::<Result<Vec<_>, _>>()?;
        let Some(mut delta) = gather(deltas)? else { return Ok(given) };
        let mut edges = cast(delta.rows.column(self.plan.column), &TIME_TYPE)?;
        if let (Some(bound_us), false) = (epoch.bound(self.plan.edge), self.plan.guarded) {
            let late = closed(&edges, self.plan.edge, bound_us)?;
            if late.true_count() > 0 {
                epoch.late(&delta.filter(&late)?);
                delta = delta.filter(&not(&late)?)?;
                edges = cast(delta.rows.column(self.plan.column), &TIME_TYPE)?;
            }
        }
        self.waiting.apply(commit, epoch.number, &[Arc::clone(&edges)], &delta)?;
        Ok(given)
    }
}
