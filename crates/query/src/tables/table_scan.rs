//! The rows of a keyed table, batch by batch as a query takes them: a table may be
//! larger than memory.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use pluvio_keytables::TableSnapshot;

use crate::QueryError;
use crate::rows::{batch_of, copies, take_rows};

/// Batches that are read before they are taken.
const BATCHES_AHEAD: usize = 2;

/// Some columns of a table at an instant.
#[derive(Debug, Clone)]
pub(super) struct TableScan {
    pub snapshot: Arc<TableSnapshot>,
    /// The columns' places, and their schema.
    pub columns: Vec<usize>,
    pub schema: SchemaRef,
    /// The column that says how often each row is there, if one does.
    pub copies: Option<usize>,
}

impl TableScan {
    /// The plan that reads the rows, each as often as it is there.
    pub(super) fn plan(self, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(self)], None, [], false, limit)?))
    }

    /// Gives the rows out, until `to` wants no more.
    fn each(&self, to: impl Fn(RecordBatch) -> bool) -> std::result::Result<(), QueryError> {
        let stored: Vec<usize> = self.columns.iter().copied().chain(self.copies).collect();
        for rows in self.snapshot.scan(Some(&stored)) {
            let rows = rows?;
            let (width, count) = (self.columns.len(), rows.num_rows());
            let once = batch_of(&self.schema, rows.columns()[..width].to_vec(), count)?;
            let rows = match self.copies {
                Some(_) => take_rows(&once, &copies(rows.column(width).as_primitive::<Int64Type>())?)?,
                None => once,
            };
            if !to(rows) {
                break;
            }
        }
        Ok(())
    }
}

impl PartitionStream for TableScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut taken = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD);
        let (ready, scan) = (taken.tx(), self.clone());
        taken.spawn_blocking(move || Ok(scan.each(|rows| ready.blocking_send(Ok(rows)).is_ok())?));
        taken.build()
    }
}
