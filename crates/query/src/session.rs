//! A session: executes statements, one after the other.
//!
//! What other crates call returns boxed futures: a plain `async fn` would make
//! each of them compile the whole planner again.

use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::ParamValues;
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use pluvio_catalog::Catalog;

use crate::context::new_context;
use crate::instant::of_one_instant;
use crate::sql::{Command, Parsed, parse};
use crate::{Platform, QueryError, copy, define, dml, explain, flush};

/// What a statement gave.
pub enum Outcome {
    /// Rows, as they come.
    Rows(SendableRecordBatchStream),
    /// An effect; the tag as Postgres spells it (`INSERT 0 3`).
    Done {
        /// The command tag.
        tag: String,
    },
}

impl Outcome {
    pub(crate) fn done(tag: impl Into<String>) -> Self {
        Self::Done { tag: tag.into() }
    }
}

/// One client's session.
pub struct Session {
    platform: Arc<Platform>,
    catalog: Arc<Catalog>,
    context: SessionContext,
    /// Where relative paths in statements start.
    folder: Option<PathBuf>,
}

impl Session {
    pub(crate) fn new(
        platform: &Arc<Platform>,
        catalog: Arc<Catalog>,
        folder: Option<PathBuf>,
    ) -> Result<Self, QueryError> {
        let resolver = platform.resolver(&catalog);
        let context = new_context(
            platform.runtime(),
            &resolver,
            &platform.system_tables(),
            &platform.options().functions,
        )?;
        Ok(Self { platform: Arc::clone(platform), catalog, context, folder })
    }

    /// Executes one or more statements in order; an error ends the list.
    ///
    /// # Errors
    /// The first failure, with its place in `sql` where known.
    pub fn execute<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Vec<Outcome>, QueryError>> {
        Box::pin(async move {
            let mut outcomes = Vec::new();
            for statement in parse(sql)? {
                outcomes.push(self.run(statement, None).await?);
            }
            Ok(outcomes)
        })
    }

    /// Executes a single statement with parameters `$1`, `$2`, ….
    ///
    /// # Errors
    /// As [`Self::execute`]; also if there is not exactly one statement.
    pub fn execute_with<'a>(
        &'a self,
        sql: &'a str,
        parameters: ParamValues,
    ) -> BoxFuture<'a, Result<Outcome, QueryError>> {
        Box::pin(async move {
            let mut statements = parse(sql)?;
            match (statements.pop(), statements.is_empty()) {
                (Some(statement), true) => self.run(statement, Some(parameters)).await,
                _ => Err(QueryError::invalid("parameters go with exactly one statement")),
            }
        })
    }

    /// Whether the statement is one that DataFusion alone must not execute.
    pub fn is_own_statement(&self, sql: &str) -> bool {
        let read_only = |p: &Parsed| match &p.command {
            Command::Sql(statement) => !matches!(
                statement.as_ref(),
                Statement::Insert(_)
                    | Statement::Update { .. }
                    | Statement::Delete(_)
                    | Statement::Truncate { .. }
            ),
            Command::Explain(_) => true,
            _ => false,
        };
        parse(sql).is_ok_and(|statements| !statements.iter().all(read_only))
    }

    /// The DataFusion session, for planning queries.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans a query, with this dialect's windows and lookups.
    ///
    /// # Errors
    /// What is wrong with it; also if it is not a plain query.
    pub fn plan<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<LogicalPlan, QueryError>> {
        Box::pin(async move {
            let mut statements = parse(sql)?;
            match (statements.pop(), statements.is_empty()) {
                (Some(Parsed { command: Command::Sql(statement), .. }), true) => {
                    self.plan_statement(*statement).await
                }
                (Some(Parsed { command: Command::Explain(view), .. }), true) => {
                    explain::plan(self, &view).await
                }
                _ => Err(QueryError::unsupported("only a single query can be planned")),
            }
        })
    }

    pub(crate) async fn plan_statement(&self, statement: Statement) -> Result<LogicalPlan, QueryError> {
        Ok(self.plan_parsed(statement).await?)
    }

    /// Plans a statement that is parsed already.
    ///
    /// # Errors
    /// What the planner finds wrong, in its own words.
    pub fn plan_parsed(&self, statement: Statement) -> BoxFuture<'static, DfResult<LogicalPlan>> {
        let statement = DfStatement::Statement(Box::new(statement));
        let state = self.context.state();
        Box::pin(async move { state.statement_to_plan(statement).await })
    }

    /// Runs a plan; its rows as they come.
    ///
    /// # Errors
    /// What the planner finds wrong, in its own words.
    pub fn run_plan(&self, plan: LogicalPlan) -> BoxFuture<'static, DfResult<SendableRecordBatchStream>> {
        let platform = Arc::clone(&self.platform);
        let frame =
            of_one_instant(plan, platform.store()).map(|plan| DataFrame::new(self.context.state(), plan));
        Box::pin(async move { platform.query_threads.run(frame?).await })
    }

    pub(crate) async fn run(
        &self,
        parsed: Parsed,
        parameters: Option<ParamValues>,
    ) -> Result<Outcome, QueryError> {
        let start = parsed.start;
        match parsed.command {
            Command::Sql(statement) => self.run_sql(*statement, parameters).await.map_err(|e| e.at(start)),
            Command::Copy(copy) => copy::run(self, copy).await.map_err(|e| e.at(start)),
            Command::Explain(view) => {
                Ok(Outcome::Rows(self.run_plan(explain::plan(self, &view).await?).await?))
            }
            Command::Flush => flush::run(self).await.map_err(|e| e.at(start)),
            _ => define::run(self, parsed).await.map_err(|e| e.at(start)),
        }
    }

    async fn run_sql(
        &self,
        statement: Statement,
        parameters: Option<ParamValues>,
    ) -> Result<Outcome, QueryError> {
        match &statement {
            Statement::Insert(_) | Statement::Update { .. } | Statement::Delete(_) => {
                dml::run(self, statement, parameters).await
            }
            Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ShowVariable { .. }
            | Statement::Set(_)
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ExplainTable { .. } => {
                let plan = self.plan_statement(statement).await?;
                let plan = with_parameters(plan, parameters)?;
                if matches!(plan, LogicalPlan::Statement(_)) {
                    self.context.execute_logical_plan(plan).await?;
                    return Ok(Outcome::done("SET"));
                }
                Ok(Outcome::Rows(self.run_plan(plan).await?))
            }
            other => {
                let text = other.to_string();
                let word = text.split_whitespace().next().unwrap_or_default().to_owned();
                Err(QueryError::unsupported(format!("{word} is not supported")))
            }
        }
    }

    pub(crate) fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// A path of a statement: relative ones start at the script's folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(path),
            None => PathBuf::from(path),
        }
    }
}

pub(crate) fn with_parameters(
    plan: LogicalPlan,
    parameters: Option<ParamValues>,
) -> Result<LogicalPlan, QueryError> {
    match parameters {
        Some(parameters) => Ok(plan.with_param_values(parameters)?),
        None => Ok(plan),
    }
}
