//! The live console over HTTP: one page, one WebSocket, an SQL box, and the
//! numbers for Prometheus.
//!
//! | Path | What |
//! |---|---|
//! | `GET /` and its assets | the page, embedded in the binary |
//! | `GET /health` | `{"status":"ok"}` |
//! | `GET /metrics` | Prometheus text |
//! | `POST /sql` | `{"sql": …}` → rows or effects as JSON |
//! | `GET /live` | the WebSocket |
//!
//! Only requests that name this machine in `Host` (and, if they come from a
//! page, that page's `Origin`) are answered: a page from elsewhere cannot reach
//! through a browser to a port on loopback.

mod assets;
mod charts;
mod feeds;
mod health;
mod history;
mod hub;
mod json;
mod live;
mod message;
mod origin;
mod prometheus;
mod sampler;
mod sql;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use pluvio_query::{Platform, QueryError};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use health::serve_health;
use hub::Hub;

/// Most bytes of a statement sent to the SQL box.
const SQL_REQUEST_BYTES_MAX: usize = 1 << 20;

/// What the page tells newcomers about the other doors.
#[derive(Debug, Clone, Default)]
pub struct ConsoleOptions {
    /// Where the PostgreSQL door listens.
    pub postgres: Option<SocketAddr>,
    /// Where the Kafka door listens.
    pub kafka: Option<SocketAddr>,
}

/// What every request can reach.
#[derive(Clone)]
struct Shared {
    platform: Arc<Platform>,
    hub: Arc<Hub>,
    shutdown: watch::Receiver<bool>,
}

/// Serves the console until `shutdown` becomes true.
///
/// # Errors
/// The query session of the console cannot be set up.
pub async fn serve(
    listener: TcpListener,
    platform: Arc<Platform>,
    options: ConsoleOptions,
    shutdown: watch::Receiver<bool>,
) -> Result<(), QueryError> {
    let hub = Hub::new(Arc::clone(&platform), options)?;
    let loopback_only = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let sampling = tokio::spawn(sampler::run(Arc::clone(&hub)));
    let shared = Shared { platform, hub, shutdown: shutdown.clone() };
    let app = Router::new()
        .route("/health", get(|| async { axum::Json(serde_json::json!({ "status": "ok" })) }))
        .route("/metrics", get(metrics))
        .route("/sql", post(sql::run).layer(DefaultBodyLimit::max(SQL_REQUEST_BYTES_MAX)))
        .route("/live", get(live::upgrade))
        .fallback(assets::serve)
        .layer(middleware::from_fn_with_state(loopback_only, origin::check))
        .with_state(shared);
    let served = axum::serve(listener, app).with_graceful_shutdown(stopped(shutdown)).await;
    sampling.abort();
    if let Err(error) = served {
        tracing::error!(%error, "the console stopped");
    }
    Ok(())
}

/// Completes when the server stops, also when whoever would say so is gone.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let jobs = shared.platform.jobs().map(|jobs| jobs.jobs()).unwrap_or_default();
    let text = prometheus::text(&shared.platform.metrics().readings(), &jobs);
    ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text)
}
