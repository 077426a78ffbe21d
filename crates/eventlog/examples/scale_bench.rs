//! Measures how a log with much in it starts, on a real disk, and prints one
//! JSON object.
//!
//! `cargo run --release -p pluvio-eventlog --example scale_bench -- [folder]`
//!
//! The memory of 10,000 empty partitions, and the time to open 900 segments of
//! 128 MiB over 100 partitions, closed cleanly and after a crash. The closed
//! segments are sparse files of that length behind a few real batches: what is
//! measured is what an open does with so many, not how fast the disk reads.
//! The newest segment of each partition is real.

// A measuring program ends at the first surprise.
#![allow(clippy::unwrap_used)]

use pluvio_eventlog::{EventLog, LogOptions, TopicConfig};
use pluvio_foundation::{Clock, Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const PARTITIONS: u32 = 100;
const SEGMENTS: usize = 9;
const SEGMENT_BYTES: u64 = 128 << 20;
/// What the newest segment of each partition holds.
const NEWEST_BYTES: usize = 12 << 20;

fn open(folder: &Path) -> Arc<EventLog> {
    let (disk, clock, random) =
        (Arc::new(RealDisk), Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    EventLog::open(folder, disk, clock, random, Metrics::default(), LogOptions::default()).unwrap()
}

/// Memory that this process holds.
fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn batch(bytes: usize) -> bytes::Bytes {
    let now_ms = SystemClock.now_ms();
    let mut builder = BatchBuilder::new(now_ms);
    builder.push(None, Some(&vec![b'x'; bytes]), now_ms, &[]);
    builder.finish(Compression::None, None).unwrap()
}

/// Fills the partitions with small segments; the last one as large as said.
fn fill(log: &EventLog) {
    let tiny = TopicConfig { segment_bytes: 1 << 10, ..TopicConfig::default() };
    let topic = log.create_topic("full", PARTITIONS, tiny.clone()).unwrap();
    for partition in topic.partitions() {
        for _ in 0..SEGMENTS {
            partition.append(batch(1_000)).unwrap();
        }
    }
    log.alter_topic("full", TopicConfig { segment_bytes: SEGMENT_BYTES, ..tiny }).unwrap();
    let large = batch(1_000_000);
    for partition in topic.partitions() {
        for _ in 0..NEWEST_BYTES / large.len() {
            partition.append(large.clone()).unwrap();
            partition.sync(i64::MAX).unwrap();
        }
    }
}

/// Makes the closed segments as long as they would be.
fn stretch(folder: &Path) -> u64 {
    let mut bytes = 0;
    for partition in 0..PARTITIONS {
        let folder = folder.join("topics/full").join(partition.to_string());
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<PathBuf> =
            names.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
        logs.sort();
        for path in &logs[..logs.len() - 1] {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(SEGMENT_BYTES).unwrap();
            bytes += SEGMENT_BYTES;
        }
        bytes += fs::metadata(&logs[logs.len() - 1]).unwrap().len();
    }
    bytes
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

fn opened_ms(folder: &Path) -> u64 {
    let began = Instant::now();
    let log = open(folder);
    let ms = began.elapsed().as_millis() as u64;
    assert_eq!(log.topic("full").unwrap().partitions().len(), PARTITIONS as usize);
    assert!(log.recovery_report().is_empty(), "{:?}", log.recovery_report());
    ms
}

fn main() {
    let base = std::env::args()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("pluvio-scale-bench"), PathBuf::from);
    let base = base.join(std::process::id().to_string());
    fs::create_dir_all(&base).unwrap();
    let log = open(&base.join("wide"));
    let before = resident_bytes();
    log.create_topic("wide", 10_000, TopicConfig::default()).unwrap();
    let wide = resident_bytes().saturating_sub(before);
    log.close();

    let (clean, crashed) = (base.join("clean"), base.join("crashed"));
    let log = open(&clean);
    fill(&log);
    log.tick().unwrap();
    // What a crash leaves: the files as they are, nothing closed.
    copy(&clean, &crashed);
    log.close();
    drop(log);
    let bytes = stretch(&clean);
    stretch(&crashed);
    let clean_ms = opened_ms(&clean);
    let crashed_ms = opened_ms(&crashed);
    fs::remove_dir_all(&base).unwrap();
    let shown = json!({
        "empty_partitions": 10_000, "empty_partitions_bytes": wide,
        "segments": SEGMENTS as u64 * u64::from(PARTITIONS), "partitions": PARTITIONS, "bytes": bytes,
        "open_after_clean_close_ms": clean_ms, "open_after_crash_ms": crashed_ms,
    });
    println!("{shown}");
}
