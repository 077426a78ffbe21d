//! Running statements, in the simple and in the extended protocol.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Declare, Statement};
use futures::{Sink, SinkExt};
use pgwire::api::DEFAULT_NAME;
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_execution_response,
    send_partial_query_response, send_query_response, send_ready_for_query,
};
use pgwire::api::results::{DescribePortalResponse, QueryResponse, Response, Tag};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{Describe, Execute, TARGET_TYPE_BYTE_PORTAL};
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pluvio_query::Outcome;

use super::cancel::{Cancellable, Stop};
use super::names::identifier;
use super::prepared::{Action, Planner, Prepared};
use super::statements::{Piece, split};
use super::{bind, commands, rows, sqlstate};

/// Runs the statements of one connection.
pub(super) struct Handler {
    planner: Arc<Planner>,
    cancellable: Arc<OnceLock<Cancellable>>,
    /// Whether the present transaction has written.
    wrote: AtomicBool,
}

impl Handler {
    pub(super) fn new(planner: Planner, cancellable: Arc<OnceLock<Cancellable>>) -> Self {
        Self { planner: Arc::new(planner), cancellable, wrote: AtomicBool::new(false) }
    }

    fn stop(&self, client: &impl ClientInfo) -> PgWireResult<Stop> {
        let started = self.cancellable.get().ok_or(PgWireError::NotReadyForQuery)?;
        Ok(started.statement(client))
    }

    /// Runs one statement of the simple protocol.
    async fn run_piece<C>(&self, client: &mut C, piece: Piece<'_>) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut stop = self.stop(client)?;
        let prepared = stop.unless(self.planner.prepare(piece)).await?;
        let run = Run { prepared: &prepared, piece, values: None, format: &Format::UnifiedText };
        self.run(client, run, stop).await
    }

    async fn run<C>(&self, client: &mut C, run: Run<'_>, mut stop: Stop) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        check_transaction(client.transaction_status(), &run.prepared.action)?;
        match &run.prepared.action {
            Action::Query(plan, names) => {
                let rows = self.query(client, plan, &run, stop.clone());
                let mut rows = stop.unless(rows).await?;
                rows.row_schema = Arc::new(names.apply(rows.row_schema.to_vec()));
                Ok(vec![Response::Query(rows)])
            }
            Action::Control(statement, _) => Ok(vec![self.control(client, statement, &run, stop).await?]),
            Action::Command => {
                self.wrote
                    .fetch_or(client.transaction_status() != TransactionStatus::Idle, Ordering::Relaxed);
                // A change that was cut off might still become true: it runs to its
                // end. A load of a file is cut between its batches.
                let is_load = run
                    .piece
                    .text
                    .trim_start()
                    .get(..4)
                    .is_some_and(|word| word.eq_ignore_ascii_case("copy"));
                let outcomes = match is_load {
                    true => stop.unless(self.command(&run)).await?,
                    false => self.command(&run).await?,
                };
                outcomes.into_iter().map(|outcome| response(client, &run, outcome, &stop)).collect()
            }
        }
    }

    async fn query<C: ClientInfo>(
        &self,
        client: &C,
        plan: &LogicalPlan,
        run: &Run<'_>,
        stop: Stop,
    ) -> PgWireResult<QueryResponse> {
        let failed = |error| sqlstate::of_plan(error, run.piece);
        let plan = match &run.values {
            Some(values) => plan.clone().replace_params_with_values(values).map_err(failed)?,
            None => plan.clone(),
        };
        let explains = matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        let batches = self.planner.session.run_plan(plan).await.map_err(failed)?;
        let mut rows = rows::response(client, run.format, batches, stop)?;
        if explains {
            rows.set_command_tag("EXPLAIN");
        }
        Ok(rows)
    }

    /// Runs a portal, or goes on reading it.
    async fn execute<C>(
        &self,
        client: &mut C,
        portal: &Portal<Arc<Prepared>>,
        rows_max: usize,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let state = portal.state();
        let mut state = state.lock().await;
        let mut rows = match std::mem::replace(&mut *state, PortalExecutionState::Finished) {
            PortalExecutionState::Suspended(rows) => rows,
            PortalExecutionState::Finished => {
                return send(client, Response::Execution(Tag::new("SELECT 0"))).await;
            }
            PortalExecutionState::Initial => {
                match ExtendedQueryHandler::do_query(self, client, portal, rows_max).await? {
                    Response::Query(rows) => rows,
                    other => return send(client, other).await,
                }
            }
        };
        if send_partial_query_response(client, &mut rows, rows_max).await? {
            *state = PortalExecutionState::Suspended(rows);
        }
        Ok(())
    }

    async fn command(&self, run: &Run<'_>) -> PgWireResult<Vec<Outcome>> {
        let (session, sql) = (&self.planner.session, run.piece.text);
        let outcomes = match &run.values {
            Some(values) => session.execute_with(sql, values.clone()).await.map(|outcome| vec![outcome]),
            None => session.execute(sql).await,
        };
        outcomes.map_err(|error| sqlstate::of_query(&error, run.piece))
    }

    async fn control<C>(
        &self,
        client: &mut C,
        statement: &Statement,
        run: &Run<'_>,
        stop: Stop,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match statement {
            Statement::Declare { stmts } => self.declare(client, stmts, run, stop).await,
            Statement::Deallocate { name, .. } => {
                client.portal_store().rm_statement(&identifier(name));
                Ok(Response::Execution(Tag::new("DEALLOCATE")))
            }
            _ => {
                let wrote = match commands::is_transaction(statement) {
                    true => self.wrote.swap(false, Ordering::Relaxed),
                    false => false,
                };
                let (cursors, context) = (&self.planner.cursors, self.planner.session.context());
                commands::run(statement, cursors, context, client, wrote).await
            }
        }
    }

    async fn declare<C: ClientInfo>(
        &self,
        client: &C,
        declarations: &[Declare],
        run: &Run<'_>,
        stop: Stop,
    ) -> PgWireResult<Response> {
        let [Declare { names, for_query: Some(query), .. }] = declarations else {
            return Err(sqlstate::error(sqlstate::SYNTAX_ERROR, "expected DECLARE name CURSOR FOR query"));
        };
        let [name] = names.as_slice() else {
            return Err(sqlstate::error(sqlstate::SYNTAX_ERROR, "a cursor has one name"));
        };
        // The place of an error would be counted in the inner query's text.
        let text = query.to_string();
        let inner = Piece { text: &text, offset_chars: run.piece.offset_chars };
        let plan = self.planner.plan(Statement::Query(query.clone()), inner).await?;
        let rows = self.query(client, &plan, run, stop.without_deadline()).await?;
        self.planner.cursors.declare(&identifier(name), rows)
    }
}

/// A statement about to run.
struct Run<'a> {
    prepared: &'a Prepared,
    piece: Piece<'a>,
    values: Option<ParamValues>,
    format: &'a Format,
}

/// What the session answered, for the wire.
fn response(
    client: &impl ClientInfo,
    run: &Run<'_>,
    outcome: Outcome,
    stop: &Stop,
) -> PgWireResult<Response> {
    match outcome {
        Outcome::Rows(batches) => {
            rows::response(client, run.format, batches, stop.clone()).map(Response::Query)
        }
        Outcome::Done { tag } => Ok(Response::Execution(Tag::new(&tag))),
    }
}

/// After an error in a transaction only its end is listened to.
fn check_transaction(status: TransactionStatus, action: &Action) -> PgWireResult<()> {
    let ends = matches!(action, Action::Control(statement, _) if commands::is_transaction(statement));
    if status == TransactionStatus::Error && !ends {
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        return Err(sqlstate::error(sqlstate::IN_FAILED_TRANSACTION, message));
    }
    Ok(())
}

#[async_trait]
impl SimpleQueryHandler for Handler {
    /// Statement by statement: each one's answer is sent before the next runs.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let pieces = split(&query.query);
        if pieces.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for piece in pieces {
            for response in self.run_piece(client, piece).await? {
                send(client, response).await?;
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut responses = Vec::new();
        for piece in split(query) {
            responses.extend(self.run_piece(client, piece).await?);
        }
        Ok(responses)
    }
}

async fn send<C>(client: &mut C, response: Response) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let status = client.transaction_status();
    match response {
        Response::Query(rows) => send_query_response(client, rows, true).await,
        Response::Execution(tag) => send_execution_response(client, tag).await,
        Response::TransactionStart(tag) => {
            client.set_transaction_status(status.to_in_transaction_state());
            send_execution_response(client, tag).await
        }
        Response::TransactionEnd(tag) => {
            client.set_transaction_status(status.to_idle_state());
            send_execution_response(client, tag).await
        }
        Response::EmptyQuery => {
            Ok(client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?)
        }
        Response::Error(info) => Err(PgWireError::UserError(info)),
        Response::CopyIn(_) | Response::CopyOut(_) | Response::CopyBoth(_) => Err(sqlstate::error(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "COPY through the connection is not supported",
        )),
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handler {
    type Statement = Arc<Prepared>;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        Arc::clone(&self.planner)
    }

    /// A cursor can be described like a portal of its name.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or_default();
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && client.portal_store().get_portal(name).is_none()
            && let Some(fields) = self.planner.cursors.fields(name)
        {
            return send_describe_response(client, &DescribePortalResponse::new(fields)).await;
        }
        self._on_describe(client, message).await
    }

    /// Rows go to the client as they are read; none are collected first.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        // None or a negative number of rows means all.
        let rows_max = usize::try_from(message.max_rows).unwrap_or_default();
        match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => self.execute(client, &portal, rows_max).await?,
            Some(Entry::Empty) => send(client, Response::EmptyQuery).await?,
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _rows_max: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut stop = self.stop(client)?;
        let mut prepared = Arc::clone(&portal.statement.statement);
        let values = bind::values(portal)?;
        let sql = prepared.sql.clone();
        let piece = Piece { text: &sql, offset_chars: 0 };
        // A named statement may be older than the tables it reads.
        if portal.statement.id != DEFAULT_NAME && matches!(prepared.action, Action::Query(..)) {
            prepared = Arc::new(stop.unless(self.planner.prepare(piece)).await?);
        }
        let run = Run { prepared: &prepared, piece, values, format: &portal.result_column_format };
        let mut responses = self.run(client, run, stop).await?;
        Ok(responses.pop().unwrap_or(Response::EmptyQuery))
    }
}
