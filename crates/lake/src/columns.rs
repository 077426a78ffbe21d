//! The table's columns in its three forms: as declared (Arrow, what writers
//! give and readers get back), as stored (Arrow, what Parquet files hold), and
//! in Delta's own types.
//!
//! Promises: what is read back has exactly the declared type; a type that Delta
//! cannot hold without loss is refused by name, with the cast to write instead.
//!
//! A timestamp is stored as Delta's `timestamp`, an instant in UTC with
//! microseconds, also when declared without a time zone. Delta's
//! `timestamp_ntz` would need reader version 3 with a table feature that many
//! outside readers refuse; `timestamp` needs reader version 1, which all have.
//! The declared types are kept in the table property `pluvio.schema`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use crate::error::LakeError;

/// Characters that Delta forbids in a column's name.
const NAME_FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Most columns of one table.
pub const COLUMNS_MAX: usize = 10_000;

/// The stored schema of a declared one.
///
/// # Errors
/// [`LakeError::Column`] names the column that Delta cannot hold.
pub(crate) fn stored_schema(table: &str, declared: &Schema) -> Result<SchemaRef, LakeError> {
    let refuse = |column: &str, reason: String| LakeError::Column {
        table: table.to_owned(),
        column: column.to_owned(),
        reason,
    };
    if declared.fields().is_empty() || declared.fields().len() > COLUMNS_MAX {
        let reason =
            format!("a table needs 1 to {COLUMNS_MAX} columns, {} were given", declared.fields().len());
        return Err(LakeError::Schema { table: table.to_owned(), reason });
    }
    let mut names = HashSet::new();
    let mut fields = Vec::with_capacity(declared.fields().len());
    for field in declared.fields() {
        let name = field.name();
        if name.is_empty() || name.contains(NAME_FORBIDDEN) {
            let reason = "Delta forbids an empty name and the characters ' ,;{}()=', tab and line \
                          end in names: give the column an alias (AS name)";
            return Err(refuse(name, reason.to_owned()));
        }
        if !names.insert(name.to_lowercase()) {
            let reason = "another column has this name (Delta ignores case): give one an alias";
            return Err(refuse(name, reason.to_owned()));
        }
        let stored = stored_field(field).map_err(|reason| refuse(name, reason))?;
        fields.push(stored);
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn stored_field(field: &FieldRef) -> Result<FieldRef, String> {
    let stored = stored_type(field.data_type())?;
    Ok(Arc::new(Field::new(field.name(), stored, field.is_nullable())))
}

fn stored_type(declared: &DataType) -> Result<DataType, String> {
    use DataType as T;
    let cast = |target: &str| Err(format!("Delta has no type for {declared}: CAST it AS {target}"));
    Ok(match declared {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 => declared.clone(),
        T::Date32 => T::Date32,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView => T::Binary,
        T::Dictionary(_, value) => stored_type(value)?,
        T::Timestamp(TimeUnit::Nanosecond, _) => {
            return Err("Delta keeps microseconds, the column has nanoseconds: CAST it AS \
                        TIMESTAMP(6)"
                .to_owned());
        }
        T::Timestamp(_, _) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) => {
            if *s < 0 {
                return cast(&format!("DECIMAL({}, 0)", (i16::from(*p) - i16::from(*s)).min(38)));
            }
            T::Decimal128(*p, *s)
        }
        T::Decimal256(_, s) => return cast(&format!("DECIMAL(38, {s})")),
        T::Struct(fields) => T::Struct(fields.iter().map(stored_field).collect::<Result<Fields, _>>()?),
        T::List(item) | T::LargeList(item) => T::List(stored_field(item)?),
        T::Map(entries, sorted) => T::Map(stored_field(entries)?, *sorted),
        T::UInt8 => return cast("SMALLINT"),
        T::UInt16 => return cast("INT"),
        T::UInt32 => return cast("BIGINT"),
        T::UInt64 => return cast("DECIMAL(20, 0), or AS BIGINT if it never exceeds 2^63 - 1"),
        T::Float16 => return cast("REAL"),
        T::Date64 => return cast("DATE or TIMESTAMP(6)"),
        T::Time32(_) | T::Time64(_) => return cast("VARCHAR, or keep it as a BIGINT"),
        T::Duration(_) | T::Interval(_) => return cast("BIGINT (a count of a unit you choose)"),
        T::FixedSizeBinary(_) => return cast("BYTEA"),
        T::Null => return cast("a type, for example CAST(NULL AS VARCHAR)"),
        other => return Err(format!("Delta has no type for {other}: leave the column out")),
    })
}

/// Rows as they are stored. Columns whose type is stored as declared are
/// shared, not copied.
///
/// # Errors
/// [`LakeError::Schema`] if the batch does not have the declared columns.
pub(crate) fn stored_batch(
    table: &str,
    declared: &Schema,
    stored: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, LakeError> {
    check_batch(table, declared, batch)?;
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(stored.fields()) {
        let array = stored_array(column, field.data_type());
        columns.push(array.map_err(|source| LakeError::arrow(table, source))?);
    }
    RecordBatch::try_new(Arc::clone(stored), columns).map_err(|source| LakeError::arrow(table, source))
}

fn check_batch(table: &str, declared: &Schema, batch: &RecordBatch) -> Result<(), LakeError> {
    let error = |reason| LakeError::Schema { table: table.to_owned(), reason };
    if batch.num_columns() != declared.fields().len() {
        let (got, want) = (batch.num_columns(), declared.fields().len());
        return Err(error(format!("{got} columns were written, the table has {want}")));
    }
    for (column, field) in batch.columns().iter().zip(declared.fields()) {
        if column.data_type() != field.data_type() {
            let (name, got, want) = (field.name(), column.data_type(), field.data_type());
            return Err(error(format!("column '{name}' was written as {got}, it is {want}")));
        }
    }
    Ok(())
}

fn stored_array(column: &ArrayRef, stored: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    match (column.data_type(), stored) {
        (from, to) if from == to => Ok(Arc::clone(column)),
        // All time zones count from the same instant, so this renames only.
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(..)) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            Ok(Arc::new(values.clone().with_timezone("UTC")))
        }
        // A time without a zone is taken as UTC, whatever its unit.
        (DataType::Timestamp(unit, Some(_)), DataType::Timestamp(..)) => {
            let plain = cast(column, &DataType::Timestamp(*unit, Some("UTC".into())))?;
            cast(&plain, stored)
        }
        _ => cast(column, stored),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampMicrosecondArray, TimestampMillisecondArray};

    use super::*;

    fn schema(data_type: DataType) -> Schema {
        Schema::new(vec![Field::new("c", data_type, true)])
    }

    #[test]
    fn types_without_a_place_in_delta_are_refused_by_name() {
        for (data_type, hint) in [
            (DataType::UInt64, "BIGINT"),
            (DataType::UInt32, "BIGINT"),
            (DataType::UInt8, "SMALLINT"),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "TIMESTAMP(6)"),
            (DataType::Null, "CAST"),
            (DataType::Decimal256(50, 3), "DECIMAL(38, 3)"),
            (DataType::List(Arc::new(Field::new("item", DataType::UInt16, true))), "INT"),
        ] {
            let message = stored_schema("t", &schema(data_type)).unwrap_err().to_string();
            assert!(message.contains("'c'") && message.contains(hint), "{message}");
        }
    }

    #[test]
    fn names_that_delta_forbids_are_refused() {
        for names in [vec!["count(*)"], vec![""], vec!["a", "A"]] {
            let fields: Vec<_> = names.iter().map(|n| Field::new(*n, DataType::Int64, true)).collect();
            let message = stored_schema("t", &Schema::new(fields)).unwrap_err().to_string();
            assert!(message.contains("alias"), "{message}");
        }
    }

    #[test]
    fn timestamps_become_instants_without_moving() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_123_456])),
            Arc::new(TimestampMicrosecondArray::from(vec![7]).with_timezone("+02:00")),
            Arc::new(TimestampMillisecondArray::from(vec![9])),
            Arc::new(TimestampMillisecondArray::from(vec![9]).with_timezone("+02:00")),
        ];
        let fields: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true))
            .collect();
        let declared = Arc::new(Schema::new(fields));
        let stored = stored_schema("t", &declared).unwrap();
        let batch = RecordBatch::try_new(Arc::clone(&declared), columns).unwrap();
        let batch = stored_batch("t", &declared, &stored, &batch).unwrap();
        let value = |i: usize| batch.column(i).as_primitive::<TimestampMicrosecondType>().value(0);
        assert_eq!([value(0), value(1), value(2), value(3)], [1_700_000_000_123_456, 7, 9000, 9000]);
    }

    #[test]
    fn other_columns_than_declared_are_refused() {
        let declared = schema(DataType::Int32);
        let stored = stored_schema("t", &declared).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let message = stored_batch("t", &declared, &stored, &batch).unwrap_err().to_string();
        assert!(message.contains("'c' was written as Int64, it is Int32"), "{message}");
    }
}
