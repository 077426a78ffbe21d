//! Joins bounded by time: until when a row can still find a partner.
//!
//! From `x <= y`, where `x` is the time of one side (and a constant), a row of the
//! other side has no partner any more once the watermark is past its `y`. Rows
//! are only forgotten where the condition bounds both sides.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::cast;
use pluvio_query::QueryError;
use pluvio_query::windows::{TIME_TYPE, interval_us};

use super::builder::Built;
use super::expressions::physical;
use super::origin::{Origin, WindowClock};

/// Until when a row can find a partner: `until - offset`, compared with the
/// watermark.
#[derive(Debug)]
pub struct Expiry {
    /// Computed from the row.
    pub until: Arc<dyn PhysicalExpr>,
    /// In microseconds.
    pub offset_us: i64,
}

/// What a join's condition says of one side.
#[derive(Debug, Default)]
pub struct SideExpiry {
    /// A row is forgotten when one of these has passed.
    pub expiries: Vec<Expiry>,
    /// The column of event time; rows behind the watermark are late.
    pub time: Option<usize>,
}

struct Side<'a> {
    schema: &'a DFSchema,
    origins: &'a [Origin],
}

impl Side<'_> {
    fn has(&self, expression: &Expr) -> bool {
        let columns = expression.column_refs();
        !columns.is_empty()
            && columns.iter().all(|column| self.schema.maybe_index_of_column(column).is_some())
    }

    /// The column of this side's time that an expression is, and what is added.
    fn time(&self, expression: &Expr) -> Option<(usize, i64)> {
        match expression {
            Expr::Column(column) => {
                let place = self.schema.maybe_index_of_column(column)?;
                let edge = self.origins[place].closing_edge();
                let is_end = edge.is_some_and(|e| e.to_end_us == 0 && e.clock == Some(WindowClock::Event));
                (self.origins[place] == Origin::Time || is_end).then_some((place, 0))
            }
            Expr::Cast(inner) if matches!(inner.field.data_type(), DataType::Timestamp(..)) => {
                self.time(&inner.expr)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (place, before) = self.time(left)?;
                let more = interval_us(right).ok()?;
                match op {
                    Operator::Plus => Some((place, before.checked_add(more)?)),
                    Operator::Minus => Some((place, before.checked_sub(more)?)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// What a condition says of the left and the right side, if it bounds both.
///
/// # Errors
/// An expression that cannot be evaluated row by row.
pub fn expiries(
    condition: Option<&Expr>,
    (left_schema, left): (&DFSchema, &Built),
    (right_schema, right): (&DFSchema, &Built),
) -> Result<Option<(SideExpiry, SideExpiry)>, QueryError> {
    let sides = [
        Side { schema: left_schema, origins: &left.origins },
        Side { schema: right_schema, origins: &right.origins },
    ];
    let mut found = [SideExpiry::default(), SideExpiry::default()];
    let Some(condition) = condition.filter(|_| left.appends && right.appends) else { return Ok(None) };
    for part in split_conjunction(condition) {
        let Some((less, more)) = ordered(part) else { continue };
        for (one, other) in [(0, 1), (1, 0)] {
            if let Some((place, offset_us)) = sides[one].time(less).filter(|_| sides[other].has(more)) {
                let schema = sides[other].schema;
                let until = cast(physical(more, schema)?, schema.as_arrow(), TIME_TYPE)?;
                found[other].expiries.push(Expiry { until, offset_us });
                found[one].time = (sides[one].origins[place] == Origin::Time).then_some(place);
            }
        }
    }
    let [left, right] = found;
    let both = !left.expiries.is_empty() && !right.expiries.is_empty();
    Ok(both.then_some((left, right)))
}

/// The lesser and the greater side of a comparison.
fn ordered(expression: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expression else { return None };
    match op {
        Operator::Lt | Operator::LtEq => Some((left, right)),
        Operator::Gt | Operator::GtEq => Some((right, left)),
        _ => None,
    }
}
