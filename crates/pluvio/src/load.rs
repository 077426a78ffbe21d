//! Made-up card payments: the reference tables and the events, from a seed, and
//! how they are sent: over the Kafka protocol, through a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Clock, Random, SystemClock};
use pluvio_kafka_client::Client;
use pluvio_keytables::Store;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;
use tokio::task::JoinSet;

use crate::error::CliError;

/// Size of an event in bytes, note included.
const EVENT_BYTES: usize = 1_000;
/// Time between two rounds of the generator.
const ROUND_MS: u64 = 10;
/// Rows of one commit while the reference tables are loaded.
const LOAD_ROWS: u32 = 250_000;
/// Produces on their way at a time.
const IN_FLIGHT_MAX: usize = 64;

const FIRST: [&str; 24] = [
    "Ada", "Alan", "Amara", "Barbara", "Chen", "Dana", "Edith", "Emmy", "Farid", "Grace", "Hedy", "Ines",
    "Jean", "Kazuo", "Leila", "Mei", "Noor", "Olga", "Priya", "Radia", "Sofia", "Uma", "Wei", "Zoltan",
];
const LAST: [&str; 24] = [
    "Abbott", "Banerjee", "Castillo", "Dubois", "Eriksen", "Farouk", "Garcia", "Hopper", "Ivanova", "Jansen",
    "Kovacs", "Lamarr", "Moreau", "Nakamura", "Okafor", "Petrov", "Rossi", "Schmidt", "Torvalds", "Vargas",
    "Wirth", "Yilmaz", "Zhang", "Silva",
];
const TRADE: [&str; 16] = [
    "Bakery", "Books", "Cafe", "Cinema", "Cycles", "Diner", "Fashion", "Florist", "Garage", "Hotel",
    "Market", "Music", "Pharmacy", "Records", "Travel", "Wines",
];
const WORDS: [&str; 24] = [
    "payment",
    "order",
    "invoice",
    "thanks",
    "delivered",
    "before",
    "noon",
    "receipt",
    "table",
    "coffee",
    "monthly",
    "renewed",
    "membership",
    "refund",
    "partial",
    "shipment",
    "gift",
    "counter",
    "contactless",
    "approved",
    "currency",
    "discount",
    "ticket",
    "return",
];

fn pick<'a>(words: &[&'a str], random: u64) -> &'a str {
    words[usize::try_from(random % words.len() as u64).unwrap_or(0)]
}

/// The name of the person or company with this number.
fn name(id: u32, company: bool) -> String {
    let random = SeededRandom::new(u64::from(id)).next_u64();
    match company {
        false => format!("{} {}", pick(&FIRST, random), pick(&LAST, random >> 32)),
        true => format!("{} {} {id}", pick(&LAST, random), pick(&TRADE, random >> 32)),
    }
}

/// Fills the tables `persons` and `companies`, telling `progress` the rows done.
pub fn load_tables(
    store: &Store,
    persons: u32,
    companies: u32,
    progress: &dyn Fn(u32),
) -> Result<(), CliError> {
    let mut done = 0;
    for (table, count, company) in [("companies", companies, true), ("persons", persons, false)] {
        let missing = || CliError::Other(format!("the table \"{table}\" is missing"));
        let table = store.table(table).ok_or_else(missing)?;
        let mut from = 1;
        while from <= count {
            let to = (from + LOAD_ROWS - 1).min(count);
            let ids = Int64Array::from_iter_values((from..=to).map(i64::from));
            let names = StringArray::from_iter_values((from..=to).map(|id| name(id, company)));
            let rows = RecordBatch::try_new(table.schema(), vec![Arc::new(ids), Arc::new(names)]);
            let rows = rows.map_err(|e| CliError::Other(e.to_string()))?;
            let mut commit = store.begin();
            commit.upsert(&table, rows);
            commit.commit()?;
            done += to - from + 1;
            from = to + 1;
            progress(done);
        }
    }
    Ok(())
}

/// How a storm is made.
#[derive(Debug, Clone)]
pub struct Storm {
    pub address: String,
    pub topic: String,
    pub partitions: u32,
    pub rate: u64,
    pub persons: u32,
    pub companies: u32,
}

/// What a storm tells while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    pub acknowledged: AtomicU64,
    pub stop: AtomicBool,
}

/// Sends events at the storm's rate until told to stop. A round that comes late
/// sends what was missed, so the rate holds on average.
pub async fn rain(storm: Storm, progress: Arc<Progress>) -> Result<(), CliError> {
    let client = Client::connect(&storm.address).await?;
    let mut maker = Maker::new(&storm);
    let mut in_flight: JoinSet<Result<u64, CliError>> = JoinSet::new();
    let start = Instant::now();
    let (mut sent, mut partition) = (0_u64, 0_u32);
    let mut ticks = tokio::time::interval(Duration::from_millis(ROUND_MS));
    while !progress.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = (elapsed_us.saturating_mul(storm.rate) / 1_000_000).saturating_sub(sent);
        // After a stall at most a tenth of a second is caught up at once.
        let mut due = due.min((storm.rate / 10).max(1));
        while due > 0 {
            let count = due.min(500);
            let batch = maker.batch(count)?;
            let index = i32::try_from(partition).unwrap_or(0);
            let answer = client.produce(&storm.topic, index, batch, -1).await?;
            in_flight.spawn(async move { answer.await.map(|_| count).map_err(CliError::from) });
            partition = (partition + 1) % storm.partitions;
            sent += count;
            due -= count;
        }
        while in_flight.len() > IN_FLIGHT_MAX {
            collect(in_flight.join_next().await, &progress)?;
        }
        while let Some(done) = in_flight.try_join_next() {
            collect(Some(done), &progress)?;
        }
    }
    while let Some(done) = in_flight.join_next().await {
        collect(Some(done), &progress)?;
    }
    Ok(())
}

fn collect(
    done: Option<Result<Result<u64, CliError>, tokio::task::JoinError>>,
    progress: &Progress,
) -> Result<(), CliError> {
    let Some(done) = done else { return Ok(()) };
    let count = done.map_err(|e| CliError::Other(e.to_string()))??;
    progress.acknowledged.fetch_add(count, Ordering::Relaxed);
    Ok(())
}

/// Makes the events.
struct Maker {
    random: SeededRandom,
    persons: u64,
    companies: u64,
    /// Words to cut notes from.
    notes: String,
    event: Vec<u8>,
}

impl Maker {
    fn new(storm: &Storm) -> Self {
        let random = SeededRandom::new(SystemClock.now_us().cast_unsigned());
        let mut notes = String::new();
        while notes.len() < 64 << 10 {
            notes.push_str(pick(&WORDS, random.next_u64()));
            notes.push(' ');
        }
        let (persons, companies) = (u64::from(storm.persons), u64::from(storm.companies));
        Self { random, persons, companies, notes, event: Vec::with_capacity(2 * EVENT_BYTES) }
    }

    fn batch(&mut self, count: u64) -> Result<Bytes, CliError> {
        let now_us = SystemClock.now_us();
        let second = chrono::DateTime::from_timestamp_micros(now_us).unwrap_or_default();
        let second = second.format("%Y-%m-%dT%H:%M:%S").to_string();
        let mut micros = u64::try_from(now_us.rem_euclid(1_000_000)).unwrap_or(0);
        let capacity = usize::try_from(count).unwrap_or(1) * (EVENT_BYTES + 20);
        let mut batch = BatchBuilder::with_capacity(now_us / 1000, capacity);
        for _ in 0..count {
            self.event(&second, micros);
            micros = (micros + 1).min(999_999);
            batch.push(None, Some(&self.event), now_us / 1000, &[]);
        }
        batch.finish(Compression::None, None).map_err(|e| CliError::Other(e.to_string()))
    }

    /// Writes one event of about [`EVENT_BYTES`] bytes.
    fn event(&mut self, second: &str, micros: u64) {
        use std::io::Write;
        let person = self.random.next_u64() % self.persons + 1;
        let company = self.random.next_u64() % self.companies + 1;
        let cents = self.cents();
        self.event.clear();
        let event = &mut self.event;
        // Writing to a vector cannot fail.
        let _ = write!(
            event,
            "{{\"person_id\":{person},\"company_id\":{company},\"amount\":{}.{:02},\"paid_at\":\"{second}.{micros:06}Z\",\"note\":\"",
            cents / 100,
            cents % 100
        );
        let length = EVENT_BYTES.saturating_sub(event.len() + 2);
        let start = usize::try_from(self.random.next_u64()).unwrap_or(0) % (self.notes.len() - length);
        event.extend_from_slice(&self.notes.as_bytes()[start..start + length]);
        event.extend_from_slice(b"\"}");
    }

    /// An amount in cents: mostly small, about one in a hundred above 400.00.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn cents(&self) -> u64 {
        let unit = |random: u64| ((random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        let (a, b) = (unit(self.random.next_u64()), unit(self.random.next_u64()));
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (2200.0 * (1.22 * normal).exp()).clamp(1.0, 10_000_000.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_json_of_about_a_kilobyte() {
        let storm = Storm {
            address: String::new(),
            topic: String::new(),
            partitions: 1,
            rate: 1,
            persons: 10,
            companies: 5,
        };
        let mut maker = Maker::new(&storm);
        maker.event("2026-11-21T10:00:00", 7);
        assert!((900..=1_024).contains(&maker.event.len()), "{}", maker.event.len());
        let event: serde_json::Value = serde_json::from_slice(&maker.event).unwrap();
        assert!((1..=10).contains(&event["person_id"].as_u64().unwrap()));
        assert_eq!(event["paid_at"], "2026-11-21T10:00:00.000007Z");
        assert!(event["amount"].as_f64().unwrap() > 0.0);
    }
}
