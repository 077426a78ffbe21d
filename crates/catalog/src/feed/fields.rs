//! What a generator makes of each column, with every default filled in and
//! every value checked against the column's type.

use arrow::datatypes::DataType;

use super::{FeedOptionError, FieldDef, GeneratorDef};
use crate::Column;

/// Characters of a text that does not say how many it has.
const TEXT_LENGTH: u32 = 100;
/// Most bytes that the values of one event may have together.
const EVENT_BYTES_MAX: u64 = 256 << 10;
/// Bytes that a value which is no text takes at most.
const VALUE_BYTES_MAX: u64 = 350;
/// Parts of a rate.
pub(super) const PPM: u32 = 1_000_000;

/// A column of a generator.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedField {
    /// The column's name.
    pub name: String,
    /// What its values are.
    pub kind: FieldKind,
    /// How many of a million events have NULL here.
    pub null_rate_ppm: u32,
}

/// The values of a generated column.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldKind {
    /// True or false.
    Boolean,
    /// Whole numbers, both ends included.
    Integer {
        /// The least.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Numbers of 32 or 64 bits from `min` to `max`.
    Float {
        /// The least.
        min: f64,
        /// The bound.
        max: f64,
        /// Whether the column has 32 bits.
        single: bool,
    },
    /// Decimal numbers, both ends included, times 10^`scale`.
    Decimal {
        /// The least.
        min: i128,
        /// The largest.
        max: i128,
        /// Digits behind the point.
        scale: u8,
    },
    /// Text of hexadecimal digits.
    Text {
        /// How many.
        length: u32,
    },
    /// One of these, each as JSON.
    OneOf(Vec<String>),
    /// Days up to today.
    Date {
        /// How many days before today at most.
        past_days_max: u32,
    },
    /// Points in time up to now.
    Timestamp {
        /// How far before now at most, in microseconds.
        past_us_max: u64,
    },
    /// `start` plus the number of the event.
    Sequence {
        /// The first.
        start: i64,
        /// The last, after which the generator ends.
        end: i64,
        /// Whether the column is text.
        is_text: bool,
    },
}

impl GeneratorDef {
    /// What it makes of each column, in their order.
    ///
    /// # Errors
    /// A column of a type that is not generated, or an option that does not go
    /// with its column.
    pub fn fields(&self, columns: &[Column]) -> Result<Vec<GeneratedField>, FeedOptionError> {
        if let Some(name) = self.fields.keys().find(|name| !columns.iter().any(|c| c.name == **name)) {
            let reason = format!("the stream has no column \"{name}\"");
            return Err(FeedOptionError::value(format!("fields.{name}"), reason));
        }
        let absent = FieldDef::default();
        let field = |column: &Column| field(column, self.fields.get(&column.name).unwrap_or(&absent));
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let bytes: u64 = fields.iter().map(bytes_max).sum();
        if bytes > EVENT_BYTES_MAX {
            return Err(FeedOptionError::Stream(format!(
                "an event may have {bytes} bytes, the limit of a generated event is {EVENT_BYTES_MAX}: \
                 lower \"fields.NAME.length\""
            )));
        }
        Ok(fields)
    }

    /// How many events there are in all; `None` for no end.
    pub fn rows(&self, fields: &[GeneratedField]) -> Option<u64> {
        let sequences = fields.iter().filter_map(|field| match field.kind {
            FieldKind::Sequence { start, end, .. } => Some(end.abs_diff(start).saturating_add(1)),
            _ => None,
        });
        sequences.chain(self.number_of_rows).min()
    }
}

fn bytes_max(field: &GeneratedField) -> u64 {
    let value = match &field.kind {
        FieldKind::Text { length } => u64::from(*length),
        FieldKind::OneOf(values) => values.iter().map(|value| value.len() as u64).max().unwrap_or(0),
        _ => VALUE_BYTES_MAX,
    };
    value + 6 * field.name.len() as u64
}

fn field(column: &Column, def: &FieldDef) -> Result<GeneratedField, FeedOptionError> {
    if def.null_rate_ppm > 0 && !column.nullable {
        return Err(wrong(column, "null_rate", "the column is NOT NULL, so it is 0"));
    }
    let kind = if def.sequence {
        sequence(column, def)?
    } else if !def.values.is_empty() {
        one_of(column, def)?
    } else {
        random(column, def)?
    };
    refuse_strays(column, def, &kind)?;
    Ok(GeneratedField { name: column.name.clone(), kind, null_rate_ppm: def.null_rate_ppm })
}

fn wrong(column: &Column, option: &str, reason: impl Into<String>) -> FeedOptionError {
    FeedOptionError::value(format!("fields.{}.{option}", column.name), reason)
}

/// Refuses what was said and would not be heard.
fn refuse_strays(column: &Column, def: &FieldDef, kind: &FieldKind) -> Result<(), FeedOptionError> {
    let ranged =
        matches!(kind, FieldKind::Integer { .. } | FieldKind::Float { .. } | FieldKind::Decimal { .. });
    let timed = matches!(kind, FieldKind::Date { .. } | FieldKind::Timestamp { .. });
    let counts = matches!(kind, FieldKind::Sequence { .. });
    let said = [
        ("min", def.min.is_some(), ranged, "numbers without \"values\""),
        ("max", def.max.is_some(), ranged, "numbers without \"values\""),
        ("start", def.start.is_some(), counts, "kind = 'sequence'"),
        ("end", def.end.is_some(), counts, "kind = 'sequence'"),
        ("length", def.length.is_some(), matches!(kind, FieldKind::Text { .. }), "random text"),
        ("values", !def.values.is_empty(), matches!(kind, FieldKind::OneOf(_)), "kind = 'random'"),
        ("max_past", def.max_past_ms.is_some(), timed, "dates and times"),
    ];
    match said.iter().find(|(_, is_said, goes, _)| *is_said && !goes) {
        Some((option, _, _, with)) => Err(wrong(column, option, format!("it goes with {with} only"))),
        None => Ok(()),
    }
}

fn sequence(column: &Column, def: &FieldDef) -> Result<FieldKind, FeedOptionError> {
    let (least, largest, is_text) = match &column.data_type {
        DataType::Utf8 => (i64::MIN, i64::MAX, true),
        DataType::Float32 => (-(1 << 24), 1 << 24, false),
        DataType::Float64 => (-(1 << 53), 1 << 53, false),
        DataType::Decimal128(precision, scale) => {
            let largest = 10_i128.pow(u32::from(*precision).saturating_sub(scale.unsigned_abs().into())) - 1;
            let largest = i64::try_from(largest).unwrap_or(i64::MAX);
            (-largest, largest, false)
        }
        other => match integer_range(other) {
            Some((least, largest)) => (least, largest, false),
            None => return Err(wrong(column, "kind", "'sequence' goes with numbers and VARCHAR")),
        },
    };
    let start = def.start.unwrap_or(0);
    let end = def.end.unwrap_or(largest);
    for (option, value) in [("start", start), ("end", end)] {
        if !(least..=largest).contains(&value) {
            return Err(wrong(column, option, format!("the column holds {least} to {largest}")));
        }
    }
    if end < start {
        return Err(wrong(column, "end", format!("it is not below the start, {start}")));
    }
    Ok(FieldKind::Sequence { start, end, is_text })
}

fn one_of(column: &Column, def: &FieldDef) -> Result<FieldKind, FeedOptionError> {
    let json = |value: &String| {
        let fits = match &column.data_type {
            DataType::Utf8 => return Ok(serde_json::Value::from(value.as_str()).to_string()),
            DataType::Boolean => value.parse::<bool>().is_ok(),
            DataType::Float32 | DataType::Float64 => value.parse::<f64>().is_ok_and(f64::is_finite),
            DataType::Decimal128(precision, scale) => decimal(value, *precision, *scale).is_some(),
            other => integer_range(other).is_some_and(|(least, largest)| {
                value.parse().is_ok_and(|it| (least..=largest).contains(&it))
            }),
        };
        // What JSON does not take as a number, such as `+1` or `.5`, is refused too.
        let json = serde_json::from_str::<serde_json::Value>(value).is_ok();
        if fits && json {
            return Ok(value.clone());
        }
        Err(wrong(column, "values", format!("'{value}' is no value of the type {}", column.data_type)))
    };
    def.values.iter().map(json).collect::<Result<_, _>>().map(FieldKind::OneOf)
}

fn random(column: &Column, def: &FieldDef) -> Result<FieldKind, FeedOptionError> {
    let kind = match &column.data_type {
        DataType::Boolean => FieldKind::Boolean,
        DataType::Utf8 => FieldKind::Text { length: def.length.unwrap_or(TEXT_LENGTH) },
        DataType::Float32 => float(column, def, f64::from(f32::MAX), true)?,
        DataType::Float64 => float(column, def, f64::MAX, false)?,
        DataType::Decimal128(precision, scale) => {
            let parse = |text: &str| decimal(text, *precision, *scale);
            let largest = 10_i128.pow(u32::from(*precision)) - 1;
            let (min, max) = range(column, def, (-largest, largest), parse)?;
            FieldKind::Decimal { min, max, scale: scale.unsigned_abs() }
        }
        DataType::Date32 => {
            let days = def.max_past_ms.unwrap_or(0) / 86_400_000;
            let days = u32::try_from(days).ok().filter(|days| *days <= 700_000);
            let past_days_max = days.ok_or_else(|| wrong(column, "max_past", TOO_LONG_AGO))?;
            FieldKind::Date { past_days_max }
        }
        DataType::Timestamp(..) => {
            let past_ms = def.max_past_ms.unwrap_or(0);
            if past_ms > 700_000 * 86_400_000 {
                return Err(wrong(column, "max_past", TOO_LONG_AGO));
            }
            FieldKind::Timestamp { past_us_max: past_ms * 1000 }
        }
        other => match integer_range(other) {
            Some(whole) => {
                let parse = |text: &str| text.parse().ok().filter(|it| (whole.0..=whole.1).contains(it));
                let (min, max) = range(column, def, whole, parse)?;
                FieldKind::Integer { min, max }
            }
            None => return Err(not_generated(column)),
        },
    };
    Ok(kind)
}

const TOO_LONG_AGO: &str = "it is at most 700000 days";

fn not_generated(column: &Column) -> FeedOptionError {
    FeedOptionError::Stream(format!(
        "the column \"{}\" has a type that connector = 'generator' does not make: it makes BOOLEAN, SMALLINT, INT, \
         BIGINT, REAL, DOUBLE, DECIMAL(p, s), VARCHAR, DATE and TIMESTAMP",
        column.name
    ))
}

fn integer_range(data_type: &DataType) -> Option<(i64, i64)> {
    Some(match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN, i64::MAX),
        _ => return None,
    })
}

fn float(column: &Column, def: &FieldDef, largest: f64, single: bool) -> Result<FieldKind, FeedOptionError> {
    let parse = |text: &str| text.parse::<f64>().ok().filter(|it| it.abs() <= largest);
    let (min, max) = range(column, def, (0.0, 1.0), parse)?;
    if (max - min).is_finite() {
        return Ok(FieldKind::Float { min, max, single });
    }
    Err(wrong(column, "max", "it is too far from \"min\""))
}

/// The two ends of a column's values.
fn range<T: PartialOrd>(
    column: &Column,
    def: &FieldDef,
    whole: (T, T),
    parse: impl Fn(&str) -> Option<T>,
) -> Result<(T, T), FeedOptionError> {
    let end = |option, text: &Option<String>, default| match text {
        None => Ok(default),
        Some(text) => parse(text).ok_or_else(|| {
            let reason = format!("'{text}' is no value of the type {}", column.data_type);
            wrong(column, option, reason)
        }),
    };
    let (min, max) = (end("min", &def.min, whole.0)?, end("max", &def.max, whole.1)?);
    if min <= max { Ok((min, max)) } else { Err(wrong(column, "max", "it is not below \"min\"")) }
}

/// A decimal number times 10^scale; `None` if the type cannot hold it.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::from(scale.unsigned_abs());
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > scale || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let value: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    (value < 10_i128.pow(precision.into())).then_some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, TimeUnit};
    use std::sync::Arc;

    fn column(name: &str, data_type: DataType) -> Column {
        Column { name: name.into(), data_type, nullable: true }
    }

    fn one(data_type: DataType, def: FieldDef) -> Result<FieldKind, String> {
        let generator = GeneratorDef {
            rows_per_second: 1,
            number_of_rows: None,
            seed: 0,
            fields: [("c".to_owned(), def)].into(),
        };
        let fields = generator.fields(&[column("c", data_type)]).map_err(|error| error.to_string())?;
        Ok(fields.into_iter().next().unwrap().kind)
    }

    #[test]
    fn every_type_has_a_default() {
        let plain = |data_type| one(data_type, FieldDef::default()).unwrap();
        assert_eq!(plain(DataType::Boolean), FieldKind::Boolean);
        assert_eq!(plain(DataType::Int16), FieldKind::Integer { min: -32_768, max: 32_767 });
        assert_eq!(plain(DataType::Float64), FieldKind::Float { min: 0.0, max: 1.0, single: false });
        assert_eq!(plain(DataType::Decimal128(3, 1)), FieldKind::Decimal { min: -999, max: 999, scale: 1 });
        assert_eq!(plain(DataType::Utf8), FieldKind::Text { length: 100 });
        assert_eq!(plain(DataType::Date32), FieldKind::Date { past_days_max: 0 });
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(plain(timestamp), FieldKind::Timestamp { past_us_max: 0 });
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
        assert!(one(list, FieldDef::default()).unwrap_err().contains("does not make"));
        assert!(one(DataType::Binary, FieldDef::default()).is_err());
    }

    #[test]
    fn values_are_checked_against_the_type() {
        let values = |values: &[&str]| FieldDef {
            values: values.iter().map(|&value| value.to_owned()).collect(),
            ..FieldDef::default()
        };
        let chosen = one(DataType::Utf8, values(&["a", "b\""])).unwrap();
        assert_eq!(chosen, FieldKind::OneOf(vec!["\"a\"".into(), "\"b\\\"\"".into()]));
        assert!(one(DataType::Int8, values(&["1", "127"])).is_ok());
        for (data_type, bad) in [
            (DataType::Int8, "128"),
            (DataType::Int32, "+1"),
            (DataType::Boolean, "yes"),
            (DataType::Float64, "NaN"),
            (DataType::Decimal128(3, 1), "1.25"),
        ] {
            assert!(one(data_type, values(&[bad])).unwrap_err().contains(bad));
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal("12.5", 5, 2), Some(1250));
        assert_eq!(decimal("-0.05", 5, 2), Some(-5));
        assert_eq!(decimal("999.99", 5, 2), Some(99_999));
        for bad in ["1000", "1.234", "", ".5", "-", "1e3", "1.-2"] {
            assert_eq!(decimal(bad, 5, 2), None, "{bad}");
        }
    }

    #[test]
    fn what_does_not_go_with_a_column_is_refused() {
        let def = FieldDef { length: Some(3), ..FieldDef::default() };
        assert!(one(DataType::Int32, def).unwrap_err().contains("fields.c.length"));
        let def = FieldDef { min: Some("5".into()), max: Some("4".into()), ..FieldDef::default() };
        assert!(one(DataType::Int32, def).unwrap_err().contains("fields.c.max"));
        let def = FieldDef { sequence: true, end: Some(128), ..FieldDef::default() };
        assert!(one(DataType::Int8, def).unwrap_err().contains("-128 to 127"));
        let def = FieldDef { length: Some(1 << 20), ..FieldDef::default() };
        assert!(one(DataType::Utf8, def).unwrap_err().contains("fields.NAME.length"));
        let generator = GeneratorDef {
            rows_per_second: 1,
            number_of_rows: None,
            seed: 0,
            fields: [("c".to_owned(), FieldDef { null_rate_ppm: 1, ..FieldDef::default() })].into(),
        };
        let never_null = Column { nullable: false, ..column("c", DataType::Utf8) };
        assert!(generator.fields(&[never_null]).unwrap_err().to_string().contains("NOT NULL"));
        assert!(generator.fields(&[]).unwrap_err().to_string().contains("no column \"c\""));
    }

    #[test]
    fn the_first_sequence_to_end_ends_it() {
        let sequence =
            |end| FieldDef { sequence: true, start: Some(1), end: Some(end), ..FieldDef::default() };
        let mut generator = GeneratorDef {
            rows_per_second: 1,
            number_of_rows: None,
            seed: 0,
            fields: [("a".to_owned(), sequence(9)), ("b".to_owned(), sequence(5))].into(),
        };
        let columns = [column("a", DataType::Int64), column("b", DataType::Utf8)];
        let fields = generator.fields(&columns).unwrap();
        assert_eq!(generator.rows(&fields), Some(5));
        generator.number_of_rows = Some(3);
        assert_eq!(generator.rows(&fields), Some(3));
        assert_eq!(GeneratorDef { number_of_rows: None, ..generator }.rows(&[]), None);
    }
}
