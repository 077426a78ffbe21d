//! `pluvio user`: adds, lists and removes users in the data folder, whether a
//! platform runs on it or not.

use std::io::BufRead;
use std::path::Path;

use pluvio_access::UserChange;

use crate::access;
use crate::cli::{PlatformFlags, UserArgs, UserCommand};
use crate::error::CliError;
use crate::password;
use crate::sql::{print, table};

/// Does what is asked with users.
///
/// # Errors
/// There is no such user or folder, or the password cannot be taken.
pub fn run(args: UserArgs) -> Result<(), CliError> {
    let folder = match args.data_dir {
        Some(folder) => folder,
        None => PlatformFlags::of_file(args.config).load()?.config.data_dir,
    };
    match args.command {
        UserCommand::Add { name, password_stdin } => add(&folder, &name, password_stdin),
        UserCommand::List => print::unless_closed(list(&folder)),
        UserCommand::Remove { name } => {
            access::open(&folder)?.change_users(&[UserChange::RemoveAll { name: name.clone() }])?;
            eprintln!("removed user {name:?}");
            Ok(())
        }
    }
}

fn add(folder: &Path, name: &str, password_stdin: bool) -> Result<(), CliError> {
    let password = match password_stdin {
        true => line("the password on standard input")?,
        false => password::ask(&format!("Password of {name}: "))?,
    };
    let changes = UserChange::password(name, &password)?;
    std::fs::create_dir_all(folder)
        .map_err(|error| CliError::io(format!("the data folder {}", folder.display()), error))?;
    let access = access::open(folder)?;
    let known = access.users().iter().any(|(user, _)| user == name);
    access.change_users(&changes)?;
    match known {
        true => eprintln!("user {name:?} has a new password"),
        false => eprintln!("added user {name:?}"),
    }
    Ok(())
}

fn list(folder: &Path) -> Result<(), CliError> {
    let rows = access::open(folder)?.users().into_iter().map(|(name, credentials)| {
        let mechanisms = credentials
            .iter()
            .map(|(hash, iterations)| format!("{} ({iterations} iterations)", hash.mechanism().name()));
        vec![name, mechanisms.collect::<Vec<_>>().join(", ")]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table::print(&mut std::io::stdout(), &["user", "credentials"], &rows).map_err(print::failed)
}

/// The first line of standard input.
fn line(what: &str) -> Result<String, CliError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| CliError::io(what, error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
