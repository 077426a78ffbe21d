//! Puts the platform together: opens the stores in their order, starts the
//! engine, opens the doors; and closes them in the opposite order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use pluvio_catalog::Catalog;
use pluvio_config::Config;
use pluvio_doors::kafka::{self, Broker, BrokerOptions};
use pluvio_engine::{Engine, EngineOptions};
use pluvio_eventlog::{EventLog, LogOptions, TopicConfig};
use pluvio_foundation::{Clock, Disk, Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_keytables::{Store, StoreOptions};
use pluvio_query::{Jobs, Platform, PlatformOptions};
use pluvio_serving::console::ConsoleOptions;
use pluvio_serving::{console, postgres};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::CliError;

const QUERY_MEMORY_BYTES: usize = 512 << 20;
/// Threads that decode the partitions of one epoch.
const WORKERS: usize = 2;

/// A running platform.
pub struct Running {
    /// For sessions.
    pub platform: Arc<Platform>,
    /// The jobs.
    pub engine: Arc<Engine>,
    log: Arc<EventLog>,
    shutdown: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    closed_doors: Option<(Listeners, Arc<Broker>)>,
    doors: Vec<JoinHandle<()>>,
    /// Where the doors are.
    pub addresses: Addresses,
    _lock: FolderLock,
}

/// Where the doors are.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Kafka.
    pub kafka: SocketAddr,
    /// Postgres.
    pub postgres: SocketAddr,
    /// The console.
    pub http: SocketAddr,
}

struct Listeners {
    kafka: TcpListener,
    postgres: TcpListener,
    http: TcpListener,
}

async fn listen(option: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => CliError::Other(format!(
            "the port {} is in use (--{option} {address}); stop what listens there or choose another with --{option} {}:PORT",
            address.port(), address.ip()
        )),
        _ => CliError::io(format!("cannot listen on {address} (--{option})"), error),
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, CliError> {
    listener.local_addr().map_err(|e| CliError::io("cannot tell the listening address", e))
}

/// One process a data folder: the lock is the file's, and ends with the process.
struct FolderLock(#[allow(dead_code)] std::fs::File);

impl FolderLock {
    fn take(folder: &Path) -> Result<Self, CliError> {
        let what = || format!("the data folder {}", folder.display());
        std::fs::create_dir_all(folder).map_err(|e| CliError::io(what(), e))?;
        let path = folder.join("pluvio.lock");
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| CliError::io(what(), e))?;
        file.try_lock().map_err(|_| {
            CliError::Other(format!(
                "{} is in use by another process; stop it or choose another folder with --data-dir",
                what()
            ))
        })?;
        Ok(Self(file))
    }
}

impl Running {
    /// Opens the stores, takes the ports and starts the jobs of the catalog. The
    /// doors stay closed until [`Self::open`].
    ///
    /// # Errors
    /// A folder in use, a port in use, or data that cannot be read.
    pub async fn start(config: &Config) -> Result<Self, CliError> {
        let lock = FolderLock::take(&config.data_dir)?;
        // Ports first: a second start must not touch the data of the first.
        let listeners = Listeners {
            kafka: listen("kafka-listen", config.kafka_listen).await?,
            postgres: listen("postgres-listen", config.postgres_listen).await?,
            http: listen("http-listen", config.http_listen).await?,
        };
        let addresses = Addresses {
            kafka: address(&listeners.kafka)?,
            postgres: address(&listeners.postgres)?,
            http: address(&listeners.http)?,
        };
        let metrics = Metrics::default();
        let (platform, log) = open(config, &metrics)?;
        let options = EngineOptions {
            trigger_ms: config.trigger_ms,
            trigger_rows: config.trigger_rows,
            workers: WORKERS,
        };
        let engine = Engine::new(Arc::clone(&platform), options, tokio::runtime::Handle::current());
        platform.attach(&(Arc::clone(&engine) as Arc<dyn Jobs>));
        let (shutdown, stopped) = watch::channel(false);
        let broker = broker(config, &log, &metrics, addresses.kafka)?;
        let starting = Arc::clone(&engine);
        let started = tokio::task::spawn_blocking(move || starting.reconcile()).await;
        if let Ok(Err(error)) = started {
            tracing::error!(%error, "a job could not start; see pluvio.jobs");
        }
        let closed_doors = Some((listeners, broker));
        Ok(Self {
            platform,
            engine,
            log,
            shutdown,
            stopped,
            closed_doors,
            doors: Vec::new(),
            addresses,
            _lock: lock,
        })
    }

    /// Opens the doors. Who came before was kept waiting, not refused.
    pub fn open(&mut self) {
        if let Some((listeners, broker)) = self.closed_doors.take() {
            self.doors = open_doors(listeners, &self.platform, broker, self.addresses, &self.stopped);
        }
    }

    /// Closes the doors, ends the jobs after their epochs, and closes the stores.
    pub async fn stop(self) {
        let _ = self.shutdown.send(true);
        let (engine, platform, log) = (self.engine, self.platform, self.log);
        let stopping = tokio::task::spawn_blocking(move || {
            engine.stop();
            platform.store().close();
            log.close();
        });
        for door in self.doors {
            if tokio::time::timeout(std::time::Duration::from_secs(3), door).await.is_err() {
                tracing::warn!("a door did not close in time");
            }
        }
        if stopping.await.is_err() {
            tracing::error!("the stores were not closed cleanly");
        }
    }
}

/// Opens the stores of a data folder.
///
/// # Errors
/// Data that cannot be read.
pub fn open(config: &Config, metrics: &Metrics) -> Result<(Arc<Platform>, Arc<EventLog>), CliError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = &config.data_dir;
    let tail = usize::try_from(config.memory_log_tail_bytes).unwrap_or(usize::MAX);
    let topic = TopicConfig {
        retention_ms: i64::try_from(config.log_retention_ms).ok(),
        segment_bytes: config.log_segment_bytes,
        ..TopicConfig::default()
    };
    let log_options = LogOptions {
        topic,
        tail_bytes_total: tail,
        tail_bytes_per_topic: tail,
        disk_reserve_bytes: config.disk_reserve_bytes,
        ..LogOptions::default()
    };
    let random = Arc::new(SystemRandom::default());
    let log = EventLog::open(
        &folder.join("log"),
        Arc::clone(&disk),
        Arc::clone(&clock),
        random,
        metrics.clone(),
        log_options,
    )?;
    for line in log.recovery_report() {
        tracing::warn!("{line}");
    }
    let store_options =
        StoreOptions { memory_budget_bytes: config.memory_tables_bytes, ..StoreOptions::default() };
    let store = Store::open(
        &folder.join("tables"),
        Arc::clone(&disk),
        Arc::clone(&clock),
        metrics.clone(),
        store_options,
    )?;
    let catalog = Arc::new(Catalog::open(folder, disk)?);
    let options = PlatformOptions {
        data_dir: folder.clone(),
        query_memory_bytes: QUERY_MEMORY_BYTES,
        default_partitions: config.default_partitions,
        lake_commit_interval_ms: config.lake_commit_interval_ms,
        lake_commit_bytes: config.lake_commit_bytes,
    };
    let platform = Platform::new(options, catalog, Arc::clone(&log), store, clock, metrics.clone())?;
    Ok((platform, log))
}

fn broker(
    config: &Config,
    log: &Arc<EventLog>,
    metrics: &Metrics,
    address: SocketAddr,
) -> Result<Arc<Broker>, CliError> {
    let advertised = config.kafka_advertised.as_ref();
    let options = BrokerOptions {
        advertised_host: advertised.map_or_else(|| address.ip().to_string(), |a| a.host.clone()),
        advertised_port: advertised.map_or(address.port(), |a| a.port),
        auto_create_topics: config.auto_create_topics,
        default_partitions: config.default_partitions,
        requests_bytes_max: 64 << 20,
        answers_bytes_max: 64 << 20,
        ..BrokerOptions::default()
    };
    let random = Arc::new(SystemRandom::default());
    Ok(Arc::new(Broker::new(Arc::clone(log), Arc::new(SystemClock), random, metrics, options)?))
}

fn open_doors(
    listeners: Listeners,
    platform: &Arc<Platform>,
    broker: Arc<Broker>,
    addresses: Addresses,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let options = ConsoleOptions { postgres: Some(addresses.postgres), kafka: Some(addresses.kafka) };
    let console = console::serve(listeners.http, Arc::clone(platform), options, stopped.clone());
    let kafka = kafka::serve(listeners.kafka, broker, stopped.clone());
    vec![
        tokio::spawn(async move {
            if let Err(error) = kafka.await {
                tracing::error!(%error, "the Kafka door has closed");
            }
        }),
        tokio::spawn(postgres::serve(listeners.postgres, Arc::clone(platform), stopped.clone())),
        tokio::spawn(async move {
            if let Err(error) = console.await {
                tracing::error!(%error, "the console has closed");
            }
        }),
    ]
}
