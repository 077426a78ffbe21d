//! Columns of numbers: integers, floats, decimals.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{Float32Type, Float64Type};

use super::{Column, Refusal, Value, Values};
use crate::number::{Number, Scaled, rescaled};

/// TINYINT to BIGINT, signed or not. Takes a number whose value is whole,
/// however it is written (`5`, `5.0`, `5e0`).
pub(super) struct IntegerColumn<T: ArrowPrimitiveType> {
    values: Values<T::Native>,
}

impl<T: ArrowPrimitiveType> Default for IntegerColumn<T> {
    fn default() -> Self {
        Self { values: Values::default() }
    }
}

impl<T: ArrowPrimitiveType<Native: TryFrom<i128>>> IntegerColumn<T> {
    #[inline]
    fn integer(&mut self, value: i128) -> Result<(), Refusal> {
        self.values.push(T::Native::try_from(value).map_err(|_| Refusal::Range)?);
        Ok(())
    }
}

impl<T: ArrowPrimitiveType<Native: TryFrom<i128>>> Column for IntegerColumn<T> {
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
        let scaled = value.scaled(0).ok_or(Refusal::Range)?;
        if scaled.rounded {
            return Err(Refusal::Type);
        }
        self.integer(scaled.value)
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Integer(value) => self.integer(value),
            Value::Symbol { number, .. } => self.integer(number.into()),
            Value::Date(days) => self.integer(days.into()),
            Value::Time { raw, .. } | Value::Instant { raw, .. } => self.integer(raw.into()),
            Value::Float(value) if value.fract() == 0.0 => self.integer(value as i128),
            Value::Decimal { unscaled, scale } => match rescaled(unscaled, scale, 0) {
                Some(Scaled { value, rounded: false }) => self.integer(value),
                Some(_) => Err(Refusal::Type),
                None => Err(Refusal::Range),
            },
            Value::Huge => Err(Refusal::Range),
            _ => Err(Refusal::Type),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
    }
}

/// A float type that knows how to read itself from a number.
pub(super) trait Float: ArrowPrimitiveType {
    /// The nearest value; `None` if it is beyond the range.
    fn of(number: &Number<'_>) -> Option<Self::Native>;
    /// The nearest value; `None` if a finite one is beyond the range.
    fn of_f64(value: f64) -> Option<Self::Native>;
}

impl Float for Float32Type {
    fn of(number: &Number<'_>) -> Option<f32> {
        number.to_f32()
    }

    fn of_f64(value: f64) -> Option<f32> {
        let single = value as f32;
        (single.is_finite() || !value.is_finite()).then_some(single)
    }
}

impl Float for Float64Type {
    #[inline]
    fn of(number: &Number<'_>) -> Option<f64> {
        number.to_f64()
    }

    #[inline]
    fn of_f64(value: f64) -> Option<f64> {
        Some(value)
    }
}

/// REAL and DOUBLE. Takes every number, as the nearest value.
pub(super) struct FloatColumn<T: Float> {
    values: Values<T::Native>,
}

impl<T: Float> Default for FloatColumn<T> {
    fn default() -> Self {
        Self { values: Values::default() }
    }
}

impl<T: Float> Column for FloatColumn<T> {
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
        self.values.push(T::of(value).ok_or(Refusal::Range)?);
        Ok(())
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        let value = match value {
            Value::Float(value) => value,
            Value::Integer(value) => value as f64,
            Value::Decimal { unscaled, scale } => unscaled as f64 / 10_f64.powi(scale),
            Value::Huge => return Err(Refusal::Range),
            _ => return Err(Refusal::Type),
        };
        self.values.push(T::of_f64(value).ok_or(Refusal::Range)?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
    }
}

/// DECIMAL(precision, scale). Takes every number, rounded half away from zero
/// to the scale as an SQL assignment does.
pub(super) struct DecimalColumn {
    values: Values<i128>,
    precision: u8,
    scale: i8,
    /// The first value with too many digits.
    limit: i128,
}

impl DecimalColumn {
    /// An empty column. A valid Arrow precision is at most 38.
    pub(super) fn new(precision: u8, scale: i8) -> Self {
        Self { values: Values::default(), precision, scale, limit: 10_i128.saturating_pow(precision.into()) }
    }
}

impl DecimalColumn {
    fn unscaled(&mut self, scaled: Option<Scaled>) -> Result<(), Refusal> {
        let value = scaled.ok_or(Refusal::Range)?.value;
        if value.unsigned_abs() >= self.limit.unsigned_abs() {
            return Err(Refusal::Range);
        }
        self.values.push(value);
        Ok(())
    }
}

impl Column for DecimalColumn {
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
        self.unscaled(value.scaled(self.scale.into()))
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Decimal { unscaled, scale } => self.unscaled(rescaled(unscaled, scale, self.scale.into())),
            Value::Integer(value) => self.unscaled(rescaled(value, 0, self.scale.into())),
            Value::Float(value) if value.is_finite() => {
                let text = value.to_string();
                let number = Number::lenient(&text).ok_or(Refusal::Type)?;
                self.unscaled(number.scaled(self.scale.into()))
            }
            Value::Huge => Err(Refusal::Range),
            _ => Err(Refusal::Type),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let (values, nulls) = self.values.take();
        let array = Decimal128Array::new(values.into(), nulls);
        let data_type = arrow::datatypes::DataType::Decimal128(self.precision, self.scale);
        Arc::new(array.with_data_type(data_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Decimal128Type, Int8Type, UInt64Type};

    fn push(column: &mut dyn Column, text: &str) -> Result<(), Refusal> {
        let (number, end) = Number::scan(text.as_bytes(), 0).unwrap();
        assert_eq!(end, text.len());
        column.number(&number)
    }

    #[test]
    fn integers_keep_their_range_and_refuse_fractions() {
        let mut column = IntegerColumn::<Int8Type>::default();
        for text in ["-128", "127", "5.0", "1e2", "-0"] {
            push(&mut column, text).unwrap();
        }
        assert_eq!(push(&mut column, "128"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "-129"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "1e400"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "5.5"), Err(Refusal::Type));
        assert_eq!(column.text("5"), Err(Refusal::Type));
        assert_eq!(column.finish().as_primitive::<Int8Type>().values(), &[-128, 127, 5, 100, 0]);

        let mut column = IntegerColumn::<UInt64Type>::default();
        push(&mut column, "18446744073709551615").unwrap();
        assert_eq!(push(&mut column, "18446744073709551616"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "-1"), Err(Refusal::Range));
        assert_eq!(column.finish().as_primitive::<UInt64Type>().values(), &[u64::MAX]);
    }

    #[test]
    fn decimals_round_and_keep_their_precision() {
        let mut column = DecimalColumn::new(4, 2);
        for text in ["12.34", "-12.345", "99.99", "5"] {
            push(&mut column, text).unwrap();
        }
        assert_eq!(push(&mut column, "99.995"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "-100"), Err(Refusal::Range));
        assert_eq!(column.finish().as_primitive::<Decimal128Type>().values(), &[1234, -1235, 9999, 500]);
    }
}
