//! Where a column comes from, as far as time and grouping are concerned.

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use pluvio_query::windows::WindowFunction;

/// An edge of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// From this edge to the window's end, in microseconds.
    pub to_end_us: i64,
    /// Windows end at the multiples of this since 1970, in microseconds.
    pub every_us: i64,
    /// Whether windows are of the stream's event time, so that a watermark
    /// closes them.
    pub on_event_time: bool,
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The stream's event time, passed through.
    Time,
    /// An edge of a window.
    Edge(Edge),
    /// A list of such edges.
    Edges(Edge),
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
            known @ (Origin::Time | Origin::Edge(_)) => known,
            _ => Origin::Other,
        },
        Expr::ScalarFunction(_) => match WindowFunction::of(expression) {
            Some((function, time, constants)) => {
                edge_of(function, origin_of(time, schema, origins), &constants)
            }
            None => Origin::Other,
        },
        _ => Origin::Other,
    }
}

/// What a window function makes of a column.
fn edge_of(function: WindowFunction, of: Origin, constants: &[i64]) -> Origin {
    let edge = |to_end_us, every_us| Edge { to_end_us, every_us, on_event_time: of == Origin::Time };
    match (function, constants) {
        (WindowFunction::TumbleStart, [size]) => Origin::Edge(edge(*size, *size)),
        (WindowFunction::TumbleEnd, [size]) => Origin::Edge(edge(0, *size)),
        (WindowFunction::HopStarts, [slide, size]) => Origin::Edges(edge(*size, *slide)),
        (WindowFunction::CumulateEnds, [step, _]) => Origin::Edges(edge(0, *step)),
        (WindowFunction::HopEnd, _) => match of {
            Origin::Edge(start) => Origin::Edge(Edge { to_end_us: 0, ..start }),
            _ => Origin::Other,
        },
        // Many windows have this start; they close one after the other.
        _ => Origin::Other,
    }
}
