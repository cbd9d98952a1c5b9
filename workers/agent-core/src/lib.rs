//! The way in: an HTTP API to publish, follow and stop work, and the handler that decides what
//! becomes of an intent. Start at [`run`]; a request's way is `http.rs`, `caller.rs` (who calls),
//! `publishing.rs` or `following.rs`; an event's is `feed.rs` and `listener.rs`; an intent's
//! `decide.rs`.
//! Invariants: whatever a user's token does not name is not shown, and not told apart from what does
//! not exist; an event stream is in order and complete, so its last number is all a client needs to
//! go on anywhere.
mod admission;
mod api_error;
mod body;
mod caller;
mod catalog;
mod decide;
mod events;
mod feed;
mod following;
mod http;
mod jwks;
mod keys;
mod listener;
mod metrics;
mod openapi;
mod paths;
mod probes;
mod publishing;
mod rates;
mod registry_api;
mod settings;
mod statement;
mod tokens;
mod views;

use std::net::SocketAddr;

use axum::Router;
use bus::Bus;
use miette::{Context, IntoDiagnostic};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::Handlers;

pub use openapi::openapi_json;
pub use settings::{AuthSettings, HttpSettings, InvalidSettings, Settings};
#[doc(hidden)]
pub use statement::statements;

use catalog::Catalog;
use http::App;

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    Server::bind(settings, &stop).await?.run().await
}

/// Everything agent-core does, ready to begin: its ports are taken and its settings are right.
pub struct Server {
    settings: Settings,
    bus: Bus,
    app: App,
    router: Router,
    listener: TcpListener,
    metrics: Option<TcpListener>,
    /// Ends all of it, and nothing else in the process.
    stop: CancellationToken,
}

impl Server {
    pub async fn bind(mut settings: Settings, stop: &CancellationToken) -> miette::Result<Self> {
        settings.join();
        settings.check()?;
        settings.db = settings.db.named("agent-core");
        let stop = stop.child_token();
        let bus = Bus::connect(&settings.db, &settings.bus)?;
        let (app, router) = App::new(&settings, &bus, &stop)?;
        let at = |port| SocketAddr::new(settings.http.bind, port);
        let listener = http::bind(at(settings.http.port)).await?;
        let metrics = match settings.http.metrics_port {
            Some(port) => Some(http::bind(at(port)).await?),
            None => None,
        };
        Ok(Self { settings, bus, app, router, listener, metrics, stop })
    }

    /// Where the API is; of use when the port was 0.
    pub fn address(&self) -> miette::Result<SocketAddr> {
        self.listener.local_addr().into_diagnostic()
    }

    /// Serves and decides until told to stop.
    pub async fn run(self) -> miette::Result<()> {
        let Self { settings, bus, app, router, listener, metrics, stop } = self;
        // Whichever part ends takes the others along: half of it would look well and be useless.
        let _all_end = stop.clone().drop_guard();
        let ending = |result: miette::Result<()>| {
            stop.cancel();
            result
        };
        let grace = settings.http.http_grace;
        let serving = async { ending(http::serve(listener, router, grace, &stop).await) };
        let metrics = async {
            match metrics {
                Some(listener) => {
                    let router = app.metrics_router();
                    ending(http::serve(listener, router, grace, &stop).await)
                }
                None => Ok(()),
            }
        };
        let catalog = Catalog::new(bus.db().clone());
        let handlers =
            Handlers::new().on(move |intent, cx| decide::decide(intent, cx, catalog.clone()));
        let deciding = async {
            let worker = &settings.worker;
            let served =
                Box::pin(worker::serve(bus, "agent-core", handlers, worker, stop.clone())).await;
            ending(served.into_diagnostic().wrap_err("could not decide intents"))
        };
        let following = async {
            app.feed.run(&stop).await;
            Ok(())
        };
        let (served, measured, decided, followed) =
            tokio::join!(serving, metrics, deciding, following);
        served.and(measured).and(decided).and(followed)
    }
}
