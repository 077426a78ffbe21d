//! The demo's live status line and its report at the end. Every number is read
//! from the platform's own counters.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pluvio_engine::Engine;
use pluvio_query::{JobStatus, Platform};
use serde::Serialize;

use crate::error::CliError;
use crate::load::Progress;
use crate::platform::Running;
use crate::terminal::{grouped, resident_bytes, resident_bytes_max};

/// The view that carries the names.
const VIEW: &str = "enriched";
/// Tables looked up for each of its rows.
const LOOKUPS_PER_ROW: u64 = 2;

/// What the demo reports.
#[derive(Debug, Serialize)]
pub struct Report {
    pub events_in: u64,
    pub events_per_second: f64,
    pub rows_enriched: u64,
    pub lookups: u64,
    pub latency_ms_p50: f64,
    pub latency_ms_p99: f64,
    pub epochs: i64,
    pub rss_mb_max: u64,
    pub dead_letters: u64,
    pub lake_rows: u64,
    pub acknowledged: u64,
    pub lag_max: u64,
    pub seconds: f64,
    pub first_rows_seconds: f64,
}

impl Report {
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"))
    }

    pub fn text(&self) -> String {
        format!(
            "{} events in {:.1} s ({:.0}/s), {} rows enriched by {} lookups, {} rows in the lake\n\
             visible after {:.0} ms (half) and {:.0} ms (99 of 100), {} epochs, {} MB at most, {} dead letters",
            grouped(self.events_in),
            self.seconds,
            self.events_per_second,
            grouped(self.rows_enriched),
            grouped(self.lookups),
            grouped(self.lake_rows),
            self.latency_ms_p50,
            self.latency_ms_p99,
            self.epochs,
            self.rss_mb_max,
            self.dead_letters
        )
    }
}

/// Watches the platform while the storm lasts.
pub struct Watch {
    platform: Arc<Platform>,
    engine: Arc<Engine>,
    /// When the command began.
    begun: Instant,
    /// When the storm began.
    rain: Instant,
    /// Events of earlier runs on the same folder.
    events_before: u64,
    first_rows_seconds: Option<f64>,
    lag_max: u64,
    shown: Instant,
    shown_events: u64,
    terminal: bool,
}

impl Watch {
    pub fn new(running: &Running, begun: Instant) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            platform: Arc::clone(running.pluvio.platform()),
            engine: Arc::clone(running.pluvio.engine()),
            begun,
            rain: now,
            events_before: 0,
            first_rows_seconds: None,
            lag_max: 0,
            shown: now,
            shown_events: 0,
            terminal: std::io::stderr().is_terminal(),
        };
        watch.events_before = watch.job().map_or(0, |j| j.rows_in);
        watch
    }

    fn job(&self) -> Option<JobStatus> {
        self.platform.jobs().ok()?.jobs().into_iter().find(|j| j.name == VIEW)
    }

    /// Events enriched in this run.
    pub fn events(&self) -> u64 {
        self.job().map_or(0, |j| j.rows_in.saturating_sub(self.events_before))
    }

    /// How long the storm has lasted, in seconds.
    pub fn rained(&self) -> f64 {
        self.rain.elapsed().as_secs_f64()
    }

    /// Looks at the numbers; shows them once a second.
    pub fn look(&mut self, progress: &Progress) {
        let Some(job) = self.job() else { return };
        let events = job.rows_in.saturating_sub(self.events_before);
        self.lag_max = self.lag_max.max(job.lag);
        if events > 0 && self.first_rows_seconds.is_none() {
            let seconds = self.begun.elapsed().as_secs_f64();
            self.first_rows_seconds = Some(seconds);
            eprintln!("  first enriched rows {seconds:.1} s after the start");
        }
        let since = self.shown.elapsed().as_secs_f64();
        if since < 1.0 {
            return;
        }
        #[allow(clippy::cast_precision_loss)]
        let rate = (events - self.shown_events) as f64 / since;
        let latency = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.0} ms"));
        let acknowledged = grouped(progress.acknowledged.load(Ordering::Relaxed));
        let line = format!(
            "  {rate:>9.0} events/s   {acknowledged:>13} in   lag {:>8}   p50 {:>6}   p99 {:>6}   {:>4} MB",
            grouped(job.lag),
            latency(job.latency_ms_p50),
            latency(job.latency_ms_p99),
            resident_bytes() >> 20
        );
        match self.terminal {
            true => eprint!("\r{line}  "),
            false => eprintln!("{line}"),
        }
        self.shown = Instant::now();
        self.shown_events = events;
    }

    /// The report, without the lake's rows: those come when the sinks are done.
    pub fn report(&self, progress: &Progress, seconds: f64) -> Result<Report, CliError> {
        let missing = || CliError::Other(format!("the job \"{VIEW}\" is gone"));
        let job = self.job().ok_or_else(missing)?;
        if let Some(error) = &job.error {
            return Err(CliError::Other(format!("the job \"{VIEW}\" {}: {error}", job.state)));
        }
        let events_in = job.rows_in.saturating_sub(self.events_before);
        let readings = self.platform.metrics().readings();
        let dead_letters = readings.iter().filter(|r| r.name == "engine_dead_letters").map(|r| r.value).sum();
        #[allow(clippy::cast_precision_loss)]
        let events_per_second = events_in as f64 / seconds;
        Ok(Report {
            events_in,
            events_per_second,
            rows_enriched: job.rows_out.saturating_sub(self.events_before),
            lookups: events_in * LOOKUPS_PER_ROW,
            latency_ms_p50: self.engine.latency_ms(VIEW, 0.5).unwrap_or(0.0),
            latency_ms_p99: self.engine.latency_ms(VIEW, 0.99).unwrap_or(0.0),
            epochs: job.epoch,
            rss_mb_max: resident_bytes_max() >> 20,
            dead_letters,
            lake_rows: 0,
            acknowledged: progress.acknowledged.load(Ordering::Relaxed),
            lag_max: self.lag_max,
            seconds,
            first_rows_seconds: self.first_rows_seconds.unwrap_or(0.0),
        })
    }
}
