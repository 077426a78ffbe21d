//! Distinct keys of an epoch's rows, numbered.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use pluvio_query::QueryError;

use super::delta::{Delta, batch_of};

/// Gives each distinct key a number, from 0: the keys in that order, and for each
/// row its key's number.
pub fn number(types: &[DataType], keys: &[ArrayRef]) -> Result<(Vec<ArrayRef>, Vec<u32>), QueryError> {
    let fields = types.iter().enumerate().map(|(i, t)| Field::new(format!("key{i}"), t.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut groups = new_group_values(schema, &GroupOrdering::None)?;
    let mut places = Vec::new();
    groups.intern(keys, &mut places)?;
    let numbers = places.iter().map(|place| u32::try_from(*place).unwrap_or(u32::MAX)).collect();
    Ok((groups.emit(EmitTo::All)?, numbers))
}

/// Rows with the numbers of their keys behind.
pub fn numbered(delta: &Delta, numbers: &[u32]) -> Result<Delta, QueryError> {
    let mut fields: Vec<_> = delta.rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("$number", DataType::UInt32, false)));
    let numbers: ArrayRef = Arc::new(UInt32Array::from(numbers.to_vec()));
    let columns = delta.rows.columns().iter().cloned().chain([numbers]).collect();
    Ok(delta.with_rows(batch_of(&Arc::new(Schema::new(fields)), columns, delta.len())?))
}
