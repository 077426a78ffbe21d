//! `pluvio produce`: each line of standard input or of a file becomes an event.
//!
//! Promises: every event is acknowledged as durable before the command ends
//! well; batches are sent while earlier ones are under way, a bounded number of
//! them, and reading waits when the platform cannot keep up. A line ends at a
//! line feed; a carriage return before it is not part of it. Keyed events go to
//! the partition where every Kafka client would put them, others to one
//! partition after the other, batch by batch.
//!
//! Not here: retries. What was acknowledged is told when something fails.

mod lines;
mod progress;

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use pluvio_foundation::hash::kafka_key_hash;
use pluvio_foundation::{Clock, ErrorKind, SystemClock};
use pluvio_kafka_client::{Client, ClientError, Produced};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;
use tokio::time::{Instant, timeout_at};

use crate::cli::ProduceArgs;
use crate::connect::{connect, connection};
use crate::error::CliError;
use crate::{terminal, topic};
use lines::{events, open, split_key};
use progress::Progress;

/// A batch is sent when the next event would make it larger.
const BATCH_BYTES: usize = 256 << 10;
/// Batches of all partitions that wait to be filled.
const OPEN_BYTES_MAX: usize = 32 << 20;
/// How long an event may wait for others.
const LINGER: Duration = Duration::from_millis(50);
/// Batches sent and not acknowledged.
const UNDER_WAY_MAX: usize = 16;
/// Of a topic that is made.
const PARTITIONS: u32 = 4;
/// Acknowledge when durable.
const DURABLE: i16 = -1;

/// Sends every line, and ends when all are acknowledged.
///
/// # Errors
/// The platform is not there or refuses, or the input cannot be read.
pub async fn run(args: ProduceArgs) -> Result<(), CliError> {
    let separator = args.key_separator.as_deref().map(str::as_bytes);
    if separator.is_some_and(<[u8]>::is_empty) {
        return Err(CliError::Other("--key-separator is empty; give a text, for instance ':'".into()));
    }
    let client = connect(&connection(&args.queue)?).await?;
    let count = partitions(&client, &args.topic).await?;
    let mut blocks = open(args.file.as_deref())?;
    let mut sender = Sender::new(client, args.topic.clone(), count);
    let mut progress = Progress::new(args.file.is_some());
    let mut stop = pin!(terminal::stop_signal());
    loop {
        let deadline = sender.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        let received = tokio::select! {
            stopped = &mut stop => {
                stopped?;
                break;
            }
            received = timeout_at(deadline, blocks.recv()) => received,
        };
        match received {
            Err(_) => sender.flush_all().await?,
            Ok(None) => break,
            Ok(Some(block)) => {
                let taken = match block {
                    Ok(block) => sender.take(&block, separator).await,
                    Err(error) => Err(sender.unreadable(error)),
                };
                if let Err(error) = taken {
                    // What came before the mistake is kept.
                    return sender.flush_all().await.and(Err(error));
                }
                if sender.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    sender.send_all().await?;
                }
            }
        }
        progress.tell(sender.events);
    }
    sender.flush_all().await?;
    progress.end();
    eprintln!("produced {} events to {}", terminal::grouped(sender.events), args.topic);
    Ok(())
}

/// The partitions of the topic, which is made if it is not there.
async fn partitions(client: &Client, name: &str) -> Result<i32, CliError> {
    if let Some(count) = topic::partitions(client, name).await? {
        return Ok(count);
    }
    match client.create_topic(name, PARTITIONS, &[]).await {
        Ok(()) => eprintln!("created topic {name}: {PARTITIONS} partitions"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    topic::partitions(client, name).await?.ok_or_else(|| topic::missing(name))
}

/// Gathers events into batches and sends these.
struct Sender {
    client: Client,
    topic: String,
    /// A batch for each partition that has events.
    open: Vec<Option<BatchBuilder>>,
    open_bytes: usize,
    /// Where events without a key go at present.
    turn: usize,
    /// When the oldest event that is not sent has waited long enough.
    deadline: Option<Instant>,
    under_way: VecDeque<(Produced, u64)>,
    /// Taken so far.
    events: u64,
    /// Acknowledged so far.
    durable: u64,
}

impl Sender {
    fn new(client: Client, topic: String, partitions: i32) -> Self {
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        Self {
            client,
            topic,
            open: vec![None; count],
            open_bytes: 0,
            turn: 0,
            deadline: None,
            under_way: VecDeque::new(),
            events: 0,
            durable: 0,
        }
    }

    /// Takes the lines of a block.
    async fn take(&mut self, block: &[u8], separator: Option<&[u8]>) -> Result<(), CliError> {
        let now_ms = SystemClock.now_ms();
        for line in events(block) {
            let (key, value) = split_key(line, separator, self.events + 1)?;
            self.push(key, value, now_ms).await?;
        }
        Ok(())
    }

    /// Takes an event; waits when too many batches are under way.
    async fn push(&mut self, key: Option<&[u8]>, value: &[u8], now_ms: i64) -> Result<(), CliError> {
        let partition = key.map_or(self.turn, |key| kafka_key_hash(key) as usize % self.open.len());
        let room = BATCH_BYTES.saturating_sub(value.len() + key.map_or(0, <[u8]>::len));
        if self.open[partition].as_ref().is_some_and(|batch| batch.bytes() > room) {
            self.send(partition).await?;
        }
        // The turn has passed on if the batch was sent.
        let partition = if key.is_none() { self.turn } else { partition };
        let batch = self.open[partition].get_or_insert_with(|| BatchBuilder::new(now_ms));
        let before = if batch.is_empty() { 0 } else { batch.bytes() };
        batch.push(key, Some(value), now_ms, &[]);
        self.open_bytes += batch.bytes() - before;
        self.events += 1;
        self.deadline.get_or_insert_with(|| Instant::now() + LINGER);
        if self.open_bytes > OPEN_BYTES_MAX {
            self.send_all().await?;
        }
        Ok(())
    }

    /// Sends a partition's batch, if it has one.
    async fn send(&mut self, partition: usize) -> Result<(), CliError> {
        let Some(batch) = self.open.get_mut(partition).and_then(Option::take) else { return Ok(()) };
        self.open_bytes -= batch.bytes();
        if partition == self.turn {
            self.turn = (self.turn + 1) % self.open.len();
        }
        // A batch that waits for its answer keeps its place on the connection.
        while self.under_way.len() >= UNDER_WAY_MAX {
            self.acknowledged().await?;
        }
        let count = batch.count() as u64;
        let bytes = batch.finish(Compression::None, None).map_err(ClientError::from)?;
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let sent = self.client.produce(&self.topic, partition, bytes, DURABLE).await;
        let sent = sent.map_err(|error| self.failed(&error))?;
        self.under_way.push_back((sent, count));
        Ok(())
    }

    /// Sends all batches.
    async fn send_all(&mut self) -> Result<(), CliError> {
        for partition in 0..self.open.len() {
            self.send(partition).await?;
        }
        self.deadline = None;
        Ok(())
    }

    /// Sends all batches and waits until everything is durable.
    async fn flush_all(&mut self) -> Result<(), CliError> {
        self.send_all().await?;
        while !self.under_way.is_empty() {
            self.acknowledged().await?;
        }
        Ok(())
    }

    /// Waits for the oldest batch.
    async fn acknowledged(&mut self) -> Result<(), CliError> {
        if let Some((sent, count)) = self.under_way.pop_front() {
            sent.await.map_err(|error| self.failed(&error))?;
            self.durable += count;
        }
        Ok(())
    }

    fn failed(&self, error: &ClientError) -> CliError {
        CliError::Other(format!(
            "{error}; {} events were acknowledged before",
            terminal::grouped(self.durable)
        ))
    }

    fn unreadable(&self, error: std::io::Error) -> CliError {
        CliError::io(format!("cannot read the input after line {}", self.events), error)
    }
}
