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
use pluvio_catalog::StreamDef;
use pluvio_foundation::ErrorKind;

use crate::QueryError;
use crate::define::blocking;
use crate::source::{StreamDecoder, with_processing_time};
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
                stream: Arc::clone(&self.stream),
                schema: Arc::clone(&schema),
                topic: Arc::clone(&topic),
                partition,
            })
        };
        let scans = partitions.into_iter().map(scan).collect();
        let exec = StreamingTableExec::try_new(Arc::clone(&schema), scans, projection, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

struct PartitionScan {
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
        let scan = Scan {
            stream: Arc::clone(&self.stream),
            decoder: StreamDecoder::new(&self.stream),
            _topic: Arc::clone(&self.topic),
            partition: Arc::clone(&self.partition),
            next: self.partition.start_offset(),
            end: self.partition.newest_offset(),
        };
        scan.partition.go_on(scan.next);
        let batches = futures::stream::unfold(scan, |mut scan| async move {
            let rows = scan.rows().await.transpose()?;
            Some((rows.map_err(Into::into), scan))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
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
    /// The next rows; an error is the last thing it gives.
    async fn rows(&mut self) -> std::result::Result<Option<RecordBatch>, QueryError> {
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

    async fn read(&mut self) -> std::result::Result<RecordBatch, QueryError> {
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
        let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_us = now_us.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        with_processing_time(&self.stream, decoded.rows, now_us)
    }
}
