//! A broker on a free port, and a connection that speaks any request in any
//! version.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use pluvio_doors::kafka::{Broker, BrokerOptions, serve};
use pluvio_eventlog::{EventLog, LogOptions};
use pluvio_foundation::{Clock, Disk, Metrics, RealDisk, SystemClock, SystemRandom};
use pluvio_kafka_client::Client;
use pluvio_testkit::SimDisk;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::frame::{self, LENGTH_BYTES};
use pluvio_wire_kafka::records::{BatchBuilder, for_each_record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Server {
    pub address: String,
    pub metrics: Metrics,
    pub broker: Arc<Broker>,
    log: Arc<EventLog>,
    close: watch::Sender<bool>,
    serving: JoinHandle<Result<(), pluvio_doors::DoorError>>,
}

impl Server {
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, BrokerOptions::default()).await
    }

    pub async fn start_with(dir: &Path, options: BrokerOptions) -> Self {
        let log_options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
        Self::start_over(dir, options, log_options).await
    }

    pub async fn start_over(dir: &Path, options: BrokerOptions, log_options: LogOptions) -> Self {
        Self::start_at(dir, options, log_options, Arc::new(SystemClock)).await
    }

    /// A server for which time passes as `clock` says.
    pub async fn start_at(
        dir: &Path,
        options: BrokerOptions,
        log_options: LogOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::start_on(Arc::new(RealDisk), dir, options, log_options, clock).await
    }

    /// A server over a simulated disk.
    pub async fn simulated(disk: &SimDisk, options: BrokerOptions) -> Self {
        let log_options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
        let (disk, clock) = (Arc::new(disk.clone()), Arc::new(SystemClock));
        Self::start_on(disk, Path::new("/log"), options, log_options, clock).await
    }

    async fn start_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: BrokerOptions,
        log_options: LogOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let metrics = Metrics::default();
        let random = Arc::new(SystemRandom::default());
        let log = EventLog::open(dir, disk, clock.clone(), random.clone(), metrics.clone(), log_options);
        let log = log.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options =
            BrokerOptions { advertised_host: "127.0.0.1".into(), advertised_port: address.port(), ..options };
        let broker = Arc::new(Broker::new(log.clone(), clock, random, &metrics, options).unwrap());
        let (close, closing) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, Arc::clone(&broker), closing));
        Self { address: address.to_string(), metrics, broker, log, close, serving }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.address).await.unwrap()
    }

    pub async fn raw(&self) -> Raw {
        Raw { stream: TcpStream::connect(&self.address).await.unwrap(), next_id: 1 }
    }

    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let readings = self.metrics.readings();
        readings.iter().find(|it| it.name == name && it.label == label).map_or(0, |it| it.value)
    }

    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// Where the only partition of a topic ends.
    pub fn end_offset(&self, topic: &str) -> i64 {
        self.log.topic(topic).unwrap().partition(0).unwrap().end_offset()
    }

    /// Ends the server at once, as a crash would: of what it wrote only what
    /// was synced is sure to be on the disk that is given.
    pub fn crash(self, disk: &SimDisk) -> SimDisk {
        disk.crash(&SystemRandom::default())
    }

    pub async fn stop(self) {
        self.close.send(true).unwrap();
        self.serving.await.unwrap().unwrap();
        self.log.close();
    }
}

pub struct Raw {
    pub stream: TcpStream,
    next_id: i32,
}

impl Raw {
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let key = ApiKey::try_from(R::KEY).unwrap();
        self.next_id += 1;
        let frame = frame::request(key, version, self.next_id, "raw", request).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let key = ApiKey::try_from(R::KEY).unwrap();
        let mut body = self.receive_frame().await.expect("the connection was closed");
        ResponseHeader::decode(&mut body, key.response_header_version(version)).unwrap();
        let response = R::Response::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "{} bytes follow the answer", body.len());
        response
    }

    /// `None` if the server closed the connection.
    pub async fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(Bytes::from(frame))
    }

    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn batch(values: &[&str]) -> Bytes {
    batch_of(values, Compression::None, None)
}

pub fn batch_of(values: &[&str], codec: Compression, producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(1_700_000_000_000);
    for value in values {
        builder.push(None, Some(value.as_bytes()), 1_700_000_000_000, &[]);
    }
    builder.finish(codec, producer).unwrap()
}

/// Offset and value of every record in a run of batches.
pub fn read(mut records: &[u8]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while !records.is_empty() {
        let header = pluvio_wire_kafka::records::parse_header(records).unwrap();
        for_each_record(records, 1 << 20, &mut Vec::new(), |record| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((record.offset, value));
            Ok(())
        })
        .unwrap();
        records = &records[header.total_bytes()..];
    }
    found
}
