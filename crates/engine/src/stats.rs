//! What is told of jobs and epochs: totals, latencies, the newest epochs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use pluvio_query::{EpochStatus, OperatorStatus};

const EPOCHS_KEPT: usize = 600;
const LATENCY_MS_MAX: u64 = 3_600_000;
/// After this many epochs, the older half of the latencies is forgotten.
const EPOCHS_PER_LATENCY_WINDOW: u32 = 100;

/// What an operator of a view has done since it was started.
#[derive(Debug)]
pub struct OperatorStats {
    /// What it does, in words.
    pub what: String,
    /// The operators it reads.
    pub inputs: Vec<usize>,
    /// Changes taken in.
    pub rows_in: AtomicU64,
    /// Changes given out.
    pub rows_out: AtomicU64,
    /// Time spent, in microseconds.
    pub busy_us: AtomicU64,
}

impl OperatorStats {
    /// Nothing yet.
    pub fn new(what: String, inputs: Vec<usize>) -> Self {
        let zero = AtomicU64::default;
        Self { what, inputs, rows_in: zero(), rows_out: zero(), busy_us: zero() }
    }

    /// Takes in what an epoch did.
    pub fn add(&self, rows_in: u64, rows_out: u64, busy_us: u64) {
        self.rows_in.fetch_add(rows_in, Ordering::Relaxed);
        self.rows_out.fetch_add(rows_out, Ordering::Relaxed);
        self.busy_us.fetch_add(busy_us, Ordering::Relaxed);
    }

    /// As it is told to readers, as an operator of this view.
    pub fn status(&self, view: &str, operator: usize) -> OperatorStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OperatorStatus {
            view: view.to_owned(),
            operator,
            inputs: self.inputs.clone(),
            what: self.what.clone(),
            rows_in: read(&self.rows_in),
            rows_out: read(&self.rows_out),
            busy_us: read(&self.busy_us),
        }
    }
}

/// The newest epochs of one graph, and how long its events took.
#[derive(Debug)]
pub struct GraphStats {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    epochs: VecDeque<EpochStatus>,
    newest: Option<Histogram<u64>>,
    older: Option<Histogram<u64>>,
    total: Option<Histogram<u64>>,
    epochs_in_newest: u32,
}

fn histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_max(LATENCY_MS_MAX, 3).ok()
}

impl GraphStats {
    /// Nothing yet.
    pub fn new() -> Self {
        let inner = Inner {
            epochs: VecDeque::new(),
            newest: histogram(),
            older: None,
            total: histogram(),
            epochs_in_newest: 0,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Takes in an epoch and its events' latencies: (milliseconds, events).
    pub fn add(&self, epoch: EpochStatus, latencies: &[(u64, u64)]) {
        let mut inner = self.inner.lock();
        inner.epochs.push_back(epoch);
        if inner.epochs.len() > EPOCHS_KEPT {
            inner.epochs.pop_front();
        }
        for (ms, events) in latencies {
            let ms = (*ms).min(LATENCY_MS_MAX);
            let Inner { newest, total, .. } = &mut *inner;
            for histogram in [newest, total].into_iter().flatten() {
                histogram.saturating_record_n(ms, *events);
            }
        }
        inner.epochs_in_newest += 1;
        if inner.epochs_in_newest >= EPOCHS_PER_LATENCY_WINDOW {
            inner.epochs_in_newest = 0;
            inner.older = inner.newest.replace_with_new();
        }
    }

    /// The newest epochs, oldest first.
    pub fn epochs(&self) -> Vec<EpochStatus> {
        self.inner.lock().epochs.iter().cloned().collect()
    }

    /// A quantile of the newest events' latencies, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> Option<f64> {
        let inner = self.inner.lock();
        let mut sum = inner.newest.clone()?;
        if let Some(older) = &inner.older {
            sum.add(older).ok()?;
        }
        value_at(&sum, quantile)
    }

    /// A quantile of all events' latencies since the start, in milliseconds.
    pub fn latency_ms_total(&self, quantile: f64) -> Option<f64> {
        value_at(self.inner.lock().total.as_ref()?, quantile)
    }
}

#[allow(clippy::cast_precision_loss)]
fn value_at(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64)
}

trait ReplaceWithNew {
    fn replace_with_new(&mut self) -> Self;
}

impl ReplaceWithNew for Option<Histogram<u64>> {
    fn replace_with_new(&mut self) -> Self {
        std::mem::replace(self, histogram())
    }
}
