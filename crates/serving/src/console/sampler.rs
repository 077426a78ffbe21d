//! Reads the system's numbers four times a second. That is always done, for the
//! history, and costs next to nothing; messages are made only while a page is
//! open.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pluvio_foundation::metrics::Reading;
use pluvio_query::{JobStatus, is_internal_topic};
use tokio::time::{MissedTickBehavior, interval};

use super::history::{Counts, Point};
use super::hub::Hub;
use super::message;

const PERIOD: Duration = Duration::from_millis(250);
/// Rates are over four seconds, so that the steps of single epochs do not show.
const SAMPLES: usize = 17;
/// Sinks commit every ten seconds or so: theirs are over a minute.
const SLOW_SAMPLES: usize = 61;
/// Every how many samples the catalog message is made.
const CATALOG_EVERY: u64 = 4;

/// Rates over a short and over a long time.
pub(super) struct Rates {
    pub(super) fast: Counts,
    pub(super) slow: Counts,
}

/// One reading of everything.
pub(super) struct Sample {
    /// Unix milliseconds.
    pub(super) at: i64,
    pub(super) readings: Vec<Reading>,
    pub(super) jobs: Vec<JobStatus>,
    pub(super) memory_bytes: Option<u64>,
}

impl Sample {
    fn take(hub: &Hub) -> Self {
        Self {
            at: hub.platform.clock().now_ms(),
            readings: hub.platform.metrics().readings(),
            jobs: hub.platform.jobs().map(|jobs| jobs.jobs()).unwrap_or_default(),
            memory_bytes: resident_bytes(),
        }
    }

    /// The sum of a metric over the labels that `wanted` takes.
    pub(super) fn sum(&self, name: &str, wanted: impl Fn(&str) -> bool) -> u64 {
        let readings = self.readings.iter().filter(|reading| reading.name == name && wanted(&reading.label));
        readings.map(|reading| reading.value).sum()
    }

    /// The counts whose rates are shown.
    fn counts(&self) -> HashMap<String, u64> {
        let mut counts = HashMap::from([
            ("events".to_owned(), self.sum("log_records_appended", is_users_topic)),
            ("bytes".to_owned(), self.sum("log_bytes_appended", is_users_topic)),
        ]);
        for job in &self.jobs {
            counts.insert(format!("in/{}", job.name), job.rows_in);
            counts.insert(format!("out/{}", job.name), job.rows_out);
        }
        for reading in self.readings.iter().filter(|reading| reading.name == "log_records_appended") {
            counts.insert(format!("topic/{}", reading.label), reading.value);
        }
        counts
    }
}

fn is_users_topic(name: &str) -> bool {
    !is_internal_topic(name)
}

/// Samples until aborted.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rates = Rates { fast: Counts::over(SAMPLES), slow: Counts::over(SLOW_SAMPLES) };
    let mut letters = message::Letters::default();
    for number in 0_u64.. {
        ticks.tick().await;
        let taker = Arc::clone(&hub);
        // Asking the engine may block.
        let Ok(sample) = tokio::task::spawn_blocking(move || Sample::take(&taker)).await else { continue };
        let (now_us, counts) = (hub.platform.clock().monotonic_us(), sample.counts());
        if number % CATALOG_EVERY == 0 {
            rates.slow.push(now_us, counts.clone());
        }
        rates.fast.push(now_us, counts);
        let main = message::main_view(&hub, &sample);
        let point = point(&sample, &rates.fast, main.as_deref());
        hub.history.lock().push(point);
        if !hub.is_watched() {
            continue;
        }
        if number % CATALOG_EVERY == 0 {
            letters.refresh(&hub, &sample).await;
            let catalog = message::catalog(&hub, &sample, &rates.fast, main.as_deref(), &letters).await;
            hub.catalog.send_replace(catalog.to_string().into());
        }
        let status = message::status(&sample, &rates, &point, main.as_deref());
        hub.status.send_replace(status.to_string().into());
    }
}

fn point(sample: &Sample, counts: &Counts, main: Option<&str>) -> Point {
    let job = main.and_then(|main| sample.jobs.iter().find(|job| job.name == main));
    let busy = job.and_then(|job| counts.rate(&format!("in/{}", job.name))).is_some_and(|rate| rate > 0.0);
    let fresh = job.filter(|_| busy);
    Point {
        at: sample.at,
        events: counts.rate("events").unwrap_or_default(),
        rows: main.and_then(|main| counts.rate(&format!("out/{main}"))).unwrap_or_default(),
        p50: fresh.and_then(|job| job.latency_ms_p50),
        p99: fresh.and_then(|job| job.latency_ms_p99),
    }
}

/// Memory of this process that is in RAM, in bytes; none where the system does
/// not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
