//! What a view's query is compiled to: operators in the order in which an epoch
//! runs them, each after what it reads.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::NullHandling;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_catalog::{Column, ViewKind};
use pluvio_query::QueryError;

use super::aggregate::{AggregatePlan, Upkeep};
use super::join::JoinPlan;
use super::lookup::Lookup;
use super::origin::{Edge, Window};
use super::over::OverPlan;
use super::session::SessionPlan;
use super::ttl::TtlPlan;

/// A view, compiled.
#[derive(Debug)]
pub struct ViewPlan {
    /// What it reads; a name stands here as often as the query names it.
    pub reads: Vec<Read>,
    /// The operators; the last one gives the view's rows.
    pub nodes: Vec<Node>,
    /// What becomes of those rows.
    pub output: Output,
    /// Names of the tables it looks up.
    pub lookups: Vec<String>,
}

impl ViewPlan {
    /// Whether a view can go on with this plan on what `before` has kept: it adds
    /// rows, and the state of what it aggregates is the same. What was counted
    /// under the plan before stays so.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check_follows(&self, before: &Self) -> Result<(), QueryError> {
        let refuse = |why: String| {
            Err(QueryError::unsupported(format!(
                "the view cannot go on with this query: {why}. Create a view beside it, or DROP and CREATE this one"
            )))
        };
        let kept = |plan: &Self| -> Vec<String> {
            let has_state = |node: &&Node| !matches!(node.operator, Operator::Read(_) | Operator::Steps(_));
            plan.nodes.iter().filter(has_state).map(|node| format!("{:?}", node.operator)).collect()
        };
        for node in &self.nodes {
            match &node.operator {
                Operator::Read(_) | Operator::Steps(_) | Operator::Union(_) => {}
                Operator::Aggregate(plan) if matches!(plan.upkeep, Upkeep::Merge) => {}
                other => {
                    let what = other.describe(&self.reads);
                    return refuse(format!(
                        "its operator \"{what}\" remembers rows as the old query made them"
                    ));
                }
            }
        }
        if self.nodes.len() != before.nodes.len() || kept(self) != kept(before) {
            return refuse("it groups or aggregates by something else".to_owned());
        }
        match (&self.output.how, &before.output.how) {
            (How::Append, How::Append) | (How::Replace { .. }, How::Replace { .. }) => Ok(()),
            _ => refuse("it keeps its rows in another way".to_owned()),
        }
    }
}

/// A stream or view that is read, and the steps that every row takes at once.
#[derive(Debug)]
pub struct Read {
    /// Its name.
    pub name: String,
    /// Whether it is a stream; else it is a view.
    pub is_stream: bool,
    /// Steps on its rows.
    pub steps: Vec<Step>,
}

/// An operator and the places of its inputs.
#[derive(Debug)]
pub struct Node {
    /// What it does.
    pub operator: Operator,
    /// The nodes it reads, all before it.
    pub inputs: Vec<usize>,
}

/// What a node does with the changes of its inputs.
#[derive(Debug)]
pub enum Operator {
    /// Gives what a read takes in.
    Read(usize),
    /// Changes of a stream, made sound.
    Changelog(ChangelogPlan),
    /// Rows that stand in the query, once.
    Values(RecordBatch),
    /// Steps, row by row.
    Steps(Vec<Step>),
    /// All inputs' rows, in this schema.
    Union(SchemaRef),
    /// GROUP BY, DISTINCT.
    Aggregate(Box<AggregatePlan>),
    /// A join of two inputs that both change.
    Join(Box<JoinPlan>),
    /// OVER, top-N, deduplication.
    Over(Box<OverPlan>),
    /// SESSION windows.
    Session(Box<SessionPlan>),
    /// Rows wait until their window is closed.
    Hold(HoldPlan),
    /// Rows stay for a while.
    Ttl(TtlPlan),
}

/// A stateless step: a batch in, a batch out.
#[derive(Debug)]
pub enum Step {
    /// Keeps the rows for which this is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes columns.
    Project {
        /// One for each column.
        columns: Vec<Arc<dyn PhysicalExpr>>,
        /// The result.
        schema: SchemaRef,
    },
    /// Takes a list apart: a row for each of its elements.
    Unnest(Unnest),
    /// Adds a table's columns.
    Lookup(Lookup),
}

/// A stream of changes.
#[derive(Debug)]
pub struct ChangelogPlan {
    /// Positions of the key's columns; empty: rows come and go as a whole.
    pub key: Vec<usize>,
    /// The rows.
    pub row: SchemaRef,
}

/// A list to be taken apart.
#[derive(Debug)]
pub struct Unnest {
    /// The list's column.
    pub list: usize,
    /// For each column of the result, the column it comes from.
    pub from: Vec<usize>,
    /// What becomes of a row without a list, or with an empty one.
    pub nulls: NullHandling,
    /// The result.
    pub schema: SchemaRef,
}

/// Where the last node's rows go.
#[derive(Debug)]
pub struct Output {
    /// The columns of the stored table or span; the first are what readers see.
    pub stored: Vec<Column>,
    /// For each, its position in the rows (behind `tail`, if there is one).
    pub stored_from: Vec<usize>,
    /// How many of them readers see.
    pub visible: usize,
    /// How rows are kept.
    pub kind: ViewKind,
    /// How changes become what is kept.
    pub how: How,
    /// The window among the stored key's columns.
    pub window: Option<Window>,
}

/// How changes become kept rows.
#[derive(Debug)]
pub enum How {
    /// Every row is new: it is appended.
    Append,
    /// Rows are replaced by key.
    Replace {
        /// The key's positions in the last node's rows.
        key: Vec<usize>,
        /// Steps from those rows to the stored ones. Filters here take the key away.
        tail: Vec<Step>,
    },
    /// Rows without a key: each is kept with how often it is there.
    Count,
    /// Rows wait until their window is closed, then they are appended.
    OnClose(HoldPlan),
}

/// Rows that wait until their window is closed.
#[derive(Debug)]
pub struct HoldPlan {
    /// The window edge's position in the rows.
    pub column: usize,
    /// Which edge it is.
    pub edge: Edge,
    /// Whether no row can come for a window that is closed.
    pub guarded: bool,
    /// Whether rows are only added.
    pub appends: bool,
    /// The rows.
    pub row: SchemaRef,
}
