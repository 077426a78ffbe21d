//! A data folder with a log, a catalog and feeds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use pluvio_catalog::{
    Catalog, Changes, Column, DecodePolicy, DecodingDef, Definition, FeedDef, FileStart, FilesDef, FormatDef,
    StreamDef,
};
use pluvio_eventlog::{EventLog, LogOptions, TopicConfig};
use pluvio_feeds::{FeedStatus, Feeds, FeedsOptions};
use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_wire_kafka::records::for_each_record;
use tempfile::TempDir;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Rig {
    pub log: Arc<EventLog>,
    pub catalog: Catalog,
    pub options: FeedsOptions,
    pub folder: PathBuf,
    /// Removed at the end.
    _temporary: Option<TempDir>,
}

/// An event as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub partition: i32,
    pub value: String,
    pub headers: Vec<(String, String)>,
}

impl Event {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }
}

impl Rig {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let rig = Self::at(temporary.path());
        std::fs::create_dir(rig.folder.join("in")).unwrap();
        Self { _temporary: Some(temporary), ..rig }
    }

    /// Over a folder that is there.
    pub fn at(folder: &Path) -> Self {
        let options = FeedsOptions {
            poll_interval_ms: 5,
            checkpoint_interval_ms: 20,
            rotated_quiet_ms: 100,
            retry_ms: 10,
        };
        let log = open_log(folder);
        let catalog = Catalog::open(folder, Arc::new(RealDisk)).unwrap();
        Self { log, catalog, options, folder: folder.to_owned(), _temporary: None }
    }

    /// The same folder, opened again.
    pub fn reopened(mut self) -> Self {
        self.log.close();
        self.log = open_log(&self.folder);
        self
    }

    pub fn feeds(&self) -> Feeds {
        let (log, folder) = (Arc::clone(&self.log), self.folder.join("feeds"));
        let clock = Arc::new(SystemClock);
        let feeds = Feeds::with_options(log, folder, clock, Metrics::default(), self.options.clone());
        feeds.reconcile(&self.catalog).unwrap();
        feeds
    }

    /// A path among the files to follow.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("in").join(name)
    }

    /// A stream `s` over topic `s` that this feed fills.
    pub fn stream(&self, feed: FeedDef, partitions: u32) {
        self.named("s", feed, vec![column("text", DataType::Utf8)]);
        self.log.create_topic("s", partitions, TopicConfig::default()).unwrap();
    }

    pub fn named(&self, name: &str, feed: FeedDef, columns: Vec<Column>) {
        let definition = StreamDef {
            name: name.into(),
            columns,
            topic: name.into(),
            partitions: 1,
            from: Vec::new(),
            computed: Vec::new(),
            decoding: DecodingDef::default(),
            changes: Changes::Append,
            key: Vec::new(),
            max_future_ms: None,
            format: FormatDef::Json,
            on_error: DecodePolicy::DeadLetter,
            require: None,
            watermark: None,
            processing_time: None,
            idle_timeout_ms: 1,
            retention_ms: None,
            retention_bytes: None,
            kafka: None,
            feed: Some(Box::new(feed)),
            sql: String::new(),
        };
        self.catalog.add(Definition::Stream(definition)).unwrap();
    }

    /// All events of a topic, partition after partition.
    pub fn events_of(&self, topic: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut scratch = Vec::new();
        for partition in self.log.topic(topic).unwrap().partitions() {
            let mut from = partition.start_offset();
            while from < partition.end_offset() {
                let read = partition.read(from, 8 << 20).unwrap();
                for batch in &read.batches {
                    let walked = for_each_record(&batch.bytes, 64 << 20, &mut scratch, |record| {
                        assert_eq!(record.key, None);
                        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                        let header = |header: Result<(&str, Option<&[u8]>), _>| {
                            header.map(|(name, value)| (name.to_owned(), text(value.unwrap())))
                        };
                        events.push(Event {
                            partition: partition.index(),
                            value: text(record.value.unwrap()),
                            headers: record.headers().map(header).collect::<Result<_, _>>()?,
                        });
                        Ok(())
                    });
                    walked.unwrap();
                }
                from = read.next_offset;
            }
        }
        events
    }

    pub fn events(&self) -> Vec<Event> {
        self.events_of("s")
    }

    pub fn values(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.value).collect()
    }

    /// Waits until the topic has exactly these events, sorted.
    #[track_caller]
    pub fn expect(&self, values: &[&str]) {
        let mut wanted: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        wanted.sort();
        let sorted = || {
            let mut values = self.values();
            values.sort();
            values
        };
        let count =
            || -> i64 { self.log.topic("s").unwrap().partitions().iter().map(|it| it.end_offset()).sum() };
        let until = Instant::now() + PATIENCE;
        while (count() < wanted.len().try_into().unwrap()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(sorted(), wanted);
    }

    pub fn checkpoints(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.join("feeds")).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|it| it == "json")).collect()
    }
}

fn open_log(folder: &Path) -> Arc<EventLog> {
    let options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
    let (disk, clock, random) =
        (Arc::new(RealDisk), Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    EventLog::open(&folder.join("log"), disk, clock, random, Metrics::default(), options).unwrap()
}

pub fn column(name: &str, data_type: DataType) -> Column {
    Column { name: name.into(), data_type, nullable: true }
}

pub fn files(path: PathBuf, start: FileStart) -> FeedDef {
    FeedDef::Files(FilesDef { path, start })
}

pub fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Waits until the only feed is in a state.
#[track_caller]
pub fn wait_for(feeds: &Feeds, what: impl Fn(&FeedStatus) -> bool) -> FeedStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = feeds.status().remove(0);
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < until, "{status:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
