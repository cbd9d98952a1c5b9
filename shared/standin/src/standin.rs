use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use db::{DbError, Statement};
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::counts::{Counts, add};
use crate::feed::feed;
use crate::http::{Seated, routes};
use crate::news::pass_on;
use crate::server::Server;
use crate::settings::StandinSettings;
use crate::socket;

/// A small Realtime server of our own. Dropping it ends it at once; [`Standin::stop`] says goodbye
/// to its clients first.
pub struct Standin {
    server: Arc<Server>,
    address: SocketAddr,
    /// Ends the listener and, with it, everything.
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StartError {
    #[error("could not use the database")]
    Database(#[from] DbError),
    #[error("the database lacks what Supabase would bring along")]
    #[diagnostic(help("call standin::provide with a superuser before the migrations"))]
    NotProvided,
    #[error("could not listen")]
    Listen(#[source] std::io::Error),
}

static IS_PROVIDED: Statement = Statement {
    name: "standin.is_provided",
    sql: "select to_regclass('realtime.messages') is not null
              and to_regprocedure('standin.make_partitions()') is not null",
    types: &[],
};

static MAKE_PARTITIONS: Statement = Statement {
    name: "standin.make_partitions",
    sql: "select standin.make_partitions()",
    types: &[],
};

static LOSE_PARTITION: Statement = Statement {
    name: "standin.lose_partition",
    sql: "select standin.lose_partition()",
    types: &[],
};

static FORGET: Statement =
    Statement { name: "standin.forget", sql: "select standin.forget()", types: &[] };

/// Messages may become that much older than they should.
const TIDY: Duration = Duration::from_secs(60);
/// Sockets say goodbye within a second; what takes longer is cut off.
const GOODBYE: Duration = Duration::from_secs(3);

impl Standin {
    pub async fn start(mut settings: StandinSettings) -> Result<Self, StartError> {
        let listener = match settings.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StartError::Listen)?,
        };
        listener.set_nonblocking(true).map_err(StartError::Listen)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;

        let (server, seated) = Server::new(settings)?;
        if !server.db.query_one(&IS_PROVIDED, &[]).await?.get::<bool>(0) {
            return Err(StartError::NotProvided);
        }
        if server.settings.awkward.lost_partition {
            server.db.query(&LOSE_PARTITION, &[]).await?;
        } else {
            server.db.query(&MAKE_PARTITIONS, &[]).await?;
        }
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, whole(server.clone()), stop.clone()));
        tasks.spawn(look_after(server.clone(), seated, stop.clone()));
        tasks.spawn(until(stop.clone(), pass_on(server.clone())));
        tasks.spawn(until(stop.clone(), feed(server.clone())));
        tasks.spawn(until(stop.clone(), tidy(server.clone())));
        Ok(Self { server, address, stop, tasks })
    }

    /// Where it listens: `/realtime/v1/websocket`, `/realtime/v1/api/broadcast` and, as the bare
    /// server has it, `/socket/websocket`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What lies under `/realtime/v1`, for a gateway to nest there. Its connections have to allow
    /// upgrades, as those of `axum::serve` do.
    pub fn router(&self) -> Router {
        routes(self.server.clone())
    }

    pub fn counts(&self) -> Counts {
        self.server.counters.now()
    }

    /// Closes all sockets with code 1012, and lets nobody in for as long as it is `down`.
    pub async fn restart(&self, down: Duration) {
        // Whoever stops waiting for this does not leave it down.
        let _up_again = Down::of(&self.server);
        self.server.everybody_out();
        sleep(down).await;
    }

    /// Closes all sockets with code 1012, and ends when everything has.
    pub async fn stop(mut self) {
        self.server.down.send_replace(true);
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                log_panic(ended);
            }
        };
        if timeout(GOODBYE, all).await.is_err() {
            warn!("the stand-in did not end in time and is cut off");
            self.tasks.shutdown().await;
        }
    }
}

/// Nobody gets in until it is dropped.
struct Down<'a>(&'a Server);

impl<'a> Down<'a> {
    fn of(server: &'a Server) -> Self {
        server.down.send_replace(true);
        Self(server)
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.down.send_replace(false);
    }
}

fn whole(server: Arc<Server>) -> Router {
    let routes = routes(server);
    // The bare server has the same two below other paths.
    Router::new().nest("/realtime/v1", routes.clone()).nest("/socket", routes)
}

async fn listen(listener: tokio::net::TcpListener, router: Router, stop: CancellationToken) {
    // A ring right behind another must not wait until the client acknowledges the first.
    let listener = listener.tap_io(|client| {
        let _ = client.set_nodelay(true);
    });
    let serving = axum::serve(listener, router);
    let serving = serving.with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            error!(%error, "the stand-in cannot listen any more");
        },
        // Connections that are kept open for more requests need not be waited for.
        () = async { stop.cancelled().await; sleep(GOODBYE / 3).await } => {}
    }
}

/// Of open sockets, until there is to be none.
async fn look_after(
    server: Arc<Server>,
    mut seated: mpsc::Receiver<Seated>,
    stop: CancellationToken,
) {
    let mut sockets = JoinSet::new();
    loop {
        tokio::select! {
            Some(seated) = seated.recv() => {
                let server = server.clone();
                add(&server.counters.sockets, 1);
                sockets.spawn(async move {
                    socket::run(server.clone(), seated).await;
                });
            }
            Some(ended) = sockets.join_next() => {
                server.counters.sockets.fetch_sub(1, Ordering::Relaxed);
                log_panic(ended);
            }
            () = stop.cancelled() => break,
        }
    }
    server.everybody_out();
    while let Some(ended) = sockets.join_next().await {
        server.counters.sockets.fetch_sub(1, Ordering::Relaxed);
        log_panic(ended);
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// For ever: keeps the partitions and forgets old messages.
async fn tidy(server: Arc<Server>) {
    loop {
        let lost = server.settings.awkward.lost_partition;
        let statements: &[&Statement] =
            if lost { &[&FORGET] } else { &[&MAKE_PARTITIONS, &FORGET] };
        for statement in statements {
            if let Err(error) = server.db.query(statement, &[]).await {
                warn!(error = %Chain(&error), "could not tidy up realtime.messages");
            }
        }
        sleep(TIDY).await;
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a task of the stand-in panicked");
    }
}
