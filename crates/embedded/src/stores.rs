//! Opens the stores of a data folder, in their order.

use std::sync::Arc;

use pluvio_catalog::Catalog;
use pluvio_config::Config;
use pluvio_eventlog::{EventLog, LogOptions, TopicConfig};
use pluvio_foundation::{Clock, Disk, Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_keytables::{Store, StoreOptions};
use pluvio_query::functions::Functions;
use pluvio_query::{Platform, PlatformOptions, QueryError};

const QUERY_MEMORY_BYTES: usize = 512 << 20;

/// Opens the event log of a data folder.
///
/// # Errors
/// Data that cannot be read.
pub fn open_log(config: &Config, metrics: &Metrics) -> Result<Arc<EventLog>, QueryError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let tail = usize::try_from(config.memory_log_tail_bytes).unwrap_or(usize::MAX);
    let topic = TopicConfig {
        retention_ms: i64::try_from(config.log_retention_ms).ok(),
        segment_bytes: config.log_segment_bytes,
        ..TopicConfig::default()
    };
    let options = LogOptions {
        topic,
        tail_bytes_total: tail,
        tail_bytes_per_topic: tail,
        disk_reserve_bytes: config.disk_reserve_bytes,
        ..LogOptions::default()
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    let folder = config.data_dir.join("log");
    let log = EventLog::open(&folder, disk, clock, random, metrics.clone(), options)?;
    for line in log.recovery_report() {
        tracing::warn!("{line}");
    }
    Ok(log)
}

/// Opens the stores of a data folder as a platform without jobs.
///
/// # Errors
/// Data that cannot be read.
pub fn open_platform(
    config: &Config,
    metrics: &Metrics,
    functions: Functions,
) -> Result<(Arc<Platform>, Arc<EventLog>), QueryError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = &config.data_dir;
    let log = open_log(config, metrics)?;
    let options = StoreOptions { memory_budget_bytes: config.memory_tables_bytes, ..StoreOptions::default() };
    let tables = folder.join("tables");
    let store = Store::open(&tables, Arc::clone(&disk), Arc::clone(&clock), metrics.clone(), options)?;
    let catalog = Arc::new(Catalog::open(folder, disk)?);
    let options = PlatformOptions {
        data_dir: folder.clone(),
        lake_dir: config.lake_dir.clone().unwrap_or_else(|| folder.join("lake")),
        query_memory_bytes: QUERY_MEMORY_BYTES,
        default_partitions: config.default_partitions,
        lake_commit_interval_ms: config.lake_commit_interval_ms,
        lake_commit_bytes: config.lake_commit_bytes,
        functions,
    };
    let platform = Platform::new(options, catalog, Arc::clone(&log), store, clock, metrics.clone())?;
    Ok((platform, log))
}
