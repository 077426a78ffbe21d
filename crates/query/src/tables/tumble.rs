//! `TUMBLE(TABLE t, DESCRIPTOR(c), INTERVAL …)`: the table with `window_start`
//! and `window_end`, expanded like a view, so that planning sees plain columns.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::plan_err;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Resolver;
use crate::functions::{column, interval_us, text_argument, tumble_columns};

/// The table function.
#[derive(Debug)]
pub(crate) struct Tumble {
    pub resolver: Arc<Resolver>,
}

impl TableFunctionImpl for Tumble {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [table, time, size] = args.exprs() else {
            return plan_err!(
                "TUMBLE takes three arguments: TUMBLE(TABLE name, DESCRIPTOR(column), INTERVAL …)"
            );
        };
        let name = text_argument(table)?;
        let time = text_argument(time)?;
        let Some(inner) = self.resolver.provider(&name) else {
            return plan_err!("there is no stream, table or view \"{name}\"");
        };
        let schema = inner.schema();
        match schema.field_with_name(&time).map(|f| f.data_type()) {
            Ok(DataType::Timestamp(..)) => {}
            Ok(other) => {
                return plan_err!("DESCRIPTOR({time}): a window needs a TIMESTAMP column, this is {other}");
            }
            Err(_) => return plan_err!("DESCRIPTOR({time}): \"{name}\" has no such column"),
        }
        let mut columns: Vec<Expr> = schema.fields().iter().map(|f| column(f.name())).collect();
        columns.extend(tumble_columns(&time, interval_us(size)?));
        let scan = LogicalPlanBuilder::scan(name.as_str(), provider_as_source(inner), None)?;
        let plan = scan.project(columns)?.build()?;
        Ok(Arc::new(Windowed { schema: Arc::clone(plan.schema().inner()), plan }))
    }
}

#[derive(Debug)]
struct Windowed {
    plan: LogicalPlan,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Windowed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plan = LogicalPlanBuilder::from(self.plan.clone());
        for filter in filters {
            plan = plan.filter(filter.clone())?;
        }
        if let Some(projection) = projection {
            plan = plan.project(projection.iter().map(|i| column(self.schema.field(*i).name())))?;
        }
        state.create_physical_plan(&plan.limit(0, limit)?.build()?).await
    }
}
