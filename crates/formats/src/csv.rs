//! The CSV decoder: one line of delimited text per event.
//!
//! Fields find their column by place, and there are as many as columns. A field
//! in quotes may hold the delimiter, line breaks and doubled quotes; it is never
//! NULL. An unquoted field that is one of the NULL texts is NULL. Numbers may
//! have spaces around them, a leading `+` and leading zeros; booleans are
//! true/false, t/f or 1/0; times are as in JSON. A line break at the end of the
//! event is ignored.

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, SchemaRef};

use crate::column::{Column, Refusal, SCALAR_TYPES, column, take_text};
use crate::decode::{CsvOptions, OnError};
use crate::error::FormatError;
use crate::reason::{quoted, refused};
use crate::rows::Rejection;
use crate::tabular::Reader;

/// See the module.
pub(crate) struct Lines {
    schema: SchemaRef,
    options: CsvOptions,
    on_error: OnError,
    columns: Vec<Box<dyn Column>>,
}

impl Lines {
    /// Empty columns of this schema.
    pub(crate) fn new(
        options: CsvOptions,
        schema: &SchemaRef,
        on_error: OnError,
    ) -> Result<Self, FormatError> {
        let marks = [options.delimiter, options.quote];
        if marks.iter().any(|mark| !mark.is_ascii() || matches!(mark, b'\r' | b'\n')) || marks[0] == marks[1]
        {
            let message =
                "the CSV delimiter and quote must be two different ASCII characters, no line breaks";
            return Err(FormatError::Invalid(message.to_owned()));
        }
        let of = |field: &std::sync::Arc<Field>| {
            column(field.data_type()).ok_or_else(|| FormatError::UnsupportedColumn {
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                format: "format csv",
                supported: SCALAR_TYPES,
            })
        };
        let columns = schema.fields().iter().map(of).collect::<Result<_, _>>()?;
        Ok(Self { schema: SchemaRef::clone(schema), options, on_error, columns })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Rejection> {
        let invalid = |error: std::str::Utf8Error| {
            Rejection::Event(format!("byte {}: not valid UTF-8", error.valid_up_to()))
        };
        let line = std::str::from_utf8(line).map_err(invalid)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut splitter = Splitter { line, at: Some(0), options: &self.options };
        let mut count = 0;
        while let Some(text) = splitter.next_field()? {
            if let Some(column) = self.columns.get_mut(count) {
                let field = self.schema.field(count);
                fill(column.as_mut(), field, &text, &self.options.nulls, self.on_error)?;
            }
            count += 1;
        }
        match count == self.columns.len() {
            true => Ok(()),
            false => Err(Rejection::Event(format!("expected {} fields, found {count}", self.columns.len()))),
        }
    }
}

impl Reader for Lines {
    const EXPECTED: &'static str = "a line of CSV";

    fn read(&mut self, line: &[u8], row: usize) -> Result<(), Rejection> {
        let read = self.line(line);
        if read.is_err() {
            self.columns.iter_mut().for_each(|column| column.truncate(row));
        }
        read
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(|column| column.finish()).collect()
    }
}

/// What stands between two delimiters.
struct CsvField<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

/// Cuts a line into fields.
struct Splitter<'a> {
    line: &'a str,
    /// Where the next field starts; `None` behind the last.
    at: Option<usize>,
    options: &'a CsvOptions,
}

impl<'a> Splitter<'a> {
    fn next_field(&mut self) -> Result<Option<CsvField<'a>>, Rejection> {
        let Some(start) = self.at else { return Ok(None) };
        let bytes = self.line.as_bytes();
        let (field, end) = match bytes.get(start) {
            Some(byte) if *byte == self.options.quote => self.quoted_field(start)?,
            _ => {
                let length = memchr::memchr3(self.options.delimiter, b'\n', b'\r', &bytes[start..]);
                let end = start + length.unwrap_or(bytes.len() - start);
                (CsvField { text: Cow::Borrowed(&self.line[start..end]), quoted: false }, end)
            }
        };
        self.at = match bytes.get(end) {
            None => None,
            Some(byte) if *byte == self.options.delimiter => Some(end + 1),
            Some(b'\n' | b'\r') => {
                return Err(fault(end, "a line break outside quotes; an event is one line"));
            }
            Some(_) => return Err(fault(end, "expected a delimiter behind the closing quote")),
        };
        Ok(Some(field))
    }

    /// The quoted field at `start`, and the place behind its closing quote.
    fn quoted_field(&self, start: usize) -> Result<(CsvField<'a>, usize), Rejection> {
        let bytes = self.line.as_bytes();
        let mut text = Cow::Borrowed("");
        let mut from = start + 1;
        loop {
            let length = memchr::memchr(self.options.quote, &bytes[from..])
                .ok_or_else(|| fault(start, "a quote without a closing quote"))?;
            let quote = from + length;
            text += &self.line[from..quote];
            if bytes.get(quote + 1) != Some(&self.options.quote) {
                return Ok((CsvField { text, quoted: true }, quote + 1));
            }
            text += &self.line[quote..=quote];
            from = quote + 2;
        }
    }
}

fn fault(at: usize, what: &str) -> Rejection {
    Rejection::Event(format!("byte {at}: {what}"))
}

/// Puts a field into its column.
fn fill(
    column: &mut dyn Column,
    field: &Field,
    value: &CsvField<'_>,
    nulls: &[String],
    on_error: OnError,
) -> Result<(), Rejection> {
    let text = value.text.as_ref();
    if !value.quoted && nulls.iter().any(|null| null == text) {
        if !field.is_nullable() {
            let reason =
                format!("field `{}`: NULL ({}), but the column is NOT NULL", field.name(), quoted(text));
            return Err(Rejection::Event(reason));
        }
        column.null();
        return Ok(());
    }
    match take_text(column, text) {
        Ok(()) => Ok(()),
        Err(Refusal::Full) => Err(Rejection::BatchFull),
        Err(_) if on_error == OnError::Null && field.is_nullable() => {
            column.null();
            Ok(())
        }
        Err(refusal) => {
            let problem = refused(field.data_type(), refusal, &quoted(text));
            Err(Rejection::Event(format!("field `{}`: {problem}", field.name())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::Decoder;
    use crate::tabular::Tabular;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Float64Type, Int32Type, Schema, TimeUnit, TimestampMicrosecondType};

    fn lines(
        options: CsvOptions,
        schema: SchemaRef,
        on_error: OnError,
    ) -> Result<Tabular<Lines>, FormatError> {
        let lines = Lines::new(options, &schema, on_error)?;
        Ok(Tabular::new(schema, lines))
    }

    fn flights(on_error: OnError) -> Tabular<Lines> {
        let schema = Schema::new(vec![
            Field::new("carrier", DataType::Utf8, true),
            Field::new("delay", DataType::Int32, true),
            Field::new("distance", DataType::Float64, false),
            Field::new("hour", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("late", DataType::Boolean, true),
        ]);
        lines(CsvOptions::default(), Arc::new(schema), on_error).unwrap()
    }

    #[test]
    fn lines_become_rows() {
        let mut decoder = flights(OnError::DeadLetter);
        decoder.push(Some(b"UA,11,1400.5,2013-01-01 05:00:00,TRUE\r\n"));
        decoder.push(Some(b"\"a \"\"b\"\", c\",NA, 7 ,,0"));
        decoder.push(Some(b"\"\",\"-2\",1e3,1357034400000,"));
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.errors, []);
        let batch = &decoded.batch;
        let carriers: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
        assert_eq!(carriers, [Some("UA"), Some("a \"b\", c"), Some("")]);
        let delays: Vec<_> = batch.column(1).as_primitive::<Int32Type>().iter().collect();
        assert_eq!(delays, [Some(11), None, Some(-2)]);
        assert_eq!(batch.column(2).as_primitive::<Float64Type>().values(), &[1400.5, 7.0, 1000.0]);
        let hours: Vec<_> = batch.column(3).as_primitive::<TimestampMicrosecondType>().iter().collect();
        assert_eq!(hours, [Some(1_357_016_400_000_000), None, Some(1_357_034_400_000_000)]);
        let late: Vec<_> = batch.column(4).as_boolean().iter().collect();
        assert_eq!(late, [Some(true), Some(false), None]);
    }

    #[test]
    fn faults_have_reasons_and_leave_no_trace() {
        let mut decoder = flights(OnError::DeadLetter);
        let cases: [(&[u8], &str); 9] = [
            (b"UA,x,1,,", "field `delay`: expected INT, found \"x\""),
            (b"UA,3000000000,1,,", "field `delay`: \"3000000000\" is out of range for INT"),
            (b"UA,1,NA,,", "field `distance`: NULL (\"NA\"), but the column is NOT NULL"),
            (b"UA,1,2", "expected 5 fields, found 3"),
            (b"UA,1,2,,,7", "expected 5 fields, found 6"),
            (b"UA,1,2,,\"t\"x", "byte 11: expected a delimiter behind the closing quote"),
            (b"\"UA,1,2,,", "byte 0: a quote without a closing quote"),
            (b"UA\nAA,1,2,,", "byte 2: a line break outside quotes; an event is one line"),
            (b"U\xff,1,2,,", "byte 1: not valid UTF-8"),
        ];
        for (line, _) in cases {
            decoder.push(Some(line));
        }
        decoder.push(None);
        decoder.push(Some(b"UA,1,2,,"));
        let decoded = decoder.finish().unwrap();
        for ((_, reason), error) in cases.iter().zip(&decoded.errors) {
            assert_eq!(error.reason, *reason);
        }
        assert_eq!(decoded.errors[9].reason, "no value (a tombstone), expected a line of CSV");
        assert_eq!(decoded.ordinals, [10]);
        assert_eq!(decoded.batch.num_rows(), 1);
    }

    #[test]
    fn wrong_types_become_null_if_told_so() {
        let mut decoder = flights(OnError::Null);
        decoder.push(Some(b"UA,x,1,noon,maybe"));
        decoder.push(Some(b"UA,1,far,,"));
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.ordinals, [0]);
        for column in [1, 3, 4] {
            assert!(decoded.batch.column(column).is_null(0));
        }
        assert_eq!(decoded.errors[0].reason, "field `distance`: expected DOUBLE, found \"far\"");
    }

    #[test]
    fn options_are_checked() {
        let schema = Arc::new(Schema::empty());
        for (delimiter, quote) in [(b'"', b'"'), (b'\n', b'"'), (0xff, b'"')] {
            let options = CsvOptions { delimiter, quote, ..CsvOptions::default() };
            assert!(lines(options, Arc::clone(&schema), OnError::Null).is_err());
        }
        let list = DataType::new_list(DataType::Int8, true);
        let schema = Arc::new(Schema::new(vec![Field::new("tags", list, true)]));
        let error = lines(CsvOptions::default(), schema, OnError::Null).err().unwrap();
        assert!(
            error.to_string().starts_with("column `tags` has type List(Int8), which format csv cannot fill"),
            "{error}"
        );
    }
}
