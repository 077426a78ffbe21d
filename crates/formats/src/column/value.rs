//! Values that a binary format has typed already.

use crate::reason::{plain, quoted};

/// A typed scalar.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A name that stands for a number.
    Symbol {
        name: &'a str,
        number: i32,
    },
    /// `unscaled` × 10^-`scale`.
    Decimal {
        unscaled: i128,
        scale: i32,
    },
    /// A number of more than 38 digits.
    Huge,
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight, and the number that stood for them.
    Time {
        us: i64,
        raw: i64,
    },
    /// Microseconds since 1970 in UTC, and the number that stood for them.
    Instant {
        us: i128,
        raw: i64,
    },
}

impl Value<'_> {
    /// The value in words, for a reason.
    pub(crate) fn found(&self) -> String {
        match self {
            Self::Boolean(value) => format!("boolean {value}"),
            Self::Integer(value) => format!("number {value}"),
            Self::Float(value) => format!("number {value}"),
            Self::Text(text) => format!("string {}", quoted(text)),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::Symbol { name, .. } => format!("enum {}", quoted(name)),
            Self::Decimal { unscaled, scale: 0 } => format!("number {unscaled}"),
            Self::Decimal { unscaled, scale } => {
                format!("number {}", plain(format!("{unscaled}e-{scale}").as_bytes()))
            }
            Self::Huge => "a number of more than 38 digits".to_owned(),
            Self::Date(days) => format!("date {days} (days since 1970)"),
            Self::Time { raw, .. } => format!("time {raw}"),
            Self::Instant { raw, .. } => format!("timestamp {raw}"),
        }
    }
}
