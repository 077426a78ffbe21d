//! Lines that peers send over TCP, each one event.
//!
//! A line ends with `\n`, or `\r\n`. Empty lines are no events; a line that is too
//! long is left out and counted. What a peer sends behind its last line end and
//! then closes in order is a line too; what is there of a line when a connection
//! breaks, is idle for too long, or the feed stops, is not.
//!
//! Plain TCP acknowledges no lines: what was sent and not read yet when a
//! connection breaks, or the process ends, is lost, and its sender cannot tell.
//! Nothing is there twice. When the feed stops in order, it takes the whole lines
//! that reached this machine before it closes.
//!
//! A connection's lines go to one partition, in their order. While the log is
//! slow, or the disk is full, nothing is read from any socket that has lines
//! waiting, so that its peer slows down.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pluvio_catalog::{LINE_BYTES_MAX, LinesDef};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::{JoinError, JoinSet};

use crate::FeedError;
use crate::context::Context;
use crate::runner::Ended;
use crate::status::FeedState;
use crate::target::Target;
use connection::{Connection, Limits};

/// How long connections may take to end.
const CLOSING: Duration = Duration::from_secs(5);
/// How long nobody is let in after the system refused to.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the port until the feed is to stop.
///
/// # Errors
/// The port cannot be taken, or the log's.
pub(crate) fn run(context: &Arc<Context>, def: &LinesDef) -> Result<Ended, FeedError> {
    let target = Target::open(context)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| FeedError::Fault(error.to_string()))?;
    runtime.block_on(serve(context, def, &Arc::new(target)))
}

async fn serve(context: &Arc<Context>, def: &LinesDef, target: &Arc<Target>) -> Result<Ended, FeedError> {
    let failed = |source| FeedError::Socket { what: format!("listen at {}", def.listen), source };
    let listener = TcpListener::bind(def.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let limits = limits(context, def, target)?;
    context.board.show(FeedState::Running, address.to_string(), None);
    let mut running: JoinSet<Result<(), FeedError>> = JoinSet::new();
    let mut turn = 0;
    loop {
        let (socket, peer) = tokio::select! {
            biased;
            () = context.stop.asked() => break,
            Some(ended) = running.join_next(), if !running.is_empty() => {
                well(ended)?;
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%address, %error, "nobody can be let in for a moment");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        // Whoever is not let in is closed here.
        if may_enter(def, peer, running.len()) {
            let partition = target.partition(turn)?;
            turn += 1;
            let target = Arc::clone(target);
            let connection = Connection::new(Arc::clone(context), target, partition, limits.clone(), peer);
            running.spawn(connection.serve(socket));
        }
    }
    drop(listener);
    let ending = async {
        while let Some(ended) = running.join_next().await {
            well(ended)?;
        }
        Ok::<_, FeedError>(())
    };
    match tokio::time::timeout(CLOSING, ending).await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!(%address, "the log is too slow to take what was received"),
    }
    Ok(Ended::Stopped)
}

/// Whether a peer is let in beside so many others.
fn may_enter(def: &LinesDef, peer: SocketAddr, count: usize) -> bool {
    let is_allowed = def.allow.is_empty() || def.allow.iter().any(|network| network.contains(peer.ip()));
    let has_room = count < usize::try_from(def.connections_max).unwrap_or(usize::MAX);
    if !is_allowed {
        tracing::warn!(%peer, "a peer outside of \"allow\" was sent away");
    } else if !has_room {
        tracing::warn!(%peer, max_connections = def.connections_max, "there are too many connections");
    }
    is_allowed && has_room
}

fn well(ended: Result<Result<(), FeedError>, JoinError>) -> Result<(), FeedError> {
    ended.map_err(|error| FeedError::Fault(error.to_string()))?
}

fn limits(context: &Context, def: &LinesDef, target: &Target) -> Result<Limits, FeedError> {
    let headers_bytes = connection::PEER_BYTES_MAX;
    let limit = usize::try_from(def.line_bytes_max.min(LINE_BYTES_MAX)).unwrap_or(usize::MAX);
    let line_bytes_max = target.value_bytes_max(context, headers_bytes)?.min(limit);
    let idle = match def.idle_timeout_ms {
        0 => Duration::MAX,
        time_ms => Duration::from_millis(time_ms),
    };
    Ok(Limits { line_bytes_max, idle })
}
