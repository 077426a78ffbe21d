//! `pluvio consume`: prints the events of a topic as lines.
//!
//! Promises: the bytes of a value are printed as they are; the events of one
//! partition come in their order; memory is bounded, whoever reads slowly slows
//! the fetching. It ends after `--count` events, at Ctrl-C, or when nobody reads
//! its output any more; what was fetched until Ctrl-C is printed.

mod print;

use std::time::Duration;

use bytes::Bytes;
use pluvio_kafka_client::{Client, ClientError};
use pluvio_wire_kafka::records::parse_header;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::cli::ConsumeArgs;
use crate::connect::{connect, connection};
use crate::error::CliError;
use crate::{terminal, topic};
use print::Printer;

/// Connections; a fetch that waits holds its own up.
const CONNECTIONS_MAX: usize = 64;
const FETCH_BYTES: i32 = 1 << 20;
/// How long a fetch waits for events, if the connection has one partition.
const WAIT_MS: i32 = 500;
/// The same if it has several.
const SHORT_WAIT_MS: i32 = 20;
/// Fetched and not yet printed.
const FETCHED_MAX: usize = 8;
/// How long printing may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The batches of a fetch.
struct Fetched {
    partition: i32,
    /// The first offset asked for; the first batch may begin before it.
    offset: i64,
    batches: Bytes,
}

/// Prints events until told to stop.
///
/// # Errors
/// The platform is not there or refuses, or there is no such topic.
pub async fn run(args: ConsumeArgs) -> Result<(), CliError> {
    if args.count == Some(0) {
        return Ok(());
    }
    let connection = connection(&args.queue)?;
    let client = connect(&connection).await?;
    let count = topic::partitions(&client, &args.topic).await?.ok_or_else(|| topic::missing(&args.topic))?;
    let time = if args.from_beginning { topic::BEGINNING } else { topic::END };
    let mut places = Vec::new();
    for partition in 0..count {
        places.push((partition, client.list_offsets(&args.topic, partition, time).await?));
    }
    let (fetched, mut printing) = print_from(&args)?;
    let mut fetching = JoinSet::new();
    let connections = places.len().clamp(1, CONNECTIONS_MAX);
    for first in 0..connections {
        let own: Vec<_> = places.iter().skip(first).step_by(connections).copied().collect();
        let client = Client::open(connection.clone()).await?;
        let fetcher = Fetcher { client, topic: args.topic.clone(), fetched: fetched.clone() };
        fetching.spawn(fetcher.run(own));
    }
    drop(fetched);
    let result = tokio::select! {
        biased;
        printed = &mut printing => return ended(printed),
        failed = failure(&mut fetching) => Err(failed),
        stopped = terminal::stop_signal() => stopped,
    };
    // Without senders the printer ends after what it was given.
    fetching.shutdown().await;
    match tokio::time::timeout(LAST_WORDS, printing).await {
        Ok(printed) => result.and(ended(printed)),
        Err(_) => result,
    }
}

/// How printing has ended.
fn ended(printed: Result<Result<(), CliError>, oneshot::error::RecvError>) -> Result<(), CliError> {
    let printed = printed.map_err(|_| CliError::Other("printing has ended without a result".into()))?;
    crate::sql::print::unless_closed(printed)
}

/// Waits for a fetcher that fails; those that end well wait for nothing more.
async fn failure(fetching: &mut JoinSet<Result<(), CliError>>) -> CliError {
    loop {
        match fetching.join_next().await {
            Some(Ok(Err(error))) => return error,
            Some(Ok(Ok(()))) => {}
            Some(Err(error)) => return CliError::Other(format!("fetching has failed: {error}")),
            // The printer has ended; it tells how.
            None => std::future::pending().await,
        }
    }
}

type Printing = oneshot::Receiver<Result<(), CliError>>;

/// Starts to print what is sent. On a thread of its own, so that an output that
/// blocks holds up neither the fetching nor Ctrl-C.
fn print_from(args: &ConsumeArgs) -> Result<(mpsc::Sender<Fetched>, Printing), CliError> {
    let (sender, mut fetched) = mpsc::channel::<Fetched>(FETCHED_MAX);
    let (done, printing) = oneshot::channel();
    let (count, verbose) = (args.count, args.verbose);
    let thread = std::thread::Builder::new().name("print-events".into()).spawn(move || {
        let mut printer = Printer::new(std::io::stdout(), count, verbose);
        let mut print = || {
            while let Some(next) = fetched.blocking_recv() {
                if !printer.print(&next)? {
                    break;
                }
                if fetched.is_empty() {
                    printer.flush()?;
                }
            }
            printer.flush()
        };
        // Nobody listens if the last words took too long.
        let _ = done.send(print());
    });
    thread.map_err(|e| CliError::io("cannot start printing", e))?;
    Ok((sender, printing))
}

/// Fetches some partitions through one connection.
struct Fetcher {
    client: Client,
    topic: String,
    fetched: mpsc::Sender<Fetched>,
}

impl Fetcher {
    /// Fetches in turn, until nobody takes the events any more.
    async fn run(self, mut places: Vec<(i32, i64)>) -> Result<(), CliError> {
        let wait_ms = if places.len() == 1 { WAIT_MS } else { SHORT_WAIT_MS };
        loop {
            for (partition, offset) in &mut places {
                let batches = self.fetch(*partition, offset, wait_ms).await?;
                let next = next_offset(&batches)?;
                if let Some(next) = next {
                    let fetched = Fetched { partition: *partition, offset: *offset, batches };
                    if self.fetched.send(fetched).await.is_err() {
                        return Ok(());
                    }
                    *offset = next.max(*offset);
                }
            }
            if self.fetched.is_closed() {
                return Ok(());
            }
        }
    }

    /// Fetches from an offset; goes on at the first event still kept if that
    /// one has been deleted meanwhile.
    async fn fetch(&self, partition: i32, offset: &mut i64, wait_ms: i32) -> Result<Bytes, CliError> {
        let fetched = self.client.fetch(&self.topic, partition, *offset, wait_ms, FETCH_BYTES).await;
        let error = match fetched {
            Ok(fetched) => return Ok(fetched.records),
            Err(error) => error,
        };
        if !matches!(error, ClientError::Refused { .. }) {
            return Err(error.into());
        }
        let start = self.client.list_offsets(&self.topic, partition, topic::BEGINNING).await?;
        if start <= *offset {
            return Err(error.into());
        }
        let lost = start - *offset;
        eprintln!("warning: {lost} events of partition {partition} were deleted before they could be read");
        *offset = start;
        Ok(Bytes::new())
    }
}

/// The offset after the last of some batches; `None` if there are none.
fn next_offset(batches: &Bytes) -> Result<Option<i64>, CliError> {
    let mut rest: &[u8] = batches;
    let mut next = None;
    while !rest.is_empty() {
        let header = parse_header(rest).map_err(ClientError::from)?;
        next = Some(header.last_offset() + 1);
        rest = rest.get(header.total_bytes()..).unwrap_or_default();
    }
    Ok(next)
}
