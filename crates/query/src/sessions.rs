//! SESSION windows: events of a key belong together while none is further from
//! the one before than the gap.
//!
//! `session_start` and `session_end` are functions with OVER: `SESSION(TABLE t
//! PARTITION BY k, DESCRIPTOR(c), INTERVAL gap)` is `t` with columns computed by
//! them over `PARTITION BY k ORDER BY c`. A session ends the gap after its last
//! event; where there is no time there is no session.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimestampMicrosecondType};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, PartitionEvaluator, Signature, SortExpr, Volatility, WindowFunctionDefinition,
    WindowUDF, WindowUDFImpl, cast, lit,
};
use datafusion::scalar::ScalarValue;

use crate::windows::TIME_TYPE;

/// Which edge of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionEdge {
    /// The time of its first event.
    Start,
    /// The gap after its last event.
    End,
}

impl SessionEdge {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "session_start",
            Self::End => "session_end",
        }
    }

    /// The edge that a function with OVER computes, its time and its gap in
    /// microseconds.
    pub fn of(function: &WindowFunction) -> Option<(Self, &Expr, i64)> {
        let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else { return None };
        let edge = [Self::Start, Self::End].into_iter().find(|edge| edge.name() == udf.name())?;
        match function.params.args.as_slice() {
            [time, Expr::Literal(ScalarValue::Int64(Some(gap_us)), _)] => Some((edge, time, *gap_us)),
            _ => None,
        }
    }

    /// The call for events of these keys.
    pub fn call(self, time: Expr, gap_us: i64, keys: Vec<Expr>) -> Result<Expr> {
        let time = cast(time, TIME_TYPE);
        let function = WindowUDF::from(SessionFunction::new(self));
        let order = vec![SortExpr::new(time.clone(), true, false)];
        let call = function.call(vec![time, lit(gap_us)]).order_by(order);
        if keys.is_empty() { call.build() } else { call.partition_by(keys).build() }
    }
}

/// Both functions.
pub fn window_functions() -> [WindowUDF; 2] {
    [SessionEdge::Start, SessionEdge::End].map(|edge| WindowUDF::from(SessionFunction::new(edge)))
}

/// For each event of a key, in the order of time, the edges of its session.
pub fn sessions(times: &TimestampMicrosecondArray, gap_us: i64) -> Vec<Option<(i64, i64)>> {
    let mut open: Option<(i64, i64)> = None;
    let next = |time: Option<i64>| {
        let (time, before) = (time?, open);
        let end = time.saturating_add(gap_us);
        let start = before.filter(|(_, before)| time <= *before).map_or(time, |(start, _)| start);
        open = Some((start, end));
        open
    };
    let mut sessions: Vec<Option<(i64, i64)>> = times.iter().map(next).collect();
    // What is an end so far goes on until the session's last event.
    let mut last: Option<(i64, i64)> = None;
    for session in sessions.iter_mut().rev().flatten() {
        match last {
            Some(last) if last.0 == session.0 => *session = last,
            _ => last = Some(*session),
        }
    }
    sessions
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionFunction {
    edge: SessionEdge,
    signature: Signature,
}

impl SessionFunction {
    fn new(edge: SessionEdge) -> Self {
        let signature = Signature::exact(vec![TIME_TYPE, DataType::Int64], Volatility::Immutable);
        Self { edge, signature }
    }
}

impl WindowUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.edge.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator(self.edge)))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), TIME_TYPE, true)))
    }
}

#[derive(Debug)]
struct Evaluator(SessionEdge);

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        let [times, gap] = values else { return exec_err!("a session needs a time and a gap") };
        let gap = gap.as_primitive::<Int64Type>();
        let gap_us = if gap.is_empty() { 0 } else { gap.value(0) };
        let edges = sessions(times.as_primitive::<TimestampMicrosecondType>(), gap_us).into_iter();
        let edge = |session: Option<(i64, i64)>| match self.0 {
            SessionEdge::Start => session.map(|(start, _)| start),
            SessionEdge::End => session.map(|(_, end)| end),
        };
        Ok(Arc::new(edges.map(edge).collect::<TimestampMicrosecondArray>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_goes_on_up_to_the_gap_and_ends_after_it() {
        let times = TimestampMicrosecondArray::from(vec![Some(0), Some(10), Some(21), Some(30), None]);
        let edges = sessions(&times, 10);
        assert_eq!(edges, [Some((0, 20)), Some((0, 20)), Some((21, 40)), Some((21, 40)), None]);
        assert!(sessions(&TimestampMicrosecondArray::from(Vec::<i64>::new()), 10).is_empty());
    }
}
