//! SQL functions of our own: the windows as table functions, and what they
//! expand to. `TUMBLE(t, c, size)` is `t` with two more columns, so the same
//! text runs as a batch and, with state, as a stream.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, col, lit,
};

/// The name of the function that gives a tumbling window's start.
pub const TUMBLE_START: &str = "tumble_start";
/// The name of the function that gives a tumbling window's end.
pub const TUMBLE_END: &str = "tumble_end";

/// Event time as the engine computes with it: microseconds, UTC, no zone.
pub const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// `tumble_start(time, size_us)` and `tumble_end(time, size_us)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TumbleEdge {
    name: &'static str,
    /// Whether the size is added.
    end: bool,
    signature: Signature,
}

impl ScalarUDFImpl for TumbleEdge {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(TIME_TYPE)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, ColumnarValue::Scalar(ScalarValue::Int64(Some(size_us)))] = args.args.as_slice() else {
            return exec_err!("{} takes a time and a constant size", self.name);
        };
        let shift = if self.end { *size_us } else { 0 };
        let edge = |us: i64| us - us.rem_euclid(*size_us) + shift;
        let times = time.to_array(args.number_rows)?;
        let edges: TimestampMicrosecondArray = times.as_primitive::<TimestampMicrosecondType>().unary(edge);
        Ok(ColumnarValue::Array(Arc::new(edges) as ArrayRef))
    }
}

fn edge(name: &'static str, end: bool) -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![TIME_TYPE, DataType::Int64], Volatility::Immutable);
    Arc::new(ScalarUDF::from(TumbleEdge { name, end, signature }))
}

/// The functions to register.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![edge(TUMBLE_START, false), edge(TUMBLE_END, true)]
}

/// `window_start` and `window_end` of the time column.
pub fn tumble_columns(time_column: &str, size_us: i64) -> [Expr; 2] {
    let time = || cast(Expr::Column(datafusion::common::Column::from_name(time_column)), TIME_TYPE);
    [
        edge(TUMBLE_START, false).call(vec![time(), lit(size_us)]).alias("window_start"),
        edge(TUMBLE_END, true).call(vec![time(), lit(size_us)]).alias("window_end"),
    ]
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

/// A column reference by its exact name.
pub fn column(name: &str) -> Expr {
    col(datafusion::common::Column::from_name(name))
}

/// Fails if the pattern is not a regular expression of bounded size.
pub fn check_regex(pattern: &str) -> std::result::Result<(), String> {
    compile_regex(pattern).map(|_| ())
}

/// Compiles a pattern under a size limit.
pub fn compile_regex(pattern: &str) -> std::result::Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(pattern).size_limit(10 << 20).build().map_err(|e| e.to_string())
}

/// The text of a string literal argument.
pub fn text_argument(expression: &Expr) -> std::result::Result<String, DataFusionError> {
    match expression {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            Ok(text.clone())
        }
        other => plan_err!("expected TUMBLE(TABLE name, DESCRIPTOR(column), INTERVAL …), found {other}"),
    }
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
    }
}
