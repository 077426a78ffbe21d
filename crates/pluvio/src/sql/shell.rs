//! The interactive shell: reads lines, runs them, and has a few commands of its
//! own that begin with a backslash.

use std::io::{BufWriter, Stdout, Write};
use std::path::PathBuf;

use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Editor};
use tokio::runtime::Handle;

use super::complete::{Assistant, Names};
use super::print::{self, Style};
use super::session::Session;
use super::{fault, table};
use crate::cli::OutputFormat;
use crate::error::CliError;

const PROMPT: &str = "pluvio> ";
const HISTORY_ENTRIES_MAX: usize = 10_000;
const HELP: &str = "  statement;   run a statement; it may span lines until its semicolon
  \\d           list streams, tables, views and sinks
  \\d NAME      show the columns of one of them
  \\timing      tell how long statements take, or not
  \\x           print each row as a list of names and values, or as a table
  \\q           quit; so does Ctrl-D
  Ctrl-C       drop what was typed, or cancel the statement under way
  Tab          complete keywords and names
";
const RELATIONS: &str = "\
SELECT name, 'stream' AS kind FROM pluvio.streams \
UNION ALL SELECT name, 'table' FROM pluvio.tables \
UNION ALL SELECT name, 'materialized view' FROM pluvio.views \
UNION ALL SELECT name, 'sink' FROM pluvio.sinks ORDER BY 2, 1";

/// Runs until the user quits. Blocks: not for a thread of the runtime.
///
/// # Errors
/// The terminal cannot be read or written.
pub fn run(session: Session, format: OutputFormat, handle: &Handle) -> Result<(), CliError> {
    let config = Config::builder()
        .max_history_size(HISTORY_ENTRIES_MAX)
        .map_err(terminal)?
        .auto_add_history(true)
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Assistant, DefaultHistory> = Editor::with_config(config).map_err(terminal)?;
    editor.set_helper(Some(Assistant::default()));
    let history = history_file();
    if let Some(path) = &history
        && path.exists()
        && let Err(error) = editor.load_history(path)
    {
        eprintln!("warning: cannot read the history {}: {error}", path.display());
    }
    let style = Style { format, expanded: false, timing: true };
    let mut shell = Shell { session, handle, style, out: std::io::stdout() };
    shell.welcome()?;
    let mut stale = true;
    loop {
        if stale && let Some(assistant) = editor.helper_mut() {
            // Completion is a comfort: without the names there are the keywords.
            assistant.names = shell.names().unwrap_or_default();
        }
        let input = match editor.readline(PROMPT) {
            Ok(input) => input,
            Err(ReadlineError::Interrupted) => {
                stale = false;
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(terminal(error)),
        };
        if let Some(path) = &history {
            // Not worth an interruption: the statement runs all the same.
            let _ = editor.append_history(path);
        }
        stale = defines(&input);
        match shell.enter(input.trim()) {
            Ok(Next::Read) => {}
            Ok(Next::Quit) => return Ok(()),
            Err(error @ CliError::Io { .. }) => return Err(error),
            Err(error) => eprintln!("error: {error}"),
        }
    }
}

fn terminal(error: ReadlineError) -> CliError {
    CliError::Other(format!("cannot use the terminal: {error}"))
}

/// Where lines are kept; the folder is made. None if there is no home.
fn history_file() -> Option<PathBuf> {
    let folder = std::env::home_dir()?.join(".local/share/pluvio");
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("warning: cannot keep the history in {}: {error}", folder.display());
        return None;
    }
    Some(folder.join("history"))
}

/// Whether a statement may have changed which names there are.
fn defines(input: &str) -> bool {
    let words = ["create", "drop", "alter"];
    input.split(|c: char| !c.is_alphabetic()).any(|word| words.contains(&word.to_lowercase().as_str()))
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Read,
    Quit,
}

struct Shell<'a> {
    session: Session,
    handle: &'a Handle,
    style: Style,
    out: Stdout,
}

impl Shell<'_> {
    fn welcome(&mut self) -> Result<(), CliError> {
        let (version, address) = (env!("CARGO_PKG_VERSION"), self.session.address());
        let line = format!("pluvio {version} at {address}; \\? for help, \\q to quit");
        writeln!(self.out, "{line}").map_err(print::failed)
    }

    fn enter(&mut self, input: &str) -> Result<Next, CliError> {
        let words: Vec<&str> = input.split_whitespace().collect();
        let argument = words.get(1).map(|word| word.trim_end_matches(';'));
        match words.first().map(|word| word.trim_end_matches(';')) {
            None => {}
            Some("\\q" | "exit" | "quit") if words.len() == 1 => return Ok(Next::Quit),
            Some("\\?") => self.out.write_all(HELP.as_bytes()).map_err(print::failed)?,
            Some("\\timing") => self.style.timing = self.told("timing", !self.style.timing)?,
            Some("\\x") => self.style.expanded = self.told("expanded rows", !self.style.expanded)?,
            Some("\\d") => self.describe(argument)?,
            Some(word) if word.starts_with('\\') => {
                return Err(CliError::Other(format!("there is no command {word}; \\? lists them")));
            }
            Some(_) => self.run(input)?,
        }
        Ok(Next::Read)
    }

    fn told(&mut self, what: &str, on: bool) -> Result<bool, CliError> {
        let state = if on { "on" } else { "off" };
        writeln!(self.out, "{what}: {state}").map_err(print::failed)?;
        Ok(on)
    }

    /// Runs statements; Ctrl-C asks the server to end the one under way.
    fn run(&mut self, sql: &str) -> Result<(), CliError> {
        let (handle, style) = (self.handle, self.style);
        handle.block_on(async {
            self.session.reconnect().await?;
            let mut out = BufWriter::new(&mut self.out);
            let mut running = std::pin::pin!(self.session.run_text(sql, style, &mut out));
            tokio::select! {
                result = &mut running => return result,
                Ok(()) = tokio::signal::ctrl_c() => {}
            }
            self.session.cancel().await?;
            running.await
        })
    }

    /// The names for completion.
    fn names(&self) -> Result<Names, CliError> {
        let columns = "SELECT relation, name FROM pluvio.columns";
        let (relations, columns) = self.handle.block_on(async {
            Ok::<_, CliError>((self.session.rows(RELATIONS).await?, self.session.rows(columns).await?))
        })?;
        let pair =
            |row: Vec<String>| <[String; 2]>::try_from(row).ok().map(|[relation, name]| (relation, name));
        Ok(Names {
            relations: relations.into_iter().filter_map(|row| row.into_iter().next()).collect(),
            columns: columns.into_iter().filter_map(pair).collect(),
        })
    }

    /// `\d`: all relations, or the columns of one.
    fn describe(&mut self, name: Option<&str>) -> Result<(), CliError> {
        self.handle.block_on(self.session.reconnect())?;
        let described = match name {
            None => {
                self.handle.block_on(self.session.rows(RELATIONS)).map(|rows| (vec!["name", "kind"], rows))
            }
            Some(name) => self.columns_of(name).map(|rows| (vec!["column", "type", "nullable"], rows)),
        };
        let (head, rows) = described.map_err(|error| match error {
            CliError::Postgres(error) => CliError::Other(fault::reason(&error)),
            error => error,
        })?;
        table::print(&mut self.out, &head, &rows).map_err(print::failed)?;
        writeln!(self.out).map_err(print::failed)
    }

    fn columns_of(&self, name: &str) -> Result<Vec<Vec<String>>, CliError> {
        let text = name.trim_matches('"').replace('\'', "''");
        let query = format!(
            "SELECT name, type, nullable FROM pluvio.columns WHERE relation = '{text}' ORDER BY \"position\""
        );
        let rows = self.handle.block_on(self.session.rows(&query))?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        // Sinks and the system's own tables tell their columns when asked.
        if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"')) {
            return Err(CliError::Other(format!("{name:?} is not a name; \\d lists all names")));
        }
        let columns = self.handle.block_on(self.session.columns(&format!("SELECT * FROM {name}")));
        columns.map(|rows| rows.into_iter().map(|row| [row, vec![String::new()]].concat()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_make_the_names_stale() {
        assert!(defines("SELECT 1; DROP TABLE t;") && defines("create stream s (a int);"));
        assert!(!defines("SELECT created FROM t;") && !defines("\\d"));
    }
}
