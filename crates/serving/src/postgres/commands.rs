//! Statements that concern only the connection: settings, transactions,
//! cursors, prepared statements. Most exist so that drivers and tools work.

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Set, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::hooks::set_show::SetShowHook;
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::error::{ErrorInfo, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{NoticeResponse, TransactionStatus};
use std::sync::Arc;

use super::cursors::Cursors;
use super::names::identifier;
use super::sqlstate;
use super::startup::SERVER_VERSION;

/// Whether a statement concerns only the connection.
pub(super) fn is_control(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Set(_)
            | Statement::ShowVariable { .. }
            | Statement::Reset(_)
            | Statement::Discard { .. }
            | Statement::Deallocate { .. }
            | Statement::UNLISTEN { .. }
            | Statement::Declare { .. }
            | Statement::Fetch { .. }
            | Statement::Close { .. }
    ) || is_transaction(statement)
}

/// Whether a statement begins or ends a transaction or a part of one.
pub(super) fn is_transaction(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
    )
}

/// The columns of a control statement's rows.
pub(super) fn fields(statement: &Statement, cursors: &Cursors) -> Vec<FieldInfo> {
    match statement {
        Statement::ShowVariable { variable } => {
            let words: Vec<_> = variable.iter().map(|word| word.value.as_str()).collect();
            vec![text_field(&words.join("_"))]
        }
        Statement::Fetch { name, .. } => cursors.fields(&identifier(name)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Runs a control statement, except DECLARE and DEALLOCATE.
pub(super) async fn run(
    statement: &Statement,
    cursors: &Cursors,
    context: &SessionContext,
    client: &mut dyn HookClient,
    wrote: bool,
) -> PgWireResult<Response> {
    let status = client.transaction_status();
    match statement {
        Statement::StartTransaction { .. } => Ok(match status {
            TransactionStatus::Idle => Response::TransactionStart(Tag::new("BEGIN")),
            _ => Response::Execution(Tag::new("BEGIN")),
        }),
        Statement::Commit { .. } => Ok(Response::TransactionEnd(Tag::new(match status {
            TransactionStatus::Error => "ROLLBACK",
            _ => "COMMIT",
        }))),
        Statement::Rollback { savepoint, .. } => {
            if wrote {
                warn(client, "statements commit one by one: what was written stays").await?;
            }
            let tag = Tag::new("ROLLBACK");
            Ok(match savepoint {
                Some(_) => Response::TransactionStart(tag),
                None => Response::TransactionEnd(tag),
            })
        }
        Statement::Savepoint { .. } => Ok(Response::Execution(Tag::new("SAVEPOINT"))),
        Statement::ReleaseSavepoint { .. } => Ok(Response::Execution(Tag::new("RELEASE"))),
        Statement::Discard { object_type } => {
            cursors.close(&datafusion::sql::sqlparser::ast::CloseCursor::All)?;
            Ok(Response::Execution(Tag::new(&format!("DISCARD {object_type}"))))
        }
        Statement::Reset(_) => Ok(Response::Execution(Tag::new("RESET"))),
        Statement::UNLISTEN { .. } => Ok(Response::Execution(Tag::new("UNLISTEN"))),
        Statement::Fetch { name, direction, .. } => cursors.fetch(&identifier(name), direction),
        Statement::Close { cursor } => cursors.close(cursor),
        Statement::ShowVariable { variable } => show(statement, &variable[..], context, client).await,
        Statement::Set(Set::SetTransaction { .. } | Set::SetSessionParam(_)) => {
            Ok(Response::Execution(Tag::new("SET")))
        }
        _ => settings(statement, context, client).await,
    }
}

async fn show(
    statement: &Statement,
    variable: &[datafusion::sql::sqlparser::ast::Ident],
    context: &SessionContext,
    client: &mut dyn HookClient,
) -> PgWireResult<Response> {
    let known = match variable {
        [name] if name.value.eq_ignore_ascii_case("server_version") => SERVER_VERSION,
        [name] if name.value.eq_ignore_ascii_case("server_encoding") => "UTF8",
        [name] if name.value.eq_ignore_ascii_case("client_encoding") => "UTF8",
        [name] if name.value.eq_ignore_ascii_case("standard_conforming_strings") => "on",
        [name] if name.value.eq_ignore_ascii_case("integer_datetimes") => "on",
        [name] if name.value.eq_ignore_ascii_case("max_identifier_length") => "200",
        [name] if name.value.eq_ignore_ascii_case("transaction_read_only") => "off",
        _ => return settings(statement, context, client).await,
    };
    let fields = Arc::new(vec![text_field(&variable[0].value)]);
    let mut row = DataRowEncoder::new(Arc::clone(&fields));
    row.encode_field(&Some(known))?;
    let row = Ok(row.take_row());
    let mut response = QueryResponse::new(fields, futures::stream::iter([row]));
    response.set_command_tag("SHOW");
    Ok(Response::Query(response))
}

async fn settings(
    statement: &Statement,
    context: &SessionContext,
    client: &mut dyn HookClient,
) -> PgWireResult<Response> {
    match SetShowHook.handle_simple_query(statement, context, client).await {
        Some(response) => response,
        None => {
            let message = format!("{statement} is not supported");
            Err(sqlstate::error(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

async fn warn(client: &mut dyn HookClient, message: &str) -> PgWireResult<()> {
    let info = ErrorInfo::new("WARNING".into(), "01000".into(), message.into());
    client.send_message(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))).await
}

fn text_field(name: &str) -> FieldInfo {
    FieldInfo::new(name.to_owned(), None, None, Type::VARCHAR, FieldFormat::Text)
}
