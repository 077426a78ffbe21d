//! Measures keyed state that is larger than the memory budget: what
//! `count(*) GROUP BY k` keeps, two tables by one integer key.
//!
//! ```text
//! cargo run --release -p pluvio-keytables --example state_bench -- fill FOLDER KEYS BUDGET_MIB [NEW_PERCENT] [kill]
//! cargo run --release -p pluvio-keytables --example state_bench -- open FOLDER BUDGET_MIB [scan]
//! ```
//!
//! `fill` commits epochs of 131,072 keys, NEW_PERCENT of them new and the others
//! drawn evenly from those seen, until there are KEYS; each epoch looks all its
//! keys up in both tables first. It prints a line every few seconds, then closes
//! the store, or ends at once with `kill`. `open` says how long the start and the
//! first lookup take and whether counts are right; with `scan` it adds up all.
//! Memory is the process's resident anonymous memory.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Metrics, Random, RealDisk, SystemClock};
use pluvio_keytables::{KeyTable, Store, StoreOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const EPOCH_KEYS: usize = 131_072;
const LINE_EVERY_S: f64 = 5.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |at: usize| arguments.get(at).map_or("", String::as_str);
    let number = |at: usize| text(at).parse::<u64>();
    match text(0) {
        "fill" => {
            fill(Path::new(text(1)), number(2)?, number(3)?, number(4).unwrap_or(50), text(5) == "kill")
        }
        "open" => reopen(Path::new(text(1)), number(2)?, text(3) == "scan"),
        _ => {
            Err("say fill FOLDER KEYS BUDGET_MIB [NEW_PERCENT] [kill] or open FOLDER BUDGET_MIB [scan]"
                .into())
        }
    }
}

fn open(folder: &Path, budget_mib: u64) -> Result<Arc<Store>> {
    let options = StoreOptions { memory_budget_bytes: budget_mib << 20, ..StoreOptions::default() };
    Ok(Store::open(folder, Arc::new(RealDisk), Arc::new(SystemClock), Metrics::default(), options)?)
}

/// The key with this number: all over the range, as hashed ids are.
fn key(number: u64) -> i64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)) as i64
}

fn schema() -> SchemaRef {
    let columns = ["k", "count", "check", "epoch"];
    Arc::new(Schema::new(columns.map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

/// One table's part of an epoch: looks the keys up and counts one more of each.
fn counted(table: &KeyTable, keys: &ArrayRef, epoch: i64) -> Result<RecordBatch> {
    let found = table.lookup(std::slice::from_ref(keys), Some(&[1, 2]))?;
    let numbers = keys.as_primitive::<Int64Type>().values();
    let (counts, checks) =
        (found.columns[0].as_primitive::<Int64Type>(), found.columns[1].as_primitive::<Int64Type>());
    for row in (0..keys.len()).filter(|row| found.found.value(*row)) {
        if checks.value(row) != numbers[row].wrapping_mul(3) {
            return Err("a key has another key's row".into());
        }
    }
    let counts = counts.iter().map(|count| count.unwrap_or(0) + 1);
    let columns: Vec<ArrayRef> = vec![
        Arc::clone(keys),
        Arc::new(Int64Array::from_iter_values(counts)),
        Arc::new(Int64Array::from_iter_values(numbers.iter().map(|key| key.wrapping_mul(3)))),
        Arc::new(Int64Array::from_iter_values(numbers.iter().map(|_| epoch))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn fill(folder: &Path, keys: u64, budget_mib: u64, new_percent: u64, kill: bool) -> Result<()> {
    let before = resident_mib()?;
    let store = open(folder, budget_mib)?;
    let tables = [store.create_table("state", schema(), &[0])?, store.create_table("view", schema(), &[0])?];
    let random = SeededRandom::new(1);
    let (mut seen, mut events, mut epoch) = (0_u64, 0_u64, 0_i64);
    let (started, mut line, mut line_events, mut slowest, mut peak) =
        (Instant::now(), Instant::now(), 0, 0.0_f64, 0.0_f64);
    let mut report = |seen: u64, events: u64, slowest: f64| -> Result<()> {
        let memory = resident_mib()? - before;
        peak = peak.max(memory);
        let rate = (events - line_events) as f64 / line.elapsed().as_secs_f64();
        let held: u64 = tables.iter().map(|table| table.bytes()).sum();
        println!(
            "{:7.1} s  {:6.2} M keys  {:8.0} keys/s  slowest epoch {:5.2} s  memory {memory:6.0} MiB  tables {:5} MiB",
            started.elapsed().as_secs_f64(),
            seen as f64 / 1e6,
            rate,
            slowest,
            held >> 20
        );
        (line, line_events) = (Instant::now(), events);
        Ok(())
    };
    let mut last_line = Instant::now();
    while seen < keys {
        let start = Instant::now();
        let fresh = if seen == 0 { EPOCH_KEYS as u64 } else { EPOCH_KEYS as u64 * new_percent / 100 };
        let mut chosen: Vec<u64> = (seen..seen + fresh).collect();
        chosen.extend((fresh..EPOCH_KEYS as u64).map(|_| random.next_u64() % seen.max(1)));
        chosen.sort_unstable();
        chosen.dedup();
        (seen, events, epoch) = (seen + fresh, events + chosen.len() as u64, epoch + 1);
        let array: ArrayRef = Arc::new(Int64Array::from_iter_values(chosen.into_iter().map(key)));
        let mut commit = store.begin();
        for table in &tables {
            commit.upsert(table, counted(table, &array, epoch)?);
        }
        commit.note("at", Some(format!("{seen} {events}").into()));
        commit.commit()?;
        slowest = slowest.max(start.elapsed().as_secs_f64());
        if last_line.elapsed().as_secs_f64() >= LINE_EVERY_S {
            report(seen, events, slowest)?;
            (last_line, slowest) = (Instant::now(), 0.0);
        }
    }
    report(seen, events, slowest)?;
    let all_s = started.elapsed().as_secs_f64();
    println!("filled: {events} keys in {all_s:.1} s, {:.0} keys/s", events as f64 / all_s);
    println!("memory: {:.0} MiB at most in a line, {:.0} MiB peak resident", peak, peak_mib()?);
    if kill {
        std::process::abort();
    }
    let start = Instant::now();
    store.close();
    drop((tables, store));
    println!("close: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn reopen(folder: &Path, budget_mib: u64, scan: bool) -> Result<()> {
    let start = Instant::now();
    let store = open(folder, budget_mib)?;
    let open_s = start.elapsed().as_secs_f64();
    let table = store.table("state").ok_or("no table")?;
    let found = table.lookup(&[Arc::new(Int64Array::from(vec![key(0), key(7)]))], None)?;
    println!(
        "open: {open_s:.2} s, first answer after {:.2} s, {:.0} MiB",
        start.elapsed().as_secs_f64(),
        resident_mib()?
    );
    let note = store.note("at").ok_or("no note")?;
    let note = std::str::from_utf8(&note)?;
    let (seen, events) = note.split_once(' ').ok_or("a strange note")?;
    let (seen, events) = (seen.parse::<u64>()?, events.parse::<i64>()?);
    let absent = table.lookup(&[Arc::new(Int64Array::from(vec![key(seen), key(seen + 5)]))], None)?;
    let view = store.table("view").ok_or("no table")?;
    if found.found.true_count() != 2
        || absent.found.true_count() != 0
        || table.len() as u64 != seen
        || view.len() as u64 != seen
    {
        return Err(format!("{} and {} rows, not {seen}", table.len(), view.len()).into());
    }
    if scan {
        for table in [&table, &view] {
            let (mut rows, mut counts) = (0, 0);
            for batch in table.snapshot().scan(Some(&[1])) {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                counts += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
            }
            if (rows, counts) != (seen, events) {
                return Err(format!("{rows} rows and {counts} events, not {seen} and {events}").into());
            }
        }
        println!(
            "scan: right, {:.1} s after the start, {:.0} MiB",
            start.elapsed().as_secs_f64(),
            resident_mib()?
        );
    }
    let start = Instant::now();
    store.close();
    drop((table, view, store));
    println!("close: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn status(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib / 1024.0)
}

fn resident_mib() -> Result<f64> {
    status("RssAnon")
}

fn peak_mib() -> Result<f64> {
    status("VmHWM")
}
