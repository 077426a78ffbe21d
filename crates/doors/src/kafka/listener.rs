//! Accepts connections, up to the limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::broker::Broker;
use super::connection::{From, serve_connection};
use super::{groups, transactions};
use crate::DoorError;

/// How long to wait when the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One in so many places is for peers that have not proven who they are.
const UNPROVEN_SHARE: usize = 4;

/// Serves Kafka clients on `listener` until `shutdown` turns true.
///
/// Fails only if the listener's own address cannot be told; no peer can make
/// it return.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), DoorError> {
    let address = listener.local_addr().map_err(|source| DoorError::socket("listen", source))?;
    tracing::info!(%address, "Kafka door open");
    let places = Arc::new(Semaphore::new(broker.options.connections_max));
    let unproven = Arc::new(Semaphore::new((broker.options.connections_max / UNPROVEN_SHARE).max(1)));
    let mut connections = JoinSet::new();
    groups::resume(&broker);
    let watching = tokio::spawn(transactions::watch(Arc::clone(&broker)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = shutdown.wait_for(|closing| *closing) => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    let count_max = broker.options.connections_max;
                    tracing::warn!(%address, count_max, "connection refused: too many are open");
                    continue;
                };
                // Peers that nobody knows yet do not keep out those that are known.
                let Ok(newcomer) = Arc::clone(&unproven).try_acquire_owned() else {
                    tracing::debug!(%address, "connection refused: too many have not proven who they are");
                    continue;
                };
                let from = From { address, newcomer };
                let serving = serve_connection(stream, from, Arc::clone(&broker), shutdown.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; raise the limit of open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    watching.abort();
    broker.groups.stop();
    while connections.join_next().await.is_some() {}
    tracing::info!(%address, "Kafka door closed");
    Ok(())
}
