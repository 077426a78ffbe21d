//! What a file's entry in the Delta log says about its rows: their number, and
//! per column the least and greatest value and the number of nulls.
//!
//! Promises: the bounds always hold, for every reader. So a long text is cut
//! with its upper bound raised, a time is rounded outward to whole milliseconds
//! (the log's precision), a decimal too long for a JSON number and a float
//! column with a NaN or an infinity have no bounds at all.
//!
//! The text in the log is Delta's own:
//! `{"numRecords":2,"minValues":{"a":1},"maxValues":{"a":9},"nullCount":{"a":0}}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use chrono::{DateTime, NaiveDate, SecondsFormat};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics as ColumnChunkStatistics;
use serde_json::{Map, Number, Value};

/// Longest text kept as a bound, in characters (Delta's own limit).
const TEXT_BOUND_CHARACTERS_MAX: usize = 32;
/// Decimals of up to this many digits survive a JSON number unharmed.
const DECIMAL_DIGITS_MAX: u8 = 15;
/// Columns beyond this have no bounds (Delta's own default).
pub(crate) const INDEXED_COLUMNS_MAX: usize = 32;
const MICROSECONDS_PER_MILLISECOND: i64 = 1000;

/// The bounds of the float columns of one file, by column.
///
/// Kept here because Parquet's own leave NaN out: a reader who takes those for
/// bounds (NaN is greater than every number) misses rows. So float columns have
/// none in the Parquet file, and in the log only if there is no NaN.
#[derive(Debug, Default)]
pub(crate) struct FloatColumns(BTreeMap<usize, FloatBounds>);

#[derive(Debug, Clone, Copy)]
struct FloatBounds {
    nulls: usize,
    low: f64,
    high: f64,
    nan: bool,
}

impl FloatColumns {
    /// Takes a batch's values in.
    pub(crate) fn note(&mut self, batch: &RecordBatch) {
        for (index, column) in batch.columns().iter().enumerate().take(INDEXED_COLUMNS_MAX) {
            match column.data_type() {
                DataType::Float64 => {
                    let values = column.as_primitive::<Float64Type>();
                    self.note_values(index, values, |value| value);
                }
                DataType::Float32 => {
                    let values = column.as_primitive::<Float32Type>();
                    self.note_values(index, values, f64::from);
                }
                _ => {}
            }
        }
    }

    fn note_values<T: ArrowPrimitiveType>(
        &mut self,
        index: usize,
        column: &PrimitiveArray<T>,
        wide: impl Fn(T::Native) -> f64,
    ) {
        let none = FloatBounds { nulls: 0, low: f64::INFINITY, high: f64::NEG_INFINITY, nan: false };
        let bounds = self.0.entry(index).or_insert(none);
        bounds.nulls += column.null_count();
        let mut take = |value: f64| {
            bounds.low = bounds.low.min(value);
            bounds.high = bounds.high.max(value);
            bounds.nan |= value.is_nan();
        };
        match column.null_count() {
            0 => column.values().iter().for_each(|value| take(wide(*value))),
            _ => column.iter().flatten().for_each(|value| take(wide(value))),
        }
    }
}

impl FloatBounds {
    /// As JSON numbers: finite, and with -0 below 0 and +0 above it.
    fn values(self) -> Option<(Value, Value)> {
        if self.nan {
            return None;
        }
        let low = if self.low == 0.0 { -0.0 } else { self.low };
        let high = if self.high == 0.0 { 0.0 } else { self.high };
        Some((Number::from_f64(low)?.into(), Number::from_f64(high)?.into()))
    }
}

/// The log's text for a finished file.
pub(crate) fn to_json(schema: &Schema, metadata: &ParquetMetaData, floats: &FloatColumns) -> String {
    let mut least = Map::new();
    let mut greatest = Map::new();
    let mut nulls = Map::new();
    let descriptors = metadata.file_metadata().schema_descr();
    for (leaf, descriptor) in descriptors.columns().iter().enumerate() {
        let [name] = descriptor.path().parts() else { continue };
        let Ok(index) = schema.index_of(name) else { continue };
        if index >= INDEXED_COLUMNS_MAX {
            continue;
        }
        let (null_count, bounds) = match floats.0.get(&index) {
            Some(float) => (float.nulls as u64, float.values()),
            None => match chunks_with_values(metadata, leaf) {
                Some((chunks, nulls)) => (nulls, bounds(schema.field(index).data_type(), &chunks)),
                None => continue,
            },
        };
        nulls.insert(name.clone(), null_count.into());
        if let Some((low, high)) = bounds {
            least.insert(name.clone(), low);
            greatest.insert(name.clone(), high);
        }
    }
    let mut all = Map::new();
    all.insert("numRecords".to_owned(), metadata.file_metadata().num_rows().into());
    all.insert("minValues".to_owned(), least.into());
    all.insert("maxValues".to_owned(), greatest.into());
    all.insert("nullCount".to_owned(), nulls.into());
    Value::Object(all).to_string()
}

/// A column's statistics in every row group that has a value, and its number of
/// nulls; `None` if any row group says nothing.
fn chunks_with_values(metadata: &ParquetMetaData, leaf: usize) -> Option<(Vec<&ColumnChunkStatistics>, u64)> {
    let mut chunks = Vec::new();
    let mut null_count = 0;
    for group in metadata.row_groups() {
        let chunk = group.column(leaf).statistics()?;
        let nulls = chunk.null_count_opt()?;
        null_count += nulls;
        if i64::try_from(nulls) != Ok(group.num_rows()) {
            chunks.push(chunk);
        }
    }
    Some((chunks, null_count))
}

/// The bounds of one column over the row groups that have values; `None` if one
/// of them has no bounds.
fn bounds(data_type: &DataType, chunks: &[&ColumnChunkStatistics]) -> Option<(Value, Value)> {
    match data_type {
        DataType::Boolean => {
            let (low, high) = fold(chunks, |s| match s {
                ColumnChunkStatistics::Boolean(v) => Some((*v.min_opt()?, *v.max_opt()?)),
                _ => None,
            })?;
            Some((low.into(), high.into()))
        }
        DataType::Utf8 => {
            let (low, high) = fold(chunks, |s| Some((s.min_bytes_opt()?, s.max_bytes_opt()?)))?;
            Some((text_below(low)?.into(), text_above(high)?.into()))
        }
        _ => {
            let (low, high) = fold(chunks, integer_bounds)?;
            integer_values(data_type, low, high)
        }
    }
}

fn fold<'a, T: PartialOrd + Copy>(
    chunks: &[&'a ColumnChunkStatistics],
    bounds: impl Fn(&'a ColumnChunkStatistics) -> Option<(T, T)>,
) -> Option<(T, T)> {
    let mut all = None;
    for chunk in chunks {
        let (a, b) = bounds(chunk)?;
        all = Some(match all {
            None => (a, b),
            Some((low, high)) => (if a < low { a } else { low }, if b > high { b } else { high }),
        });
    }
    all
}

fn integer_bounds(chunk: &ColumnChunkStatistics) -> Option<(i64, i64)> {
    match chunk {
        ColumnChunkStatistics::Int32(v) => Some((i64::from(*v.min_opt()?), i64::from(*v.max_opt()?))),
        ColumnChunkStatistics::Int64(v) => Some((*v.min_opt()?, *v.max_opt()?)),
        _ => None,
    }
}

fn integer_values(data_type: &DataType, low: i64, high: i64) -> Option<(Value, Value)> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Some((low.into(), high.into()))
        }
        DataType::Date32 => Some((date_text(low)?.into(), date_text(high)?.into())),
        DataType::Timestamp(..) => {
            let low = low.div_euclid(MICROSECONDS_PER_MILLISECOND);
            let high =
                high.checked_add(MICROSECONDS_PER_MILLISECOND - 1)?.div_euclid(MICROSECONDS_PER_MILLISECOND);
            Some((time_text(low)?.into(), time_text(high)?.into()))
        }
        DataType::Decimal128(precision, scale) if *precision <= DECIMAL_DIGITS_MAX => {
            Some((decimal_value(low, *scale)?, decimal_value(high, *scale)?))
        }
        _ => None,
    }
}

fn date_text(days: i64) -> Option<String> {
    let day = NaiveDate::from_epoch_days(i32::try_from(days).ok()?)?;
    Some(day.format("%Y-%m-%d").to_string())
}

fn time_text(milliseconds: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(milliseconds)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The decimal's digits, read as the nearest double, print as the same digits.
fn decimal_value(unscaled: i64, scale: i8) -> Option<Value> {
    if scale == 0 {
        return Some(unscaled.into());
    }
    let text = format!("{unscaled}e-{scale}");
    Some(Number::from_f64(text.parse().ok()?)?.into())
}

fn text_below(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.chars().take(TEXT_BOUND_CHARACTERS_MAX).collect())
}

fn text_above(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut above: String = text.chars().take(TEXT_BOUND_CHARACTERS_MAX).collect();
    if above.len() < text.len() {
        above.push(char::MAX);
    }
    Some(above)
}

/// What a query's planner may know of a file, from the log's text. Bounds are
/// declared as exact for pruning only: see [`loosened`].
pub(crate) fn from_json(schema: &Schema, text: Option<&str>, bytes: u64) -> Arc<Statistics> {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
    let parsed: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    let Some(parsed) = parsed else { return Arc::new(statistics) };
    if let Some(rows) = parsed.get("numRecords").and_then(Value::as_u64) {
        statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
    }
    let of = |part: &str, name: &str| parsed.get(part).and_then(|values| values.get(name));
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        let name = field.name();
        if let Some(count) = of("nullCount", name).and_then(Value::as_u64) {
            column.null_count = Precision::Exact(usize::try_from(count).unwrap_or(usize::MAX));
        }
        let low = of("minValues", name).and_then(|v| scalar(v, field.data_type(), false));
        let high = of("maxValues", name).and_then(|v| scalar(v, field.data_type(), true));
        if let (Some(low), Some(high)) = (low, high) {
            column.min_value = Precision::Exact(low);
            column.max_value = Precision::Exact(high);
        }
    }
    Arc::new(statistics)
}

fn scalar(value: &Value, data_type: &DataType, upper: bool) -> Option<ScalarValue> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    match data_type {
        DataType::Timestamp(_, zone) => {
            let time = DateTime::parse_from_rfc3339(&text).ok()?.timestamp_micros();
            // Some writers cut a time to milliseconds instead of rounding it up.
            let slack = if upper { MICROSECONDS_PER_MILLISECOND - 1 } else { 0 };
            let time = time.checked_add(slack)?;
            ScalarValue::TimestampMicrosecond(Some(time), zone.clone()).cast_to(data_type).ok()
        }
        _ => ScalarValue::try_from_string(text, data_type).ok(),
    }
}

/// The same statistics for the query's plan: bounds hold, but no row need have
/// exactly that value, so an aggregate must not be answered from them.
pub(crate) fn loosened(statistics: &Statistics) -> Statistics {
    let loosen = |column: &ColumnStatistics| ColumnStatistics {
        min_value: column.min_value.clone().to_inexact(),
        max_value: column.max_value.clone().to_inexact(),
        ..column.clone()
    };
    Statistics {
        column_statistics: statistics.column_statistics.iter().map(loosen).collect(),
        ..statistics.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_bounds_hold_when_cut() {
        let long = "é".repeat(40);
        let (low, high) = (text_below(long.as_bytes()).unwrap(), text_above(long.as_bytes()).unwrap());
        assert!(low.as_str() < long.as_str() && long.as_str() < high.as_str());
        assert_eq!(text_above(b"short").unwrap(), "short");
    }

    #[test]
    fn floats_have_bounds_unless_one_is_not_a_number() {
        let mut floats = FloatColumns::default();
        let note = |floats: &mut FloatColumns, values: Vec<Option<f64>>| {
            let column: arrow::array::ArrayRef = Arc::new(arrow::array::Float64Array::from(values));
            floats.note(&RecordBatch::try_from_iter([("f", column)]).unwrap());
        };
        note(&mut floats, vec![Some(0.0), None, Some(-1.5)]);
        note(&mut floats, vec![Some(-0.0)]);
        assert_eq!(floats.0[&0].nulls, 1);
        let (low, high) = floats.0[&0].values().unwrap();
        assert_eq!((low.to_string(), high.to_string()), ("-1.5".into(), "0.0".into()));
        note(&mut floats, vec![Some(f64::INFINITY)]);
        assert_eq!(floats.0[&0].values(), None);
        let mut other = FloatColumns::default();
        note(&mut other, vec![Some(f64::NAN), Some(1.0)]);
        assert_eq!(other.0[&0].values(), None);
        note(&mut FloatColumns::default(), vec![None]);
    }

    #[test]
    fn times_round_outward() {
        let kind = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        let (low, high) = integer_values(&kind, -1, 1_000_001).unwrap();
        assert_eq!(low, "1969-12-31T23:59:59.999Z");
        assert_eq!(high, "1970-01-01T00:00:01.001Z");
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!(decimal_value(123_456_789_012_345, 2).unwrap().to_string(), "1234567890123.45");
        assert_eq!(decimal_value(-7, 0).unwrap().to_string(), "-7");
    }

    #[test]
    fn what_is_missing_or_odd_is_unknown() {
        let schema = Schema::new(vec![arrow::datatypes::Field::new("a", DataType::Int64, true)]);
        for text in [None, Some("not json"), Some("{\"minValues\":{\"a\":\"x\"}}")] {
            let statistics = from_json(&schema, text, 10);
            assert_eq!(statistics.num_rows, Precision::Absent);
            assert_eq!(statistics.column_statistics[0].min_value, Precision::Absent);
        }
        let text = r#"{"numRecords":3,"minValues":{"a":-1},"maxValues":{"a":5},"nullCount":{"a":1}}"#;
        let statistics = from_json(&schema, Some(text), 10);
        assert_eq!(statistics.num_rows, Precision::Exact(3));
        let column = &statistics.column_statistics[0];
        assert_eq!(column.max_value, Precision::Exact(ScalarValue::Int64(Some(5))));
        assert_eq!(
            loosened(&statistics).column_statistics[0].max_value,
            Precision::Inexact(ScalarValue::Int64(Some(5)))
        );
    }
}
