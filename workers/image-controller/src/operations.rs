use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use miette::{IntoDiagnostic, WrapErr};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::controller::Controller;

/// What Kubernetes and whoever measures ask of this process.
pub(crate) async fn serve(
    at: SocketAddr,
    of: Arc<Controller>,
    stop: CancellationToken,
) -> miette::Result<()> {
    let listener = TcpListener::bind(at).await.into_diagnostic();
    let listener = listener.wrap_err_with(|| format!("could not listen at {at} (METRICS_PORT)"))?;
    let served = axum::serve(listener, router(of)).with_graceful_shutdown(stop.cancelled_owned());
    served.await.into_diagnostic().wrap_err("could not serve metrics")
}

fn router(of: Arc<Controller>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(of)
}

/// Kubernetes is not asked: a cluster in trouble is not mended by a controller that is taken out.
async fn readyz(State(of): State<Arc<Controller>>) -> (StatusCode, &'static str) {
    if of.reached.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be reached, or lacks migrations\n")
    }
}

async fn metrics(State(of): State<Arc<Controller>>) -> impl IntoResponse {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, TEXT)], of.metrics.text())
}
