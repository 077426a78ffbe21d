//! Puts the platform together: opens the stores in their order, starts the
//! engine, opens the doors; and closes them in the opposite order.

use std::net::SocketAddr;
use std::sync::Arc;

use pluvio_catalog::Catalog;
use pluvio_config::{Config, Role};
use pluvio_engine::{Engine, EngineOptions};
use pluvio_eventlog::EventLog;
use pluvio_foundation::{Clock, Disk, Metrics, RealDisk, SystemClock};
use pluvio_keytables::{Store, StoreOptions};
use pluvio_query::functions::Functions;
use pluvio_query::{Jobs, NoJobs, Platform, PlatformOptions};
use pluvio_serving::console::ConsoleOptions;
use pluvio_serving::{console, postgres};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::door_threads::DoorThreads;
use crate::error::CliError;
use crate::folder::FolderLock;
use crate::listen::{address, listen};
use crate::queue::{KafkaDoor, open_log};
use crate::terminal;

const QUERY_MEMORY_BYTES: usize = 512 << 20;
/// Threads that decode the partitions of one epoch.
const WORKERS: usize = 2;

/// A running platform.
pub struct Running {
    /// For sessions.
    pub platform: Arc<Platform>,
    /// The jobs.
    pub engine: Arc<Engine>,
    /// In place of the engine where there are no jobs.
    _no_jobs: Arc<dyn Jobs>,
    log: Arc<EventLog>,
    shutdown: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    closed_doors: Option<ClosedDoors>,
    doors: Vec<JoinHandle<()>>,
    door_threads: DoorThreads,
    /// Where the doors are.
    pub addresses: Addresses,
    _lock: FolderLock,
}

/// Where the doors are.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Kafka, if this process keeps a queue.
    pub kafka: Option<SocketAddr>,
    /// Postgres.
    pub postgres: SocketAddr,
    /// The console.
    pub http: SocketAddr,
}

impl Addresses {
    /// The queue that a generator of ours fills.
    ///
    /// # Errors
    /// This process keeps none.
    pub fn queue(&self) -> Result<SocketAddr, CliError> {
        let missing = || CliError::Other("this needs a queue of its own: leave --role at all".into());
        self.kafka.ok_or_else(missing)
    }

    /// What a newcomer should know, by name.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let (ip, port) = (self.postgres.ip(), self.postgres.port());
        let mut lines = vec![
            ("console", format!("http://{}", self.http)),
            ("SQL", format!("psql -h {ip} -p {port} -U pluvio pluvio")),
        ];
        lines.extend(self.kafka.map(|kafka| ("Kafka", kafka.to_string())));
        lines
    }
}

struct ClosedDoors {
    kafka: Option<KafkaDoor>,
    postgres: TcpListener,
    http: TcpListener,
}

impl Running {
    /// Opens the stores, takes the ports and starts the jobs of the catalog. The
    /// doors stay closed until [`Self::open`].
    ///
    /// # Errors
    /// A folder in use, a port in use, or data that cannot be read.
    pub async fn start(config: &Config) -> Result<Self, CliError> {
        if config.role == Role::Queue {
            let message =
                "a process with the role queue has no SQL and no jobs: use `pluvio serve --role queue`";
            return Err(CliError::Other(message.into()));
        }
        let lock = FolderLock::take(&config.data_dir)?;
        // Ports first: a second start must not touch the data of the first.
        let kafka = match config.role {
            Role::All => Some(listen("kafka-listen", config.kafka_listen).await?),
            _ => None,
        };
        let postgres = listen("postgres-listen", config.postgres_listen).await?;
        let http = listen("http-listen", config.http_listen).await?;
        let metrics = Metrics::default();
        let (platform, log) = open(config, &metrics)?;
        let kafka = kafka.map(|kafka| KafkaDoor::new(config, kafka, &log, &metrics)).transpose()?;
        let addresses = Addresses {
            kafka: kafka.as_ref().map(|door| door.address),
            postgres: address(&postgres)?,
            http: address(&http)?,
        };
        let options = EngineOptions {
            trigger_ms: config.trigger_ms,
            trigger_rows: config.trigger_rows,
            epoch_bytes: config.epoch_bytes,
            workers: WORKERS,
        };
        let engine = Engine::new(Arc::clone(&platform), options, tokio::runtime::Handle::current());
        let no_jobs: Arc<dyn Jobs> = Arc::new(NoJobs);
        if config.role == Role::Serving {
            platform.attach(&no_jobs);
        } else {
            platform.attach(&(Arc::clone(&engine) as Arc<dyn Jobs>));
            let starting = Arc::clone(&engine);
            let started = tokio::task::spawn_blocking(move || starting.reconcile()).await;
            if let Ok(Err(error)) = started {
                tracing::error!(%error, "a job could not start; see pluvio.jobs");
            }
        }
        let (shutdown, stopped) = watch::channel(false);
        let door_threads =
            DoorThreads::start().map_err(|error| CliError::io("cannot start threads", error))?;
        Ok(Self {
            platform,
            engine,
            _no_jobs: no_jobs,
            log,
            shutdown,
            stopped,
            closed_doors: Some(ClosedDoors { kafka, postgres, http }),
            doors: Vec::new(),
            door_threads,
            addresses,
            _lock: lock,
        })
    }

    /// Opens the doors. Who came before was kept waiting, not refused.
    pub fn open(&mut self) {
        let Some(closed) = self.closed_doors.take() else { return };
        let (platform, stopped) = (&self.platform, &self.stopped);
        self.doors.extend(
            closed.kafka.map(|door| door.open(self.door_threads.handle(), stopped)).into_iter().flatten(),
        );
        let options = ConsoleOptions { postgres: Some(self.addresses.postgres), kafka: self.addresses.kafka };
        let console = console::serve(closed.http, Arc::clone(platform), options, stopped.clone());
        let postgres = postgres::serve(closed.postgres, Arc::clone(platform), stopped.clone());
        self.doors.push(tokio::spawn(postgres));
        self.doors.push(tokio::spawn(async move {
            if let Err(error) = console.await {
                tracing::error!(%error, "the console has closed");
            }
        }));
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
        terminal::wait_for(self.doors).await;
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
        functions: Functions::default(),
    };
    let platform = Platform::new(options, catalog, Arc::clone(&log), store, clock, metrics.clone())?;
    Ok((platform, log))
}
