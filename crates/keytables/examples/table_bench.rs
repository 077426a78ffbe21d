//! Measures the real-time tables and prints one JSON object.
//!
//! `cargo run --release -p pluvio-keytables --example table_bench [-- ROWS]`
//!
//! Times are the best of several runs in milliseconds unless the name says
//! otherwise; every commit includes its journal fsync on the folder's disk.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Metrics, Random, RealDisk, SystemClock};
use pluvio_keytables::{KeyTable, SpanRetention, Store, StoreOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Report(Vec<(String, f64)>);

impl Report {
    fn add(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    fn print(&self) {
        let fields: Vec<String> =
            self.0.iter().map(|(name, value)| format!("  \"{name}\": {value:.3}")).collect();
        println!("{{\n{}\n}}", fields.join(",\n"));
    }
}

fn main() -> Result<()> {
    let rows: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |rows| rows.parse())?;
    let folder = std::env::temp_dir().join(format!("pluvio-table-bench-{}", std::process::id()));
    let mut report = Report(Vec::new());
    report.add("rows", rows as f64);
    let outcome = run(&folder, rows, &mut report);
    std::fs::remove_dir_all(&folder)?;
    outcome?;
    report.print();
    Ok(())
}

fn run(folder: &std::path::Path, rows: usize, report: &mut Report) -> Result<()> {
    let options = StoreOptions { background: false, ..StoreOptions::default() };
    let open = |memory_budget_bytes| {
        let disk = Arc::new(RealDisk);
        let options = StoreOptions { memory_budget_bytes, ..options.clone() };
        Store::open(folder, disk, Arc::new(SystemClock), Metrics::default(), options)
    };
    let before = resident_mb()?;
    let start = Instant::now();
    let store = open(1 << 30)?;
    report.add("open_new_ms", ms(start));
    report.add("idle_resident_growth_mb", resident_mb()? - before);
    load(&store, rows, report)?;
    lookups(&store, rows, report)?;
    upserts(&store, report)?;
    composite(&store, report)?;
    small_commits(&store, report)?;
    scan(&store, report)?;
    let start = Instant::now();
    store.checkpoint()?;
    report.add("second_checkpoint_ms", ms(start));
    for tables in 0..20 {
        store.create_table(&format!("empty {tables}"), schema(), &[0])?;
    }
    let start = Instant::now();
    store.close();
    report.add("close_ms", ms(start));
    drop(store);
    let start = Instant::now();
    let store = open(1 << 30)?;
    report.add("open_ms", ms(start));
    let table = store.table("persons").ok_or("the table is gone")?;
    report.add("rows_after_open", table.len() as f64);
    report.add("resident_mb_after_open", resident_mb()?);
    drop((store, table));
    let store = open(20 << 20)?;
    cold(&store, rows, report)
}

fn schema() -> SchemaRef {
    let name = Field::new("name", DataType::Utf8, true);
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), name]))
}

fn persons(ids: impl Iterator<Item = i64> + Clone, round: u64) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let names = ids.map(|id| format!("person {:07}", (id as u64 + round) % 10_000_000));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
    Ok(RecordBatch::try_new(schema(), vec![numbers, names])?)
}

/// All ids below `rows`, in no order.
fn shuffled(rows: usize, random: &SeededRandom) -> Vec<i64> {
    let mut ids: Vec<i64> = (0..rows as i64).collect();
    for position in (1..ids.len()).rev() {
        ids.swap(position, (random.next_u64() % (position as u64 + 1)) as usize);
    }
    ids
}

fn load(store: &Store, rows: usize, report: &mut Report) -> Result<()> {
    let table = store.create_table("persons", schema(), &[0])?;
    let batch = persons(shuffled(rows, &SeededRandom::new(1)).into_iter(), 0)?;
    let before = resident_mb()?;
    let start = Instant::now();
    let mut commit = store.begin();
    commit.upsert(&table, batch.clone());
    commit.commit()?;
    report.add("load_one_commit_ms", ms(start));
    report.add("table_mb", table.bytes() as f64 / 1e6);
    drop(batch);
    report.add("load_resident_growth_mb", resident_mb()? - before);
    let start = Instant::now();
    store.checkpoint()?;
    report.add("first_checkpoint_ms", ms(start));
    Ok(())
}

fn lookups(store: &Store, rows: usize, report: &mut Report) -> Result<()> {
    let table = store.table("persons").ok_or("no table")?;
    let random = SeededRandom::new(2);
    for count in [1_usize, 1000, 100_000] {
        let mut best = f64::MAX;
        let mut best_find = f64::MAX;
        for _ in 0..15 {
            let keys = (0..count).map(|_| (random.next_u64() % rows as u64) as i64);
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            let start = Instant::now();
            let lookup = table.lookup(&[Arc::clone(&keys)], Some(&[1]))?;
            best = best.min(ms(start));
            let start = Instant::now();
            table.lookup(&[Arc::clone(&keys)], Some(&[]))?;
            best_find = best_find.min(ms(start));
            if lookup.found.true_count() != count {
                return Err("a key was not found".into());
            }
        }
        report.add(&format!("lookup_{count}_ms"), best);
        report.add(&format!("find_{count}_ms"), best_find);
    }
    Ok(())
}

fn upserts(store: &Store, report: &mut Report) -> Result<()> {
    let table = store.create_table("companies", schema(), &[0])?;
    let random = SeededRandom::new(3);
    let mut commit = store.begin();
    commit.upsert(&table, persons(shuffled(100_000, &random).into_iter(), 0)?);
    commit.commit()?;
    let mut all = Vec::new();
    for round in 1..=40 {
        let ids: Vec<i64> = (0..25_000).map(|_| (random.next_u64() % 100_000) as i64).collect();
        let batch = persons(ids.into_iter(), round)?;
        let start = Instant::now();
        let mut commit = store.begin();
        commit.upsert(&table, batch);
        commit.commit()?;
        all.push(ms(start));
    }
    all.sort_by(f64::total_cmp);
    report.add("upsert_25000_into_100000_median_ms", all[all.len() / 2]);
    report.add("upsert_25000_into_100000_max_ms", all[all.len() - 1]);
    check(&table, 100_000)
}

fn composite(store: &Store, report: &mut Report) -> Result<()> {
    let at = DataType::Timestamp(TimeUnit::Millisecond, None);
    let schema = Arc::new(Schema::new(vec![
        Field::new("window_start", at, false),
        Field::new("company", DataType::Utf8, true),
        Field::new("payments", DataType::Int64, false),
    ]));
    let table = store.create_table("spend", Arc::clone(&schema), &[0, 1])?;
    let mut all = Vec::new();
    for round in 0..30_i64 {
        let rows = 25_000_i64;
        let times: ArrayRef =
            Arc::new(TimestampMillisecondArray::from_iter_values((0..rows).map(|_| round / 3 * 60_000)));
        let names = (0..rows).map(|row| format!("company {row}"));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![times, names, counts])?;
        let start = Instant::now();
        let mut commit = store.begin();
        commit.upsert(&table, batch);
        commit.commit()?;
        all.push(ms(start));
    }
    all.sort_by(f64::total_cmp);
    report.add("upsert_25000_time_and_text_key_median_ms", all[all.len() / 2]);
    report.add("upsert_25000_time_and_text_key_max_ms", all[all.len() - 1]);
    check(&table, 250_000)
}

fn small_commits(store: &Store, report: &mut Report) -> Result<()> {
    let table = store.table("companies").ok_or("no table")?;
    let retention = SpanRetention { age_ms: None, bytes_max: 64 << 20 };
    let span = store.create_span("payments", schema(), retention)?;
    let mut measure = |name: &str, rows: i64, with_span: bool| -> Result<()> {
        let mut all = Vec::new();
        for round in 0..200_i64 {
            let batch = persons(round * 100..round * 100 + rows, 7)?;
            let start = Instant::now();
            let mut commit = store.begin();
            commit.upsert(&table, batch.clone());
            if with_span {
                commit.append(&span, span.last_tag().unwrap_or(0) + 1, batch);
            }
            commit.commit()?;
            all.push(ms(start));
        }
        all.sort_by(f64::total_cmp);
        report.add(name, all[all.len() / 2]);
        Ok(())
    };
    measure("commit_1_row_median_ms", 1, false)?;
    measure("commit_1000_rows_median_ms", 1000, false)?;
    measure("commit_1000_rows_with_span_median_ms", 1000, true)
}

fn scan(store: &Store, report: &mut Report) -> Result<()> {
    let table = store.table("persons").ok_or("no table")?;
    let start = Instant::now();
    let snapshot = table.snapshot();
    report.add("snapshot_us", ms(start) * 1000.0);
    let start = Instant::now();
    let rows: usize = snapshot.batches(None)?.iter().map(RecordBatch::num_rows).sum();
    report.add("scan_all_ms", ms(start));
    check(&table, rows)
}

/// With a budget for about a third of the rows.
fn cold(store: &Store, rows: usize, report: &mut Report) -> Result<()> {
    let table = store.table("persons").ok_or("no table")?;
    check(&table, rows)?;
    report.add("cold_is_partial", f64::from(u8::from(table.is_partial())));
    let random = SeededRandom::new(9);
    let ids: Vec<i64> = (0..25_000).map(|_| (random.next_u64() % rows as u64) as i64).collect();
    let keys: ArrayRef = Arc::new(Int64Array::from(ids.clone()));
    let start = Instant::now();
    let lookup = table.lookup(&[keys], Some(&[1]))?;
    report.add("cold_lookup_25000_ms", ms(start));
    if lookup.found.true_count() != ids.len() {
        return Err("a cold key was not found".into());
    }
    let batch = persons(ids.into_iter(), 1)?;
    let start = Instant::now();
    let mut commit = store.begin();
    commit.upsert(&table, batch);
    commit.commit()?;
    report.add("cold_upsert_25000_ms", ms(start));
    let start = Instant::now();
    let mut scanned = 0;
    for batch in table.snapshot().scan(Some(&[1])) {
        scanned += batch?.num_rows();
    }
    report.add("cold_scan_all_ms", ms(start));
    check(&table, scanned)
}

fn check(table: &KeyTable, rows: usize) -> Result<()> {
    if table.len() == rows { Ok(()) } else { Err(format!("{} rows, not {rows}", table.len()).into()) }
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = status.split_whitespace().nth(1).ok_or("no resident size")?.parse()?;
    Ok(pages * 4096.0 / 1e6)
}
