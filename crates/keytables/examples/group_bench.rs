//! Measures lookups by group and fingerprints and prints one JSON object.
//!
//! `cargo run --release -p pluvio-keytables --example group_bench [-- ROWS]`
//!
//! Times are the best of several runs. Rows come in commits of a tenth of a chunk
//! and more, so that the chunks have been merged as in a store at work.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Metrics, Random, RealDisk, SystemClock};
use pluvio_keytables::{KeyTable, Store, StoreOptions, fingerprints};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Report(Vec<(String, f64)>);

impl Report {
    fn add(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }
}

fn main() -> Result<()> {
    let rows: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |rows| rows.parse())?;
    let folder = std::env::temp_dir().join(format!("pluvio-group-bench-{}", std::process::id()));
    let mut report = Report(Vec::new());
    report.add("rows", rows as f64);
    fingerprint(&mut report)?;
    let outcome = run(&folder, rows, &mut report);
    std::fs::remove_dir_all(&folder)?;
    outcome?;
    let fields: Vec<String> =
        report.0.iter().map(|(name, value)| format!("  \"{name}\": {value:.1}")).collect();
    println!("{{\n{}\n}}", fields.join(",\n"));
    Ok(())
}

fn fingerprint(report: &mut Report) -> Result<()> {
    let rows = 100_000_i64;
    let texts = |prefix: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{prefix} {row}"))))
    };
    let columns: [ArrayRef; 6] = [
        Arc::new(Int64Array::from_iter_values(0..rows)),
        texts("customer"),
        Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 3.0))),
        Arc::new(TimestampMillisecondArray::from_iter_values(0..rows)),
        texts("note"),
        Arc::new(Int64Array::from_iter((0..rows).map(|row| (row % 3 > 0).then_some(row)))),
    ];
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        fingerprints(&columns, rows as usize)?;
        best = best.min(ns(start) / rows as f64);
    }
    report.add("fingerprint_of_6_columns_ns", best);
    Ok(())
}

fn run(folder: &std::path::Path, rows: usize, report: &mut Report) -> Result<()> {
    let options =
        StoreOptions { background: false, memory_budget_bytes: 12 << 30, ..StoreOptions::default() };
    let store = Store::open(folder, Arc::new(RealDisk), Arc::new(SystemClock), Metrics::default(), options)?;
    for group_rows in [1, 4, 100, 10_000] {
        measure(&store, rows, group_rows, report)?;
    }
    drop(store);
    cold(folder, rows, report)
}

/// With memory for about a third of the rows.
fn cold(folder: &std::path::Path, rows: usize, report: &mut Report) -> Result<()> {
    let budget = rows as u64 * 50;
    let options = StoreOptions { background: false, memory_budget_bytes: budget, ..StoreOptions::default() };
    let store = Store::open(folder, Arc::new(RealDisk), Arc::new(SystemClock), Metrics::default(), options)?;
    let table = store.create_grouped_table("cold", schema(), &[0, 3], 1)?;
    let groups = (rows / 4) as i64;
    report.add("cold.load_ns_per_row", load(&store, &table, rows, groups)?);
    report.add("cold.is_partial", f64::from(u8::from(table.is_partial())));
    let random = SeededRandom::new(2);
    let mut ask = |name: &str, sign: i64| -> Result<()> {
        let mut best = f64::MAX;
        for _ in 0..5 {
            let keys = (0..1000).map(|_| sign * (1 + (random.next_u64() % groups as u64) as i64));
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            let start = Instant::now();
            table.lookup_group(&[keys], Some(&[1, 2]))?;
            best = best.min(ns(start) / 1000.0);
        }
        report.add(name, best);
        Ok(())
    };
    ask("cold.groups_of_4.asked_1000.with_2_columns_ns_per_key", 1)?;
    ask("cold.groups_of_4.asked_1000.absent_ns_per_key", -1)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("customer", DataType::Int64, true),
        Field::new("amount", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("fingerprint", DataType::FixedSizeBinary(16), false),
    ]))
}

fn batch(first: i64, count: i64, groups: i64) -> Result<RecordBatch> {
    let numbers = first..first + count;
    let spread = |row: i64| row.wrapping_mul(7919) % groups;
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(spread))),
        Arc::new(Int64Array::from_iter_values(numbers.clone())),
        Arc::new(StringArray::from_iter_values(numbers.map(|row| format!("person {row}")))),
    ];
    let fingerprints = fingerprints(&columns, count as usize)?;
    let columns = columns.into_iter().chain([Arc::new(fingerprints) as ArrayRef]).collect();
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn load(store: &Store, table: &Arc<KeyTable>, rows: usize, groups: i64) -> Result<f64> {
    let mut spent = 0.0;
    let mut first = 0;
    while first < rows {
        let count = 20_000.min(rows - first);
        let batch = batch(first as i64, count as i64, groups)?;
        let start = Instant::now();
        let mut commit = store.begin();
        commit.upsert(table, batch);
        commit.commit()?;
        spent += ns(start);
        first += count;
    }
    Ok(spent / rows as f64)
}

/// With groups of about `group_rows` rows.
fn measure(store: &Store, rows: usize, group_rows: usize, report: &mut Report) -> Result<()> {
    let groups = (rows / group_rows).max(1) as i64;
    let plain = store.create_table("plain", schema(), &[0, 3])?;
    report.add(&format!("groups_of_{group_rows}.load_plain_ns_per_row"), load(store, &plain, rows, groups)?);
    let plain_bytes = plain.bytes();
    store.drop_table("plain")?;
    drop(plain);
    let table = store.create_grouped_table("grouped", schema(), &[0, 3], 1)?;
    report.add(&format!("groups_of_{group_rows}.load_ns_per_row"), load(store, &table, rows, groups)?);
    let more = (table.bytes() as f64 - plain_bytes as f64) / rows as f64;
    report.add(&format!("groups_of_{group_rows}.bytes_per_row"), table.bytes() as f64 / rows as f64);
    report.add(&format!("groups_of_{group_rows}.bytes_per_row_for_groups"), more);
    let random = SeededRandom::new(1);
    for asked in [1, 1000, 100_000] {
        if asked * group_rows > 5_000_000 {
            continue;
        }
        let (mut find, mut all, mut found, mut absent) = (f64::MAX, f64::MAX, 0, f64::MAX);
        for _ in 0..7 {
            let keys = (0..asked).map(|_| (random.next_u64() % groups as u64) as i64);
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            let start = Instant::now();
            found = table.lookup_group(&[Arc::clone(&keys)], Some(&[]))?.probes.len();
            find = find.min(ns(start) / asked as f64);
            let keys = (0..asked).map(|_| (random.next_u64() % groups as u64) as i64);
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            let start = Instant::now();
            table.lookup_group(&[keys], Some(&[1, 2]))?;
            all = all.min(ns(start) / found as f64);
            let keys = (0..asked).map(|_| -1 - (random.next_u64() % groups as u64) as i64);
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            let start = Instant::now();
            table.lookup_group(&[keys], Some(&[1, 2]))?;
            absent = absent.min(ns(start) / asked as f64);
        }
        let name = format!("groups_of_{group_rows}.asked_{asked}");
        report.add(&format!("{name}.absent_ns_per_key"), absent);
        report.add(&format!("{name}.find_ns_per_key"), find);
        report.add(&format!("{name}.find_ns_per_row"), find * asked as f64 / found as f64);
        report.add(&format!("{name}.with_2_columns_ns_per_row"), all);
    }
    store.drop_table("grouped")?;
    store.checkpoint()?;
    Ok(())
}

fn ns(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}
