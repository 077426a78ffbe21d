//! Columns of dates and times.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray};

use super::{Column, Refusal, Value, Values};
use crate::number::{Number, rescaled};
use crate::time::{DAY_US, TIMESTAMP_US_MAX, TIMESTAMP_US_MIN, parse_date, parse_time, parse_timestamp};

/// DATE. Takes a text `YYYY-MM-DD`.
#[derive(Default)]
pub(super) struct DateColumn {
    values: Values<i32>,
}

impl Column for DateColumn {
    fn len(&self) -> usize {
        self.values.values.len()
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
    }

    fn null(&mut self) {
        self.values.null();
    }

    fn text(&mut self, value: &str) -> Result<(), Refusal> {
        self.values.push(parse_date(value).ok_or(Refusal::Type)?);
        Ok(())
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Date(days) => {
                self.values.push(days);
                Ok(())
            }
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
        Arc::new(Date32Array::new(values.into(), nulls))
    }
}

/// TIME in microseconds. Takes a text `HH:MM[:SS[.fraction]]`.
#[derive(Default)]
pub(super) struct TimeColumn {
    values: Values<i64>,
}

impl Column for TimeColumn {
    fn len(&self) -> usize {
        self.values.values.len()
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
    }

    fn null(&mut self) {
        self.values.null();
    }

    fn text(&mut self, value: &str) -> Result<(), Refusal> {
        self.values.push(parse_time(value).ok_or(Refusal::Type)?);
        Ok(())
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Time { us: us @ 0..DAY_US, .. } => {
                self.values.push(us);
                Ok(())
            }
            Value::Time { .. } => Err(Refusal::Range),
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
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
pub(super) struct TimestampColumn {
    values: Values<i64>,
    zone: Option<Arc<str>>,
    /// Power of ten from a bare number to microseconds.
    power: i32,
}

impl TimestampColumn {
    /// An empty column. The time zone only names how to show the instants.
    pub(super) fn new(zone: Option<Arc<str>>, epoch: EpochUnit) -> Self {
        Self { values: Values::default(), zone, power: epoch.power() }
    }

    fn instant(&mut self, us: i128) -> Result<(), Refusal> {
        match i64::try_from(us) {
            Ok(us @ TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX) => {
                self.values.push(us);
                Ok(())
            }
            _ => Err(Refusal::Range),
        }
    }
}

impl Column for TimestampColumn {
    fn len(&self) -> usize {
        self.values.values.len()
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
    }

    fn null(&mut self) {
        self.values.null();
    }

    fn number(&mut self, value: &Number<'_>) -> Result<(), Refusal> {
        self.instant(value.scaled(self.power).ok_or(Refusal::Range)?.value)
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Instant { us, .. } => self.instant(us),
            Value::Integer(value) => {
                self.instant(rescaled(value, 0, self.power).ok_or(Refusal::Range)?.value)
            }
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }

    fn text(&mut self, value: &str) -> Result<(), Refusal> {
        self.values.push(parse_timestamp(value).ok_or(Refusal::Type)?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
        let array = TimestampMicrosecondArray::new(values.into(), nulls);
        Arc::new(array.with_timezone_opt(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;

    #[test]
    fn numbers_are_epoch_milliseconds() {
        let mut column = TimestampColumn::new(Some("UTC".into()), EpochUnit::default());
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
