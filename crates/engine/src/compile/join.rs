//! Joins of two inputs that both change.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Join, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use pluvio_query::QueryError;
use pluvio_query::rows::loose;

use super::builder::{Builder, Built, Identity};
use super::expiry::{SideExpiry, expiries};
use super::expressions::{check_lasting, physical};
use super::key::Key;
use super::origin::{Origin, Window, window_of};
use super::plan::Operator;

/// What of a join is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinKind {
    /// The pairs.
    pub pairs: bool,
    /// Left rows without a match, with NULLs.
    pub left_alone: bool,
    /// Right rows without a match, with NULLs.
    pub right_alone: bool,
    /// Only one side's rows, once each.
    pub half: Option<Half>,
}

/// A join that gives one side's rows only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Left rows that have a match.
    Semi,
    /// Left rows that have none.
    Anti,
    /// All left rows, with a column that tells which.
    Mark,
}

/// One side of a join.
#[derive(Debug)]
pub struct JoinSide {
    /// What must be equal on both sides; at least one, a constant if nothing.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// The row as it is kept: the logical plan's columns.
    pub row: SchemaRef,
    /// Whether its rows are only added.
    pub appends: bool,
    /// Whether no row can come for a closed window.
    pub guarded: bool,
    /// Until when its rows can find a partner, if the condition says it.
    pub expiry: SideExpiry,
}

/// A join.
#[derive(Debug)]
pub struct JoinPlan {
    /// What is given out.
    pub kind: JoinKind,
    /// Left; of a right semi or anti join it is the plan's right side.
    pub left: JoinSide,
    /// Right.
    pub right: JoinSide,
    /// Whether the sides were exchanged.
    pub exchanged: bool,
    /// Types of the key columns.
    pub key_types: Vec<DataType>,
    /// Whether NULL equals NULL.
    pub null_equals_null: bool,
    /// A further condition on left columns, then right columns.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// Left columns, then right columns.
    pub pair: SchemaRef,
    /// The result.
    pub schema: SchemaRef,
    /// The window among the keys.
    pub window: Option<Window>,
    /// Whether all rows of a window come in one epoch: nothing is kept.
    pub whole: bool,
}

/// The nodes of both sides, and the join.
pub fn join(builder: &mut Builder, plan: &LogicalPlan, join: &Join) -> Result<Built, QueryError> {
    if join.null_aware {
        return Err(QueryError::unsupported(
            "NOT IN (SELECT …) keeps nothing as soon as one NULL comes; write NOT EXISTS (SELECT … WHERE a = b)",
        ));
    }
    let (mut left, mut right) = (builder.input(&join.left)?, builder.input(&join.right)?);
    left.check_input("a join")?;
    right.check_input("a join")?;
    let kind = JoinKind::of(join.join_type);
    let exchanged = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
    let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
    let mut left_key = Key::of(join.on.iter().map(|(l, _)| l), left_schema, &left.origins)?;
    let right_key = Key::of(join.on.iter().map(|(_, r)| r), right_schema, &right.origins)?;
    let mut right_key = right_key.in_types(&left_key.types, right_schema)?;
    // An edge closes for both sides only if it is the same edge.
    let edges = left_key.origins.iter().zip(&right_key.origins);
    let window = window_of(edges.map(|(l, r)| if l == r { *l } else { Origin::Other }));
    if let Some(window) = window {
        builder.hold(&mut left, window.edge);
        builder.hold(&mut right, window.edge);
    }
    let whole = window.is_some() && left.whole && right.whole;
    left_key.or_constant();
    right_key.or_constant();
    let pair = left_schema.join(right_schema)?;
    join.filter.iter().try_for_each(check_lasting)?;
    let condition = join.filter.as_ref().map(|f| physical(f, &pair)).transpose()?;
    let (left_expiry, right_expiry) =
        expiries(join.filter.as_ref(), (left_schema, &left), (right_schema, &right))?.unwrap_or_default();
    let side = |key: Key, built: &Built, expiry: SideExpiry| JoinSide {
        keys: key.columns,
        row: loose(&built.schema),
        appends: built.appends,
        guarded: built.guarded,
        expiry,
    };
    let key_types = left_key.types.clone();
    let (left_side, right_side) = (side(left_key, &left, left_expiry), side(right_key, &right, right_expiry));
    let (mine, other) = if exchanged { (right_side, left_side) } else { (left_side, right_side) };
    let schema = loose(plan.schema().inner());
    let compiled = JoinPlan {
        kind,
        left: mine,
        right: other,
        exchanged,
        key_types,
        null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
        condition,
        pair: loose(pair.inner()),
        schema: Arc::clone(&schema),
        window,
        whole,
    };
    let node = builder.add(Operator::Join(Box::new(compiled)), vec![left.node, right.node]);
    let origins = origins(join.join_type, &left, &right);
    let mut built = Built::new(node, schema, origins);
    built.appends = left.appends
        && right.appends
        && (whole || join.join_type == JoinType::Inner || matches!(kind.half, Some(Half::Semi)));
    built.whole = whole;
    built.guarded = window.is_some() || left.guarded && right.guarded;
    built.identity = match kind.half {
        None if kind.left_alone && kind.right_alone && !(is_told(&left) || is_told(&right)) => None,
        None => both(&left, &right),
        Some(_) => visible(if exchanged { &right } else { &left }),
    };
    Ok(built)
}

impl JoinKind {
    fn of(join_type: JoinType) -> Self {
        use JoinType::{
            Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        let (pairs, left_alone, right_alone, half) = match join_type {
            Inner => (true, false, false, None),
            Left => (true, true, false, None),
            Right => (true, false, true, None),
            Full => (true, true, true, None),
            LeftSemi | RightSemi => (false, false, false, Some(Half::Semi)),
            LeftAnti | RightAnti => (false, false, false, Some(Half::Anti)),
            LeftMark | RightMark => (false, false, false, Some(Half::Mark)),
        };
        Self { pairs, left_alone, right_alone, half }
    }
}

/// What the columns of a join are.
fn origins(join_type: JoinType, left: &Built, right: &Built) -> Vec<Origin> {
    use JoinType::{LeftAnti, LeftMark, LeftSemi, RightAnti, RightMark, RightSemi};
    let (has_left, has_right) = match join_type {
        LeftSemi | LeftAnti | LeftMark => (true, false),
        RightSemi | RightAnti | RightMark => (false, true),
        _ => (true, true),
    };
    let of = |side: &Built, wanted: bool| -> Vec<Origin> {
        side.origins.iter().filter(|_| wanted).map(|origin| plain(*origin)).collect()
    };
    let mark = matches!(join_type, LeftMark | RightMark).then_some(Origin::Other);
    of(left, has_left).into_iter().chain(of(right, has_right)).chain(mark).collect()
}

/// Ranks stand for their own node's rows only.
fn plain(origin: Origin) -> Origin {
    if let Origin::Rank(_) = origin { Origin::Other } else { origin }
}

/// The key of a side's rows, if all of it is among the plan's columns.
fn visible(side: &Built) -> Option<Identity> {
    let identity = side.identity.as_ref()?;
    let width = side.schema.fields().len();
    identity.now.iter().all(|place| *place < width).then(|| Identity::at(identity.now.clone()))
}

/// Whether a row of this side cannot be taken for none by its key.
fn is_told(side: &Built) -> bool {
    let told = |place: &usize| side.schema.fields().get(*place).is_some_and(|field| !field.is_nullable());
    side.identity.as_ref().is_some_and(|identity| identity.now.iter().any(told))
}

/// The key of pairs: both sides' keys. A row alone has NULLs in place of the other's;
/// rows alone of both sides must not look the same by that.
fn both(left: &Built, right: &Built) -> Option<Identity> {
    let width = left.schema.fields().len();
    let right = visible(right)?.now.into_iter().map(|place| place + width);
    Some(Identity::at(visible(left)?.now.into_iter().chain(right).collect()))
}
