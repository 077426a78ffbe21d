//! The arithmetic of windows as SQL functions. `TUMBLE(t, c, size)` and its
//! kin are `t` with columns computed by them, so that the same text runs as a
//! batch and, with state, as a stream.
//!
//! Promises: windows begin at whole multiples of their step since 1970; an
//! event is in every window with start <= time < end; where there is no time
//! there is no window. Arguments after the time are constants of microseconds.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, ListBuilder, PrimitiveArray, TimestampMicrosecondBuilder};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    cast, lit,
};

use crate::functions::column;
use crate::sql::GROUP_WINDOW;

/// Event time as the engine computes with it: microseconds, UTC, no zone.
pub const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Most windows that one event may be in.
const WINDOWS_MAX: i64 = 10_000;

/// What the functions compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowFunction {
    /// `(time, size)`: the start of its tumbling window.
    TumbleStart,
    /// `(time, size)`: the end of its tumbling window.
    TumbleEnd,
    /// `(time, slide, size)`: the starts of its hopping windows, a list.
    HopStarts,
    /// `(start, slide, size)`: the end of the hopping window with this start.
    HopEnd,
    /// `(time, step, size)`: the ends of its cumulating windows, a list.
    CumulateEnds,
    /// `(end, step, size)`: the start of the cumulating window with this end.
    CumulateStart,
}

const FUNCTIONS: [WindowFunction; 6] = [
    WindowFunction::TumbleStart,
    WindowFunction::TumbleEnd,
    WindowFunction::HopStarts,
    WindowFunction::HopEnd,
    WindowFunction::CumulateEnds,
    WindowFunction::CumulateStart,
];

impl WindowFunction {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::TumbleStart => "tumble_start",
            Self::TumbleEnd => "tumble_end",
            Self::HopStarts => "hop_starts",
            Self::HopEnd => "hop_end",
            Self::CumulateEnds => "cumulate_ends",
            Self::CumulateStart => "cumulate_start",
        }
    }

    /// The call that an expression is, and its constants.
    pub fn of(expression: &Expr) -> Option<(Self, &Expr, Vec<i64>)> {
        let Expr::ScalarFunction(call) = expression else { return None };
        let function = FUNCTIONS.into_iter().find(|known| known.name() == call.func.name())?;
        let (time, constants) = call.args.split_first()?;
        let constant = |expression: &Expr| match expression {
            Expr::Literal(ScalarValue::Int64(Some(us)), _) => Some(*us),
            _ => None,
        };
        Some((function, time, constants.iter().map(constant).collect::<Option<_>>()?))
    }

    fn constants(self) -> usize {
        if matches!(self, Self::TumbleStart | Self::TumbleEnd) { 1 } else { 2 }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::HopStarts | Self::CumulateEnds)
    }

    fn call(self, time: Expr, constants: &[i64]) -> Expr {
        let mut arguments = vec![cast(time, TIME_TYPE)];
        arguments.extend(constants.iter().map(|us| lit(*us)));
        function(self).call(arguments)
    }

    /// The edge of a window; for the functions that give one.
    fn edge(self, us: i64, constants: &[i64]) -> i64 {
        match (self, constants) {
            (Self::TumbleEnd, [size]) => floor(us, *size).saturating_add(*size),
            (Self::TumbleStart, [size]) => floor(us, *size),
            (Self::CumulateStart, [_, size]) => floor(us - 1, *size),
            (_, [_, size]) => us.saturating_add(*size),
            _ => us,
        }
    }

    /// The edges of all windows; for the functions that give several.
    fn edges(self, us: i64, step: i64, size: i64) -> impl Iterator<Item = i64> {
        let newest = floor(us, step);
        let (first, count) = match self {
            Self::CumulateEnds => (newest + step, (floor(us, size) + size - newest) / step),
            _ => (newest - size + step, size / step),
        };
        (0..count).map(move |nth| first + nth * step)
    }
}

fn floor(us: i64, step: i64) -> i64 {
    us - us.rem_euclid(step)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Computed {
    function: WindowFunction,
    signature: Signature,
}

impl ScalarUDFImpl for Computed {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What people write has an INTERVAL, and any time.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match args.as_slice() {
            [_, Expr::Literal(ScalarValue::Int64(_), _)] => Ok(ExprSimplifyResult::Original(args)),
            [time, size] => {
                let call = self.function.call(time.clone(), &[interval_us(size)?]);
                Ok(ExprSimplifyResult::Simplified(call))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let list = || DataType::List(Arc::new(Field::new_list_field(TIME_TYPE, true)));
        Ok(if self.function.is_list() { list() } else { TIME_TYPE })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(us))) if *us > 0 => Some(*us),
            _ => None,
        };
        let constants: Option<Vec<i64>> = args.args.iter().skip(1).map(constant).collect();
        let Some(constants) = constants else {
            return exec_err!("{} takes a time and constants of microseconds", self.name());
        };
        let times = args.args[0].to_array(args.number_rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        if self.function.is_list() {
            return lists(self.function, times, constants[0], constants[1]);
        }
        let edges: PrimitiveArray<TimestampMicrosecondType> =
            times.unary(|us| self.function.edge(us, &constants));
        Ok(ColumnarValue::Array(Arc::new(edges)))
    }
}

fn lists(
    function: WindowFunction,
    times: &PrimitiveArray<TimestampMicrosecondType>,
    step: i64,
    size: i64,
) -> Result<ColumnarValue> {
    check_windows(step, size)?;
    let mut lists = ListBuilder::new(TimestampMicrosecondBuilder::new());
    for row in 0..times.len() {
        if times.is_valid(row) {
            function.edges(times.value(row), step, size).for_each(|edge| lists.values().append_value(edge));
        }
        lists.append(times.is_valid(row));
    }
    Ok(ColumnarValue::Array(Arc::new(lists.finish())))
}

/// Fails if windows of `size`, one every `step`, do not fit each other.
fn check_windows(step: i64, size: i64) -> Result<()> {
    if size % step != 0 {
        return plan_err!("a window's size must be a multiple of its slide or step");
    }
    if size / step > WINDOWS_MAX {
        return plan_err!(
            "an event would be in {} windows; at most {WINDOWS_MAX} are supported",
            size / step
        );
    }
    Ok(())
}

fn function(function: WindowFunction) -> Arc<ScalarUDF> {
    let mut arguments = vec![TIME_TYPE];
    arguments.resize(1 + function.constants(), DataType::Int64);
    let mut forms = vec![TypeSignature::Exact(arguments)];
    if function.constants() == 1 {
        forms.push(TypeSignature::Any(2));
    }
    let signature = Signature::one_of(forms, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Computed { function, signature }))
}

/// What stands for windows that GROUP BY cannot make; it only says so.
#[derive(Debug, PartialEq, Eq, Hash)]
struct GroupWindow {
    signature: Signature,
}

impl ScalarUDFImpl for GroupWindow {
    fn name(&self) -> &str {
        GROUP_WINDOW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!(
            "HOP, CUMULATE and SESSION stand in FROM: SELECT window_start, … FROM TABLE(HOP(TABLE t, DESCRIPTOR(time), \
             INTERVAL slide, INTERVAL size)) GROUP BY window_start, window_end"
        )
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("HOP, CUMULATE and SESSION stand in FROM")
    }
}

/// The functions to register.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let refused = Arc::new(ScalarUDF::from(GroupWindow { signature }));
    FUNCTIONS.into_iter().map(function).chain([refused]).collect()
}

/// The windows of a table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// One after the other, of this size.
    Tumble(i64),
    /// Of this size, one every slide.
    Hop {
        /// Between two starts, in microseconds.
        slide: i64,
        /// In microseconds.
        size: i64,
    },
    /// That grow by a step up to their size, and begin anew.
    Cumulate {
        /// Between two ends, in microseconds.
        step: i64,
        /// Of the largest, in microseconds.
        size: i64,
    },
}

/// The name of the start's column.
pub const WINDOW_START: &str = "window_start";
/// The name of the end's column.
pub const WINDOW_END: &str = "window_end";

impl Windows {
    /// Fails if they do not fit each other.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Tumble(_) => Ok(()),
            Self::Hop { slide: step, size } | Self::Cumulate { step, size } => check_windows(step, size),
        }
    }

    /// A list of edges for each time, to be taken apart, and the name of the
    /// edge; `None` if there is one window for each time.
    pub fn several(self, time_column: &str) -> Option<Expr> {
        let time = column(time_column);
        match self {
            Self::Tumble(_) => None,
            Self::Hop { slide, size } => {
                Some(WindowFunction::HopStarts.call(time, &[slide, size]).alias(WINDOW_START))
            }
            Self::Cumulate { step, size } => {
                Some(WindowFunction::CumulateEnds.call(time, &[step, size]).alias(WINDOW_END))
            }
        }
    }

    /// `window_start` and `window_end`, of the time column or of the edge that
    /// [`Self::several`] gave.
    pub fn columns(self, time_column: &str) -> [Expr; 2] {
        let (start, end) = match self {
            Self::Tumble(size) => (
                WindowFunction::TumbleStart.call(column(time_column), &[size]),
                WindowFunction::TumbleEnd.call(column(time_column), &[size]),
            ),
            Self::Hop { slide, size } => {
                (column(WINDOW_START), WindowFunction::HopEnd.call(column(WINDOW_START), &[slide, size]))
            }
            Self::Cumulate { step, size } => {
                (WindowFunction::CumulateStart.call(column(WINDOW_END), &[step, size]), column(WINDOW_END))
            }
        };
        [start.alias(WINDOW_START), end.alias(WINDOW_END)]
    }
}

/// The size a window function was given, in microseconds.
pub fn interval_us(expression: &Expr) -> Result<i64> {
    let us = match expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(i)), _) if i.months == 0 => {
            i64::from(i.days) * 86_400_000_000 + i.nanoseconds / 1000
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(i)), _) => {
            i64::from(i.days) * 86_400_000_000 + i64::from(i.milliseconds) * 1000
        }
        Expr::Literal(ScalarValue::IntervalYearMonth(_) | ScalarValue::IntervalMonthDayNano(_), _) => {
            return plan_err!("a window's size is given in days or less: months differ in length");
        }
        other => return plan_err!("a window's size is an INTERVAL, not {other}"),
    };
    if us <= 0 {
        return plan_err!("a window's size must be positive");
    }
    Ok(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let minute = lit(ScalarValue::new_interval_mdn(0, 0, 60_000_000_000));
        assert_eq!(interval_us(&minute).unwrap(), 60_000_000);
        assert!(interval_us(&lit(ScalarValue::new_interval_mdn(1, 0, 0))).is_err());
        assert!(interval_us(&lit(5)).is_err());
        assert!(Windows::Hop { slide: 3, size: 10 }.check().is_err());
        assert!(Windows::Cumulate { step: 1, size: WINDOWS_MAX + 1 }.check().is_err());
        assert!(Windows::Hop { slide: 5, size: 10 }.check().is_ok());
    }

    #[test]
    fn every_event_is_in_its_windows_and_no_other() {
        for us in -25..25 {
            let starts: Vec<i64> = WindowFunction::HopStarts.edges(us, 5, 15).collect();
            let expected: Vec<i64> = (-50..50).filter(|s| s % 5 == 0 && *s <= us && us < s + 15).collect();
            assert_eq!(starts, expected, "{us}");
            let ends: Vec<i64> = WindowFunction::CumulateEnds.edges(us, 5, 15).collect();
            let start = us.div_euclid(15) * 15;
            let expected: Vec<i64> =
                [start + 5, start + 10, start + 15].into_iter().filter(|e| us < *e).collect();
            assert_eq!(ends, expected, "{us}");
            for end in ends {
                assert_eq!(WindowFunction::CumulateStart.edge(end, &[5, 15]), start);
            }
        }
    }
}
