//! How a feed is doing, for whoever asks.

use std::sync::Arc;

use parking_lot::Mutex;
use pluvio_foundation::Metrics;
use pluvio_foundation::metrics::Cell;

/// What a feed is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedState {
    /// It takes what comes.
    Running,
    /// There is nothing to take yet: no such topic, or no file that matches.
    Waiting,
    /// It has made all that it was to make.
    Finished,
    /// It failed, and tries again.
    Failed,
}

impl FeedState {
    /// As listings show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// A feed, as it is now. Counts are since the process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedStatus {
    /// The stream it fills.
    pub stream: String,
    /// Its connector: `files`, `lines` or `generator`.
    pub kind: &'static str,
    /// What it is doing.
    pub state: FeedState,
    /// What it takes from: `3 files`, the address it listens at, the number of
    /// the next event.
    pub source: String,
    /// Events it appended.
    pub events: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Lines that were left out because they are too long.
    pub skipped: u64,
    /// What is wrong. A feed that runs has one if it must leave something out.
    pub error: Option<String>,
}

/// Where a feed writes how it is doing.
#[derive(Debug)]
pub(crate) struct Board {
    shown: Mutex<Shown>,
    events: Arc<Cell>,
    bytes: Arc<Cell>,
    skipped: Arc<Cell>,
}

#[derive(Debug)]
struct Shown {
    state: FeedState,
    source: String,
    error: Option<String>,
}

impl Board {
    pub fn new(metrics: &Metrics, stream: &str) -> Self {
        let shown = Shown { state: FeedState::Waiting, source: String::new(), error: None };
        let cell = |name| metrics.cell(name, stream);
        let (events, bytes, skipped) = (cell("feed_events"), cell("feed_bytes"), cell("feed_skipped"));
        Self { shown: Mutex::new(shown), events, bytes, skipped }
    }

    /// What it does from now on.
    pub fn show(&self, state: FeedState, source: String, error: Option<String>) {
        *self.shown.lock() = Shown { state, source, error };
    }

    /// It does something else with the same source.
    pub fn turn(&self, state: FeedState, error: Option<String>) {
        let mut shown = self.shown.lock();
        (shown.state, shown.error) = (state, error);
    }

    /// Events were appended.
    pub fn count(&self, events: u64, bytes: u64) {
        self.events.add(events);
        self.bytes.add(bytes);
    }

    /// Lines were left out.
    pub fn skip(&self, lines: u64) {
        self.skipped.add(lines);
    }

    /// The feed is gone for good.
    pub fn clear(&self) {
        [&self.events, &self.bytes, &self.skipped].into_iter().for_each(|cell| cell.set(0));
    }

    pub fn status(&self, stream: &str, kind: &'static str) -> FeedStatus {
        let shown = self.shown.lock();
        FeedStatus {
            stream: stream.to_owned(),
            kind,
            state: shown.state,
            source: shown.source.clone(),
            events: self.events.get(),
            bytes: self.bytes.get(),
            skipped: self.skipped.get(),
            error: shown.error.clone(),
        }
    }
}
