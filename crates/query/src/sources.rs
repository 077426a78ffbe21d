//! Where a stream's events are: in our own log or in a topic of a Kafka cluster
//! elsewhere, behind one face.
//!
//! Promises: only events of committed transactions are given; a topic elsewhere
//! is read ahead within a byte budget by threads of its own, and read on after
//! its brokers were away.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion::execution::SessionState;
use pluvio_catalog::{KafkaDef, StreamDef};
use pluvio_eventlog::{EventLog, Partition, Read, StoredBatch};
use pluvio_foundation::ErrorKind;
use pluvio_kafka_client::{Client, ClientError, Connection, PartitionReader, Sasl, Tls, TopicReader};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::QueryError;

/// How long a cluster may take to tell of a topic.
const PATIENCE: Duration = Duration::from_secs(10);

/// One partition of a stream.
pub trait StreamPartition: Send + Sync + Debug {
    /// Its number.
    fn index(&self) -> i32;

    /// The first offset that is still kept.
    fn start_offset(&self) -> i64;

    /// The first offset that [`Self::read`] cannot give yet.
    fn end_offset(&self) -> i64;

    /// The offset before which every event is decided, in a transaction that ended
    /// or in none, as far as is known.
    fn newest_offset(&self) -> i64;

    /// The first offset whose event was written then or later, in milliseconds
    /// since 1970.
    ///
    /// # Errors
    /// The disk's; also if the topic is not ours.
    fn offset_at(&self, time_ms: i64) -> Result<i64, QueryError>;

    /// Tells of every move of [`Self::end_offset`].
    fn watch_end(&self) -> watch::Receiver<i64>;

    /// Whole batches from the one that holds `from` on, of `bytes_max` bytes but
    /// at least one if there is any. Never waits for events.
    ///
    /// # Errors
    /// The log's, or the cluster's.
    fn read(&self, from: i64, bytes_max: usize) -> Result<Read, QueryError>;

    /// Waits until a failure of this machine cannot take back what is before
    /// `offset`. What a cluster elsewhere shows is its to keep.
    ///
    /// # Errors
    /// The disk's.
    fn make_durable(&self, offset: i64) -> Result<(), QueryError>;

    /// This reader goes on at `offset`: what was read ahead before it can go.
    fn go_on(&self, offset: i64);

    /// Retention must keep what is from `offset` on for `owner`; `None`: nothing.
    fn hold(&self, owner: &str, offset: Option<i64>);
}

impl StreamPartition for Partition {
    fn index(&self) -> i32 {
        self.index()
    }

    fn start_offset(&self) -> i64 {
        self.start_offset()
    }

    fn end_offset(&self) -> i64 {
        self.stable_offset()
    }

    fn newest_offset(&self) -> i64 {
        self.stable_offset()
    }

    fn offset_at(&self, time_ms: i64) -> Result<i64, QueryError> {
        Ok(self.offset_for_time(time_ms)?.map_or_else(|| self.stable_offset(), |(offset, _)| offset))
    }

    fn watch_end(&self) -> watch::Receiver<i64> {
        self.watch_stable()
    }

    fn read(&self, from: i64, bytes_max: usize) -> Result<Read, QueryError> {
        Ok(self.read_committed(from, bytes_max)?)
    }

    fn make_durable(&self, offset: i64) -> Result<(), QueryError> {
        if self.durable_offset() < offset {
            self.sync(offset)?;
        }
        Ok(())
    }

    fn go_on(&self, _: i64) {}

    fn hold(&self, owner: &str, offset: Option<i64>) {
        self.hold(owner, offset);
    }
}

impl StreamPartition for PartitionReader {
    fn index(&self) -> i32 {
        self.index()
    }

    fn start_offset(&self) -> i64 {
        self.start_offset()
    }

    fn end_offset(&self) -> i64 {
        self.end_offset()
    }

    fn newest_offset(&self) -> i64 {
        self.newest_offset()
    }

    fn offset_at(&self, _: i64) -> Result<i64, QueryError> {
        Err(QueryError::unsupported("a topic elsewhere is not read from a time on"))
    }

    fn watch_end(&self) -> watch::Receiver<i64> {
        self.watch_end()
    }

    fn read(&self, from: i64, bytes_max: usize) -> Result<Read, QueryError> {
        let read = self.read(from, bytes_max).map_err(|e| failed(&e))?;
        let stored = |batch: pluvio_kafka_client::Batch| StoredBatch {
            bytes: batch.bytes,
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            records: batch.records,
            append_time_ms: batch.append_time_ms,
        };
        Ok(Read {
            batches: read.batches.into_iter().map(stored).collect(),
            start_offset: self.start_offset(),
            end_offset: self.end_offset(),
            next_offset: read.next_offset,
        })
    }

    fn make_durable(&self, _: i64) -> Result<(), QueryError> {
        Ok(())
    }

    fn go_on(&self, offset: i64) {
        self.release(offset);
    }

    fn hold(&self, _: &str, _: Option<i64>) {}
}

/// A cluster's error as a query's.
pub fn failed(error: &ClientError) -> QueryError {
    QueryError::new(error.kind(), error.to_string())
}

/// The topic of a stream, open for reading from one place on.
#[derive(Debug)]
pub enum StreamTopic {
    /// In our own log.
    Own(Arc<EventLog>, String),
    /// In a cluster elsewhere.
    Elsewhere(TopicReader),
}

impl StreamTopic {
    /// Its partitions, as far as they are known.
    pub fn partitions(&self) -> Vec<Arc<dyn StreamPartition>> {
        match self {
            Self::Own(log, topic) => {
                let partitions = log.topic(topic).map(|t| t.partitions()).unwrap_or_default();
                partitions.into_iter().map(|p| p as Arc<dyn StreamPartition>).collect()
            }
            Self::Elsewhere(reader) => {
                reader.partitions().into_iter().map(|p| p as Arc<dyn StreamPartition>).collect()
            }
        }
    }

    /// Why nothing can be read at the moment, if that is so.
    pub fn trouble(&self) -> Option<QueryError> {
        match self {
            Self::Own(..) => None,
            Self::Elsewhere(reader) => {
                reader.error().map(|e| QueryError::new(ErrorKind::Unavailable, e.to_string()))
            }
        }
    }

    /// Waits until the partitions are known. Blocks.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn wait(&self) -> Result<Vec<Arc<dyn StreamPartition>>, QueryError> {
        if let Self::Elsewhere(reader) = self {
            reader.wait(PATIENCE).map_err(|e| failed(&e))?;
        }
        Ok(self.partitions())
    }
}

/// Opens the topics of streams.
#[derive(Debug)]
pub struct Sources {
    log: Arc<EventLog>,
    /// The functions that compute columns.
    functions: SessionState,
    /// For what goes on with clusters elsewhere; made when first needed.
    runtime: OnceLock<Option<Runtime>>,
}

impl Sources {
    /// Streams without a cluster are in `log`.
    pub fn new(log: Arc<EventLog>, functions: SessionState) -> Self {
        Self { log, functions, runtime: OnceLock::new() }
    }

    /// The functions that compute columns.
    pub fn functions(&self) -> &SessionState {
        &self.functions
    }

    fn runtime(&self) -> Result<&Runtime, QueryError> {
        let make =
            || Builder::new_multi_thread().worker_threads(1).thread_name("kafka-client").enable_all().build();
        let runtime = self.runtime.get_or_init(|| make().ok()).as_ref();
        runtime.ok_or_else(|| QueryError::new(ErrorKind::Internal, "no threads for reading from Kafka"))
    }

    /// Opens a stream's topic.
    ///
    /// # Errors
    /// Settings of the connection that do not work.
    pub fn open(&self, stream: &StreamDef) -> Result<StreamTopic, QueryError> {
        let Some(source) = &stream.kafka else {
            return Ok(StreamTopic::Own(Arc::clone(&self.log), stream.topic.clone()));
        };
        let connection = connection(&source.cluster)?;
        let reader = TopicReader::start(self.runtime()?.handle(), connection, &stream.topic);
        Ok(StreamTopic::Elsewhere(reader))
    }

    /// The offset after the last event of each partition, as it is now. Blocks.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn ends(&self, stream: &StreamDef) -> Result<Vec<i64>, QueryError> {
        let Some(source) = &stream.kafka else {
            let topic = self.open(stream)?;
            return Ok(topic.partitions().iter().map(|p| p.end_offset()).collect());
        };
        let (connection, topic) = (connection(&source.cluster)?, stream.topic.clone());
        self.ask(async move {
            let client = Client::open(connection).await?;
            let partitions = client.metadata(Some(&[&topic])).await?.first().map_or(0, |it| it.partitions);
            let mut ends = Vec::new();
            for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
                ends.push(client.stable_offset(&topic, partition).await?);
            }
            Ok(ends)
        })
    }

    /// Runs requests to a cluster elsewhere to their end. Blocks.
    ///
    /// # Errors
    /// Theirs, and no answer in time.
    pub fn ask<T: Send + 'static>(
        &self,
        requests: impl Future<Output = Result<T, ClientError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let (sender, answer) = std::sync::mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            let _ = sender.send(requests.await);
        });
        let silent = |_| QueryError::new(ErrorKind::Unavailable, "the Kafka cluster did not answer in time");
        answer.recv_timeout(PATIENCE * 3).map_err(silent)?.map_err(|e| failed(&e))
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        // This may be the last owner inside another runtime, which must not wait.
        if let Some(Some(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connection that a definition describes; secrets are looked up here.
///
/// # Errors
/// A secret that is not where it should be.
pub fn connection(cluster: &KafkaDef) -> Result<Connection, QueryError> {
    let tls = cluster.tls.as_ref().map(|tls| Tls {
        ca_file: tls.ca_file.clone(),
        identity: tls.certificate_file.clone().zip(tls.key_file.clone()),
    });
    let sasl = match &cluster.sasl {
        None => None,
        Some(sasl) => Some(Sasl {
            mechanism: sasl.mechanism.clone(),
            username: sasl.username.clone(),
            password: sasl.password.look_up().map_err(QueryError::invalid)?,
        }),
    };
    Ok(Connection { brokers: cluster.brokers.clone(), tls, sasl })
}
