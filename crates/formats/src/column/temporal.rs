//! Columns of dates and times.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;

use super::fixed::Kind;
use super::{Refusal, Value};
use crate::number::{Number, rescaled};
use crate::time::{DAY_US, TIMESTAMP_US_MAX, TIMESTAMP_US_MIN, parse_date, parse_time, parse_timestamp};

/// DATE. Takes a text `YYYY-MM-DD`.
pub(super) struct Date;

impl Kind for Date {
    type Native = i32;

    fn text(&self, text: &str) -> Result<i32, Refusal> {
        parse_date(text).ok_or(Refusal::Type)
    }

    fn value(&self, value: Value<'_>) -> Result<i32, Refusal> {
        match value {
            Value::Date(days) => Ok(days),
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }

    fn array(&self, values: Vec<i32>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(Date32Array::new(values.into(), nulls))
    }
}

/// TIME in microseconds. Takes a text `HH:MM[:SS[.fraction]]`.
pub(super) struct Time;

impl Kind for Time {
    type Native = i64;

    fn text(&self, text: &str) -> Result<i64, Refusal> {
        parse_time(text).ok_or(Refusal::Type)
    }

    fn value(&self, value: Value<'_>) -> Result<i64, Refusal> {
        match value {
            Value::Time { us: us @ 0..DAY_US, .. } => Ok(us),
            Value::Time { .. } => Err(Refusal::Range),
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }

    fn array(&self, values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(Time64MicrosecondArray::new(values.into(), nulls))
    }
}

/// What a bare number in a TIMESTAMP column counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EpochUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    #[default]
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds, rounded to microseconds.
    Nanoseconds,
}

impl EpochUnit {
    /// The power of ten that turns a number of these into microseconds.
    fn power(self) -> i32 {
        match self {
            Self::Seconds => 6,
            Self::Milliseconds => 3,
            Self::Microseconds => 0,
            Self::Nanoseconds => -3,
        }
    }
}

/// TIMESTAMP in microseconds. Takes ISO 8601 text (see [`parse_timestamp`]) and
/// numbers, which count the column's epoch unit and may have a fraction.
pub(super) struct Timestamp {
    zone: Option<Arc<str>>,
    /// Power of ten from a bare number to microseconds.
    power: i32,
}

impl Timestamp {
    /// The time zone only names how to show the instants.
    pub(super) fn new(zone: Option<Arc<str>>, epoch: EpochUnit) -> Self {
        Self { zone, power: epoch.power() }
    }
}

/// An instant within the type's range.
#[inline]
fn instant(us: i128) -> Result<i64, Refusal> {
    match i64::try_from(us) {
        Ok(us @ TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX) => Ok(us),
        _ => Err(Refusal::Range),
    }
}

impl Kind for Timestamp {
    type Native = i64;

    #[inline]
    fn number(&self, number: &Number<'_>) -> Result<i64, Refusal> {
        instant(number.scaled(self.power).ok_or(Refusal::Range)?.value)
    }

    fn text(&self, text: &str) -> Result<i64, Refusal> {
        parse_timestamp(text).ok_or(Refusal::Type)
    }

    fn value(&self, value: Value<'_>) -> Result<i64, Refusal> {
        match value {
            Value::Instant { us, .. } => instant(us),
            Value::Integer(value) => instant(rescaled(value, 0, self.power).ok_or(Refusal::Range)?.value),
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }

    fn array(&self, values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
        let array = TimestampMicrosecondArray::new(values.into(), nulls);
        Arc::new(array.with_timezone_opt(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::super::fixed::Fixed;
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;

    #[test]
    fn numbers_are_epoch_milliseconds() {
        let mut column = Fixed::new(Timestamp::new(Some("UTC".into()), EpochUnit::default()));
        for text in ["1357034400000", "1357034400000.25", "1.3570344e12"] {
            column.number(&Number::scan(text.as_bytes(), 0).unwrap().0).unwrap();
        }
        column.text("2013-01-01T10:00:00Z").unwrap();
        // Microseconds taken for milliseconds would be the year 44972.
        let (microseconds, _) = Number::scan(b"1357034400000000", 0).unwrap();
        assert_eq!(column.number(&microseconds), Err(Refusal::Range));
        assert_eq!(column.text("noon"), Err(Refusal::Type));
        let array = column.finish();
        let instant = 1_357_034_400_000_000;
        let values = array.as_primitive::<TimestampMicrosecondType>().values();
        assert_eq!(values, &[instant, instant + 250, instant, instant]);
    }
}
