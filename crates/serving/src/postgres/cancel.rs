//! Stopping a running statement: by a cancel request, which comes on another
//! connection with the secret of the first, or by `statement_timeout`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pgwire::api::ClientInfo;
use pgwire::api::cancel::CancelHandler;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::cancel::CancelRequest;
use tokio::sync::watch;
use tokio::time::Instant;

use super::sqlstate;

/// Process id and secret, as the client was told them.
type Key = (i32, Vec<u8>);

/// The connections that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancellations {
    signals: Mutex<HashMap<Key, watch::Sender<()>>>,
}

impl Cancellations {
    /// Registers a started connection; it is forgotten with the handle.
    pub(super) fn register(self: &Arc<Self>, client: &impl ClientInfo) -> Cancellable {
        let (process, secret) = client.pid_and_secret_key();
        let key = (process, secret.to_bytes().to_vec());
        let (sender, signal) = watch::channel(());
        self.signals.lock().insert(key.clone(), sender);
        Cancellable { registry: Arc::clone(self), key, signal }
    }
}

#[async_trait]
impl CancelHandler for Cancellations {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let key = (request.pid, request.secret_key.to_bytes().to_vec());
        if let Some(signal) = self.signals.lock().get(&key) {
            signal.send_replace(());
        }
    }
}

/// One connection's place in the registry.
#[derive(Debug)]
pub(super) struct Cancellable {
    registry: Arc<Cancellations>,
    key: Key,
    signal: watch::Receiver<()>,
}

impl Cancellable {
    /// The stop sign for a statement that starts now.
    pub(super) fn statement(&self, client: &(impl ClientInfo + ?Sized)) -> Stop {
        let mut signal = self.signal.clone();
        signal.mark_unchanged();
        Stop { signal, deadline: timeout(client).map(|after| Instant::now() + after) }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.registry.signals.lock().remove(&self.key);
    }
}

/// `statement_timeout` of the session, as the SET command stored it.
fn timeout(client: &(impl ClientInfo + ?Sized)) -> Option<Duration> {
    let stored = client.metadata().get("statement_timeout_ms")?;
    stored.parse().ok().map(Duration::from_millis)
}

/// Says when a running statement must stop.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    signal: watch::Receiver<()>,
    deadline: Option<Instant>,
}

impl Stop {
    /// The same sign without the statement's time limit, for rows that later
    /// statements read.
    pub(super) fn without_deadline(self) -> Self {
        Self { deadline: None, ..self }
    }

    /// Completes when the statement must stop, with the error to report.
    pub(super) async fn reason(&mut self) -> PgWireError {
        let deadline = self.deadline;
        let timeout = async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.signal.changed() => PgWireError::QueryCanceled,
            () = timeout => {
                sqlstate::error(sqlstate::QUERY_CANCELED, "canceling statement due to statement timeout")
            }
        }
    }

    /// Runs `work` unless it must stop before it is done.
    pub(super) async fn unless<T>(&mut self, work: impl Future<Output = PgWireResult<T>>) -> PgWireResult<T> {
        tokio::select! {
            biased;
            result = work => result,
            reason = self.reason() => Err(reason),
        }
    }
}
