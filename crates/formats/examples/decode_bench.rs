//! How fast events become columns: JSON documents of about 950 bytes with five
//! fields, four of them declared, decoded on one core; beside it arrow-json on
//! the same bytes. Prints one line of JSON; `cpu_` counts the time this thread
//! was on a core (Linux), which other work on the machine does not distort.
//!
//! `cargo run --release -p pluvio-formats --example decode_bench [EVENTS] [DISTINCT]`; few distinct
//! events stay in the core's cache, many are read from memory.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use pluvio_formats::{Format, OnError, decoder};

/// Rows of one batch, as a trigger under load would cut it.
const BATCH_ROWS: usize = 131_072;
const ROUNDS: usize = 3;

/// Seconds by the clock and on a core.
#[derive(Clone, Copy)]
struct Seconds {
    wall: f64,
    cpu: f64,
}

impl Seconds {
    const MAX: Self = Self { wall: f64::MAX, cpu: f64::MAX };

    fn of(work: impl FnOnce() -> Result<usize, Box<dyn Error>>, rows: usize) -> Result<Self, Box<dyn Error>> {
        let (start, start_cpu) = (Instant::now(), cpu_seconds()?);
        let found = work()?;
        let seconds = Self { wall: start.elapsed().as_secs_f64(), cpu: cpu_seconds()? - start_cpu };
        if found != rows { Err(format!("{found} rows of {rows} events").into()) } else { Ok(seconds) }
    }

    fn min(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu) }
    }
}

fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument =
        |place, default| std::env::args().nth(place).map_or(Ok(default), |text| text.parse::<usize>());
    let (events, distinct) = (argument(1, 1_000_000)?, argument(2, 131_072)?);
    let documents: Vec<Vec<u8>> = (0..events.min(distinct)).map(document).collect();
    let bytes: usize = (0..events).map(|event| documents[event % documents.len()].len()).sum();
    let (mut ours, mut arrows) = (Seconds::MAX, Seconds::MAX);
    for _ in 0..ROUNDS {
        ours = ours.min(Seconds::of(|| decode(events, &documents), events)?);
        arrows = arrows.min(Seconds::of(|| decode_by_arrow(events, &documents), events)?);
    }
    let gb = bytes as f64 / 1e9;
    println!(
        "{{\"events\":{events},\"distinct\":{distinct},\"bytes\":{bytes},\"seconds\":{:.4},\"cpu_seconds\":{:.4},\"cpu_ns_per_event\":{:.1},\
         \"cpu_gb_per_second\":{:.3},\"arrow_json_seconds\":{:.4},\"arrow_json_cpu_seconds\":{:.4},\
         \"arrow_json_cpu_gb_per_second\":{:.3}}}",
        ours.wall,
        ours.cpu,
        ours.cpu * 1e9 / events as f64,
        gb / ours.cpu,
        arrows.wall,
        arrows.cpu,
        gb / arrows.cpu,
    );
    Ok(())
}

fn document(event: usize) -> Vec<u8> {
    let mix = event.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{{\"person_id\":{},\"company_id\":{},\"amount\":{}.{:02},\"paid_at\":\"2026-11-21T10:{:02}:{:02}.{:06}Z\",\"note\":\"{}\"}}",
        mix % 1_000_000,
        mix % 99_991,
        mix % 500,
        mix % 100,
        mix % 60,
        mix % 59,
        mix % 1_000_000,
        "lorem ipsum dolor sit amet ".repeat(32).get(..840 + mix % 21).unwrap_or_default(),
    )
    .into_bytes()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("person_id", DataType::Int64, true),
        Field::new("company_id", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("paid_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]))
}

fn decode(events: usize, documents: &[Vec<u8>]) -> Result<usize, Box<dyn Error>> {
    let mut decoder = decoder(&Format::Json, schema(), OnError::DeadLetter)?;
    let mut rows = 0;
    for event in 0..events {
        decoder.push(Some(&documents[event % documents.len()]));
        if decoder.pushed() == BATCH_ROWS || event + 1 == events {
            rows += decoder.finish()?.batch.num_rows();
        }
    }
    Ok(rows)
}

fn decode_by_arrow(events: usize, documents: &[Vec<u8>]) -> Result<usize, Box<dyn Error>> {
    let mut decoder = ReaderBuilder::new(schema()).with_batch_size(BATCH_ROWS).build_decoder()?;
    let mut rows = 0;
    for event in 0..events {
        decoder.decode(&documents[event % documents.len()])?;
        if (event + 1) % BATCH_ROWS == 0 || event + 1 == events {
            rows += decoder.flush()?.map_or(0, |batch| batch.num_rows());
        }
    }
    Ok(rows)
}
