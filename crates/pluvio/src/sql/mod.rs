//! `pluvio sql`: a client of a running platform's Postgres door, as a shell or
//! for one text.
//!
//! Each statement is sent by itself, through the protocol that every statement
//! works in, and its rows are printed as they come. The first error ends a
//! text; in the shell it ends only what was entered.

mod complete;
mod fault;
pub mod print;
mod session;
mod shell;
mod split;
pub mod table;

use std::io::{BufWriter, IsTerminal, Read};
use std::path::Path;

use crate::cli::SqlArgs;
use crate::error::CliError;
use print::Style;
use session::Session;

/// Runs what is given and exits, or opens the shell.
///
/// # Errors
/// No platform is there, a file cannot be read, or a statement failed.
pub async fn run(args: SqlArgs) -> Result<(), CliError> {
    let mut texts: Vec<(Option<String>, String)> = Vec::new();
    texts.extend(args.command.map(|command| (None, command)));
    if let Some(file) = &args.file {
        texts.push((Some(file.display().to_string()), read_file(file)?));
    }
    let session = Session::connect(&args.postgres).await?;
    if texts.is_empty() && std::io::stdin().is_terminal() {
        let handle = tokio::runtime::Handle::current();
        let shell = tokio::task::spawn_blocking(move || shell::run(session, args.format, &handle));
        let result = shell.await.map_err(|e| CliError::Other(format!("the shell has failed: {e}")))?;
        return print::unless_closed(result);
    }
    if texts.is_empty() {
        texts.push((None, read_file(Path::new("-"))?));
    }
    let style = Style { format: args.format, expanded: false, timing: false };
    let mut out = BufWriter::new(std::io::stdout());
    for (name, text) in texts {
        let result = session.run_text(&text, style, &mut out).await;
        let named = |error: CliError| match (error, &name) {
            (CliError::Other(message), Some(name)) => CliError::Other(format!("{name}: {message}")),
            (error, _) => error,
        };
        print::unless_closed(result.map_err(named))?;
    }
    Ok(())
}

/// Reads a text; `-` is standard input.
fn read_file(path: &Path) -> Result<String, CliError> {
    let failed = |error| CliError::io(format!("cannot read {}", path.display()), error);
    if path != Path::new("-") {
        return std::fs::read_to_string(path).map_err(failed);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
