//! The platform with its doors: takes the ports, opens the platform, starts its
//! jobs, opens the doors; and closes them in the opposite order.

use std::net::SocketAddr;
use std::sync::Arc;

use pluvio_config::{Config, Role};
use pluvio_embedded::Pluvio;
use pluvio_query::functions::Functions;
use pluvio_serving::console::ConsoleOptions;
use pluvio_serving::{console, postgres};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::door_threads::DoorThreads;
use crate::error::CliError;
use crate::listen::{address, listen};
use crate::queue::KafkaDoor;
use crate::terminal;

/// A running platform.
pub struct Running {
    /// Everything but the doors.
    pub pluvio: Pluvio,
    shutdown: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    closed_doors: Option<ClosedDoors>,
    doors: Vec<JoinHandle<()>>,
    door_threads: DoorThreads,
    /// Where the doors are.
    pub addresses: Addresses,
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
        // Ports first: a second start must not touch the data of the first.
        let kafka = match config.role {
            Role::All => Some(listen("kafka-listen", config.kafka_listen).await?),
            _ => None,
        };
        let postgres = listen("postgres-listen", config.postgres_listen).await?;
        let http = listen("http-listen", config.http_listen).await?;
        let pluvio = Pluvio::with_config(config, Functions::default())?;
        let kafka = kafka.map(|kafka| KafkaDoor::new(config, kafka, pluvio.log(), pluvio.metrics()));
        let kafka = kafka.transpose()?;
        let addresses = Addresses {
            kafka: kafka.as_ref().map(|door| door.address),
            postgres: address(&postgres)?,
            http: address(&http)?,
        };
        pluvio.start().await;
        let (shutdown, stopped) = watch::channel(false);
        let door_threads =
            DoorThreads::start().map_err(|error| CliError::io("cannot start threads", error))?;
        Ok(Self {
            pluvio,
            shutdown,
            stopped,
            closed_doors: Some(ClosedDoors { kafka, postgres, http }),
            doors: Vec::new(),
            door_threads,
            addresses,
        })
    }

    /// Opens the doors. Who came before was kept waiting, not refused.
    pub fn open(&mut self) {
        let Some(closed) = self.closed_doors.take() else { return };
        let (platform, stopped) = (self.pluvio.platform(), &self.stopped);
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
        let closing = tokio::spawn(self.pluvio.close());
        terminal::wait_for(self.doors).await;
        if closing.await.is_err() {
            tracing::error!("the platform was not closed cleanly");
        }
    }
}
