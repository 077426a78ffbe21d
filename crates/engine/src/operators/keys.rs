//! Distinct keys of an epoch's rows, numbered.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use pluvio_query::QueryError;

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
