//! `TUMBLE(TABLE t, DESCRIPTOR(c), INTERVAL …)`, `HOP` and `CUMULATE`: the table
//! with `window_start` and `window_end`, a row for each window an event is in,
//! expanded like a view, so that planning sees plain columns.

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
use datafusion::scalar::ScalarValue;

use super::Resolver;
use crate::functions::column;
use crate::sessions::SessionEdge;
use crate::windows::{WINDOW_END, WINDOW_START, Windows, interval_us};

/// Which windows a table function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowKind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl WindowKind {
    /// All, with their names in SQL.
    pub const ALL: [(&str, Self); 4] = [
        ("tumble", Self::Tumble),
        ("hop", Self::Hop),
        ("cumulate", Self::Cumulate),
        ("session", Self::Session),
    ];

    fn spelling(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(TABLE name, DESCRIPTOR(column), INTERVAL size)",
            Self::Hop => "HOP(TABLE name, DESCRIPTOR(column), INTERVAL slide, INTERVAL size)",
            Self::Cumulate => "CUMULATE(TABLE name, DESCRIPTOR(column), INTERVAL step, INTERVAL size)",
            Self::Session => "SESSION(TABLE name PARTITION BY key, DESCRIPTOR(column), INTERVAL gap)",
        }
    }

    fn windows(self, intervals: &[i64]) -> Result<Windows> {
        let windows = match (self, intervals) {
            (Self::Tumble, [size]) => Windows::Tumble(*size),
            (Self::Hop, [slide, size]) => Windows::Hop { slide: *slide, size: *size },
            (Self::Cumulate, [step, size]) => Windows::Cumulate { step: *step, size: *size },
            _ => return plan_err!("the arguments do not fit: it is {}", self.spelling()),
        };
        windows.check()?;
        Ok(windows)
    }
}

/// The table function.
#[derive(Debug)]
pub(crate) struct WindowTable {
    pub kind: WindowKind,
    pub resolver: Arc<Resolver>,
}

impl WindowTable {
    /// The table with the edges of its keys' sessions.
    fn session(
        &self,
        table: LogicalPlanBuilder,
        schema: &SchemaRef,
        time: &str,
        arguments: &[Expr],
    ) -> Result<LogicalPlan> {
        let Some((gap, keys)) = arguments.split_first() else {
            return plan_err!("the arguments do not fit: it is {}", self.kind.spelling());
        };
        let gap_us = interval_us(gap)?;
        if gap_us <= 0 {
            return plan_err!("a session's gap must be longer than nothing");
        }
        let keys = keys.iter().map(|key| self.name(key)).collect::<Result<Vec<_>>>()?;
        if let Some(missing) = keys.iter().find(|key| schema.field_with_name(key).is_err()) {
            return plan_err!("PARTITION BY {missing}: there is no such column");
        }
        let edge =
            |edge: SessionEdge| edge.call(column(time), gap_us, keys.iter().map(|key| column(key)).collect());
        let (start, end) = (edge(SessionEdge::Start)?, edge(SessionEdge::End)?);
        let (start, end) = (start.alias(WINDOW_START), end.alias(WINDOW_END));
        let edges = [column(WINDOW_START), column(WINDOW_END)];
        let columns = schema.fields().iter().map(|f| column(f.name()));
        table.window([start, end])?.project(columns.chain(edges))?.build()
    }

    fn name(&self, expression: &Expr) -> Result<String> {
        match expression {
            Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
                Ok(text.clone())
            }
            other => plan_err!("expected {}, found {other}", self.kind.spelling()),
        }
    }
}

impl TableFunctionImpl for WindowTable {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [table, time, intervals @ ..] = args.exprs() else {
            return plan_err!("the arguments do not fit: it is {}", self.kind.spelling());
        };
        let name = self.name(table)?;
        let time = self.name(time)?;
        let Some(inner) = self.resolver.provider(&name) else {
            return plan_err!(
                "there is no stream, table or view \"{name}\"; a window stands on one by name, so what WITH or a \
                 subquery gives is first made a materialized view"
            );
        };
        let schema = inner.schema();
        match schema.field_with_name(&time).map(|f| f.data_type()) {
            Ok(DataType::Timestamp(..)) => {}
            Ok(other) => {
                return plan_err!("DESCRIPTOR({time}): a window needs a TIMESTAMP column, this is {other}");
            }
            Err(_) => return plan_err!("DESCRIPTOR({time}): \"{name}\" has no such column"),
        }
        let own = |edge: &&str| schema.field_with_name(edge).is_ok();
        if let Some(edge) = [WINDOW_START, WINDOW_END].into_iter().find(own) {
            return plan_err!("\"{name}\" has a column {edge} already; give it another name in a view");
        }
        let columns = || schema.fields().iter().map(|f| column(f.name()));
        let mut plan = LogicalPlanBuilder::scan(name.as_str(), provider_as_source(inner), None)?;
        if self.kind == WindowKind::Session {
            let plan = self.session(plan, &schema, &time, intervals)?;
            return Ok(Arc::new(Windowed { schema: Arc::clone(plan.schema().inner()), plan }));
        }
        let intervals = intervals.iter().map(interval_us).collect::<Result<Vec<_>>>()?;
        let windows = self.kind.windows(&intervals)?;
        if let Some(edges) = windows.several(&time) {
            let (_, edge) = edges.qualified_name();
            plan = plan.project(columns().chain([edges]))?.unnest_column(edge)?;
        }
        let plan = plan.project(columns().chain(windows.columns(&time)))?.build()?;
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
