//! Measures a lake table with a million payments; prints one line of JSON.
//!
//! `cargo run --release -p pluvio-lake --example lake_bench [ROWS] [COMMITS]`

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Clock, Random, SystemClock};
use pluvio_lake::{LakeOptions, LakeTable};
use serde_json::json;

const EPOCH_ROWS: usize = 50_000;
const PERSONS: u64 = 1_000_000;
const COMPANIES: u64 = 100_000;
/// Clock ticks per second of `/proc/self/stat`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

struct Stopwatch {
    wall: Instant,
    cpu_seconds: f64,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    fn read(&self) -> (f64, f64) {
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        (round(self.wall.elapsed().as_secs_f64()), round(cpu_seconds() - self.cpu_seconds))
    }
}

/// CPU time of the whole process so far, user and system.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let field = |at: usize| after_name.split_whitespace().nth(at).and_then(|v| v.parse::<f64>().ok());
    (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / TICKS_PER_SECOND
}

fn payments(random: &SeededRandom, paid_at: &mut i64, rows: usize) -> RecordBatch {
    let persons: Vec<i64> = (0..rows).map(|_| (random.next_u64() % PERSONS) as i64).collect();
    let companies: Vec<i64> = (0..rows).map(|_| (random.next_u64() % COMPANIES) as i64).collect();
    let amounts = (0..rows).map(|_| (random.next_u64() % 100_000) as f64 / 100.0);
    let mut next = || {
        *paid_at += (random.next_u64() % 20) as i64;
        *paid_at
    };
    let times = (0..rows).map(|_| next());
    let columns: [(&str, ArrayRef); 6] = [
        ("person_id", Arc::new(Int64Array::from(persons.clone()))),
        ("company_id", Arc::new(Int64Array::from(companies.clone()))),
        ("amount", Arc::new(Float64Array::from_iter_values(amounts))),
        ("paid_at", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
        (
            "person",
            Arc::new(StringArray::from_iter_values(persons.iter().map(|id| format!("Person {id:07}")))),
        ),
        (
            "company",
            Arc::new(StringArray::from_iter_values(companies.iter().map(|id| format!("Comp {id:07}")))),
        ),
    ];
    RecordBatch::try_from_iter(columns)
        .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())))
}

async fn write(table: &Arc<LakeTable>, epochs: &[RecordBatch], commits: usize) -> Result<(), Box<dyn Error>> {
    let mut writer = table.writer("bench");
    let per_commit = epochs.len().div_ceil(commits.max(1));
    for (epoch, batch) in epochs.iter().enumerate() {
        writer.write(i64::try_from(epoch)?, batch)?;
        if (epoch + 1) % per_commit == 0 {
            writer.commit().await?;
        }
    }
    writer.commit().await?;
    Ok(())
}

async fn query_ms(table: &LakeTable, sql: &str) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::MAX;
    let context = SessionContext::new();
    for _ in 0..5 {
        let start = Instant::now();
        context.deregister_table("payments")?;
        context.register_table("payments", table.snapshot().await?.provider)?;
        context.sql(sql).await?.collect().await?;
        best = best.min(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((best * 100.0).round() / 100.0)
}

async fn measure(folder: &Path, rows: usize, commits: usize) -> Result<(), Box<dyn Error>> {
    let random = SeededRandom::new(42);
    let mut paid_at = SystemClock.now_us();
    let epochs: Vec<RecordBatch> =
        (0..rows.div_ceil(EPOCH_ROWS)).map(|_| payments(&random, &mut paid_at, EPOCH_ROWS)).collect();
    let rows: usize = epochs.iter().map(RecordBatch::num_rows).sum();
    let schema: SchemaRef = epochs[0].schema();

    let one =
        LakeTable::open(&folder.join("one"), "one", Arc::clone(&schema), LakeOptions::default()).await?;
    let watch = Stopwatch::start();
    write(&one, &epochs, 1).await?;
    let (one_seconds, one_cpu_seconds) = watch.read();

    let many = LakeTable::open(&folder.join("many"), "many", schema, LakeOptions::default()).await?;
    let watch = Stopwatch::start();
    write(&many, &epochs, commits).await?;
    let (many_seconds, many_cpu_seconds) = watch.read();
    let many_files = many.files();
    let watch = Stopwatch::start();
    while many.maintain().await?.more() {}
    let (compact_seconds, compact_cpu_seconds) = watch.read();

    let report = json!({
        "rows": rows,
        "one_commit": { "seconds": one_seconds, "cpu_seconds": one_cpu_seconds },
        "many_commits": {
            "commits": commits, "files": many_files,
            "seconds": many_seconds, "cpu_seconds": many_cpu_seconds,
        },
        "compaction": { "seconds": compact_seconds, "cpu_seconds": compact_cpu_seconds, "files": many.files() },
        "bytes_per_row": (one.bytes() as f64 / rows as f64 * 100.0).round() / 100.0,
        "query_ms": {
            "count": query_ms(&one, "SELECT count(*) FROM payments").await?,
            "sum_by_company_top_10": query_ms(&one,
                "SELECT company, sum(amount) AS s FROM payments GROUP BY company ORDER BY s DESC LIMIT 10").await?,
            "one_person": query_ms(&one, "SELECT * FROM payments WHERE person_id = 4711").await?,
        },
    });
    println!("{report}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let commits = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("lake-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(measure(&folder, rows, commits));
    fs::remove_dir_all(&folder)?;
    result
}
