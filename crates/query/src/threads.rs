//! The threads that queries run on. They are not those of the sessions, so
//! that a query which computes for long holds up no session, and they yield to
//! all others where processors are scarce: events are taken in, and jobs go on,
//! whatever somebody asks.
//!
//! Promises: nothing is started before the first query; a query whose rows
//! nobody takes any more ends.

use std::num::NonZero;
use std::sync::OnceLock;

use datafusion::common::Result as DfResult;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::StreamExt;
use pluvio_foundation::priority::yield_to_others;
use tokio::runtime::{Builder, Runtime};

/// Batches that are ready and not taken yet, of one query.
const BATCHES_AHEAD: usize = 2;

/// Starts with the first query.
#[derive(Debug, Default)]
pub(crate) struct QueryThreads(OnceLock<Option<Runtime>>);

impl QueryThreads {
    /// Runs a query; its rows as they come.
    pub async fn run(&self, frame: DataFrame) -> DfResult<SendableRecordBatchStream> {
        let Some(runtime) = self.0.get_or_init(start) else { return frame.execute_stream().await };
        let begun = runtime.spawn(frame.execute_stream()).await;
        let mut rows = begun.map_err(|error| DataFusionError::External(Box::new(error)))??;
        let mut taken = RecordBatchReceiverStream::builder(rows.schema(), BATCHES_AHEAD);
        let ready = taken.tx();
        let pump = async move {
            while let Some(batch) = rows.next().await {
                if ready.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        taken.spawn_on(pump, runtime.handle());
        Ok(taken.build())
    }
}

/// As many threads as processors. Without them queries run where they are asked.
fn start() -> Option<Runtime> {
    let count = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).thread_name("query").on_thread_start(yield_to_others).enable_all();
    builder.build().inspect_err(|error| tracing::warn!(%error, "no threads for queries")).ok()
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}
