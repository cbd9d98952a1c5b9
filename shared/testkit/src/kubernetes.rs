//! As much of the Kubernetes API as one named read of a Secret takes, for tests.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub struct Kubernetes {
    server: String,
    shared: Arc<Shared>,
    _server: JoinSet<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    /// What is at a path: `namespaces/cogo-dev/secrets/llm`.
    objects: Mutex<HashMap<String, (u16, String)>>,
    asked: Mutex<Vec<String>>,
}

impl Kubernetes {
    /// Whoever shows it may do everything here.
    pub const TOKEN: &'static str = "kubernetes-token";

    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = format!("http://{}", listener.local_addr().expect("it listens"));
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await });
        Self { server, shared, _server: running }
    }

    /// Writes a kubeconfig that leads here.
    pub fn write_kubeconfig(&self, file: &Path, token: &str) {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "clusters": [{ "name": "test", "cluster": { "server": self.server } }],
            "users": [{ "name": "test", "user": { "token": token } }],
        });
        std::fs::write(file, config.to_string()).expect("a writable folder");
    }

    /// `data` is in base64, as Kubernetes keeps it.
    pub fn put(&self, namespace: &str, name: &str, data: &Value) {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": namespace, "resourceVersion": "4711" },
            "type": "Opaque",
            "data": data,
        });
        self.answer_with(namespace, name, 200, &object.to_string());
    }

    /// Whatever is asked for under this name is answered with this.
    pub fn answer_with(&self, namespace: &str, name: &str, status: u16, body: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        self.objects().insert(path, (status, body.to_owned()));
    }

    pub fn refuse(&self, namespace: &str, name: &str, status: u16, reason: &str) {
        let body = failure(status, reason, &format!("secrets \"{name}\" is refused"));
        self.answer_with(namespace, name, status, &body.to_string());
    }

    /// All that was asked for, as in `GET /api/v1/namespaces/cogo-dev/secrets/llm`.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("no test has panicked in here").clone()
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<String, (u16, String)>> {
        self.shared.objects.lock().expect("no test has panicked in here")
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    _body: Bytes,
) -> Response {
    let asked = format!("{method} {uri}");
    shared.asked.lock().expect("no test has panicked in here").push(asked);
    let known = format!("Bearer {}", Kubernetes::TOKEN);
    if headers.get(header::AUTHORIZATION).is_none_or(|value| *value != known) {
        let body = Json(failure(401, "Unauthorized", "Unauthorized"));
        return (StatusCode::UNAUTHORIZED, body).into_response();
    }
    let objects = shared.objects.lock().expect("no test has panicked in here");
    match objects.get(uri.path()) {
        Some((status, body)) => {
            let status = StatusCode::from_u16(*status).expect("a status");
            (status, [(header::CONTENT_TYPE, "application/json")], body.clone()).into_response()
        }
        None => {
            let name = uri.path().rsplit('/').next().unwrap_or_default();
            let message = format!("secrets \"{name}\" not found");
            (StatusCode::NOT_FOUND, Json(failure(404, "NotFound", &message))).into_response()
        }
    }
}

fn failure(status: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    })
}
