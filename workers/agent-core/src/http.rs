use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use bus::Bus;
use miette::{Context, IntoDiagnostic};
use registry::Registry;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use utoipa::openapi::OpenApi;

use crate::admission::Admission;
use crate::api_error::ApiError;
use crate::feed::Feed;
use crate::keys::Keys;
use crate::metrics::{Metrics, count};
use crate::probes::{Readiness, open_metrics};
use crate::rates::Rates;
use crate::settings::Settings;
use crate::tokens::Tokens;

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) registry: Registry,
    pub(crate) admission: Admission,
    pub(crate) feed: Feed,
    pub(crate) keys: Keys,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Metrics,
    pub(crate) api: Arc<OpenApi>,
    pub(crate) max_body: usize,
    pub(crate) stop: CancellationToken,
}

/// How long fetching public keys may take in all; each wait for them has a limit of its own.
const FETCH: Duration = Duration::from_secs(10);

impl App {
    /// The state, and the routes that need it.
    pub(crate) fn new(
        settings: &Settings,
        bus: &Bus,
        stop: &CancellationToken,
    ) -> miette::Result<(Self, Router)> {
        let (routes, api) = crate::openapi::api();
        // One per process; somebody else in it may have chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(FETCH)
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()
            .into_diagnostic()
            .wrap_err("could not prepare to fetch public keys")?;
        let app = Self {
            bus: bus.clone(),
            registry: Registry::new(bus.db().clone()),
            admission: Admission::new(bus.clone(), settings.http.max_undecided_intents),
            feed: Feed::new(bus.clone(), &settings.http),
            keys: Keys::new(&settings.auth),
            tokens: Arc::new(Tokens::new(&settings.auth, http)),
            rates: Arc::new(Rates::new(&settings.http)),
            readiness: Arc::new(Readiness::new(bus.db().clone())),
            metrics: Metrics::new(&api),
            api: Arc::new(api),
            max_body: settings.http.http_max_body as usize,
            stop: stop.clone(),
        };
        let router = routes
            .fallback(async || ApiError::no_such_path())
            .method_not_allowed_fallback(async || ApiError::wrong_method())
            .layer(DefaultBodyLimit::max(app.max_body))
            .layer(from_fn_with_state(settings.http.http_timeout, in_time))
            .layer(from_fn_with_state(app.metrics.clone(), count))
            .with_state(app.clone());
        Ok((app, router))
    }

    pub(crate) fn metrics_router(&self) -> Router {
        Router::new()
            .route("/metrics", get(open_metrics))
            .fallback(async || ApiError::no_such_path())
            .with_state(self.clone())
    }
}

/// An answer comes within the limit; what an event stream sends after it does not count.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timed_out().into_response(),
    }
}

pub(crate) async fn bind(address: SocketAddr) -> miette::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("could not listen on {address}; is PORT in use?"))
}

/// Serves until `stop`, then lets answers that are under way finish within `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    grace: Duration,
    stop: &CancellationToken,
) -> miette::Result<()> {
    let address = listener.local_addr().into_diagnostic()?;
    info!("serving http://{address}");
    // Events and answers are small, and each is wanted at once.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        served = serving.into_future() => served.into_diagnostic().wrap_err("could not serve HTTP"),
        () = late => {
            warn!("stopping while answers are under way");
            Ok(())
        }
    }
}
