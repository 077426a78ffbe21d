//! The columns by which an operator keeps its rows.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{cast, lit};
use pluvio_query::QueryError;

use super::builder::storable;
use super::expressions::physical;
use super::origin::{Origin, origin_of};

/// A key, computed from a row.
#[derive(Debug, Default)]
pub struct Key {
    /// One for each column.
    pub columns: Vec<Arc<dyn PhysicalExpr>>,
    /// Their types, which can be stored.
    pub types: Vec<DataType>,
    /// What they are.
    pub origins: Vec<Origin>,
}

impl Key {
    /// The key of these expressions over rows with these origins.
    ///
    /// # Errors
    /// An expression that cannot be evaluated row by row.
    pub fn of<'a>(
        expressions: impl IntoIterator<Item = &'a Expr>,
        schema: &DFSchema,
        origins: &[Origin],
    ) -> Result<Self, QueryError> {
        let mut key = Self::default();
        for expression in expressions {
            let column = physical(expression, schema)?;
            let data_type = storable(&column.data_type(schema.as_arrow())?);
            key.columns.push(cast(column, schema.as_arrow(), data_type.clone())?);
            key.types.push(data_type);
            key.origins.push(origin_of(expression, schema, origins));
        }
        Ok(key)
    }

    /// The same columns in other types.
    ///
    /// # Errors
    /// A type that the column's cannot become.
    pub fn in_types(mut self, types: &[DataType], schema: &DFSchema) -> Result<Self, QueryError> {
        for (column, data_type) in self.columns.iter_mut().zip(types) {
            *column = cast(Arc::clone(column), schema.as_arrow(), data_type.clone())?;
        }
        self.types = types.to_vec();
        Ok(self)
    }

    /// A constant, if there is no column; whether it was needed.
    pub fn or_constant(&mut self) -> bool {
        let empty = self.columns.is_empty();
        if empty {
            self.columns.push(lit(0_i8));
            self.types.push(DataType::Int8);
        }
        empty
    }
}
