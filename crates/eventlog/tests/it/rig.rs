//! A log on a simulated disk, and batches to put into it.

use bytes::Bytes;
use pluvio_eventlog::{EventLog, LogOptions, Partition, StoredBatch, TopicConfig};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Disk, Metrics};
use pluvio_testkit::{ManualClock, SimDisk};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{BatchBuilder, set_base_offset, set_leader_epoch};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A machine: its disk, its clock, and how the log is set up on it.
pub struct Rig {
    pub disk: SimDisk,
    pub clock: ManualClock,
    pub metrics: Metrics,
    pub options: LogOptions,
    /// How topic `t` is made.
    pub topic: TopicConfig,
    pub seed: u64,
}

impl Rig {
    pub fn new() -> Self {
        let options = LogOptions { background: false, disk_reserve_bytes: 0, ..LogOptions::default() };
        let (disk, clock) = (SimDisk::new(), ManualClock::default());
        Self { disk, clock, metrics: Metrics::default(), options, topic: small_segments(), seed: 1 }
    }

    /// The same without memory of what was appended: reads go to the file.
    pub fn without_tail() -> Self {
        let mut rig = Self::new();
        rig.options.tail_bytes_per_topic = 0;
        rig
    }

    pub fn open(&self) -> Arc<EventLog> {
        let (disk, clock) = (Arc::new(self.disk.clone()), Arc::new(self.clock.clone()));
        let random = Arc::new(SeededRandom::new(self.seed));
        EventLog::open(folder(), disk, clock, random, self.metrics.clone(), self.options.clone()).unwrap()
    }

    /// Cuts the power.
    pub fn crash(&mut self, seed: u64) {
        self.disk = self.disk.crash(&SeededRandom::new(seed));
    }

    /// Ends the program only.
    pub fn kill(&mut self) {
        self.disk = self.disk.kill();
    }

    /// A log with topic `t` of one partition, and that.
    pub fn with_topic(&self) -> (Arc<EventLog>, Arc<Partition>) {
        let log = self.open();
        let partition = log.create_topic("t", 1, self.topic.clone()).unwrap().partition(0).unwrap();
        (log, partition)
    }

    /// The log opened again, and partition 0 of topic `t`.
    pub fn reopen(&self) -> (Arc<EventLog>, Arc<Partition>) {
        let log = self.open();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        (log, partition)
    }

    /// The names in the folder of partition 0 of topic `t` that end in `kind`.
    pub fn files(&self, kind: &str) -> Vec<PathBuf> {
        let folder = folder().join("topics/t/0");
        let names = self.disk.list(&folder).unwrap();
        names.iter().filter(|name| name.ends_with(kind)).map(|name| folder.join(name)).collect()
    }
}

pub fn folder() -> &'static Path {
    Path::new("/data/log")
}

pub fn small_segments() -> TopicConfig {
    TopicConfig { segment_bytes: 4096, ..TopicConfig::default() }
}

/// A batch of one record of `value_bytes` bytes that all have the value `fill`.
pub fn batch(fill: u8, value_bytes: usize) -> Bytes {
    batch_of(1, fill, value_bytes, 1_767_225_600_000, None)
}

/// A batch with a time, in milliseconds since 1970, for its first record; each
/// further one is 1 ms later.
pub fn batch_of(
    records: i64,
    fill: u8,
    value_bytes: usize,
    base_timestamp_ms: i64,
    producer: Option<(i64, i16, i32)>,
) -> Bytes {
    let mut builder = BatchBuilder::new(base_timestamp_ms);
    for record in 0..records {
        builder.push(Some(b"key"), Some(&vec![fill; value_bytes]), base_timestamp_ms + record, &[]);
    }
    builder.finish(Compression::None, producer).unwrap()
}

/// A batch of `records` records within the producer's transaction.
pub fn transactional(records: i64, fill: u8, producer: (i64, i16, i32)) -> Bytes {
    let mut builder = BatchBuilder::new(1_767_225_600_000);
    for _ in 0..records {
        builder.push(Some(b"key"), Some(&[fill; 50]), 1_767_225_600_000, &[]);
    }
    builder.finish_transactional(Compression::None, producer).unwrap()
}

/// The batch as the log stores it at an offset.
pub fn stored(batch: &Bytes, offset: i64) -> Bytes {
    let mut bytes = batch.to_vec();
    set_base_offset(&mut bytes, offset);
    set_leader_epoch(&mut bytes, 0);
    Bytes::from(bytes)
}

/// Everything in the partition, read in steps of `max_bytes`.
pub fn read_all(partition: &Partition, max_bytes: usize) -> Vec<StoredBatch> {
    let mut all = Vec::new();
    let mut from = partition.start_offset();
    while from < partition.end_offset() {
        let read = partition.read(from, max_bytes).unwrap();
        assert!(read.next_offset > from, "reading at {from} does not go on");
        from = read.next_offset;
        all.extend(read.batches);
    }
    all
}

/// The base offsets of these batches.
pub fn offsets(batches: &[StoredBatch]) -> Vec<i64> {
    batches.iter().map(|batch| batch.base_offset).collect()
}
