//! The threads of the Kafka door: its own, so that events are taken in whatever
//! SQL sessions and the console are busy with.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Handle, Runtime};

/// Most threads of the door.
const THREADS_MAX: usize = 8;

/// The threads; they end when this is dropped, without waiting.
#[derive(Debug)]
pub struct DoorThreads {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl DoorThreads {
    /// As many as there are processors, within a limit.
    ///
    /// # Errors
    /// A system that gives no threads.
    pub fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(count).thread_name("kafka-door").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where the door's work is spawned.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for DoorThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
