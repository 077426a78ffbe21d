//! Connects the commands that speak Kafka to a queue: this platform's or any
//! other, encrypted and logged in if asked for.

use std::io::ErrorKind;
use std::path::Path;

use clap::ValueEnum;
use pluvio_kafka_client::{Client, ClientError, Connection, Sasl, Tls};

use crate::cli::QueueFlags;
use crate::error::CliError;
use crate::password;

/// Holds the password of `--user`.
const PASSWORD_VARIABLE: &str = "PLUVIO_PASSWORD";

/// What the flags say of the connection. Asks for a password that nobody gave.
///
/// # Errors
/// There is no password, or no terminal to ask for it on.
pub fn connection(flags: &QueueFlags) -> Result<Connection, CliError> {
    let mut connection = Connection::plain(&flags.bootstrap);
    let identity = flags.tls_cert.clone().zip(flags.tls_key.clone());
    if flags.tls || flags.tls_ca.is_some() || identity.is_some() {
        connection.tls = Some(Tls { ca_file: flags.tls_ca.clone(), identity });
    }
    if let Some(user) = &flags.user {
        let mechanism = flags.sasl_mechanism.to_possible_value();
        let mechanism = mechanism.map(|it| it.get_name().to_owned()).unwrap_or_default();
        let password = password_of(user, flags.password_file.as_deref())?;
        connection.sasl = Some(Sasl { mechanism, username: user.clone(), password });
    }
    Ok(connection)
}

fn password_of(user: &str, file: Option<&Path>) -> Result<String, CliError> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            CliError::io(format!("cannot read the password in {}", file.display()), error)
        })?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) => Ok(password),
        Err(_) => password::ask_once(
            &format!("Password of {user}: "),
            &format!("give it with --password-file FILE or ${PASSWORD_VARIABLE}"),
        ),
    }
}

/// Connects to a queue.
///
/// # Errors
/// Nothing is there, or it does not let us in; the message says what to do.
pub async fn connect(connection: &Connection) -> Result<Client, CliError> {
    let client = Client::open(connection.clone()).await.map_err(|error| refused(connection, error))?;
    // Whether it speaks Kafka, and with whoever has not said who they are.
    client.metadata(Some(&[])).await.map_err(|error| refused(connection, error))?;
    Ok(client)
}

fn refused(connection: &Connection, error: ClientError) -> CliError {
    let advice = match (&error, &connection.tls) {
        (ClientError::Settings(_), _) => return CliError::Other(error.to_string()),
        (ClientError::Refused { .. }, _) => "see the users with `pluvio user list`",
        (ClientError::Socket { source, .. }, Some(_)) if source.kind() == ErrorKind::InvalidData => {
            "name whom to trust with --tls-ca FILE, or leave --tls out if the queue is not encrypted"
        }
        (ClientError::Socket { .. }, _) => {
            "start the platform with `pluvio serve`, or name it with --bootstrap HOST:PORT"
        }
        _ => "a queue with users takes --user NAME, an encrypted one --tls or --tls-ca FILE",
    };
    let cannot = if matches!(error, ClientError::Closed { .. }) { "" } else { "cannot " };
    CliError::Other(format!("{cannot}{error}; {advice}"))
}
