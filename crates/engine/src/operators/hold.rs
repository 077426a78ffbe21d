//! Rows wait until their window is closed: what comes behind sees each window
//! once, and whole.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::windows::TIME_TYPE;

use super::arrangement::Arrangement;
use super::delta::{Delta, gather_as};
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
            if let Some((_, rows)) = self.waiting.take_out(commit, 0, due)? {
                given = Some(Delta::added(rows.copied()?));
            }
        }
        let Some(mut delta) = gather_as(&self.plan.row, deltas)? else { return Ok(given) };
        let edges = |delta: &Delta| cast(delta.rows.column(self.plan.column), &TIME_TYPE);
        if let (Some(bound_us), false) = (epoch.bound(self.plan.edge), self.plan.guarded) {
            let of = edges(&delta)?;
            delta = epoch.in_time(delta, &of, self.plan.edge, bound_us)?;
        }
        self.waiting.apply(commit, epoch.number, &[edges(&delta)?], &delta)?;
        Ok(given)
    }
}
