use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::behind::Behind;
use crate::cors::{open_to_browsers, preflight};
use crate::doorkeeper::{Doorkeeper, Entry};
use crate::forward::{Forwarder, NoAnswer};
use crate::refusal::{Refusal, json_answer};
use crate::{Keys, Part, Rest};

/// The one address of what stands in for Supabase: checks who is calling, and hands on to the part
/// that a path belongs to. Runs for as long as this value lives.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
    serving: JoinSet<io::Result<()>>,
}

struct Door {
    keeper: Doorkeeper,
    forwarder: Forwarder,
    rest: Behind,
    realtime: Behind,
    functions: Behind,
}

/// For those who are in the middle of something.
const LEAVING: Duration = Duration::from_secs(2);
/// A function may work for as long as Supabase lets it; PostgREST is done when the database is.
const ANSWERING: Duration = Duration::from_secs(150);

impl Gateway {
    pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    }

    pub(crate) fn start(
        listener: TcpListener,
        keeper: Doorkeeper,
        [rest, realtime, functions]: [Behind; 3],
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let forwarder = Forwarder { tasks: tasks.clone(), stop: stop.clone(), cut: cut.clone() };
        let door = Arc::new(Door { keeper, forwarder, rest, realtime, functions });
        let router = Router::new().fallback(answer).with_state(door);
        let mut serving = JoinSet::new();
        let told = stop.clone();
        serving.spawn(async move {
            // An answer is a head and then a body: without this the second waits until the client
            // acknowledges the first, which most do 40 ms later.
            let listener = listener.tap_io(|client| {
                let _ = client.set_nodelay(true);
            });
            axum::serve(listener, router).with_graceful_shutdown(told.cancelled_owned()).await
        });
        Ok(Self { address, stop, cut, tasks, serving })
    }

    /// On a free port, in front of a PostgREST and a Realtime that somebody else has started.
    pub async fn open(keys: &Keys, rest: SocketAddr, realtime: SocketAddr) -> io::Result<Self> {
        Self::before(keys, Behind::at(Part::Rest, rest), realtime).await
    }

    /// The same, with a PostgREST of ours.
    pub async fn open_with(keys: &Keys, rest: &Rest, realtime: SocketAddr) -> io::Result<Self> {
        Self::before(keys, rest.behind(), realtime).await
    }

    async fn before(keys: &Keys, rest: Behind, realtime: SocketAddr) -> io::Result<Self> {
        let behind = [
            rest,
            Behind::at(Part::Realtime, realtime),
            Behind::off(Part::Functions, "nobody serves them"),
        ];
        Self::start(Self::bind(0).await?, Doorkeeper::new(keys), behind)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As clients write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until it has ended, which it should never do. May be dropped and called again.
    pub(crate) async fn died(&mut self) {
        self.serving.join_next().await;
    }

    /// Lets go of everybody: of tunnels at once, of requests when they are answered or too late.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let _ = timeout(LEAVING, self.serving.join_next()).await;
        self.serving.abort_all();
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn answer(State(door): State<Arc<Door>>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    if path == "/" || path == "/health" {
        return door.health();
    }
    let Some((behind, entry, rest)) = door.behind(&path) else { return nowhere(&path) };
    if let Some(answer) = behind.part.is_called_by_pages().then(|| preflight(&request)).flatten() {
        return answer;
    }
    let mut answer = match door.pass(behind, entry, request, rest).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(),
    };
    if behind.part.is_called_by_pages() {
        open_to_browsers(answer.headers_mut());
    }
    answer
}

impl Door {
    /// Whose the path is, what it asks of callers, and how it knows the path.
    fn behind<'a>(&self, path: &'a str) -> Option<(&Behind, Entry, &'a str)> {
        let rest_of = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(rest)
        };
        if let Some(rest) = rest_of("/rest/v1") {
            return Some((&self.rest, Entry::Key, if rest.is_empty() { "/" } else { rest }));
        }
        if rest_of("/realtime/v1").is_some() {
            return Some((&self.realtime, Entry::KeyOrQuery, path));
        }
        // A webhook has no key of ours; each function says whether its callers need one.
        let rest = rest_of("/functions/v1")?;
        Some((&self.functions, Entry::Open, if rest.is_empty() { "/" } else { rest }))
    }

    async fn pass(
        &self,
        behind: &Behind,
        entry: Entry,
        mut request: Request<Body>,
        path: &str,
    ) -> Result<Response, Refusal> {
        let query = request.uri().query().map(str::to_owned);
        self.keeper.admit(entry, request.headers_mut(), query.as_deref())?;
        let upstream = behind.upstream()?;
        let passed = self.forwarder.forward(upstream, request, path, ANSWERING).await;
        passed.map_err(|no_answer| match no_answer {
            NoAnswer::Unreachable => behind.down(),
            NoAnswer::Broke => behind.broke(),
            NoAnswer::Late(patience) => behind.late(patience),
            NoAnswer::Refused(refusal) => refusal,
        })
    }

    /// What runs, without a secret: anybody may ask.
    fn health(&self) -> Response {
        let all = [&self.rest, &self.realtime, &self.functions];
        let well = all.iter().all(|behind| behind.is_well());
        let parts = all.iter().map(|behind| (behind.part.to_string(), behind.told()));
        let parts: Value = parts.collect::<serde_json::Map<_, _>>().into();
        let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json_answer(status, &json!({ "healthy": well, "parts": parts }))
    }
}

impl Part {
    /// Pages in browsers call it over plain HTTP.
    fn is_called_by_pages(self) -> bool {
        matches!(self, Self::Rest | Self::Functions)
    }
}

fn nowhere(path: &str) -> Response {
    let message = format!("there is nothing at {}", model::quote(path));
    let hint = "here are /rest/v1, /realtime/v1, /functions/v1 and /health";
    Refusal::new(StatusCode::NOT_FOUND, message, hint).answer()
}
