//! Asks for a password on the terminal, without showing it.

use std::borrow::Cow;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Editor, Helper};

use crate::error::CliError;

/// Shows a star for each letter.
struct Hidden;

impl Completer for Hidden {
    type Candidate = String;
}

impl Hinter for Hidden {
    type Hint = String;
}

impl Validator for Hidden {}

impl Helper for Hidden {}

impl Highlighter for Hidden {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned("*".repeat(line.chars().count()))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

/// Asks twice, for nobody sees what they type.
///
/// # Errors
/// There is no terminal, or the two are not the same.
pub fn ask(prompt: &str) -> Result<String, CliError> {
    let mut editor = editor("give it with --password-stdin")?;
    let first = editor.readline(prompt).map_err(failed)?;
    let second = editor.readline("Once more: ").map_err(failed)?;
    match first == second {
        true => Ok(first),
        false => Err(CliError::Other("the two passwords are not the same; nothing was changed".to_owned())),
    }
}

/// Asks for a password that somebody else checks; `otherwise` says how to give
/// it without a terminal.
///
/// # Errors
/// There is no terminal.
pub fn ask_once(prompt: &str, otherwise: &str) -> Result<String, CliError> {
    editor(otherwise)?.readline(prompt).map_err(failed)
}

fn editor(otherwise: &str) -> Result<Editor<Hidden, DefaultHistory>, CliError> {
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(CliError::Other(format!("there is no terminal to ask for the password on; {otherwise}")));
    }
    let config = Config::builder().auto_add_history(false).build();
    let mut editor = Editor::<Hidden, DefaultHistory>::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Hidden));
    Ok(editor)
}

fn failed(error: ReadlineError) -> CliError {
    CliError::Other(format!("no password: {error}"))
}
