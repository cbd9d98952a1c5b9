//! A Vault of ours, for tests: it answers as a real one was seen to answer, statuses and bodies.
//! `secrets/tests/it` runs the same tests against it and against a real one.

mod answer;
mod kv;
mod logins;
mod policies;
mod state;
mod tokens;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::answer::Ask;
use self::state::State;

pub struct Vault {
    addr: String,
    shared: Arc<Shared>,
    _server: JoinSet<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    asked: Mutex<Vec<String>>,
    override_with: Mutex<Option<Override>>,
}

#[derive(Clone)]
enum Override {
    Silence,
    Text { status: u16, body: String },
}

impl Vault {
    /// May do everything here.
    pub const ROOT: &'static str = "s.root";

    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = format!("http://{}", listener.local_addr().expect("it listens"));
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await });
        Self { addr, shared, _server: server }
    }

    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Writes a version of a secret, in a store of version 2 that is made if it is not there.
    pub fn put(&self, mount: &str, path: &str, data: &Value) {
        self.state().put(mount, path, data);
    }

    /// Tokens, secret ids and leases grow older.
    pub fn advance(&self, by: Duration) {
        self.state().advance(by);
    }

    /// Every token but the root's.
    pub fn revoke_all(&self) {
        self.state().tokens.retain(|name, _| name == Self::ROOT);
    }

    pub fn seal(&self, sealed: bool) {
        self.state().sealed = sealed;
    }

    /// Knows only what is asked for in this namespace.
    pub fn live_in(&self, namespace: &str) {
        self.state().namespace = Some(namespace.to_owned());
    }

    /// Lets the service account that has this token log in under `role`.
    pub fn trust(&self, role: &str, jwt: &str, policies: &[&str], ttl: Duration) {
        self.state().trust(role, jwt, policies, ttl);
    }

    /// With which status a service account is refused: 500 of old versions, 403 of later ones.
    pub fn refuse_service_accounts_with(&self, status: u16) {
        self.state().stranger = status;
    }

    /// Answers whatever is asked with this; `{sent}` in it becomes the token and the body that were
    /// sent.
    pub fn answer_all_with(&self, status: u16, body: &str) {
        let body = body.to_owned();
        *lock(&self.shared.override_with) = Some(Override::Text { status, body });
    }

    /// Takes requests and never answers.
    pub fn fall_silent(&self) {
        *lock(&self.shared.override_with) = Some(Override::Silence);
    }

    pub fn behave(&self) {
        *lock(&self.shared.override_with) = None;
    }

    /// How many requests there were like this, as in `GET kv/data/llm`.
    pub fn asked(&self, request: &str) -> usize {
        lock(&self.shared.asked).iter().filter(|asked| *asked == request).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test has panicked in here")
}

async fn answer(
    Extracted(shared): Extracted<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let ask = Ask::new(&method, &uri, &headers, &body);
    lock(&shared.asked).push(format!("{method} {}", ask.path));
    let override_with = lock(&shared.override_with).clone();
    match override_with {
        Some(Override::Silence) => std::future::pending().await,
        Some(Override::Text { status, body: text }) => {
            let body = String::from_utf8_lossy(&body);
            let sent = format!("{} {body}", ask.token.as_deref().unwrap_or_default());
            let sent = Value::String(sent).to_string();
            let text = text.replace("{sent}", sent.trim_matches('"'));
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [("location", "http://127.0.0.1:1/")], text).into_response()
        }
        None => lock(&shared.state).answer(&ask).into_response(),
    }
}
