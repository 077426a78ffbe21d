//! The files of a log, as a start finds them: the first byte chooses one of
//! them, the rest takes its place. What lies behind a checksum is given one
//! that fits, so that the search gets past it.
//!
//! Holds: whatever is in one file, the log opens or says why not, and serves
//! what it finds without a panic, an endless loop or memory that the file does
//! not pay for; what one life served of a damaged segment, the next one serves.

use bytes::Bytes;
use pluvio_eventlog::{Cleanup, EventLog, LogOptions, Partition, TopicConfig};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Disk, Metrics, OpenMode};
use pluvio_testkit::{ManualClock, SimDisk};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, EndMarker, parse_header};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const ROOT: &str = "/log";
const FILE_BYTES_MAX: u64 = 1 << 20;
const READ_BYTES: usize = 4096;
const NOW_MS: i64 = 1_767_225_600_000;
/// Reads that get no further than one offset each are as many as these at most.
const READS_MAX: usize = 10_000;

/// What the first byte of an input chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The file ends with a checksum of all of it.
    Whole,
    /// Each batch in it has one.
    Batches,
    /// None.
    Open,
}

/// A file of the log, and what it holds.
type Stored = (PathBuf, Vec<u8>);

/// Holds the file against what is promised of it.
pub fn check(input: &[u8]) {
    let Some((which, content)) = input.split_first() else { return };
    let files = stored();
    let which = usize::from(*which);
    let Some((path, was)) = files.get(which / 2) else { return };
    let guard = guard(path);
    let mut content = content.to_vec();
    let repaired = which % 2 == 0;
    if repaired {
        repair(guard, &mut content);
    }
    let disk = SimDisk::new();
    // No disk makes a segment longer or shorter than what its index was made of.
    let outdated = Some(path.with_extension("index")).filter(|_| guard == Guard::Batches);
    let outdated = outdated.filter(|_| content.len() != was.len());
    for (name, bytes) in files {
        if outdated.as_ref() == Some(name) {
            continue;
        }
        let bytes = if name == path { &content } else { bytes };
        disk.create_dir_all(name.parent().unwrap()).unwrap();
        disk.open(name, OpenMode::Create).unwrap().write_all_at(bytes, 0).unwrap();
    }
    let Some(first) = life(&disk, false) else { return };
    let second = life(&disk, true).unwrap();
    // A checksum that fits stands for what only the log itself writes.
    if guard == Guard::Batches && !repaired {
        assert_eq!(&second[..first.len()], &first[..]);
    }
    life(&disk, false).unwrap();
}

/// What an input must begin with to take the place of each of the log's files
/// with a checksum that fits, and what the file holds.
#[allow(dead_code, reason = "for whoever makes seeds")]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let seed = |(place, (path, bytes)): (usize, &Stored)| {
        let end = if guard(path) == Guard::Whole { bytes.len() - 4 } else { bytes.len() };
        let name = path.strip_prefix(ROOT).unwrap().display().to_string().replace('/', "-");
        (name, [&[u8::try_from(place * 2).unwrap()], &bytes[..end]].concat())
    };
    stored().iter().enumerate().map(seed).collect()
}

fn guard(path: &Path) -> Guard {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("log") => Guard::Batches,
        Some("json") => Guard::Open,
        _ => Guard::Whole,
    }
}

fn repair(guard: Guard, content: &mut Vec<u8>) {
    match guard {
        Guard::Open => {}
        Guard::Whole => content.extend(crc32c::crc32c(content).to_be_bytes()),
        Guard::Batches => {
            let mut at = 0;
            while let Ok(header) = parse_header(&content[at..]) {
                let Some(batch) = content[at..].get_mut(..header.total_bytes()) else { return };
                let crc = crc32c::crc32c(&batch[21..]);
                batch[17..21].copy_from_slice(&crc.to_be_bytes());
                at += header.total_bytes();
            }
        }
    }
}

fn open(disk: &SimDisk) -> Option<Arc<EventLog>> {
    let options = LogOptions {
        background: false,
        disk_reserve_bytes: 0,
        tail_bytes_per_topic: 0,
        compaction_map_bytes: 1 << 16,
        ..LogOptions::default()
    };
    let clock = Arc::new(ManualClock::at_ms(NOW_MS));
    let random = Arc::new(SeededRandom::new(1));
    EventLog::open(Path::new(ROOT), Arc::new(disk.clone()), clock, random, Metrics::default(), options).ok()
}

/// Opens the log, asks everything of it, appends to it, lets it remove and
/// compact if there is `upkeep`, and closes it. The batches there were before;
/// `None` if it does not open.
fn life(disk: &SimDisk, upkeep: bool) -> Option<Vec<(i64, Bytes)>> {
    let log = open(disk)?;
    let mut found = Vec::new();
    for topic in log.topics() {
        for partition in topic.partitions().iter().take(3) {
            found.extend(read_all(partition));
            ask(partition);
            let _ = partition.append(batch(9, 1, None));
            let _ = partition.append(batch(9, 2, Some((3, 1, 0))));
        }
    }
    let _ = log.new_producer_id();
    if upkeep {
        let _ = log.tick();
    }
    log.close();
    Some(found)
}

fn read_all(partition: &Partition) -> Vec<(i64, Bytes)> {
    let (mut from, mut found) = (partition.start_offset(), Vec::new());
    let mut reads = 0;
    while from < partition.end_offset() {
        let Ok(read) = partition.read(from, READ_BYTES) else { return found };
        assert!(read.next_offset > from, "reading at {from} does not go on");
        reads += 1;
        assert!(reads < READS_MAX, "reading has no end");
        from = read.next_offset;
        found.extend(read.batches.into_iter().map(|batch| (batch.base_offset, batch.bytes)));
    }
    found
}

fn ask(partition: &Partition) {
    let (start, end) = (partition.start_offset(), partition.end_offset());
    assert!(start <= end && partition.stable_offset() <= end);
    for at_ms in [0, NOW_MS, i64::MAX] {
        let _ = partition.offset_for_time(at_ms);
    }
    let _ = partition.newest();
    let _ = partition.read_committed(start, READ_BYTES);
    let _ = (partition.known_producers(), partition.ongoing_transactions(), partition.aborted_in(start, end));
}

/// The files of a small log: segments with their sidecars, producers,
/// transactions that are open and ended.
fn stored() -> &'static [Stored] {
    static FILES: OnceLock<Vec<Stored>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = SimDisk::new();
        fill(&disk);
        let mut files = Vec::new();
        collect(&disk, Path::new(ROOT), &mut files);
        files.sort();
        files
    })
}

fn fill(disk: &SimDisk) {
    let log = open(disk).unwrap();
    let cleanup = Cleanup::CompactDelete;
    let config =
        TopicConfig { segment_bytes: 1024, cleanup, dirty_ratio_min_ppm: 0, ..TopicConfig::default() };
    let topic = log.create_topic("t", 1, config).unwrap();
    let partition = topic.partition(0).unwrap();
    for number in 0..4 {
        partition.append(batch(number, 3, None)).unwrap();
        partition.append(batch(number, 2, Some((7, 0, i32::from(number) * 2)))).unwrap();
        let mut builder = BatchBuilder::new(NOW_MS);
        builder.push(Some(b"key"), Some(b"in doubt"), NOW_MS, &[]);
        let producer_id = 11 + i64::from(number);
        let doubted = builder.finish_transactional(Compression::None, (producer_id, 0, 0));
        partition.append(doubted.unwrap()).unwrap();
        if number < 3 {
            let marker = EndMarker { producer_id, producer_epoch: 0, is_commit: number == 1 };
            partition.end_transaction(&marker, 0).unwrap();
        }
    }
    log.tick().unwrap();
    log.close();
}

fn collect(disk: &SimDisk, folder: &Path, files: &mut Vec<Stored>) {
    for name in disk.list(folder).unwrap() {
        let path = folder.join(name);
        match disk.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => files.push((path, bytes)),
            Err(_) => collect(disk, &path, files),
        }
    }
}

fn batch(fill: u8, records: u8, producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(NOW_MS);
    for record in 0..records {
        builder.push(Some(&[record]), Some(&[fill; 60]), NOW_MS, &[]);
    }
    builder.finish(Compression::None, producer).unwrap()
}
