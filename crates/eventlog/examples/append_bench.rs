//! Measures the event log on a real disk and prints one JSON object.
//!
//! `cargo run --release -p pluvio-eventlog --example append_bench -- [folder] [MiB]`
//!
//! 1 KB records in batches of about 64 KB: appending (speed, CPU per GB), reading
//! from memory and from the file, the time until an append is durable alone and
//! among many, small batches, and the start after a clean close.

// A measuring program ends at the first surprise.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pluvio_eventlog::{EventLog, LogOptions, Partition, TopicConfig};
use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const RECORD_BYTES: usize = 1_000;
const RECORDS_PER_BATCH: usize = 64;
const READ_BYTES: usize = 1 << 20;

fn batch(records: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(1_700_000_000_000);
    let value = vec![b'x'; value_bytes];
    for _ in 0..records {
        builder.push(None, Some(&value), 1_700_000_000_000, &[]);
    }
    builder.finish(Compression::None, None).unwrap()
}

fn open(folder: &Path, options: LogOptions) -> Arc<EventLog> {
    let (disk, clock, random) =
        (Arc::new(RealDisk), Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    EventLog::open(folder, disk, clock, random, Metrics::default(), options).unwrap()
}

/// Seconds of CPU that this process has used, in user and in system mode.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

/// Memory that this process holds.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Runs `work`, which says how many bytes it moved: MB/s and CPU seconds per GB.
fn measured(work: impl FnOnce() -> u64) -> Value {
    let (began, cpu) = (Instant::now(), cpu_s());
    let bytes = work() as f64;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_s() - cpu);
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    json!({ "mb_per_s": round(bytes / 1e6 / seconds).round(), "cpu_s_per_gb": round(cpu / (bytes / 1e9)) })
}

fn append_all(partition: &Partition, batch: &Bytes, bytes: u64) -> u64 {
    let mut sent = 0;
    while sent < bytes {
        partition.append(batch.clone()).unwrap();
        sent += batch.len() as u64;
    }
    sent
}

fn read_from(partition: &Partition, mut from: i64) -> u64 {
    let mut bytes = 0;
    while from < partition.end_offset() {
        let read = partition.read(from, READ_BYTES).unwrap();
        bytes += read.batches.iter().map(|batch| batch.bytes.len() as u64).sum::<u64>();
        from = read.next_offset;
    }
    bytes
}

fn percentiles_us(mut times_us: Vec<u64>) -> Value {
    times_us.sort_unstable();
    let at = |part: f64| times_us[((times_us.len() - 1) as f64 * part) as usize];
    json!({ "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

/// How long each of `waiters` tasks, spread over the partitions, waits for its
/// appends to be durable.
fn durable_us(partitions: &[Arc<Partition>], batch: &Bytes, waiters: usize, rounds: usize) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let began = Instant::now();
    let times: Vec<u64> = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for waiter in 0..waiters {
            let partition = Arc::clone(&partitions[waiter % partitions.len()]);
            let batch = batch.clone();
            tasks.spawn(async move {
                let mut times = Vec::with_capacity(rounds);
                for _ in 0..rounds {
                    let began = Instant::now();
                    let appended = partition.append(batch.clone()).unwrap();
                    partition.durable(appended.last_offset + 1).await.unwrap();
                    times.push(began.elapsed().as_micros() as u64);
                }
                times
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    });
    let per_second = (times.len() as f64 / began.elapsed().as_secs_f64()).round();
    let mut shown = percentiles_us(times);
    shown["batches_per_s"] = json!(per_second);
    shown
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder =
        arguments.next().map_or_else(|| std::env::temp_dir().join("pluvio-append-bench"), PathBuf::from);
    let bytes = arguments.next().map_or(1024, |text| text.parse::<u64>().unwrap()) << 20;
    std::fs::create_dir_all(&folder).unwrap();
    let folder = folder.join(std::process::id().to_string());
    let mut shown = Map::new();
    let log = open(&folder, LogOptions::default());
    let before = resident_bytes();
    log.create_topic("wide", 10_000, TopicConfig::default()).unwrap();
    let each = resident_bytes().saturating_sub(before) / 10_000;
    shown.insert("bytes_per_empty_partition".into(), json!(each));

    let large = batch(RECORDS_PER_BATCH, RECORD_BYTES);
    let topic = |name: &str| log.create_topic(name, 4, TopicConfig::default()).unwrap().partition(0).unwrap();

    let partition = topic("large");
    shown.insert("append".into(), measured(|| append_all(&partition, &large, bytes)));
    shown.insert(
        "append_then_sync".into(),
        measured(|| {
            let sent = append_all(&partition, &large, bytes);
            partition.sync(i64::MAX).unwrap();
            sent
        }),
    );
    shown.insert("read_file".into(), measured(|| read_from(&partition, 0)));
    let tail_batches = (LogOptions::default().tail_bytes_per_topic / (large.len() + 128)) as i64 - 1;
    let tail = partition.end_offset() - tail_batches * RECORDS_PER_BATCH as i64;
    shown.insert("read_tail".into(), measured(|| (0..100).map(|_| read_from(&partition, tail)).sum()));

    let small = batch(1, 100);
    let small_partition = topic("small");
    let count = 200_000;
    let began = Instant::now();
    for _ in 0..count {
        small_partition.append(small.clone()).unwrap();
    }
    let per_second = f64::from(count) / began.elapsed().as_secs_f64();
    shown.insert("append_batches_of_100_bytes_per_s".into(), json!(per_second.round()));

    for (partitions, waiters) in [(1, 1), (1, 64), (16, 64)] {
        let name = format!("durable_us_{partitions}_partitions_{waiters}_waiters");
        let waiting = log.create_topic(&name, partitions, TopicConfig::default()).unwrap().partitions();
        shown.insert(name, durable_us(&waiting, &large, waiters, if waiters == 1 { 200 } else { 50 }));
    }

    let began = Instant::now();
    log.close();
    shown.insert("close_ms".into(), json!(began.elapsed().as_millis() as u64));
    drop(log);
    let began = Instant::now();
    drop(open(&folder, LogOptions::default()));
    shown.insert("open_and_close_ms".into(), json!(began.elapsed().as_millis() as u64));
    std::fs::remove_dir_all(&folder).unwrap();
    println!("{}", Value::Object(shown));
}
