//! Arrow columns as JSON for the page.
//!
//! A column has a kind that says how its cells are written and shown: `int` and
//! `float` (numbers; those that a double cannot hold exactly are texts), `bool`,
//! `time` (milliseconds since 1970-01-01T00:00:00Z) and `text` (all else).

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

/// Largest whole number that a double holds exactly.
const EXACT_MAX: i64 = 1 << 53;

/// The kind of a type.
pub(super) fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float",
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale > 0 => "float",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "int",
        data_type if data_type.is_integer() => "int",
        DataType::Timestamp(..) => "time",
        DataType::Boolean => "bool",
        _ => "text",
    }
}

/// Names and kinds of all columns.
pub(super) fn columns(schema: &Schema) -> (Vec<String>, Vec<&'static str>) {
    let fields = schema.fields().iter();
    fields.map(|field| (field.name().clone(), kind(field.data_type()))).unzip()
}

/// The first `rows_max` rows, each as an array of cells; texts are cut after
/// `text_chars_max` characters.
pub(super) fn rows(
    batch: &RecordBatch,
    rows_max: usize,
    text_chars_max: usize,
) -> Result<Vec<Value>, ArrowError> {
    let batch = batch.slice(0, batch.num_rows().min(rows_max));
    let mut columns = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        columns.push(cells(column, text_chars_max)?.into_iter());
    }
    let row = |_| Value::Array(columns.iter_mut().filter_map(Iterator::next).collect());
    Ok((0..batch.num_rows()).map(row).collect())
}

/// One column's cells.
pub(super) fn cells(column: &ArrayRef, text_chars_max: usize) -> Result<Vec<Value>, ArrowError> {
    let present = |row: usize, value: Value| if column.is_null(row) { Value::Null } else { value };
    let cells = match column.data_type() {
        DataType::Null => vec![Value::Null; column.len()],
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let column = cast(column, &DataType::Float64)?;
            let values = column.as_primitive::<Float64Type>().values().to_vec();
            values.into_iter().enumerate().map(|(row, value)| present(row, float(value))).collect()
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().values().to_vec();
            let whole = |value: u64| i64::try_from(value).map_or_else(|_| json!(value.to_string()), whole);
            values.into_iter().enumerate().map(|(row, value)| present(row, whole(value))).collect()
        }
        data_type if data_type.is_integer() => {
            let column = cast(column, &DataType::Int64)?;
            let values = column.as_primitive::<Int64Type>().values().to_vec();
            values.into_iter().enumerate().map(|(row, value)| present(row, whole(value))).collect()
        }
        DataType::Boolean => {
            let column = column.as_boolean();
            (0..column.len()).map(|row| present(row, json!(column.value(row)))).collect()
        }
        DataType::Timestamp(_, zone) => {
            let column = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let values = column.as_primitive::<TimestampMicrosecondType>().values().to_vec();
            values.into_iter().enumerate().map(|(row, micros)| present(row, millis(micros))).collect()
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let text = |row| json!(cut(&formatter.value(row).to_string(), text_chars_max));
            (0..column.len()).map(|row| present(row, text(row))).collect()
        }
    };
    Ok(cells)
}

fn whole(value: i64) -> Value {
    if (-EXACT_MAX..=EXACT_MAX).contains(&value) { json!(value) } else { json!(value.to_string()) }
}

fn float(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn millis(micros: i64) -> Value {
    if micros % 1000 == 0 { json!(micros / 1000) } else { json!(micros as f64 / 1000.0) }
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{
        Date32Array, Float32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };
    use std::sync::Arc;

    #[test]
    fn cells_keep_their_values() {
        let of = |column: ArrayRef| cells(&column, 3).unwrap();
        assert_eq!(
            of(Arc::new(Int64Array::from(vec![Some(7), None, Some(i64::MAX)]))),
            [json!(7), Value::Null, json!("9223372036854775807")]
        );
        assert_eq!(of(Arc::new(Float32Array::from(vec![0.5, f32::NAN]))), [json!(0.5), json!("NaN")]);
        assert_eq!(of(Arc::new(StringArray::from(vec!["éàüx", "abc"]))), [json!("éàü…"), json!("abc")]);
        assert_eq!(of(Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]))), [json!(1500)]);
        assert_eq!(of(Arc::new(Date32Array::from(vec![0]))), [json!("197…")]);
    }
}
