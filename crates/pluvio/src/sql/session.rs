//! The connection of `pluvio sql`: runs statements one by one and prints what
//! they give, as it comes.

use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::print::{self, Kind, RowPrinter, Style};
use super::{fault, split};
use crate::cli::OutputFormat;
use crate::error::CliError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the platform.
pub struct Session {
    client: Client,
    address: String,
}

impl Session {
    /// Connects to `address`, `host:port`.
    ///
    /// # Errors
    /// The address is wrong, or no platform is there.
    pub async fn connect(address: &str) -> Result<Self, CliError> {
        let (host, port) = host_and_port(address)?;
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(port).user("pluvio").dbname("pluvio");
        config.application_name("pluvio sql").connect_timeout(CONNECT_TIMEOUT);
        let connected = config.connect(NoTls).await;
        let (client, connection) = connected.map_err(|error| {
            CliError::Other(format!(
                "cannot reach the platform at {address}: {}; start it with `pluvio serve`, or name it with \
                 --postgres HOST:PORT",
                fault::reason(&error)
            ))
        })?;
        // What ends the connection is told by the request that it ends.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, address: address.to_owned() })
    }

    /// Where it is connected to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects again if the connection is gone.
    ///
    /// # Errors
    /// No platform is there.
    pub async fn reconnect(&mut self) -> Result<(), CliError> {
        if self.client.is_closed() {
            *self = Self::connect(&self.address).await?;
        }
        Ok(())
    }

    /// Runs the statements of a text, and prints what they give.
    ///
    /// # Errors
    /// The first failure, with its place in the text.
    pub async fn run_text(&self, sql: &str, style: Style, out: &mut dyn Write) -> Result<(), CliError> {
        let (mut statements, rest) = split::split(sql);
        if !split::is_blank(rest.text) {
            statements.push(rest);
        }
        for statement in statements {
            let result = self.execute(statement.text, style, out).await;
            out.flush().map_err(print::failed)?;
            result.map_err(|error| match error {
                CliError::Postgres(error) => CliError::Other(fault::describe(&error, sql, statement.start)),
                error => error,
            })?;
        }
        Ok(())
    }

    /// The rows of a query of our own, as text.
    ///
    /// # Errors
    /// The query failed.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>, CliError> {
        let mut rows = Vec::new();
        for answer in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = answer {
                let cells = (0..row.len()).map(|i| row.try_get(i).map(|v| v.unwrap_or_default().to_owned()));
                rows.push(cells.collect::<Result<_, _>>()?);
            }
        }
        Ok(rows)
    }

    /// The columns that a query would give: name and type.
    ///
    /// # Errors
    /// The query cannot be prepared.
    pub async fn columns(&self, sql: &str) -> Result<Vec<Vec<String>>, CliError> {
        let prepared = self.client.prepare(sql).await?;
        let columns = prepared.columns().iter();
        Ok(columns.map(|column| vec![column.name().to_owned(), column.type_().to_string()]).collect())
    }

    /// Asks the server to end the statement under way.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn cancel(&self) -> Result<(), CliError> {
        Ok(self.client.cancel_token().cancel_query(NoTls).await?)
    }

    async fn execute(&self, statement: &str, style: Style, out: &mut dyn Write) -> Result<(), CliError> {
        let kinds = match style.format {
            OutputFormat::Json => self.kinds(statement).await,
            OutputFormat::Table | OutputFormat::Csv => Vec::new(),
        };
        let started = Instant::now();
        let mut answers = pin!(self.client.simple_query_raw(statement).await?);
        let mut printer = None;
        while let Some(answer) = answers.next().await {
            match answer? {
                SimpleQueryMessage::RowDescription(columns) => {
                    let names = columns.iter().map(|column| column.name().to_owned()).collect();
                    let begun = RowPrinter::begin(out, style, names, kinds.clone());
                    printer = Some(begun.map_err(print::failed)?);
                }
                SimpleQueryMessage::Row(row) => {
                    let values: Result<Vec<_>, _> = (0..row.len()).map(|i| row.try_get(i)).collect();
                    if let Some(printer) = &mut printer {
                        printer.row(out, &values?).map_err(print::failed)?;
                    }
                }
                SimpleQueryMessage::CommandComplete(count) => {
                    let took = started.elapsed();
                    let written = match printer.take() {
                        Some(printer) => printer.finish(out, took),
                        None if style.format != OutputFormat::Table => Ok(()),
                        None if style.timing => {
                            writeln!(out, "{} ({})", done(statement, count), print::time(took))
                        }
                        None => writeln!(out, "{}", done(statement, count)),
                    };
                    written.map_err(print::failed)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The kinds of a statement's columns; none if it cannot be prepared.
    async fn kinds(&self, statement: &str) -> Vec<Kind> {
        match self.client.prepare(statement).await {
            Ok(prepared) => prepared.columns().iter().map(|column| Kind::of(column.type_())).collect(),
            Err(_) => Vec::new(),
        }
    }
}

fn host_and_port(address: &str) -> Result<(&str, u16), CliError> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() => Ok((host.trim_matches(['[', ']']), port)),
        _ => Err(CliError::Other(format!("{address:?} is not HOST:PORT, for instance 127.0.0.1:5433"))),
    }
}

/// What a statement without rows did, in the words it was asked with.
fn done(statement: &str, count: u64) -> String {
    let kinds = ["OR", "REPLACE", "MATERIALIZED", "VIEW", "STREAM", "TABLE", "SINK", "JOB"];
    let mut words = statement.split_whitespace().map(str::to_uppercase);
    let mut text = words.next().unwrap_or_default();
    match text.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "COPY" => text += &format!(" {count}"),
        _ => {
            for word in words.take_while(|word| kinds.contains(&word.as_str())) {
                text.push(' ');
                text += &word;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(host_and_port("localhost:5433").unwrap(), ("localhost", 5433));
        assert_eq!(host_and_port("[::1]:1").unwrap(), ("::1", 1));
        assert!(host_and_port("localhost").unwrap_err().to_string().contains("HOST:PORT"));
    }

    #[test]
    fn statements_without_rows_are_named() {
        let view = "create or replace materialized view v as select 1";
        assert_eq!(done(view, 0), "CREATE OR REPLACE MATERIALIZED VIEW");
        assert_eq!(done("insert into t values (1)", 7), "INSERT 7");
        assert_eq!(done("SET a = 1", 0), "SET");
    }
}
