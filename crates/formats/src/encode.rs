//! Rows as JSON documents, for whoever reads events or results as text.
//!
//! Every column is a field of every document, NULL is `null`. Timestamps of any
//! unit are ISO 8601 in UTC (`2013-01-01T10:00:00.123456Z`), dates are
//! `2013-01-01`, decimals are numbers with all their digits, binary is
//! hexadecimal, NaN and infinities are `null`.

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};

use crate::error::FormatError;
use crate::time::write_timestamp;

/// One JSON document per row, one behind the other, each ending with a line
/// break.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonRows {
    text: String,
    /// Where each document's line break is in `text`.
    ends: Vec<usize>,
}

impl JsonRows {
    /// How many documents.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The documents in the order of the rows, without line breaks.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 1));
        self.ends.iter().zip(starts).map(|(end, start)| &self.text[start..*end])
    }

    /// Adds a document.
    pub(crate) fn push(&mut self, document: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(document);
        self.ends.push(self.text.len());
        self.text.push('\n');
    }

    /// All documents, a line each.
    pub fn as_lines(&self) -> &str {
        &self.text
    }
}

/// The rows of `batch` as JSON objects.
///
/// # Errors
/// [`FormatError::Arrow`] names a column type that JSON cannot show.
pub fn encode_json(batch: &RecordBatch) -> Result<JsonRows, FormatError> {
    let rows = StructArray::from(batch.clone());
    let field: FieldRef = Arc::new(Field::new("row", rows.data_type().clone(), false));
    let options =
        EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(Timestamps));
    let mut encoder = make_encoder(&field, &rows, &options)?;
    let mut out = Vec::new();
    let mut ends = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        encoder.encode(row, &mut out);
        ends.push(out.len());
        out.push(b'\n');
    }
    let text = String::from_utf8(out).map_err(|error| FormatError::Invalid(format!("JSON text: {error}")))?;
    Ok(JsonRows { text, ends })
}

/// Writes timestamps in UTC with a `Z`, where Arrow would leave it off.
#[derive(Debug)]
struct Timestamps;

impl EncoderFactory for Timestamps {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let DataType::Timestamp(unit, _) = array.data_type() else { return Ok(None) };
        let (values, per_second) = match unit {
            TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().values(), 1),
            TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().values(), 1_000),
            TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().values(), 1_000_000),
            TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().values(), 1_000_000_000),
        };
        let encoder = Box::new(TimestampEncoder { values, per_second });
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct TimestampEncoder<'a> {
    values: &'a [i64],
    /// Units of a value per second.
    per_second: i64,
}

impl fmt::Debug for TimestampEncoder<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TimestampEncoder")
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

impl Encoder for TimestampEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.values[row];
        let nanosecond = value.rem_euclid(self.per_second) * (1_000_000_000 / self.per_second);
        out.push(b'"');
        write_timestamp(value.div_euclid(self.per_second), nanosecond, out);
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
        ListArray, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };
    use arrow::datatypes::{Int8Type, Schema};

    fn documents(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        encode_json(&batch).unwrap().iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_kind_of_value() {
        let decimals = Decimal128Array::from(vec![Some(1234), None]).with_precision_and_scale(10, 2).unwrap();
        let lists = ListArray::from_iter_primitive::<Int8Type, _, _>([Some(vec![Some(1), None]), None]);
        let words: DictionaryArray<Int8Type> = [Some("on"), None].into_iter().collect();
        let found = documents(vec![
            ("id", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
            ("ratio", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
            ("name", Arc::new(StringArray::from(vec![Some("a\"ä\n"), None]))),
            ("price", Arc::new(decimals)),
            ("day", Arc::new(Date32Array::from(vec![Some(15_706), None]))),
            ("tags", Arc::new(lists)),
            ("state", Arc::new(words)),
            ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None]))),
        ]);
        assert_eq!(
            found,
            [
                r#"{"id":9223372036854775807,"ratio":0.1,"name":"a\"ä\n","price":12.34,"day":"2013-01-01","tags":[1,null],"state":"on","bytes":"00ff"}"#,
                r#"{"id":null,"ratio":null,"name":null,"price":null,"day":null,"tags":null,"state":null,"bytes":null}"#,
            ]
        );
    }

    #[test]
    fn timestamps_are_iso_in_utc() {
        let found = documents(vec![
            ("ms", Arc::new(TimestampMillisecondArray::from(vec![1_357_034_400_000]))),
            (
                "us",
                Arc::new(TimestampMicrosecondArray::from(vec![1_357_034_400_123_456]).with_timezone("UTC")),
            ),
            ("ns", Arc::new(TimestampNanosecondArray::from(vec![-1]))),
        ]);
        assert_eq!(
            found,
            [
                r#"{"ms":"2013-01-01T10:00:00Z","us":"2013-01-01T10:00:00.123456Z","ns":"1969-12-31T23:59:59.999999999Z"}"#
            ]
        );
    }

    #[test]
    fn no_rows_and_no_columns() {
        let rows = encode_json(&RecordBatch::new_empty(Arc::new(Schema::empty()))).unwrap();
        assert!(rows.is_empty());
        assert_eq!(rows.len(), 0);
        assert_eq!(rows.as_lines(), "");
    }
}
