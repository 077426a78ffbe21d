//! Columns of numbers: integers, floats, decimals.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Decimal128Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::fixed::Kind;
use super::{Refusal, Value};
use crate::number::{Number, Scaled, rescaled};

/// TINYINT to BIGINT, signed or not. Takes a number whose value is whole,
/// however it is written (`5`, `5.0`, `5e0`).
pub(super) struct Integer<T>(PhantomData<fn() -> T>);

impl<T> Default for Integer<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: ArrowPrimitiveType<Native: TryFrom<i128>>> Kind for Integer<T> {
    type Native = T::Native;

    #[inline]
    fn number(&self, number: &Number<'_>) -> Result<T::Native, Refusal> {
        let scaled = number.scaled(0).ok_or(Refusal::Range)?;
        match scaled.rounded {
            true => Err(Refusal::Type),
            false => T::Native::try_from(scaled.value).map_err(|_| Refusal::Range),
        }
    }

    fn value(&self, value: Value<'_>) -> Result<T::Native, Refusal> {
        let whole: i128 = match value {
            Value::Integer(value) => value,
            Value::Symbol { number, .. } => number.into(),
            Value::Date(days) => days.into(),
            Value::Time { raw, .. } | Value::Instant { raw, .. } => raw.into(),
            Value::Float(value) if value.fract() == 0.0 => value as i128,
            Value::Decimal { unscaled, scale } => match rescaled(unscaled, scale, 0) {
                Some(Scaled { value, rounded: false }) => value,
                Some(_) => return Err(Refusal::Type),
                None => return Err(Refusal::Range),
            },
            Value::Huge => return Err(Refusal::Range),
            _ => return Err(Refusal::Type),
        };
        T::Native::try_from(whole).map_err(|_| Refusal::Range)
    }

    fn array(&self, values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
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
pub(super) struct Floating<T>(PhantomData<fn() -> T>);

impl<T> Default for Floating<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Float> Kind for Floating<T> {
    type Native = T::Native;

    #[inline]
    fn number(&self, number: &Number<'_>) -> Result<T::Native, Refusal> {
        T::of(number).ok_or(Refusal::Range)
    }

    fn value(&self, value: Value<'_>) -> Result<T::Native, Refusal> {
        let value = match value {
            Value::Float(value) => value,
            Value::Integer(value) => value as f64,
            Value::Decimal { unscaled, scale } => unscaled as f64 / 10_f64.powi(scale),
            Value::Huge => return Err(Refusal::Range),
            _ => return Err(Refusal::Type),
        };
        T::of_f64(value).ok_or(Refusal::Range)
    }

    fn array(&self, values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
    }
}

/// DECIMAL(precision, scale). Takes every number, rounded half away from zero
/// to the scale as an SQL assignment does.
pub(super) struct Decimal {
    precision: u8,
    scale: i8,
    /// The first value with too many digits.
    limit: i128,
}

impl Decimal {
    /// A valid Arrow precision is at most 38.
    pub(super) fn new(precision: u8, scale: i8) -> Self {
        Self { precision, scale, limit: 10_i128.saturating_pow(precision.into()) }
    }

    fn unscaled(&self, scaled: Option<Scaled>) -> Result<i128, Refusal> {
        let value = scaled.ok_or(Refusal::Range)?.value;
        match value.unsigned_abs() < self.limit.unsigned_abs() {
            true => Ok(value),
            false => Err(Refusal::Range),
        }
    }
}

impl Kind for Decimal {
    type Native = i128;

    fn number(&self, number: &Number<'_>) -> Result<i128, Refusal> {
        self.unscaled(number.scaled(self.scale.into()))
    }

    fn value(&self, value: Value<'_>) -> Result<i128, Refusal> {
        match value {
            Value::Decimal { unscaled, scale } => self.unscaled(rescaled(unscaled, scale, self.scale.into())),
            Value::Integer(value) => self.unscaled(rescaled(value, 0, self.scale.into())),
            Value::Float(value) if value.is_finite() => {
                let text = value.to_string();
                self.number(&Number::lenient(&text).ok_or(Refusal::Type)?)
            }
            Value::Huge => Err(Refusal::Range),
            _ => Err(Refusal::Type),
        }
    }

    fn array(&self, values: Vec<i128>, nulls: Option<NullBuffer>) -> ArrayRef {
        let array = Decimal128Array::new(values.into(), nulls);
        Arc::new(array.with_data_type(DataType::Decimal128(self.precision, self.scale)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::super::fixed::Fixed;
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
        let mut column = Fixed::new(Integer::<Int8Type>::default());
        for text in ["-128", "127", "5.0", "1e2", "-0"] {
            push(&mut column, text).unwrap();
        }
        assert_eq!(push(&mut column, "128"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "-129"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "1e400"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "5.5"), Err(Refusal::Type));
        assert_eq!(column.text("5"), Err(Refusal::Type));
        assert_eq!(column.finish().as_primitive::<Int8Type>().values(), &[-128, 127, 5, 100, 0]);

        let mut column = Fixed::new(Integer::<UInt64Type>::default());
        push(&mut column, "18446744073709551615").unwrap();
        assert_eq!(push(&mut column, "18446744073709551616"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "-1"), Err(Refusal::Range));
        assert_eq!(column.finish().as_primitive::<UInt64Type>().values(), &[u64::MAX]);
    }

    #[test]
    fn decimals_round_and_keep_their_precision() {
        let mut column = Fixed::new(Decimal::new(4, 2));
        for text in ["12.34", "-12.345", "99.99", "5"] {
            push(&mut column, text).unwrap();
        }
        assert_eq!(push(&mut column, "99.995"), Err(Refusal::Range));
        assert_eq!(push(&mut column, "-100"), Err(Refusal::Range));
        assert_eq!(column.finish().as_primitive::<Decimal128Type>().values(), &[1234, -1235, 9999, 500]);
    }
}
