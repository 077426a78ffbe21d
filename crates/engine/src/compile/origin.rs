//! Where a column comes from, as far as time and rank are concerned.

use datafusion::arrow::datatypes::DataType;
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
    /// What closes these windows; `None` for windows of any other column.
    pub clock: Option<WindowClock>,
}

/// What closes windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowClock {
    /// The watermark, for windows of the stream's event time.
    Event,
    /// The clock, for windows of processing time.
    Processing,
}

/// The column of an operator's key that is the edge of a window: state
/// of closed windows goes, and rows that come for them are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its place among the key columns.
    pub place: usize,
    /// Which edge it is.
    pub edge: Edge,
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The stream's event time, passed through.
    Time,
    /// The instant of processing.
    Processing,
    /// An edge of a window.
    Edge(Edge),
    /// A list of such edges.
    Edges(Edge),
    /// A rank that this OVER node computes.
    Rank(usize),
    /// Anything else.
    Other,
}

impl Origin {
    /// The edge that it is, if windows with this edge are closed some time.
    pub fn closing_edge(self) -> Option<Edge> {
        match self {
            Self::Edge(edge) if edge.clock.is_some() => Some(edge),
            _ => None,
        }
    }

    /// What closes windows of this column.
    pub fn clock(self) -> Option<WindowClock> {
        match self {
            Self::Time => Some(WindowClock::Event),
            Self::Processing => Some(WindowClock::Processing),
            _ => None,
        }
    }
}

/// The first edge on event time among the columns of a key.
pub fn window_of(key: impl Iterator<Item = Origin>) -> Option<Window> {
    key.enumerate().find_map(|(place, origin)| Some(Window { place, edge: origin.closing_edge()? }))
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
            known @ (Origin::Time | Origin::Processing | Origin::Edge(_))
                if is_time(cast.field.data_type()) =>
            {
                known
            }
            rank @ Origin::Rank(_) => rank,
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

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

/// What a window function makes of a column.
fn edge_of(function: WindowFunction, of: Origin, constants: &[i64]) -> Origin {
    let edge = |to_end_us, every_us| Edge { to_end_us, every_us, clock: of.clock() };
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
