//! SQL over the PostgreSQL wire protocol, version 3, for psql, drivers and
//! tools.
//!
//! One task and one query session per connection. Any user name is taken and no
//! password is asked. Statements commit one by one: BEGIN, COMMIT and ROLLBACK
//! are understood so that drivers work, and a ROLLBACK after a write says with a
//! warning that it undid nothing.
//!
//! Not here: TLS, COPY through the connection, LISTEN/NOTIFY.

mod bind;
mod cancel;
mod commands;
mod connection;
mod cursors;
mod frames;
mod handler;
mod names;
mod pg_catalog;
mod prepared;
mod rows;
mod sqlstate;
mod startup;
mod statements;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use pluvio_query::Platform;

/// Most connections served at once; each holds a query session.
pub const CONNECTIONS_MAX: usize = 500;

/// Serves connections until `shutdown` becomes true, then tells every client
/// that the server is going away and returns once all of them are closed.
pub async fn serve(listener: TcpListener, platform: Arc<Platform>, shutdown: watch::Receiver<bool>) {
    let mut stopped = std::pin::pin!(connection::stopped(shutdown.clone()));
    let shared = Arc::new(connection::Shared::new(platform));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => {
                        let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                        connections.spawn(async move {
                            connection::run(socket, &shared, shutdown).await;
                            drop(slot);
                        });
                    }
                    Err(_) => refuse(socket).await,
                },
                // A connection that vanished while waiting, or no file
                // descriptor left: neither ends the door.
                Err(error) => {
                    tracing::warn!(%error, "a PostgreSQL connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = &mut stopped => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Tells a client that all slots are taken. Best effort: the client may be gone.
async fn refuse(mut socket: TcpStream) {
    let message = sqlstate::too_many_connections(CONNECTIONS_MAX);
    let _ = socket.write_all(&message).await;
    let _ = socket.shutdown().await;
}
