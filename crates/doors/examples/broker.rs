//! A Kafka broker over a folder, and nothing else:
//! `cargo run --example broker -- --dir /tmp/rain --listen 127.0.0.1:9092`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use pluvio_doors::kafka::{Broker, BrokerOptions, serve};
use pluvio_eventlog::{EventLog, LogOptions};
use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Parser)]
struct Arguments {
    /// Where the events are kept.
    #[arg(long)]
    dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: String,
    /// Partitions of a topic whose maker did not say how many.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// How long a group that was empty waits for more members, in milliseconds.
    #[arg(long, default_value_t = 0)]
    group_initial_delay_ms: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let arguments = Arguments::parse();
    let metrics = Metrics::default();
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::default()));
    let log = EventLog::open(
        &arguments.dir,
        Arc::new(RealDisk),
        clock.clone(),
        random.clone(),
        metrics.clone(),
        LogOptions::default(),
    )?;
    let listener = TcpListener::bind(&arguments.listen).await?;
    let address = listener.local_addr()?;
    let options = BrokerOptions {
        advertised_host: address.ip().to_string(),
        advertised_port: address.port(),
        default_partitions: arguments.partitions,
        group_initial_delay_ms: arguments.group_initial_delay_ms,
        ..BrokerOptions::default()
    };
    let broker = Arc::new(Broker::new(Arc::clone(&log), clock, random, &metrics, options)?);
    println!("listening on {address}");
    let (close, closing) = watch::channel(false);
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        let _ = close.send(true);
    });
    serve(listener, broker, closing).await?;
    log.close();
    for reading in metrics.readings() {
        println!("{} {} {}", reading.name, reading.label, reading.value);
    }
    Ok(())
}
