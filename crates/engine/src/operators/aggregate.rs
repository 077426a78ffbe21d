//! GROUP BY with durable state.
//!
//! The state is a keyed table of its own: the group columns are its key, the
//! functions' intermediate states its values. An epoch interns its rows' groups,
//! feeds the rows to fresh accumulators, merges the stored states of the groups
//! it touched, and gives back their new states and results: each group is read
//! and written once an epoch however many events hit it, and every aggregate
//! function that can merge is supported without code of ours.
//!
//! Rows that are taken back go to accumulators of their own, whose states are
//! subtracted. Functions that cannot do that keep their rows ([`super::anew`]).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{Field, Schema};
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;

use super::anew::Anew;
use super::delta::{Delta, batch_of, consolidate, gather};
use super::join::evaluate;
use super::states::States;
use super::{Epoch, late_bound};
use crate::compile::{AggregatePlan, Emission, Upkeep, Window};

/// An aggregate and what it keeps.
pub struct AggregateState {
    plan: AggregatePlan,
    kept: Kept,
}

enum Kept {
    States(Box<States>),
    Rows(Box<Anew>),
}

/// Groups and, for each function, their results.
pub type Groups = (Vec<ArrayRef>, Vec<ArrayRef>);

/// The groups an epoch touched: what they were, what they are.
pub struct Touched {
    /// The groups.
    pub keys: Vec<ArrayRef>,
    /// Which of them there were before, and their results, row by row.
    pub before: (BooleanArray, Vec<ArrayRef>),
    /// Which of them there are now, and their results.
    pub after: (BooleanArray, Vec<ArrayRef>),
}

impl AggregateState {
    /// Opens what is kept under `name`.
    pub fn open(plan: AggregatePlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let kept = match plan.upkeep {
            Upkeep::Anew => Kept::Rows(Box::new(Anew::open(&plan, store, name)?)),
            Upkeep::Merge | Upkeep::Add(_) => Kept::States(Box::new(States::open(&plan, store, name)?)),
        };
        Ok(Self { plan, kept })
    }

    /// The window among the groups.
    pub fn window(&self) -> Option<Window> {
        self.plan.window
    }

    /// Whether the only group is a constant, whose result is there before any row.
    pub fn is_constant(&self) -> bool {
        self.plan.constant
    }

    /// Whether no row has come yet.
    pub fn is_empty(&self) -> bool {
        match &self.kept {
            Kept::States(states) => states.is_empty(),
            Kept::Rows(rows) => rows.is_empty(),
        }
    }

    /// The result's changes.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        deltas: Vec<Delta>,
    ) -> Result<Vec<Delta>, QueryError> {
        let mut out = Vec::new();
        let mut in_time = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let delta = self.in_time(epoch, delta)?;
            if delta.len() > 0 {
                in_time.push(delta);
            }
        }
        if let Some(window) = self.plan.window.filter(|_| !self.plan.whole)
            && let Some(bound_us) = epoch.closes(window.edge)
        {
            out.extend(self.close(commit, window, bound_us)?);
        }
        let touched = match self.touch(commit, epoch, &in_time) {
            Ok(touched) => touched,
            Err(_) => {
                // A row whose arguments cannot be computed: find it, leave it out.
                let good = in_time.into_iter().map(|delta| self.sound(epoch, delta));
                let good = good.collect::<Result<Vec<_>, _>>()?;
                self.touch(commit, epoch, &good)?
            }
        };
        if let Some(touched) = touched {
            out.extend(self.emit(touched)?);
        }
        Ok(out)
    }

    /// The rows whose window is not closed.
    fn in_time(&self, epoch: &mut Epoch, delta: Delta) -> Result<Delta, QueryError> {
        let Some((window, bound_us)) = late_bound(self.plan.window, self.plan.guarded, epoch) else {
            return Ok(delta);
        };
        let edges = self.plan.groups[window.place].evaluate(&delta.rows)?.into_array(delta.len())?;
        epoch.in_time(delta, &edges, window.edge, bound_us)
    }

    fn touch(
        &self,
        commit: &mut Commit,
        epoch: &Epoch,
        deltas: &[Delta],
    ) -> Result<Option<Touched>, QueryError> {
        let mut nothing = Vec::new();
        let mut deltas = deltas;
        if deltas.iter().all(|delta| delta.len() == 0) {
            // SQL wants a result over no rows at all where nothing is grouped by.
            if !self.plan.constant || !self.is_empty() {
                return Ok(None);
            }
            nothing.push(Delta::added(RecordBatch::new_empty(Arc::new(Schema::empty()))));
            deltas = &nothing;
        }
        match &self.kept {
            Kept::States(states) => states.touch(&self.plan, commit, deltas),
            Kept::Rows(rows) => rows.touch(&self.plan, commit, epoch.number, deltas),
        }
    }

    /// What changes for readers of the result.
    fn emit(&self, touched: Touched) -> Result<Vec<Delta>, QueryError> {
        let Touched { keys, before, after } = touched;
        let rows = |columns: &[ArrayRef], which: &BooleanArray| -> Result<RecordBatch, QueryError> {
            let all = self.result_batch(&keys, columns)?;
            Ok(if which.true_count() == which.len() { all } else { filter_record_batch(&all, which)? })
        };
        if self.plan.whole {
            return Ok(vec![Delta::added(rows(&after.1, &after.0)?)]);
        }
        match self.plan.emission {
            Emission::OnClose => Ok(Vec::new()),
            Emission::Replace => {
                let new = Delta::added(rows(&after.1, &after.0)?);
                let gone: BooleanArray = before
                    .0
                    .values()
                    .iter()
                    .zip(after.0.values().iter())
                    .map(|(b, a)| Some(b && !a))
                    .collect();
                if gone.true_count() == 0 {
                    return Ok(vec![new]);
                }
                Ok(vec![new, Delta::taken_back(rows(&after.1, &gone)?)])
            }
            Emission::Changes => {
                let old = Delta::taken_back(rows(&before.1, &before.0)?);
                let new = Delta::added(rows(&after.1, &after.0)?);
                let changes = gather(vec![old, new])?.map(consolidate).transpose()?;
                Ok(changes.into_iter().filter(|delta| delta.len() > 0).collect())
            }
        }
    }

    /// Closes the windows that end up to the bound: their states go; their results
    /// are given out if it is time now.
    fn close(&self, commit: &mut Commit, window: Window, bound_us: i64) -> Result<Option<Delta>, QueryError> {
        let emits = self.plan.emission == Emission::OnClose;
        let closed = match &self.kept {
            Kept::States(states) => states.close(&self.plan, commit, window, bound_us, emits)?,
            Kept::Rows(rows) => rows.close(&self.plan, commit, window, bound_us, emits)?,
        };
        let Some((keys, results)) = closed else { return Ok(None) };
        Ok(Some(Delta::added(self.result_batch(&keys, &results)?)))
    }

    /// The rows whose groups and arguments can be computed.
    fn sound(&self, epoch: &mut Epoch, delta: Delta) -> Result<Delta, QueryError> {
        let check = |rows: &RecordBatch| -> Result<(), QueryError> {
            evaluate(&self.plan.groups, rows)?;
            for function in self.plan.all_functions() {
                evaluate(&function.aggregate.expressions(), rows)?;
                if let Some(filter) = &function.filter {
                    evaluate(std::slice::from_ref(filter), rows)?;
                }
            }
            Ok(())
        };
        super::steps::sound(epoch, delta, &check)
    }

    fn result_batch(&self, keys: &[ArrayRef], results: &[ArrayRef]) -> Result<RecordBatch, QueryError> {
        let columns: Vec<ArrayRef> = match self.plan.constant {
            true => results.iter().chain(keys).cloned().collect(),
            false => keys.iter().chain(results).cloned().collect(),
        };
        let typed = |(column, field): (&ArrayRef, &Arc<Field>)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        };
        let columns = columns.iter().zip(self.plan.schema.fields()).map(typed).collect::<Result<_, _>>()?;
        batch_of(&self.plan.schema, columns, keys[0].len())
    }
}
