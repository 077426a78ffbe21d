//! A stream as a table: every event its topic still holds, decoded. Events that
//! cannot be decoded are left out, as the engine leaves them to the dead letters.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use pluvio_catalog::StreamDef;
use pluvio_foundation::ErrorKind;

use super::changes::Standing;
use crate::QueryError;
use crate::define::blocking;
use crate::source::{Decoded, StreamDecoder, with_processing_time};
use crate::sources::{Sources, StreamPartition, StreamTopic};

const READ_BYTES: usize = 4 << 20;
/// How long a cluster elsewhere may take to send the next events.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream.
#[derive(Debug)]
pub struct StreamProvider {
    stream: Arc<StreamDef>,
    sources: Arc<Sources>,
}

impl StreamProvider {
    /// The stream of this definition.
    pub fn new(stream: Arc<StreamDef>, sources: Arc<Sources>) -> Self {
        Self { stream, sources }
    }

    /// Its definition.
    pub fn stream(&self) -> &Arc<StreamDef> {
        &self.stream
    }
}

#[async_trait]
impl TableProvider for StreamProvider {
    fn schema(&self) -> SchemaRef {
        self.stream.readable_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let (sources, stream) = (Arc::clone(&self.sources), Arc::clone(&self.stream));
        let open = move || {
            let topic = Arc::new(sources.open(&stream)?);
            let partitions = topic.wait()?;
            Ok((topic, partitions))
        };
        let (topic, partitions) = blocking(open).await?;
        let scan = |partition| -> Arc<dyn PartitionStream> {
            Arc::new(PartitionScan {
                sources: Arc::clone(&self.sources),
                stream: Arc::clone(&self.stream),
                schema: Arc::clone(&schema),
                topic: Arc::clone(&topic),
                partition,
            })
        };
        let scans = match self.stream.has_changes() {
            false => partitions.into_iter().map(scan).collect(),
            true => {
                let (sources, stream) = (Arc::clone(&self.sources), Arc::clone(&self.stream));
                vec![
                    Arc::new(ChangesScan { sources, stream, schema: Arc::clone(&schema), topic, partitions })
                        as Arc<dyn PartitionStream>,
                ]
            }
        };
        let exec = StreamingTableExec::try_new(Arc::clone(&schema), scans, projection, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

struct PartitionScan {
    sources: Arc<Sources>,
    stream: Arc<StreamDef>,
    schema: SchemaRef,
    /// Kept open while it is read.
    topic: Arc<StreamTopic>,
    partition: Arc<dyn StreamPartition>,
}

impl std::fmt::Debug for PartitionScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.stream.topic, self.partition.index())
    }
}

impl PartitionStream for PartitionScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = Scan::new(&self.sources, &self.stream, &self.topic, &self.partition);
        let batches = futures::stream::unfold(scan, |mut scan| async move {
            let rows = scan.next().await.transpose()?;
            Some((rows.and_then(|decoded| scan.readable(decoded.rows)).map_err(Into::into), scan))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// A stream of changes: what all its events come to.
struct ChangesScan {
    sources: Arc<Sources>,
    stream: Arc<StreamDef>,
    schema: SchemaRef,
    topic: Arc<StreamTopic>,
    partitions: Vec<Arc<dyn StreamPartition>>,
}

impl std::fmt::Debug for ChangesScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "changes of {}", self.stream.topic)
    }
}

impl PartitionStream for ChangesScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = |partition| Scan::new(&self.sources, &self.stream, &self.topic, partition);
        let (scans, stream): (Vec<_>, _) = (self.partitions.iter().map(scan).collect(), self.stream.clone());
        let rows = async move {
            let mut standing = Standing::default();
            let mut now = None;
            for mut scan in scans {
                while let Some(decoded) = scan.next().await? {
                    let weights = decoded.weights.as_ref().map(|weights| weights.values().as_ref());
                    standing.add(decoded.rows, weights, &stream.key)?;
                }
                now = Some(scan);
            }
            let (Some(rows), Some(scan)) = (standing.rows()?, now) else { return Ok(None) };
            scan.readable(rows).map(Some)
        };
        let rows = futures::stream::once(rows).filter_map(|rows: std::result::Result<_, QueryError>| {
            futures::future::ready(rows.map_err(Into::into).transpose())
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// A partition being read up to where it ended when the scan began.
struct Scan {
    stream: Arc<StreamDef>,
    decoder: std::result::Result<StreamDecoder, QueryError>,
    _topic: Arc<StreamTopic>,
    partition: Arc<dyn StreamPartition>,
    next: i64,
    end: i64,
}

impl Scan {
    fn new(
        sources: &Sources,
        stream: &Arc<StreamDef>,
        topic: &Arc<StreamTopic>,
        partition: &Arc<dyn StreamPartition>,
    ) -> Self {
        let next = partition.start_offset();
        partition.go_on(next);
        Self {
            stream: Arc::clone(stream),
            decoder: StreamDecoder::new(stream, sources.functions()),
            _topic: Arc::clone(topic),
            partition: Arc::clone(partition),
            next,
            end: partition.newest_offset(),
        }
    }

    /// The next events; an error is the last thing it gives.
    async fn next(&mut self) -> std::result::Result<Option<Decoded>, QueryError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let read = self.read().await;
        match &read {
            Ok(_) => self.partition.go_on(self.next),
            Err(_) => self.next = self.end,
        }
        read.map(Some)
    }

    /// Rows as readers see them.
    fn readable(&self, rows: RecordBatch) -> std::result::Result<RecordBatch, QueryError> {
        let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_us = now_us.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        with_processing_time(&self.stream, rows, now_us)
    }

    async fn read(&mut self) -> std::result::Result<Decoded, QueryError> {
        let decoder = self.decoder.as_mut().map_err(|error| error.clone())?;
        let mut moved = self.partition.watch_end();
        while self.partition.end_offset() <= self.next {
            // What is elsewhere is on its way.
            let silent = |_| QueryError::new(ErrorKind::Unavailable, "the Kafka cluster sends nothing");
            let _ = tokio::time::timeout(PATIENCE, moved.changed()).await.map_err(silent)?;
        }
        let decoded = decoder.read(&*self.partition, self.next, self.end, READ_BYTES)?;
        // Nothing can be read here and never will be: the end of what there is.
        self.next = if decoded.next_offset > self.next { decoded.next_offset } else { self.end };
        Ok(decoded)
    }
}
