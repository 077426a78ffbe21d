//! Writes Nexmark events as JSON lines: one file for each partition of the topics person, auction and bid.
//!
//!     nexmark-generator --out DIR --events 1000000 [--rate 10000] [--partitions 4] [--seed 0] [--begin-ms MS]
//!
//! The events and their times come from the crate `nexmark` alone: 1 person, 3 auctions and 46 bids in 50, `rate` of
//! them in a second of event time, times in milliseconds since 1970. The same arguments give the same bytes. An event
//! goes to the next partition of its topic, so the times of a file only grow and those of two files stay close.
//!
//! What the crate leaves open is as in the Java generator: names, states and cities begin with a capital letter.
//! No clock is read and nothing is sent: the runner produces the files.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

const TOPICS: [&str; 3] = ["person", "auction", "bid"];
/// 2026-01-01T00:00:00Z, the start of a window of any size used.
const BEGIN_MS: u64 = 1_767_225_600_000;
/// The crate seeds every event by its id, so another seed is another range of ids; a multiple of 50 events.
const IDS_PER_SEED: usize = 1_000_000_000;
const BUFFER_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(env::args().skip(1))?;
    fs::create_dir_all(&options.out)?;
    let mut files = TOPICS.map(|topic| (topic, Vec::new(), 0usize));
    for (topic, writers, _) in &mut files {
        for partition in 0..options.partitions {
            let path = options.out.join(format!("{topic}-{partition}.jsonl"));
            writers.push(BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?));
        }
    }
    for event in EventGenerator::new(options.config()).take(options.events) {
        let index = match event {
            Event::Person(_) => 0,
            Event::Auction(_) => 1,
            Event::Bid(_) => 2,
        };
        let (_, writers, count) = &mut files[index];
        let writer = &mut writers[*count % options.partitions];
        *count += 1;
        match &event {
            Event::Person(person) => serde_json::to_writer(&mut *writer, person)?,
            Event::Auction(auction) => serde_json::to_writer(&mut *writer, auction)?,
            Event::Bid(bid) => serde_json::to_writer(&mut *writer, bid)?,
        }
        writer.write_all(b"\n")?;
    }
    let mut counts = BTreeMap::new();
    for (topic, writers, count) in &mut files {
        for writer in writers {
            writer.flush()?;
        }
        counts.insert(*topic, *count);
    }
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

/// What the command line says.
struct Options {
    out: PathBuf,
    events: usize,
    /// Events in a second of event time.
    rate: usize,
    partitions: usize,
    seed: usize,
    /// The first event's time.
    begin_ms: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options =
            Self { out: PathBuf::new(), events: 0, rate: 10_000, partitions: 4, seed: 0, begin_ms: BEGIN_MS };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--out" => options.out = value.into(),
                "--events" => options.events = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--partitions" => options.partitions = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--begin-ms" => options.begin_ms = value.parse()?,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if options.out.as_os_str().is_empty() || options.events == 0 || options.partitions == 0 {
            return Err("needs --out DIR and --events N, and at least one partition".into());
        }
        Ok(options)
    }

    fn config(&self) -> NexmarkConfig {
        let mut config = NexmarkConfig {
            base_time: self.begin_ms,
            first_event_id: self.seed * IDS_PER_SEED,
            first_rate: self.rate,
            next_rate: self.rate,
            ..NexmarkConfig::default()
        };
        for state in &mut config.us_states {
            state.make_ascii_uppercase();
        }
        for names in [&mut config.us_cities, &mut config.first_names, &mut config.last_names] {
            names.iter_mut().for_each(|name| *name = capitalised(name));
        }
        config
    }
}

/// Each word with a capital letter.
fn capitalised(name: &str) -> String {
    let mut first = true;
    name.chars()
        .map(|letter| {
            let shown = if first { letter.to_ascii_uppercase() } else { letter };
            first = letter == ' ';
            shown
        })
        .collect()
}
