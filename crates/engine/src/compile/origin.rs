//! Where a column comes from, as far as time and grouping are concerned.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use pluvio_query::functions::{TUMBLE_END, TUMBLE_START};

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The stream's event time, passed through.
    Time,
    /// The start of a tumbling window of this size.
    WindowStart {
        /// The size in microseconds.
        size_us: i64,
        /// Whether it is of the stream's event time.
        on_event_time: bool,
    },
    /// The end of a tumbling window of this size.
    WindowEnd {
        /// The size in microseconds.
        size_us: i64,
        /// Whether it is of the stream's event time.
        on_event_time: bool,
    },
    /// The aggregate's group column at this place.
    Group(usize),
    /// Anything else.
    Other,
}

/// The origin of an expression over columns with these origins.
pub fn origin_of(expression: &Expr, schema: &DFSchema, origins: &[Origin]) -> Origin {
    match expression {
        Expr::Alias(alias) => origin_of(&alias.expr, schema, origins),
        Expr::Column(column) => match schema.maybe_index_of_column(column) {
            Some(i) => origins[i],
            None => Origin::Other,
        },
        Expr::Cast(cast) => match origin_of(&cast.expr, schema, origins) {
            Origin::Time => Origin::Time,
            _ => Origin::Other,
        },
        Expr::ScalarFunction(call) => {
            let size = match call.args.get(1) {
                Some(Expr::Literal(ScalarValue::Int64(Some(size)), _)) => *size,
                _ => return Origin::Other,
            };
            let on_event_time = origin_of(&call.args[0], schema, origins) == Origin::Time;
            match call.func.name() {
                TUMBLE_START => Origin::WindowStart { size_us: size, on_event_time },
                TUMBLE_END => Origin::WindowEnd { size_us: size, on_event_time },
                _ => Origin::Other,
            }
        }
        _ => Origin::Other,
    }
}
