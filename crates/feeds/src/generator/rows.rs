//! An event's number as its JSON.

use std::io::Write;

use pluvio_catalog::{FieldKind, GeneratedField};
use pluvio_formats::write_timestamp;

const DAY_S: i64 = 86_400;
/// Characters of `2013-01-01`.
const DATE_BYTES: usize = 10;
/// Parts of a rate.
const PPM: u64 = 1_000_000;

/// Writes events of some columns.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<Column>,
    seed: u64,
    now_us: i64,
    /// The same as it is written, without quotes.
    now: Vec<u8>,
}

#[derive(Debug)]
struct Column {
    /// What stands before its value.
    prefix: Vec<u8>,
    kind: FieldKind,
    null_rate_ppm: u64,
    /// Sets its values apart from those of other columns.
    salt: u64,
}

impl Rows {
    pub fn new(fields: &[GeneratedField], seed: u64) -> Self {
        let column = |(place, field): (usize, &GeneratedField)| {
            let mark = if place == 0 { '{' } else { ',' };
            Column {
                prefix: format!("{mark}{}:", serde_json::Value::from(field.name.as_str())).into_bytes(),
                kind: field.kind.clone(),
                null_rate_ppm: field.null_rate_ppm.into(),
                salt: mixed(place as u64 + 1),
            }
        };
        let columns = fields.iter().enumerate().map(column).collect();
        Self { columns, seed: mixed(seed), now_us: 0, now: Vec::new() }
    }

    /// The time that events have from now on.
    pub fn set_now(&mut self, now_us: i64) {
        self.now_us = now_us;
        self.now.clear();
        timestamp(now_us, &mut self.now);
    }

    /// Appends event `number`.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        if self.columns.is_empty() {
            out.push(b'{');
        }
        let event = mixed(self.seed ^ number);
        for column in &self.columns {
            out.extend_from_slice(&column.prefix);
            let mut random = Random(event ^ column.salt);
            if column.null_rate_ppm > 0 && random.below(PPM) < column.null_rate_ppm {
                out.extend_from_slice(b"null");
            } else {
                self.value(&column.kind, number, &mut random, out);
            }
        }
        out.push(b'}');
    }

    fn value(&self, kind: &FieldKind, number: u64, random: &mut Random, out: &mut Vec<u8>) {
        match kind {
            FieldKind::Boolean => {
                let truth: &[u8] = if random.next() & 1 == 1 { b"true" } else { b"false" };
                out.extend_from_slice(truth);
            }
            FieldKind::Integer { min, max } => {
                let span = max.abs_diff(*min);
                let above = if span == u64::MAX { random.next() } else { random.below(span + 1) };
                integer(min.wrapping_add_unsigned(above), out);
            }
            FieldKind::Float { min, max, single } => {
                let value = min + random.unit() * (max - min);
                // Writing to a Vec cannot fail.
                let _ = if *single { write!(out, "{}", value as f32) } else { write!(out, "{value}") };
            }
            FieldKind::Decimal { min, max, scale } => {
                let wide = u128::from(random.next()) << 64 | u128::from(random.next());
                let above = wide % (max.abs_diff(*min) + 1);
                decimal(min.wrapping_add_unsigned(above), *scale, out);
            }
            FieldKind::Text { length } => text(*length, random, out),
            FieldKind::OneOf(values) => {
                let place = usize::try_from(random.below(values.len() as u64)).unwrap_or(0);
                out.extend_from_slice(values[place].as_bytes());
            }
            FieldKind::Date { past_days_max } => {
                let past_s = random.below(u64::from(*past_days_max) + 1).cast_signed() * DAY_S;
                let start = out.len();
                out.push(b'"');
                write_timestamp(self.now_us.div_euclid(1_000_000) - past_s, 0, out);
                out.truncate(start + 1 + DATE_BYTES);
                out.push(b'"');
            }
            FieldKind::Timestamp { past_us_max } => {
                out.push(b'"');
                match past_us_max {
                    0 => out.extend_from_slice(&self.now),
                    _ => timestamp(self.now_us - random.below(past_us_max + 1).cast_signed(), out),
                }
                out.push(b'"');
            }
            FieldKind::Sequence { start, is_text, .. } => {
                let value = start.wrapping_add_unsigned(number);
                if *is_text {
                    out.push(b'"');
                    integer(value, out);
                    out.push(b'"');
                } else {
                    integer(value, out);
                }
            }
        }
    }
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A number whose every bit depends on every bit of `value`.
fn mixed(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn text(length: u32, random: &mut Random, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut left = length;
    while left > 0 {
        let mut bits = random.next();
        for _ in 0..left.min(16) {
            out.push(b"0123456789abcdef"[(bits & 15) as usize]);
            bits >>= 4;
        }
        left = left.saturating_sub(16);
    }
    out.push(b'"');
}

fn timestamp(at_us: i64, out: &mut Vec<u8>) {
    write_timestamp(at_us.div_euclid(1_000_000), at_us.rem_euclid(1_000_000) * 1000, out);
}

fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `value` times 10^-`scale`, with all its digits.
fn decimal(value: i128, scale: u8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let power = 10_u128.pow(scale.into());
    let (whole, fraction) = (value.unsigned_abs() / power, value.unsigned_abs() % power);
    let width = usize::from(scale);
    // Writing to a Vec cannot fail.
    let _ = match scale {
        0 => write!(out, "{whole}"),
        _ => write!(out, "{whole}.{fraction:0width$}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: FieldKind) -> GeneratedField {
        GeneratedField { name: name.into(), kind, null_rate_ppm: 0 }
    }

    fn rows(fields: &[GeneratedField], seed: u64) -> impl Fn(u64) -> String {
        let mut rows = Rows::new(fields, seed);
        rows.set_now(1_767_225_600_123_456);
        move |number| {
            let mut out = Vec::new();
            rows.write(number, &mut out);
            String::from_utf8(out).unwrap()
        }
    }

    #[test]
    fn every_kind_is_json_within_its_range() {
        let fields = [
            field("flag", FieldKind::Boolean),
            field("int", FieldKind::Integer { min: -3, max: 3 }),
            field("wide", FieldKind::Integer { min: i64::MIN, max: i64::MAX }),
            field("ratio", FieldKind::Float { min: -1.5, max: 2.5, single: false }),
            field("single", FieldKind::Float { min: 0.0, max: 1.0, single: true }),
            field("price", FieldKind::Decimal { min: -150, max: 150, scale: 2 }),
            field(
                "huge",
                FieldKind::Decimal { min: 1 - 10_i128.pow(38), max: 10_i128.pow(38) - 1, scale: 0 },
            ),
            field("text \"quoted\"", FieldKind::Text { length: 37 }),
            field("one", FieldKind::OneOf(vec!["\"a\"".into(), "\"b\"".into()])),
            field("day", FieldKind::Date { past_days_max: 2 }),
            field("at", FieldKind::Timestamp { past_us_max: 1_000_000 }),
            field("now", FieldKind::Timestamp { past_us_max: 0 }),
            field("n", FieldKind::Sequence { start: 7, end: i64::MAX, is_text: false }),
            field("t", FieldKind::Sequence { start: 7, end: i64::MAX, is_text: true }),
        ];
        let row = rows(&fields, 1);
        let mut seen = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
        for number in 0..500 {
            let text = row(number);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!((-3..=3).contains(&value["int"].as_i64().unwrap()), "{text}");
            assert!(value["wide"].is_i64(), "{text}");
            assert!((-1.5..2.5).contains(&value["ratio"].as_f64().unwrap()), "{text}");
            assert!((0.0..=1.0).contains(&value["single"].as_f64().unwrap()), "{text}");
            assert!((-1.5..=1.5).contains(&value["price"].as_f64().unwrap()), "{text}");
            assert_eq!(value["text \"quoted\""].as_str().unwrap().len(), 37);
            let day = value["day"].as_str().unwrap();
            assert!(["2025-12-30", "2025-12-31", "2026-01-01"].contains(&day), "{day}");
            let at = value["at"].as_str().unwrap();
            assert!(("2025-12-31T23:59:59.12".."2026-01-01T00:00:00.123457Z").contains(&at), "{at}");
            assert_eq!(value["now"], "2026-01-01T00:00:00.123456Z");
            assert_eq!(value["n"], number + 7);
            assert_eq!(value["t"], (number + 7).to_string());
            seen[0].insert(value["int"].to_string());
            seen[1].insert(value["one"].to_string() + &value["flag"].to_string() + day);
        }
        assert_eq!((seen[0].len(), seen[1].len()), (7, 12), "every value comes up");
    }

    #[test]
    fn content_follows_from_seed_and_number() {
        let fields = [field("a", FieldKind::Text { length: 16 }), field("b", FieldKind::Text { length: 16 })];
        let (one, same, other) = (rows(&fields, 1), rows(&fields, 1), rows(&fields, 2));
        assert_eq!(one(5), same(5));
        assert_ne!(one(5), one(6));
        assert_ne!(one(5), other(5));
        // A stream that goes on under a later version must not change.
        assert_eq!(rows(&fields[..1], 0)(0), r#"{"a":"0b6c1fd8145c7326"}"#);
    }

    #[test]
    fn some_are_null() {
        let fields =
            [GeneratedField { null_rate_ppm: 250_000, ..field("a", FieldKind::Integer { min: 0, max: 9 }) }];
        let row = rows(&fields, 3);
        let nulls = (0..10_000).filter(|number| row(*number) == r#"{"a":null}"#).count();
        assert!((2_300..2_700).contains(&nulls), "{nulls}");
    }

    #[test]
    fn numbers_are_written_in_full() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&|out| integer(i64::MIN, out)), i64::MIN.to_string());
        assert_eq!(written(&|out| integer(0, out)), "0");
        assert_eq!(written(&|out| decimal(-5, 3, out)), "-0.005");
        assert_eq!(written(&|out| decimal(1250, 2, out)), "12.50");
        assert_eq!(written(&|out| decimal(7, 0, out)), "7");
    }
}
