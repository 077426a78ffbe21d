//! A view at work: what it reads, its operators, and where its rows go.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use pluvio_catalog::{UnknownKey, ViewDef};
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::tables::state_table_name;

use super::changes::ChangesLog;
use super::content::Content;
use super::tail::Tail;
use crate::compile::{Edge, How, Node, Operator, ViewPlan, Window};
use crate::operators::{
    AggregateState, ChangelogState, Delta, Epoch, HoldState, JoinState, OverState, SessionState, StepRunner,
    TtlState,
};
use crate::stats::OperatorStats;

/// A view of a running graph.
pub struct View {
    pub name: String,
    pub reads: Vec<ReadRunner>,
    /// The views that read it, with the places of their reads.
    pub downstream: Vec<(usize, usize)>,
    /// Rows go through it one by one, and are only added: it runs where events
    /// are decoded.
    pub direct: bool,
    nodes: Vec<NodeRunner>,
    /// What each of them has done.
    pub stats: Arc<Vec<OperatorStats>>,
    tail: Tail,
    /// Its changes, for sinks.
    changes: Option<ChangesLog>,
    unknown_key: UnknownKey,
}

/// Something that a view reads.
pub struct ReadRunner {
    pub name: String,
    pub is_stream: bool,
    steps: StepRunner,
}

struct NodeRunner {
    operator: OperatorRunner,
    inputs: Vec<usize>,
}

enum OperatorRunner {
    Read(usize),
    Changelog(Box<ChangelogState>),
    Values(RecordBatch),
    Steps(StepRunner),
    Union(SchemaRef),
    Aggregate(Box<AggregateState>),
    Join(Box<JoinState>),
    Over(Box<OverState>),
    Session(Box<SessionState>),
    Hold(Box<HoldState>),
    Ttl(Box<TtlState>),
}

impl ReadRunner {
    /// The tables that its lookups ask.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.steps.tables()
    }
}

impl View {
    /// Opens the view's storage; `tells` that a sink wants its changes.
    pub fn open(def: &ViewDef, plan: ViewPlan, tells: bool, store: &Store) -> Result<Self, QueryError> {
        let direct = plan.nodes.len() == 1 && matches!(plan.output.how, How::Append);
        let state = state_table_name(&def.name);
        let stats = plan
            .nodes
            .iter()
            .map(|node| OperatorStats::new(node.operator.describe(&plan.reads), node.inputs.clone()));
        let stats = Arc::new(stats.collect());
        let reads = plan.reads.into_iter().map(|read| {
            let steps = StepRunner::new(read.steps, store)?;
            Ok(ReadRunner { name: read.name, is_stream: read.is_stream, steps })
        });
        let reads = reads.collect::<Result<Vec<_>, QueryError>>()?;
        let nodes = plan.nodes.into_iter().enumerate();
        let nodes = nodes.map(|(place, node)| NodeRunner::open(node, store, &format!("{state}/{place}")));
        Ok(Self {
            name: def.name.clone(),
            reads,
            downstream: Vec::new(),
            direct,
            nodes: nodes.collect::<Result<Vec<_>, _>>()?,
            stats,
            tail: Tail::open(def, plan.output, store, &format!("{state}/tail"))?,
            changes: ChangesLog::open(def, tells, store)?,
            unknown_key: def.unknown_key,
        })
    }

    /// The epoch is committed.
    pub fn committed(&mut self) {
        self.changes.iter_mut().for_each(ChangesLog::committed);
    }

    /// Runs added rows through a read's steps; of a direct view, the result is
    /// what is stored. Tells the rows whose key a lookup did not find, each with
    /// the table's name, if they are to be dead letters.
    pub fn step(
        &self,
        read: usize,
        batch: RecordBatch,
    ) -> Result<(RecordBatch, Vec<(u32, String)>), QueryError> {
        let steps = &self.reads[read].steps;
        let (out, missed) = match self.unknown_key {
            UnknownKey::Drop => (steps.run(batch)?, Vec::new()),
            UnknownKey::DeadLetter => {
                let tracked = steps.run_tracked(batch)?;
                (tracked.batch, tracked.missed)
            }
        };
        match self.direct {
            true => Ok((self.tail.conform(&out)?, missed)),
            false => Ok((out, missed)),
        }
    }

    /// Runs changes through a read's steps.
    pub fn step_delta(&self, read: usize, epoch: &mut Epoch, delta: Delta) -> Result<Delta, QueryError> {
        self.reads[read].steps.run_delta(epoch, delta)
    }

    /// Appends rows that went through it already; returns how many.
    pub fn append(&self, commit: &mut Commit, epoch: u64, taken: Vec<Vec<Delta>>) -> u64 {
        let rows = self.tail.append(commit, epoch, taken.into_iter().flatten().collect());
        self.stats.iter().for_each(|stats| stats.add(rows, rows, 0));
        rows
    }

    /// Runs the operators on what was taken in, and puts what is kept into the
    /// commit. Returns how many rows readers see changed, and the changes as other
    /// views see them, if `told` says that some do.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        taken: Vec<Vec<Delta>>,
        told: bool,
    ) -> Result<(u64, Vec<Delta>), QueryError> {
        let mut taken: Vec<Option<Vec<Delta>>> = taken.into_iter().map(Some).collect();
        let mut given: Vec<Option<Vec<Delta>>> = Vec::with_capacity(self.nodes.len());
        for (node, stats) in self.nodes.iter().zip(self.stats.iter()) {
            let started = Instant::now();
            let rows_in = Cell::new(0);
            let mut inputs = node.inputs.iter().map(|input| {
                let input = given[*input].take().unwrap_or_default();
                rows_in.set(rows_in.get() + rows_of(&input));
                input
            });
            let mut next = || inputs.next().unwrap_or_default();
            let mut out: Vec<Delta> = match &node.operator {
                OperatorRunner::Read(read) => taken[*read].take().unwrap_or_default(),
                OperatorRunner::Values(rows) if epoch.is_first => vec![Delta::added(rows.clone())],
                OperatorRunner::Values(_) => Vec::new(),
                OperatorRunner::Steps(steps) => {
                    let input = next();
                    input.into_iter().map(|delta| steps.run_delta(epoch, delta)).collect::<Result<_, _>>()?
                }
                OperatorRunner::Union(schema) => {
                    let width = schema.fields().len();
                    inputs.flatten().map(|delta| delta.narrow(width, schema)).collect::<Result<_, _>>()?
                }
                OperatorRunner::Aggregate(aggregate) => aggregate.run(commit, epoch, next())?,
                OperatorRunner::Join(join) => {
                    let left = next();
                    join.run(commit, epoch, left, next())?
                }
                OperatorRunner::Changelog(changelog) => changelog.run(commit, epoch, next())?,
                OperatorRunner::Over(over) => over.run(commit, epoch, next())?,
                OperatorRunner::Session(session) => session.run(commit, epoch, next())?,
                OperatorRunner::Hold(hold) => hold.run(commit, epoch, next())?.into_iter().collect(),
                OperatorRunner::Ttl(ttl) => ttl.run(commit, epoch, next())?,
            };
            out.retain(|delta| delta.len() > 0);
            let rows_out = rows_of(&out);
            let rows_in = if node.inputs.is_empty() { rows_out } else { rows_in.get() };
            stats.add(rows_in, rows_out, u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
            given.push(Some(out));
        }
        let out = given.pop().flatten().unwrap_or_default();
        let Some(log) = &self.changes else { return self.tail.write(commit, epoch, out, told) };
        if log.begins() {
            self.tail.content().each(&mut |rows| log.write(commit, epoch.number, &[Delta::added(rows)]))?;
            log.begin(commit);
        }
        let (changed, changes) = self.tail.write(commit, epoch, out, true)?;
        log.write(commit, epoch.number, &changes)?;
        Ok((changed, changes))
    }

    /// All rows as readers see them, for a view that begins to read it.
    pub fn content(&self) -> Content {
        self.tail.content()
    }

    /// The stored rows that sinks follow.
    pub fn span(&self) -> Option<&Arc<pluvio_keytables::Span>> {
        self.tail.span().or_else(|| self.changes.as_ref().map(ChangesLog::span))
    }

    /// Whether something is due without any event: an aggregate without groups
    /// has no result yet, or a sink waits for what the view holds.
    pub fn lacks_first_result(&self) -> bool {
        if self.changes.as_ref().is_some_and(ChangesLog::begins) {
            return true;
        }
        self.nodes.iter().any(|node| match &node.operator {
            OperatorRunner::Aggregate(aggregate) => aggregate.is_constant() && aggregate.is_empty(),
            _ => false,
        })
    }

    /// Whether its rows go by the clock.
    pub fn has_ttl(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.operator, OperatorRunner::Ttl(_)))
    }

    /// The windows whose end matters to it now.
    pub fn edges(&self) -> impl Iterator<Item = Edge> {
        let edge = |window: Window| window.edge;
        let of = move |node: &NodeRunner| -> Option<Edge> {
            match &node.operator {
                OperatorRunner::Aggregate(aggregate) => aggregate.window().map(edge),
                OperatorRunner::Join(join) => join.window().map(edge),
                OperatorRunner::Over(over) => over.window().map(edge),
                OperatorRunner::Session(session) => session.edge(),
                OperatorRunner::Hold(hold) => Some(hold.edge()),
                OperatorRunner::Ttl(ttl) => ttl.edge(),
                _ => None,
            }
        };
        self.nodes.iter().filter_map(of).chain(self.tail.edge())
    }
}

fn rows_of(deltas: &[Delta]) -> u64 {
    deltas.iter().map(|delta| delta.len() as u64).sum()
}

impl NodeRunner {
    fn open(node: Node, store: &Store, name: &str) -> Result<Self, QueryError> {
        let operator = match node.operator {
            Operator::Read(read) => OperatorRunner::Read(read),
            Operator::Changelog(plan) => {
                OperatorRunner::Changelog(Box::new(ChangelogState::open(plan, store, name)?))
            }
            Operator::Values(rows) => OperatorRunner::Values(rows),
            Operator::Steps(steps) => OperatorRunner::Steps(StepRunner::new(steps, store)?),
            Operator::Union(schema) => OperatorRunner::Union(schema),
            Operator::Aggregate(plan) => {
                OperatorRunner::Aggregate(Box::new(AggregateState::open(*plan, store, name)?))
            }
            Operator::Join(plan) => OperatorRunner::Join(Box::new(JoinState::open(*plan, store, name)?)),
            Operator::Session(plan) => {
                OperatorRunner::Session(Box::new(SessionState::open(*plan, store, name)?))
            }
            Operator::Hold(plan) => OperatorRunner::Hold(Box::new(HoldState::open(plan, store, name)?)),
            Operator::Ttl(plan) => OperatorRunner::Ttl(Box::new(TtlState::open(plan, store, name)?)),
            Operator::Over(plan) => OperatorRunner::Over(Box::new(OverState::open(*plan, store, name)?)),
        };
        Ok(Self { operator, inputs: node.inputs })
    }
}
