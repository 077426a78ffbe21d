//! Logical plan → the operators of one view.
//!
//! A view is a chain: one input, stateless steps (filter, project, look up), at
//! most one aggregate, and stateless steps on its result. Whatever else a plan
//! holds is refused here, with the supported spelling, before anything runs.

mod aggregate;
mod chain;
mod expressions;
mod lookup;
mod origin;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use pluvio_catalog::{Catalog, Column, Definition, ViewKind};
use pluvio_query::{QueryError, ViewShape};

pub use aggregate::{AggregatePlan, Function, Window};
pub use chain::{Chain, Input, Step, Unnest};
pub use lookup::{Lookup, LookupJoin};

/// A view, compiled.
#[derive(Debug)]
pub struct ViewPlan {
    /// What it reads.
    pub input: Input,
    /// Steps on the input's rows.
    pub steps: Vec<Step>,
    /// The aggregate, if any.
    pub aggregate: Option<AggregatePlan>,
    /// Steps on the aggregate's rows; their output ends with the group columns.
    pub after: Vec<Step>,
    /// The columns of the stored table; the first are what readers see.
    pub stored: Vec<Column>,
    /// For each stored column, its position in the last step's output.
    pub stored_from: Vec<usize>,
    /// How rows are kept.
    pub kind: ViewKind,
    /// Windows are emitted once, when closed.
    pub emit_on_window_close: bool,
    /// Names of the tables it looks up.
    pub lookups: Vec<String>,
    /// How many of the stored columns readers see.
    pub visible: usize,
}

/// Compiles a view's plan.
///
/// # Errors
/// What the plan holds that a job cannot do.
pub fn compile(plan: &LogicalPlan, emit_on_window_close: bool) -> Result<ViewPlan, QueryError> {
    let chain = Chain::of(plan)?;
    if emit_on_window_close
        && !chain.aggregate.as_ref().is_some_and(|a| a.window.is_some_and(|w| w.edge.on_event_time))
    {
        return Err(QueryError::invalid(
            "EMIT ON WINDOW CLOSE needs GROUP BY window_end (or, but for CUMULATE, window_start) of a window over \
             the stream's WATERMARK column",
        ));
    }
    chain.finish(emit_on_window_close)
}

impl ViewPlan {
    /// What the query layer wants to know of it.
    pub fn shape(&self, catalog: &Catalog) -> Result<ViewShape, QueryError> {
        let mut reads = vec![self.input.name().to_owned()];
        reads.extend(self.lookups.iter().cloned());
        for name in &reads {
            let known = catalog.get(name);
            if !known.is_some_and(|d: Arc<Definition>| !matches!(d.as_ref(), Definition::Sink(_))) {
                return Err(QueryError::invalid(format!("there is no stream, table or view \"{name}\"")));
            }
        }
        reads.sort();
        reads.dedup();
        let columns = self.stored[..self.visible].to_vec();
        Ok(ViewShape { columns, kind: self.kind.clone(), reads })
    }
}
