//! The role queue: the event log and its Kafka door, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use pluvio_config::Config;
use pluvio_doors::kafka::{self, Broker, BrokerOptions, Security};
use pluvio_embedded::{FolderLock, open_log};
use pluvio_eventlog::EventLog;
use pluvio_foundation::{Metrics, SystemClock, SystemRandom};
use pluvio_serving::console;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::CliError;
use crate::listen::{address, listen};
use crate::{access, terminal};

/// The Kafka door, not open yet: who connects is kept waiting.
pub struct KafkaDoor {
    listener: TcpListener,
    broker: Arc<Broker>,
    security: Arc<Security>,
    folder: std::path::PathBuf,
    /// Where it is.
    pub address: SocketAddr,
}

impl KafkaDoor {
    /// A door to `log` at a port that is taken already.
    ///
    /// # Errors
    /// Users, certificates or internal topics that cannot be read.
    pub fn new(
        config: &Config,
        listener: TcpListener,
        log: &Arc<EventLog>,
        metrics: &Metrics,
    ) -> Result<Self, CliError> {
        let address = address(&listener)?;
        let security = access::security(config)?;
        let advertised = config.kafka_advertised.as_ref();
        let options = BrokerOptions {
            advertised_host: advertised.map_or_else(|| address.ip().to_string(), |a| a.host.clone()),
            advertised_port: advertised.map_or(address.port(), |a| a.port),
            auto_create_topics: config.auto_create_topics,
            default_partitions: config.default_partitions,
            requests_bytes_max: 64 << 20,
            waiting_bytes_max: 32 << 20,
            answers_bytes_max: 64 << 20,
            group_initial_delay_ms: config.kafka_group_initial_rebalance_delay_ms,
            security: Some(Arc::clone(&security)),
            ..BrokerOptions::default()
        };
        let random = Arc::new(SystemRandom::default());
        let broker = Broker::new(Arc::clone(log), Arc::new(SystemClock), random, metrics, options)?;
        Ok(Self { listener, broker: Arc::new(broker), security, folder: config.data_dir.clone(), address })
    }

    /// Opens the door until `stopped` becomes true; `threads` serve it.
    pub fn open(self, threads: &Handle, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let following = access::follow(self.folder, self.security, stopped.clone());
        let serving = serve(self.listener, self.broker, stopped.clone());
        let serving = async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Kafka door has closed");
            }
        };
        vec![threads.spawn(serving), tokio::spawn(following)]
    }
}

/// Serves Kafka clients on the threads it is called on, wherever the listener was made.
async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    stopped: watch::Receiver<bool>,
) -> Result<(), CliError> {
    let moved = |listener: TcpListener| TcpListener::from_std(listener.into_std()?);
    let listener = moved(listener).map_err(|error| CliError::io("cannot move the Kafka listener", error))?;
    Ok(kafka::serve(listener, broker, stopped).await?)
}

/// Serves the queue until told to stop.
///
/// # Errors
/// A folder in use, a port in use, or data that cannot be read.
pub async fn run(config: &Config) -> Result<(), CliError> {
    let _lock = FolderLock::take(&config.data_dir)?;
    let kafka = listen("kafka-listen", config.kafka_listen).await?;
    let http = listen("http-listen", config.http_listen).await?;
    let health = address(&http)?;
    let metrics = Metrics::default();
    let log = open_log(config, &metrics)?;
    let door = KafkaDoor::new(config, kafka, &log, &metrics)?;
    let (shutdown, stopped) = watch::channel(false);
    let lines = [("Kafka", door.address.to_string()), ("health", format!("http://{health}/health"))];
    let mut doors = door.open(&Handle::current(), &stopped);
    doors.push(tokio::spawn(console::serve_health(http, metrics, stopped)));
    terminal::say_ready(&lines);
    terminal::stop_signal().await?;
    eprintln!("stopping …");
    let _ = shutdown.send(true);
    let closing = tokio::task::spawn_blocking(move || log.close());
    terminal::wait_for(doors).await;
    if closing.await.is_err() {
        tracing::error!("the event log was not closed cleanly");
    }
    eprintln!("stopped");
    Ok(())
}
