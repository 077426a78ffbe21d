//! Columns of dates and times.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, TimestampMicrosecondArray};

use super::{Column, Refusal, Values};
use crate::number::Number;
use crate::time::{TIMESTAMP_US_MAX, TIMESTAMP_US_MIN, parse_date, parse_timestamp};

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

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
        Arc::new(Date32Array::new(values.into(), nulls))
    }
}

/// TIMESTAMP in microseconds. Takes ISO 8601 text (see [`parse_timestamp`]) and
/// numbers, which are epoch milliseconds and may have a fraction.
pub(super) struct TimestampColumn {
    values: Values<i64>,
    zone: Option<Arc<str>>,
}

impl TimestampColumn {
    /// An empty column. The time zone only names how to show the instants.
    pub(super) fn new(zone: Option<Arc<str>>) -> Self {
        Self { values: Values::default(), zone }
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
        let us = value.scaled(3).and_then(|scaled| i64::try_from(scaled.value).ok()).ok_or(Refusal::Range)?;
        if !(TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX).contains(&us) {
            return Err(Refusal::Range);
        }
        self.values.push(us);
        Ok(())
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
        let mut column = TimestampColumn::new(Some("UTC".into()));
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
