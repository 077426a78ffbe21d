//! The thread that makes checkpoints when they are due, lets rows go when they are
//! old, and after a start loads tables that fit into memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Inner;
use super::checkpoint::Pace;
use super::load::Loading;
use crate::error::{Result, TableError};
use crate::span::Span;

/// How often the thread looks, in milliseconds.
const TICK_MS: u64 = 1000;

/// Starts the thread. It ends once the store is stopping.
pub(super) fn start(inner: &Arc<Inner>) -> Result<JoinHandle<()>> {
    let inner = Arc::clone(inner);
    let spawned = std::thread::Builder::new().name("table-checkpoint".to_owned()).spawn(move || run(&inner));
    let folder = std::path::Path::new("table-checkpoint");
    spawned.map_err(TableError::io("starting the thread", folder))
}

fn run(inner: &Inner) {
    let mut last_us = inner.clock.monotonic_us();
    let mut loading = Some(Loading::new(inner));
    let mut idle = false;
    while inner.sleep(idle) {
        idle = true;
        if let Some(tables) = &mut loading {
            match tables.step(inner, &Pace::background(inner)) {
                Ok(true) => idle = false,
                Ok(false) => loading = None,
                Err(TableError::Closed) => {}
                Err(error) => {
                    tracing::warn!(%error, "tables are not loaded into memory: their rows are read where they are");
                    loading = None;
                }
            }
        }
        inner.evict_spans();
        let now_us = inner.clock.monotonic_us();
        let due = now_us.saturating_sub(last_us) >= inner.options.checkpoint_interval_ms.saturating_mul(1000);
        if !due && !inner.needs_checkpoint() {
            continue;
        }
        last_us = now_us;
        match inner.checkpoint(&Pace::background(inner)) {
            Ok(()) => inner.keep_budget(),
            Err(TableError::Closed) => {}
            Err(error) => tracing::warn!(%error, "a checkpoint failed and is tried again"),
        }
    }
}

impl Inner {
    /// Waits for the next look if `idle`; false once the store is stopping.
    fn sleep(&self, idle: bool) -> bool {
        let mut wake = self.wake.lock();
        if !*wake && idle {
            let tick = TICK_MS.min(self.options.checkpoint_interval_ms.max(10));
            self.woken.wait_for(&mut wake, Duration::from_millis(tick));
        }
        *wake = false;
        !self.stopping.load(Ordering::Acquire)
    }

    /// Lets old rows of all spans go.
    pub(super) fn evict_spans(&self) {
        let spans: Vec<Arc<Span>> = self.catalog.read().spans.values().cloned().collect();
        for span in spans {
            span.evict();
            self.metrics.show_span(&span.name, span.len_rows(), span.bytes());
        }
    }
}
