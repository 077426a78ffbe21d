//! SESSION windows: the edges of each row's session, which move as rows come.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::Window as WindowNode;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::cast;
use pluvio_query::QueryError;
use pluvio_query::rows::loose;
use pluvio_query::sessions::SessionEdge;
use pluvio_query::windows::TIME_TYPE;

use super::builder::{Builder, Built};
use super::expressions::physical;
use super::key::Key;
use super::origin::{Edge, Origin, WindowClock, origin_of};
use super::plan::Operator;

/// How often sessions of processing time are looked at.
const PROCESSING_EVERY_US: i64 = 100_000;

/// Sessions of rows by key.
#[derive(Debug)]
pub struct SessionPlan {
    /// What rows of a session have in common; at least one, a constant if nothing.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Types of the keys.
    pub key_types: Vec<DataType>,
    /// The rows' time.
    pub time: Arc<dyn PhysicalExpr>,
    /// The longest pause within a session, in microseconds.
    pub gap_us: i64,
    /// The columns that are computed, in their order.
    pub edges: Vec<SessionEdge>,
    /// What ends sessions.
    pub clock: Option<WindowClock>,
    /// The input's columns.
    pub row: SchemaRef,
    /// The result.
    pub schema: SchemaRef,
}

/// The end of sessions: they end whenever they end, so that every watermark may
/// close one. The clock is looked at every so often.
pub fn end_of(clock: Option<WindowClock>) -> Edge {
    let every_us = if clock == Some(WindowClock::Processing) { PROCESSING_EVERY_US } else { 1 };
    Edge { to_end_us: 0, every_us, clock }
}

/// The node of sessions behind its input.
pub fn session(
    builder: &mut Builder,
    built: &Built,
    node: &WindowNode,
    functions: &[&WindowFunction],
) -> Result<Built, QueryError> {
    if !built.appends {
        return Err(QueryError::unsupported(
            "SESSION over rows that may be taken back: make sessions before rows are grouped or joined",
        ));
    }
    let input = node.input.schema();
    let mut edges = Vec::with_capacity(functions.len());
    let mut chosen = None;
    for function in functions {
        let Some((edge, time, gap_us)) = SessionEdge::of(function) else {
            return Err(QueryError::unsupported(
                "session windows stand alone: other OVER functions go around them",
            ));
        };
        edges.push(edge);
        chosen = Some((time, gap_us));
    }
    let Some((time, gap_us)) = chosen else { return Err(QueryError::invalid("a session without columns")) };
    let clock = origin_of(time, input, &built.origins).clock();
    let mut key = Key::of(&functions[0].params.partition_by, input, &built.origins)?;
    key.or_constant();
    let mut origins = built.origins.clone();
    let end = end_of(clock);
    origins.extend(edges.iter().map(|edge| match edge {
        SessionEdge::End => Origin::Edge(end),
        SessionEdge::Start => Origin::Other,
    }));
    let schema = loose(node.schema.inner());
    let plan = SessionPlan {
        keys: key.columns,
        key_types: key.types,
        time: cast(physical(time, input)?, input.as_arrow(), TIME_TYPE)?,
        gap_us,
        edges,
        clock,
        row: loose(&built.schema),
        schema: Arc::clone(&schema),
    };
    let place = builder.add(Operator::Session(Box::new(plan)), vec![built.node]);
    let mut result = Built::new(place, schema, origins);
    result.guarded = clock.is_some();
    Ok(result)
}
