//! From the text of a statement to what can be run.
//!
//! A statement is one of three: a query, which is planned here; a control
//! statement, which only concerns the connection; or a command, which the query
//! session runs from its text.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, into_pg_type};
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldInfo;
use pgwire::api::stmt::QueryParser;
use pgwire::api::{ClientInfo, Type};
use pgwire::error::PgWireResult;
use pluvio_query::sql::{Command, parse};
use pluvio_query::{QueryError, Session};

use super::commands;
use super::cursors::Cursors;
use super::names::{self, Names};
use super::rows::check_formats;
use super::sqlstate;
use super::statements::{Piece, parameter_count, split};

/// A statement that can be run.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// The text as the client sent it.
    pub(super) sql: String,
    /// What is to be done.
    pub(super) action: Action,
    /// The parameters' types, as far as they could be inferred.
    pub(super) parameters: Vec<Option<DataType>>,
}

/// What running a statement does.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Reads rows by a plan; the names are those of its columns on the wire,
    /// where they differ from the plan's.
    Query(Box<LogicalPlan>, Names),
    /// Concerns the connection only; the fields are those of its rows.
    Control(Box<Statement>, Vec<FieldInfo>),
    /// Is run from its text.
    Command,
}

/// Turns texts into statements, for one connection.
pub(super) struct Planner {
    pub(super) session: Session,
    pub(super) cursors: Cursors,
    parser: Arc<PostgresCompatibilityParser>,
}

impl Planner {
    pub(super) fn new(session: Session, parser: Arc<PostgresCompatibilityParser>) -> Self {
        Self { session, cursors: Cursors::default(), parser }
    }

    /// Prepares one statement. Errors point into the text.
    pub(super) async fn prepare(&self, piece: Piece<'_>) -> PgWireResult<Prepared> {
        let refused = |error: &QueryError| sqlstate::of_query(error, piece);
        match parse(piece.text) {
            Ok(mut parsed) => match (parsed.pop().map(|parsed| parsed.command), parsed.is_empty()) {
                (Some(Command::Sql(statement)), true) => self.prepare_sql(*statement, piece).await,
                (Some(Command::Explain(_)), true) => {
                    let plan = self.session.plan(piece.text).await.map_err(|error| refused(&error))?;
                    Ok(prepared(piece, Action::Query(Box::new(plan), Names::default()), Vec::new()))
                }
                (Some(_), true) => Ok(prepared(piece, Action::Command, Vec::new())),
                _ => Err(refused(&QueryError::invalid("expected one statement"))),
            },
            // What only the compatibility rules can read, as tools send it.
            Err(error) => match self.compatible(piece.text) {
                Some(statement) => self.prepare_sql(statement, piece).await,
                None => Err(refused(&error)),
            },
        }
    }

    async fn prepare_sql(&self, statement: Statement, piece: Piece<'_>) -> PgWireResult<Prepared> {
        if commands::is_control(&statement) {
            let fields = commands::fields(&statement, &self.cursors);
            return Ok(prepared(piece, Action::Control(Box::new(statement), fields), Vec::new()));
        }
        if !is_query(&statement) {
            let parameters = self.command_parameters(piece.text, statement).await;
            return Ok(prepared(piece, Action::Command, parameters));
        }
        let names = names::of_columns(&statement);
        let plan = self.plan(statement, piece).await?;
        let parameters = parameter_types(&plan).map_err(|error| sqlstate::of_plan(error, piece))?;
        Ok(prepared(piece, Action::Query(Box::new(plan), names), parameters))
    }

    /// Plans a query. What the compatibility rules made of the text comes first;
    /// if that fails, the statement as it stands decides, because only its errors
    /// have places.
    pub(super) async fn plan(&self, statement: Statement, piece: Piece<'_>) -> PgWireResult<LogicalPlan> {
        if let Some(compatible) = self.compatible(piece.text).filter(is_query)
            && let Ok(plan) = self.session.plan_parsed(compatible).await
        {
            return Ok(plan);
        }
        self.session.plan_parsed(statement).await.map_err(|error| sqlstate::of_plan(error, piece))
    }

    /// The statement as the compatibility rules rewrite it.
    fn compatible(&self, sql: &str) -> Option<Statement> {
        let mut statements = self.parser.parse(sql).ok()?;
        if statements.len() == 1 { statements.pop() } else { None }
    }

    /// The parameters of a command, inferred by planning what can be planned.
    async fn command_parameters(&self, sql: &str, mut statement: Statement) -> Vec<Option<DataType>> {
        let count = parameter_count(sql);
        let mut types = vec![None; count];
        if count == 0 {
            return types;
        }
        if let Statement::Insert(insert) = &mut statement {
            insert.on = None;
        }
        if let Ok(plan) = self.session.plan_parsed(statement).await
            && let Ok(inferred) = parameter_types(&plan)
        {
            types.iter_mut().zip(inferred).for_each(|(place, inferred)| *place = inferred);
        }
        types
    }
}

fn prepared(piece: Piece<'_>, action: Action, parameters: Vec<Option<DataType>>) -> Prepared {
    Prepared { sql: piece.text.to_owned(), action, parameters }
}

fn is_query(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => {
            !matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_))
        }
        Statement::Explain { .. }
        | Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. } => true,
        _ => false,
    }
}

/// The types of `$1`, `$2`, … in order. A parameter without a type of its own
/// takes the type it is cast to.
fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, DataFusionError> {
    let mut by_name = plan.get_parameter_types()?;
    if by_name.values().any(Option::is_none) {
        infer_from_casts(plan, &mut by_name)?;
    }
    let number = |name: &str| name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
    let count = by_name.keys().filter_map(|name| number(name)).max().unwrap_or(0);
    Ok((1..=count).map(|number| by_name.remove(&format!("${number}")).flatten()).collect())
}

fn infer_from_casts(
    plan: &LogicalPlan,
    types: &mut HashMap<String, Option<DataType>>,
) -> Result<(), DataFusionError> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Expr::Cast(cast) = expression
                    && let Expr::Placeholder(parameter) = cast.expr.as_ref()
                {
                    let known = types.entry(parameter.id.clone()).or_default();
                    known.get_or_insert_with(|| cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

#[async_trait]
impl QueryParser for Planner {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let pieces = split(sql);
        match pieces.as_slice() {
            [] => Ok(None),
            [piece] => Ok(Some(Arc::new(self.prepare(*piece).await?))),
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                Err(sqlstate::error(sqlstate::SYNTAX_ERROR, message))
            }
        }
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        let wire = |inferred: &Option<DataType>| inferred.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type);
        statement.parameters.iter().map(wire).collect()
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match &statement.action {
            Action::Query(plan, names) => {
                let format = format.unwrap_or(&Format::UnifiedText);
                check_formats(format, plan.schema().fields().len(), "result columns")?;
                let fields = arrow_schema_to_pg_fields(plan.schema().as_arrow(), format, None)?;
                Ok(names.apply(fields))
            }
            Action::Control(_, fields) => Ok(fields.clone()),
            Action::Command => Ok(Vec::new()),
        }
    }
}
