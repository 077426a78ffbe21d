//! `pluvio topic`: makes, lists, shows and deletes topics through the Kafka
//! door, and what the commands that speak Kafka share.

use std::io::Write;

use pluvio_foundation::ErrorKind;
use pluvio_kafka_client::{Client, ClientError};

use crate::cli::{TopicArgs, TopicCommand};
use crate::connect::{connect, connection};
use crate::error::CliError;
use crate::sql::{print, table};
use crate::terminal;

/// Asks for the offset of the first event still kept.
pub const BEGINNING: i64 = -2;
/// Asks for the offset after the last event.
pub const END: i64 = -1;

/// Does what is asked with topics.
///
/// # Errors
/// The platform is not there, or refuses.
pub async fn run(args: TopicArgs) -> Result<(), CliError> {
    let client = connect(&connection(&args.queue)?).await?;
    match args.command {
        TopicCommand::Create { name, partitions, config } => {
            create(&client, &name, partitions, &config).await
        }
        TopicCommand::List => print::unless_closed(list(&client).await),
        TopicCommand::Describe { name } => print::unless_closed(describe(&client, &name).await),
        TopicCommand::Delete { name } => delete(&client, &name).await,
    }
}

/// How many partitions a topic has; `None` if it is not there.
///
/// # Errors
/// The server cannot be asked.
pub async fn partitions(client: &Client, topic: &str) -> Result<Option<i32>, CliError> {
    match client.metadata(Some(&[topic])).await {
        Ok(topics) => Ok(topics.first().map(|found| index(found.partitions))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// That a topic is not there, and what to do.
pub fn missing(topic: &str) -> CliError {
    CliError::Other(format!("there is no topic {topic:?}; `pluvio topic list` shows all topics"))
}

/// A partition or a number of them, as the protocol counts.
fn index(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

async fn create(client: &Client, name: &str, partitions: i32, config: &[String]) -> Result<(), CliError> {
    let count = u32::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
        CliError::Other(format!("--partitions is {partitions}; a topic has at least one partition"))
    })?;
    let settings = settings(config)?;
    client.create_topic(name, count, &settings).await.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CliError::Other(format!(
            "the topic {name:?} is there already; see it with `pluvio topic describe {name}`"
        )),
        _ => error.into(),
    })?;
    let with = settings.iter().map(|(key, value)| format!(", {key}={value}")).collect::<String>();
    say(&format!("created topic {name}: {}{with}", counted(i64::from(partitions), "partition")))
}

/// Settings given as `KEY=VALUE`.
fn settings(config: &[String]) -> Result<Vec<(&str, &str)>, CliError> {
    let mut settings = Vec::with_capacity(config.len());
    for text in config {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => settings.push((key, value)),
            _ => {
                return Err(CliError::Other(format!(
                    "--config {text:?} is not KEY=VALUE, for instance retention.ms=3600000"
                )));
            }
        }
    }
    Ok(settings)
}

/// Prints a line.
fn say(line: &str) -> Result<(), CliError> {
    print::unless_closed(writeln!(std::io::stdout(), "{line}").map_err(print::failed))
}

/// A number and the thing counted.
fn counted(count: i64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

async fn list(client: &Client) -> Result<(), CliError> {
    let mut topics = client.metadata(None).await?;
    topics.sort_by(|a, b| (a.internal, &a.name).cmp(&(b.internal, &b.name)));
    let rows: Vec<Vec<String>> = topics
        .into_iter()
        .map(|topic| {
            let internal = if topic.internal { "internal" } else { "" };
            vec![topic.name, topic.partitions.to_string(), internal.to_owned()]
        })
        .collect();
    table::print(&mut std::io::stdout(), &["topic", "partitions", ""], &rows).map_err(print::failed)
}

async fn describe(client: &Client, name: &str) -> Result<(), CliError> {
    let count = partitions(client, name).await?.ok_or_else(|| missing(name))?;
    let mut rows = Vec::new();
    let mut events = 0_i64;
    for partition in 0..count {
        let start = client.list_offsets(name, partition, BEGINNING).await?;
        let end = client.list_offsets(name, partition, END).await?;
        events += end - start;
        rows.push([i64::from(partition), start, end, end - start].map(|n| n.to_string()).to_vec());
    }
    let head = ["partition", "first offset", "next offset", "events"];
    table::print(&mut std::io::stdout(), &head, &rows).map_err(print::failed)?;
    let total = terminal::grouped(u64::try_from(events).unwrap_or(0));
    say(&format!("{}, {total} events", counted(i64::from(count), "partition")))
}

async fn delete(client: &Client, name: &str) -> Result<(), CliError> {
    client.delete_topic(name).await.map_err(|error: ClientError| match error.kind() {
        ErrorKind::NotFound => missing(name),
        _ => error.into(),
    })?;
    say(&format!("deleted topic {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_keys_and_values() {
        let given = ["retention.ms=5".to_owned(), "a=b=c".to_owned(), "empty=".to_owned()];
        assert_eq!(settings(&given).unwrap(), [("retention.ms", "5"), ("a", "b=c"), ("empty", "")]);
        for wrong in ["retention.ms", "=5"] {
            let error = settings(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("KEY=VALUE"), "{error}");
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "partition"), "1 partition");
        assert_eq!(counted(0, "event"), "0 events");
    }
}
