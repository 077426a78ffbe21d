//! Columns in the making: each takes the scalars that fit its type, can take
//! back its last rows, and becomes an Arrow array.

mod fixed;
mod numeric;
mod temporal;
mod text;
mod tree;
mod value;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, NullBufferBuilder};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use std::sync::Arc;

use crate::number::Number;
use fixed::Fixed;
pub use temporal::EpochUnit;
pub(crate) use text::BinaryColumn;
pub(crate) use tree::{Columns, ListNode, MapNode, Node, Object, Slot};
pub(crate) use value::Value;

/// Why a column takes a value not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The value is of another type.
    Type,
    /// The value is beyond the type's range.
    Range,
    /// The column is as large as an Arrow array can be.
    Full,
}

/// A column of scalars.
///
/// Contract: a method that gives `Ok` adds one row, one that gives `Err` none.
pub(crate) trait Column: Send {
    /// Rows so far.
    fn len(&self) -> usize;
    /// Takes back the rows from `len` on.
    fn truncate(&mut self, len: usize);
    /// Adds a NULL.
    fn null(&mut self);
    /// Adds a boolean.
    fn boolean(&mut self, _value: bool) -> Result<(), Refusal> {
        Err(Refusal::Type)
    }
    /// Adds a number.
    fn number(&mut self, _value: &Number<'_>) -> Result<(), Refusal> {
        Err(Refusal::Type)
    }
    /// Adds a text, or what it stands for.
    fn text(&mut self, _value: &str) -> Result<(), Refusal> {
        Err(Refusal::Type)
    }
    /// Adds a text of ASCII characters.
    fn ascii(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.text(std::str::from_utf8(value).map_err(|_| Refusal::Type)?)
    }
    /// Adds a value that has its type from the format.
    fn value(&mut self, value: Value<'_>) -> Result<(), Refusal> {
        match value {
            Value::Boolean(value) => self.boolean(value),
            Value::Text(text) => self.text(text),
            _ => Err(Refusal::Type),
        }
    }
    /// The array of all rows; the next one starts with room for as many.
    fn finish(&mut self) -> ArrayRef;
}

/// The types [`column`] knows, for messages.
pub(crate) const SCALAR_TYPES: &str = "BOOLEAN, TINYINT to BIGINT (also UNSIGNED), REAL, DOUBLE, DECIMAL (128 bits), VARCHAR (Utf8), DATE (Date32), TIME (microseconds) or TIMESTAMP (microseconds)";
/// The types [`typed_column`] knows, for messages.
pub(crate) const TYPED_TYPES: &str = "BOOLEAN, TINYINT to BIGINT (also UNSIGNED), REAL, DOUBLE, DECIMAL (128 bits), VARCHAR (Utf8), BINARY, DATE (Date32), TIME (microseconds) or TIMESTAMP (microseconds)";

/// An empty column of this type, for typed values; `None` if there is none.
pub(crate) fn typed_column(data_type: &DataType) -> Option<Box<dyn Column>> {
    match data_type {
        DataType::Binary => Some(Box::new(BinaryColumn::default())),
        other => column(other),
    }
}

/// An empty column of this type, for values as text; `None` if there is none.
/// Bare numbers in TIMESTAMP columns are epoch milliseconds.
pub(crate) fn column(data_type: &DataType) -> Option<Box<dyn Column>> {
    column_of(data_type, EpochUnit::Milliseconds)
}

/// The same; bare numbers in TIMESTAMP columns count `epoch` units.
pub(crate) fn column_of(data_type: &DataType, epoch: EpochUnit) -> Option<Box<dyn Column>> {
    use numeric::{Decimal, Floating, Integer};
    Some(match data_type {
        DataType::Boolean => Box::new(BooleanColumn::default()),
        DataType::Int8 => Box::new(Fixed::new(Integer::<Int8Type>::default())),
        DataType::Int16 => Box::new(Fixed::new(Integer::<Int16Type>::default())),
        DataType::Int32 => Box::new(Fixed::new(Integer::<Int32Type>::default())),
        DataType::Int64 => Box::new(Fixed::new(Integer::<Int64Type>::default())),
        DataType::UInt8 => Box::new(Fixed::new(Integer::<UInt8Type>::default())),
        DataType::UInt16 => Box::new(Fixed::new(Integer::<UInt16Type>::default())),
        DataType::UInt32 => Box::new(Fixed::new(Integer::<UInt32Type>::default())),
        DataType::UInt64 => Box::new(Fixed::new(Integer::<UInt64Type>::default())),
        DataType::Float32 => Box::new(Fixed::new(Floating::<Float32Type>::default())),
        DataType::Float64 => Box::new(Fixed::new(Floating::<Float64Type>::default())),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            Box::new(Fixed::new(Decimal::new(*precision, *scale)))
        }
        DataType::Utf8 => Box::new(text::TextColumn::default()),
        DataType::Date32 => Box::new(Fixed::new(temporal::Date)),
        DataType::Time64(TimeUnit::Microsecond) => Box::new(Fixed::new(temporal::Time)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Box::new(Fixed::new(temporal::Timestamp::new(zone.clone(), epoch)))
        }
        _ => return None,
    })
}

/// Offers a text as what it may stand for, the most specific first.
pub(crate) fn take_text(column: &mut dyn Column, text: &str) -> Result<(), Refusal> {
    let taken = column.text(text);
    if taken != Err(Refusal::Type) {
        return taken;
    }
    if let Some(number) = Number::lenient(text) {
        let taken = column.number(&number);
        if taken != Err(Refusal::Type) {
            return taken;
        }
    }
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => column.boolean(true),
        "false" | "f" | "0" => column.boolean(false),
        _ => Err(Refusal::Type),
    }
}

/// A type as SQL writes it.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 => "VARCHAR",
        DataType::Date32 => "DATE",
        DataType::Time64(_) => "TIME",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Binary => "BINARY",
        DataType::Struct(_) => "STRUCT",
        DataType::List(_) => "ARRAY",
        DataType::Map(..) => "MAP",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        other => return other.to_string(),
    };
    name.to_owned()
}

/// BOOLEAN.
#[derive(Debug)]
struct BooleanColumn {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for BooleanColumn {
    fn default() -> Self {
        Self { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
    }
}

impl Column for BooleanColumn {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn boolean(&mut self, value: bool) -> Result<(), Refusal> {
        self.values.append(value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    /// Every type: a rolled back row leaves no trace, also behind a NULL.
    #[test]
    fn truncation_forgets() {
        let types = [
            DataType::Boolean,
            DataType::Int8,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(10, 2),
            DataType::Utf8,
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ];
        for data_type in types {
            let mut column = column(&data_type).unwrap();
            let one = |column: &mut dyn Column| {
                let (number, _) = Number::scan(b"1", 0).unwrap();
                let taken = column.boolean(true).is_ok()
                    || column.number(&number).is_ok()
                    || column.text("2013-01-01").is_ok()
                    || column.text("10:00").is_ok();
                assert!(taken, "{data_type}");
            };
            one(column.as_mut());
            column.null();
            one(column.as_mut());
            column.truncate(1);
            column.null();
            assert_eq!(column.len(), 2);
            let array = column.finish();
            assert_eq!((array.len(), array.null_count()), (2, 1), "{data_type}");
            assert!(array.is_valid(0));
            assert_eq!(array.data_type(), &data_type);
            assert_eq!(column.len(), 0);
            assert_eq!(column.finish().len(), 0);
        }
    }

    #[test]
    fn nanoseconds_and_views_are_unknown() {
        assert!(column(&DataType::Timestamp(TimeUnit::Nanosecond, None)).is_none());
        assert!(column(&DataType::Utf8View).is_none());
    }

    #[test]
    fn booleans() {
        let mut column = BooleanColumn::default();
        column.boolean(true).unwrap();
        column.boolean(false).unwrap();
        let array = column.finish();
        let values = array.as_boolean();
        assert!(values.value(0) && !values.value(1));
    }
}
