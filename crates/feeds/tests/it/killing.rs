//! The process is killed at any instant: no line is lost and none is there twice.
//!
//! The process is this test's own program, started again with the name of
//! [`feeding`] and a folder; it tells every millisecond how it is doing, and that
//! paces what is written meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use pluvio_catalog::{FeedDef, FileStart};
use pluvio_eventlog::TopicConfig;
use pluvio_feeds::FeedState;
use pluvio_foundation::Random;
use pluvio_foundation::random::SeededRandom;

use crate::generating::{by_number, columns, counting};
use crate::rig::{Rig, append, files, wait_for};

const FOLDER: &str = "PLUVIO_FEEDS_TEST_FOLDER";
const INTERVAL: &str = "PLUVIO_FEEDS_TEST_CHECKPOINT_MS";

/// What the other process does until it is killed.
#[test]
#[ignore = "runs for others"]
fn feeding() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut rig = Rig::at(Path::new(&folder));
    rig.options.checkpoint_interval_ms = std::env::var(INTERVAL).unwrap().parse().unwrap();
    rig.options.rotated_quiet_ms = 5_000;
    let feeds = rig.feeds();
    // Ends with whoever reads this, too.
    while writeln!(std::io::stdout(), "status {}", feeds.status()[0].events).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

struct Process {
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(folder: &Path, checkpoint_ms: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killing::feeding", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .env(INTERVAL, checkpoint_ms.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, told }
    }

    /// Waits until it tells how it is doing: how many events it appended.
    fn events(&mut self) -> u64 {
        loop {
            let line = self.told.next().expect("the process ended by itself").unwrap();
            // The first one stands behind what the test runner writes.
            if let Some((_, count)) = line.split_once("status ") {
                return count.parse().unwrap();
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A program that logs to a file, in pieces that are no lines, and rotates it.
struct Logger {
    path: PathBuf,
    name: usize,
    lines: usize,
    rotations: usize,
    unwritten: String,
}

impl Logger {
    fn write(&mut self, random: &dyn Random) {
        for _ in 0..random.next_u64() % 40 {
            let padding = "x".repeat((random.next_u64() % 300) as usize);
            self.unwritten += &format!("{} {} {padding}\n", self.name, self.lines);
            self.lines += 1;
        }
        let piece = self.unwritten.len().saturating_sub((random.next_u64() % 200) as usize);
        append(&self.path, &self.unwritten.drain(..piece).collect::<String>());
        if random.next_u64().is_multiple_of(25) {
            self.rotate();
        }
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        let old = self.path.with_extension(format!("log.{}", self.rotations));
        if self.path.exists() {
            fs::rename(&self.path, &old).unwrap();
        }
        // As a program does that still has the old file open.
        append(&old, &std::mem::take(&mut self.unwritten));
    }

    fn finish(&mut self) {
        append(&self.path, &std::mem::take(&mut self.unwritten));
    }
}

#[test]
fn lines_of_files_are_there_once() {
    let rig = Rig::new();
    // The rotated files too: one may come and go while nobody looks.
    rig.stream(files(rig.path(""), FileStart::Beginning), 2);
    rig.log.close();
    let random = SeededRandom::new(7);
    let logger = |name: usize| {
        let path = rig.path(&format!("{name}.log"));
        Logger { path, name, lines: 0, rotations: 0, unwritten: String::new() }
    };
    let mut loggers: Vec<Logger> = (0..3).map(logger).collect();
    let mut appended = 0;
    for round in 0..25_u64 {
        let mut process = Process::start(&rig.folder, [0, 3, 1 << 40][(round % 3) as usize]);
        for _ in 0..random.next_u64() % 60 {
            appended += process.events();
            let logger = (random.next_u64() % 3) as usize;
            loggers[logger].write(&random);
        }
        process.kill();
        if round % 5 == 4 {
            rig.checkpoints().iter().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
    assert!(appended > 0, "something was appended between two kills");
    loggers.iter_mut().for_each(Logger::finish);
    let rig = rig.reopened();
    let feeds = rig.feeds();
    let lines: usize = loggers.iter().map(|logger| logger.lines).sum();
    assert!(lines > 1_000 && loggers.iter().any(|logger| logger.rotations > 0));
    let topic = rig.log.topic("s").unwrap();
    let count = || -> i64 { topic.partitions().iter().map(|partition| partition.end_offset()).sum() };
    wait_for(&feeds, |_| count() >= i64::try_from(lines).unwrap());
    drop(feeds);
    let mut seen: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for value in rig.values() {
        let mut words = value.split(' ').map(|word| word.parse().unwrap_or(usize::MAX));
        *seen.entry((words.next().unwrap(), words.next().unwrap())).or_default() += 1;
    }
    let once = loggers.iter().flat_map(|it| (0..it.lines).map(move |line| ((it.name, line), 1)));
    let once: BTreeMap<_, _> = once.collect();
    let strange: Vec<_> = seen.iter().filter(|it| once.get(it.0) != Some(it.1)).take(10).collect();
    let lost: Vec<_> = once.keys().filter(|key| !seen.contains_key(key)).take(10).collect();
    assert!(strange.is_empty() && lost.is_empty(), "twice or torn: {strange:?}, lost: {lost:?}");
}

#[test]
fn numbers_of_a_generator_are_there_once() {
    const ROWS: u64 = 400_000;
    let rig = Rig::new();
    rig.named("s", FeedDef::Generator(counting(100_000, ROWS)), columns());
    rig.log.create_topic("s", 3, TopicConfig::default()).unwrap();
    rig.log.close();
    let random = SeededRandom::new(11);
    for round in 0..12_u64 {
        let mut process = Process::start(&rig.folder, [0, 1 << 40][(round % 2) as usize]);
        // Somewhere in the middle of what it makes.
        let enough = random.next_u64() % 20_000;
        while process.events() < enough {}
        process.kill();
    }
    let rig = rig.reopened();
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.state == FeedState::Finished);
    drop(feeds);
    assert!(status.events < ROWS, "the killed ones made some");
    assert!(by_number(&rig, "s").keys().copied().eq(0..ROWS));
}
