//! How one row becomes the key and the value of the keyed store, and back.
//!
//! Our own formats, because Arrow's row format may change between releases:
//! [`key`] preserves the order of the key columns, [`value`] holds the others.
//! Arrow types that are only another way to hold the same value (views,
//! dictionaries) are stored as what they stand for.

pub(crate) mod builder;
pub(crate) mod column;
pub(crate) mod key;
pub(crate) mod row;
pub(crate) mod value;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

/// The type whose bytes are stored for `data_type`; none if it has no stored form.
pub(crate) fn storage_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8View => DataType::LargeUtf8,
        DataType::BinaryView => DataType::LargeBinary,
        DataType::Dictionary(_, values) => storage_type(values)?,
        DataType::List(field) => DataType::List(storage_field(field)?),
        DataType::LargeList(field) => DataType::LargeList(storage_field(field)?),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(storage_field(field)?, *size),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(storage_field).collect::<Option<Vec<_>>>()?.into())
        }
        DataType::Map(field, sorted) => DataType::Map(storage_field(field)?, *sorted),
        DataType::Null
        | DataType::Boolean
        | DataType::FixedSizeBinary(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::LargeBinary => data_type.clone(),
        other if other.is_primitive() => data_type.clone(),
        _ => return None,
    })
}

fn storage_field(field: &FieldRef) -> Option<FieldRef> {
    let stored = storage_type(field.data_type())?;
    Some(Arc::new(Field::new(field.name(), stored, field.is_nullable())))
}

/// Whether the type may be part of a key.
pub(crate) fn is_key_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_) => false,
        DataType::Boolean
        | DataType::FixedSizeBinary(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => true,
        other => other.is_primitive(),
    }
}
