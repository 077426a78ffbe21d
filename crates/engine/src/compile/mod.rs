//! Logical plan → the operators of one view.
//!
//! Every operator takes changes (rows with a weight) and gives changes, so that
//! what a view holds is what a batch of the same plan gives. What a plan holds
//! that cannot run forever is refused here, with the supported spelling, before
//! anything runs.

mod aggregate;
mod builder;
mod describe;
mod expiry;
mod expressions;
mod grouping;
mod join;
mod key;
mod lookup;
mod origin;
mod output;
mod over;
mod plan;
mod session;
mod ttl;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use pluvio_catalog::{Catalog, Definition};
use pluvio_query::{QueryError, ViewShape, ViewTerms};

pub use aggregate::{Additive, AggregatePlan, Emission, Function, Upkeep};
pub use join::{Half, JoinPlan, JoinSide};
pub use lookup::{Lookup, LookupJoin};
pub use origin::{Edge, Window, WindowClock};
pub use over::{OverPlan, RankFunction, RankKind};
pub use plan::{ChangelogPlan, HoldPlan, How, Node, Operator, Output, Step, Unnest, ViewPlan};
pub use session::{SessionPlan, end_of};
pub use ttl::TtlPlan;

/// Compiles a view's plan.
///
/// # Errors
/// What the plan holds that a job cannot do.
pub fn compile(plan: &LogicalPlan, terms: ViewTerms) -> Result<ViewPlan, QueryError> {
    let mut builder = builder::Builder {
        on_close: terms.emit_on_window_close,
        ttl_us: terms.ttl_ms.map(|ms| ms.saturating_mul(1000)),
        ..Default::default()
    };
    let root = builder.input(plan)?;
    output::finish(builder, root)
}

impl ViewPlan {
    /// What the query layer wants to know of it.
    pub fn shape(&self, catalog: &Catalog) -> Result<ViewShape, QueryError> {
        let mut reads: Vec<String> = self.reads.iter().map(|read| read.name.clone()).collect();
        reads.extend(self.lookups.iter().cloned());
        for name in &reads {
            let known = catalog.get(name);
            if !known.is_some_and(|d: Arc<Definition>| !matches!(d.as_ref(), Definition::Sink(_))) {
                return Err(QueryError::invalid(format!("there is no stream, table or view \"{name}\"")));
            }
        }
        reads.sort();
        reads.dedup();
        let columns = self.output.stored[..self.output.visible].to_vec();
        let operator = |node: &Node| (node.operator.describe(&self.reads), node.inputs.clone());
        let operators = self.nodes.iter().map(operator).collect();
        Ok(ViewShape { columns, kind: self.output.kind.clone(), reads, operators })
    }
}
