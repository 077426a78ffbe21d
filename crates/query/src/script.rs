//! Pipeline files: checked whole before anything happens, then executed, with
//! the engine told once at the end, so that all views of a file start together.

use futures::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pluvio_catalog::{Catalog, Definition};

use crate::session::{Outcome, Session};
use crate::sql::{Command, Parsed, parse};
use crate::{Platform, QueryError, copy, define};

/// Checks every statement of a file against the platform's catalog and those
/// before it, without any effect.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn check<'a>(
    platform: &'a Arc<Platform>,
    sql: &'a str,
    folder: &'a Path,
) -> BoxFuture<'a, Result<usize, QueryError>> {
    Box::pin(async move {
        let fork = Arc::new(platform.catalog().fork());
        let session = Session::new(platform, Arc::clone(&fork), Some(folder.to_owned()))?;
        let statements = parse(sql)?;
        let count = statements.len();
        for statement in statements {
            let start = statement.start;
            check_one(&session, &fork, statement).await.map_err(|e| e.at(start))?;
        }
        Ok(count)
    })
}

async fn check_one(session: &Session, fork: &Catalog, parsed: Parsed) -> Result<(), QueryError> {
    if unchanged(session.platform().catalog(), &parsed) {
        return Ok(());
    }
    match parsed.command {
        Command::Drop { name, .. } => match fork.remove(&name) {
            Err(e) if !parsed.lenient => Err(e.into()),
            _ => Ok(()),
        },
        Command::AlterJob(_) | Command::Flush => Ok(()),
        Command::Copy(copy) => {
            define::writable(session, &copy.table)?;
            copy::check_file(session, &copy)
        }
        Command::Sql(statement) => session.plan_statement(*statement).await.map(|_| ()),
        Command::Explain(view) => define::shape(session, &view).await.map(|_| ()),
        command => {
            let definition = define::definition(session, command, &parsed.sql).await?;
            match fork.add(definition) {
                Err(e) if !parsed.lenient => Err(e.into()),
                _ => Ok(()),
            }
        }
    }
}

/// Whether the statement defines exactly what is there already, so that a file
/// can be run again on the same data folder.
fn unchanged(catalog: &Catalog, parsed: &Parsed) -> bool {
    let name = match &parsed.command {
        Command::CreateStream(d) => &d.stream.name,
        Command::CreateTable(d) => &d.name,
        Command::CreateView(d) => &d.name,
        Command::CreateSink(d) => &d.name,
        _ => return false,
    };
    catalog.get(name).is_some_and(|d: Arc<Definition>| d.sql() == parsed.sql)
}

impl Session {
    /// Executes a pipeline file: refused whole if any statement is wrong;
    /// definitions that are there already, unchanged, are kept. `progress` is
    /// told each statement's text before it runs.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn run_script<'a>(
        platform: &'a Arc<Platform>,
        sql: &'a str,
        folder: PathBuf,
        progress: &'a mut (dyn FnMut(&str) + Send),
    ) -> BoxFuture<'a, Result<Vec<Outcome>, QueryError>> {
        Box::pin(Self::execute_script(platform, sql, folder, progress))
    }

    async fn execute_script(
        platform: &Arc<Platform>,
        sql: &str,
        folder: PathBuf,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Vec<Outcome>, QueryError> {
        check(platform, sql, &folder).await?;
        let session = Self::new(platform, Arc::clone(platform.catalog()), Some(folder))?;
        let mut outcomes = Vec::new();
        for statement in parse(sql)? {
            let start = statement.start;
            progress(&statement.sql);
            let done = match &statement.command {
                // What a FLUSH waits for has to run.
                Command::Flush => {
                    let platform = Arc::clone(platform);
                    define::blocking(move || platform.reconcile()).await?;
                    session.run(statement, None).await
                }
                Command::Copy(_) | Command::Explain(_) | Command::Sql(_) => {
                    session.run(statement, None).await
                }
                _ if unchanged(platform.catalog(), &statement) => Ok(Outcome::done("UNCHANGED")),
                _ => {
                    let _writing = platform.writing.lock().await;
                    define::change(&session, statement).await.map(Outcome::done)
                }
            };
            outcomes.push(done.map_err(|e| e.at(start))?);
        }
        let platform = Arc::clone(platform);
        define::blocking(move || platform.reconcile()).await?;
        Ok(outcomes)
    }
}
