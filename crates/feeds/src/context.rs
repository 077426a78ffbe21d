//! What every feed is given.

use std::path::PathBuf;
use std::sync::Arc;

use pluvio_catalog::{Column, FeedDef};
use pluvio_eventlog::EventLog;
use pluvio_foundation::{Clock, Disk};

use crate::FeedsOptions;
use crate::status::Board;
use crate::stop::Stop;

/// What a feed is made from; another one means another feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub stream: String,
    pub topic: String,
    pub columns: Vec<Column>,
    pub def: FeedDef,
}

/// A feed's surroundings.
#[derive(Debug)]
pub(crate) struct Context {
    pub spec: Spec,
    pub log: Arc<EventLog>,
    pub clock: Arc<dyn Clock>,
    pub disk: Arc<dyn Disk>,
    /// Where its checkpoint is.
    pub checkpoint: PathBuf,
    pub options: FeedsOptions,
    pub stop: Stop,
    pub board: Board,
}

impl Context {
    /// Whether so many milliseconds have passed since a moment of the monotonic
    /// clock.
    pub fn passed(&self, since_us: u64, time_ms: u64) -> bool {
        self.clock.monotonic_us().saturating_sub(since_us) >= time_ms.saturating_mul(1000)
    }
}
