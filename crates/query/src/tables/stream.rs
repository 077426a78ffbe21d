//! A stream as a table: every event its topic still holds, decoded. Events that
//! cannot be decoded are left out, as the engine leaves them to the dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use pluvio_catalog::StreamDef;
use pluvio_eventlog::{EventLog, Partition};

use crate::QueryError;
use crate::source::{StreamDecoder, partitions};

const READ_BYTES: usize = 4 << 20;

/// A stream.
#[derive(Debug)]
pub struct StreamProvider {
    stream: Arc<StreamDef>,
    log: Arc<EventLog>,
}

impl StreamProvider {
    /// The stream of this definition.
    pub fn new(stream: Arc<StreamDef>, log: Arc<EventLog>) -> Self {
        Self { stream, log }
    }

    /// Its definition.
    pub fn stream(&self) -> &Arc<StreamDef> {
        &self.stream
    }
}

#[async_trait]
impl TableProvider for StreamProvider {
    fn schema(&self) -> SchemaRef {
        self.stream.schema()
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
        let scan = |partition| -> Arc<dyn PartitionStream> {
            Arc::new(PartitionScan {
                stream: Arc::clone(&self.stream),
                schema: Arc::clone(&schema),
                partition,
            })
        };
        let scans = partitions(&self.log, &self.stream.topic).into_iter().map(scan).collect();
        let exec = StreamingTableExec::try_new(Arc::clone(&schema), scans, projection, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

struct PartitionScan {
    stream: Arc<StreamDef>,
    schema: SchemaRef,
    partition: Arc<Partition>,
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
        let end = self.partition.end_offset();
        let partition = Arc::clone(&self.partition);
        let mut next = partition.start_offset();
        let mut decoder = StreamDecoder::new(&self.stream);
        let batches = std::iter::from_fn(move || {
            let decoder = match &mut decoder {
                Ok(decoder) => decoder,
                Err(error) => {
                    let error = std::mem::replace(error, QueryError::invalid("ended"));
                    return (error.message() != "ended").then(|| Err(error.into()));
                }
            };
            if next >= end {
                return None;
            }
            let decoded = decoder.read(&partition, next, end, READ_BYTES);
            match decoded {
                Ok(decoded) if decoded.next_offset > next => {
                    next = decoded.next_offset;
                    Some(Ok(decoded.rows))
                }
                Ok(_) => None,
                Err(error) => {
                    next = end;
                    Some(Err(error.into()))
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}
