//! A sink: follows its view's committed rows and delivers them, on a thread of
//! its own. What was delivered is known from the target itself, so a crash at
//! any instant repeats nothing and loses nothing.

mod events;
mod kafka;
mod lake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use parking_lot::Mutex;
use pluvio_catalog::{SinkDef, SinkTarget};
use pluvio_foundation::{Clock, ErrorKind, Metrics};
use pluvio_keytables::{Span, Store};
use pluvio_query::{Lakes, QueryError};
use tokio::sync::Notify;

use crate::graph::{Signals, changes_name};

/// Bytes taken from the span at a time.
const READ_BYTES: u64 = 16 << 20;
/// How long to wait for rows before looking again.
const IDLE_MS: u64 = 50;
const RETRY_MS: u64 = 1_000;

/// What others see of a sink.
pub struct Shared {
    pub error: Mutex<Option<QueryError>>,
    pub rows: AtomicU64,
    /// The last epoch in the lake.
    pub epoch: AtomicU64,
    stop: AtomicBool,
    wake: Notify,
}

/// A running sink.
pub struct SinkHandle {
    pub def: SinkDef,
    pub shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a sink is built from.
pub struct SinkParts {
    pub def: SinkDef,
    /// Positions of the view's key, if it updates its rows.
    pub key: Option<Vec<usize>>,
    pub store: Arc<Store>,
    pub lakes: Arc<Lakes>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub signals: Arc<Signals>,
}

impl SinkHandle {
    /// Holds the view's rows that are not delivered yet and starts the thread.
    ///
    /// # Errors
    /// The view has no rows of its own, or the thread cannot start.
    pub fn start(parts: SinkParts) -> Result<Self, QueryError> {
        let missing =
            || QueryError::new(ErrorKind::NotFound, format!("\"{}\" keeps no rows", parts.def.from));
        let name = match parts.def.has_changes() && parts.key.is_some() {
            true => changes_name(&parts.def.from),
            false => parts.def.from.clone(),
        };
        let span = parts.store.span(&name).ok_or_else(missing)?;
        // Until the lake says what it has, everything is held.
        span.hold(&parts.def.name, Some(0));
        let def = parts.def.clone();
        let shared = Arc::new(Shared {
            error: Mutex::new(None),
            rows: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            wake: Notify::new(),
        });
        let worker = Worker { parts, span, shared: Arc::clone(&shared) };
        let failed =
            |e: std::io::Error| QueryError::new(ErrorKind::Io, format!("cannot start a thread: {e}"));
        let name = format!("sink {}", def.name);
        let thread = std::thread::Builder::new().name(name).spawn(move || worker.run()).map_err(failed)?;
        Ok(Self { def, shared, thread: Some(thread) })
    }

    /// Delivers what is committed and ends the thread.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(sink = %self.def.name, "the sink's thread ended by a panic");
        }
    }
}

struct Worker {
    parts: SinkParts,
    span: Arc<Span>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sink")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                *self.shared.error.lock() = Some(QueryError::new(ErrorKind::Internal, error.to_string()));
                return;
            }
        };
        runtime.block_on(async {
            while let Err(error) = self.follow().await {
                let before = self.shared.error.lock().replace(error.clone());
                // Once for each reason, however long it lasts.
                if before.is_none_or(|before| before.message() != error.message()) {
                    tracing::warn!(sink = %self.parts.def.name, %error, "the sink failed and is tried again");
                }
                if self.shared.stop.load(Ordering::Acquire) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            }
        });
    }

    /// Delivers until told to stop.
    async fn follow(&self) -> Result<(), QueryError> {
        match &self.parts.def.to {
            SinkTarget::Lake { lake, retention_ms } => self.follow_lake(lake, *retention_ms).await,
            SinkTarget::Kafka(target) => self.follow_kafka(target).await,
        }
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Whether rows may still be taken back altogether: the view takes in what it
    /// begins with.
    fn catching_up(&self) -> bool {
        self.parts.signals.catching_up.load(Ordering::Acquire)
    }

    /// Whether the time since the last commit, in monotonic microseconds, is over.
    fn is_due(&self, last_commit_us: u64) -> bool {
        let waited_us = self.parts.clock.monotonic_us().saturating_sub(last_commit_us);
        waited_us >= self.parts.def.commit_interval_ms.saturating_mul(1000)
    }

    /// The rows of the epochs behind this one, some of them; each epoch's are whole.
    fn pieces(&self, written: u64) -> Result<Vec<(u64, RecordBatch)>, QueryError> {
        match self.catching_up() {
            true => Ok(Vec::new()),
            false => Ok(self.span.read(Some(written), READ_BYTES)?),
        }
    }

    /// Lets the view forget what is delivered, and tells of it.
    fn delivered(&self, epoch: u64, rows: u64) {
        self.span.hold(&self.parts.def.name, Some(epoch));
        self.shared.epoch.store(epoch, Ordering::Relaxed);
        self.shared.rows.store(rows, Ordering::Relaxed);
    }

    /// Waits for rows, a while.
    async fn rest(&self, committed: tokio::sync::futures::Notified<'_>) {
        let pause = tokio::time::sleep(Duration::from_millis(IDLE_MS));
        tokio::select! { () = committed => {}, () = pause => {}, () = self.shared.wake.notified() => {} }
    }
}
