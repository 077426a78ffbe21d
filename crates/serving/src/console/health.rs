//! HTTP for a process that only keeps the queue: whether it lives, and its
//! numbers. No page, no SQL.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use pluvio_foundation::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{origin, prometheus, stopped};

const ABOUT: &str = "Pluvio, role queue: Kafka clients are served; there is no SQL and no console here.\n\
                     GET /health, GET /metrics\n";

/// Serves `/health` and `/metrics` until `shutdown` becomes true.
pub async fn serve_health(listener: TcpListener, metrics: Metrics, shutdown: watch::Receiver<bool>) {
    let loopback_only = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let app = Router::new()
        .route("/", get(|| async { ABOUT }))
        .route("/health", get(|| async { axum::Json(serde_json::json!({ "status": "ok" })) }))
        .route("/metrics", get(readings))
        .layer(middleware::from_fn_with_state(loopback_only, origin::check))
        .with_state(metrics);
    let served = axum::serve(listener, app).with_graceful_shutdown(stopped(shutdown)).await;
    if let Err(error) = served {
        tracing::error!(%error, "the health door stopped");
    }
}

async fn readings(State(metrics): State<Metrics>) -> impl IntoResponse {
    let text = prometheus::text(&metrics.readings(), &[]);
    ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text)
}
