use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use cluster::{Cluster, ClusterSettings, Fence, Release, Target};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

/// Answers what it was told to, and remembers what it was asked.
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
    folder: TempDir,
    _serving: JoinSet<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    asked: Mutex<Vec<Asked>>,
    watches: Mutex<HashMap<String, broadcast::Sender<Option<String>>>>,
}

#[derive(Clone)]
pub(crate) enum Answer {
    Json(u16, Value),
    Text(u16, String),
    /// Never.
    Silence,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// As in `PATCH /apis/apps/v1/namespaces/agents/deployments/a`.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) kind: String,
    pub(crate) body: Value,
}

pub(crate) const TOKEN: &str = "token-hunter2";

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Self { url, shared, folder: TempDir::new().expect("a folder"), _serving: serving }
    }

    pub(crate) fn kubeconfig(&self, extra: &Value) -> PathBuf {
        let mut cluster = json!({ "server": self.url });
        for (key, value) in extra.as_object().into_iter().flatten() {
            cluster[key] = value.clone();
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [
                { "name": "test", "context": { "cluster": "test", "user": "test" } },
                { "name": "half", "context": { "cluster": "none", "user": "test" } },
            ],
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": { "token": TOKEN } }],
        });
        let file = self.folder.path().join("kubeconfig");
        std::fs::write(&file, config.to_string()).expect("a writable folder");
        file
    }

    pub(crate) async fn cluster(&self) -> Cluster {
        let settings = ClusterSettings {
            kube_timeout: Duration::from_millis(500),
            kube_list_every: Duration::from_secs(2),
            ..ClusterSettings::default()
        };
        Cluster::connect(&settings, Some(&self.kubeconfig(&json!({})))).await.expect("a kubeconfig")
    }

    /// Answers in turn; the last of them again and again.
    pub(crate) fn on(&self, what: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.shared
            .answers
            .lock()
            .expect("no test has panicked in here")
            .insert(what.to_owned(), answers);
    }

    pub(crate) fn refuse(&self, what: &str, code: u16, reason: &str, message: &str) {
        self.on(what, [Answer::Json(code, failure(code, reason, message))]);
    }

    /// Four empty lists of a namespace, and watches that say nothing.
    pub(crate) fn empty(&self) {
        for plural in [DEPLOYMENTS, REPLICA_SETS, PODS, EVENTS] {
            self.list(plural, &[]);
        }
    }

    pub(crate) fn list(&self, path: &str, items: &[Value]) {
        self.on(&format!("GET {path}"), [Answer::Json(200, list("10", None, items))]);
    }

    /// Tells all who watch it, or cuts them off.
    pub(crate) fn tell(&self, path: &str, line: Option<&Value>) {
        let watches = self.watches();
        let told = watches.get(path).map(|watch| watch.send(line.map(ToString::to_string)));
        assert!(told.is_some_and(|sent| sent.is_ok()), "nobody watches {path}");
    }

    pub(crate) fn is_watched(&self, path: &str) -> bool {
        self.watches().get(path).is_some_and(|watch| watch.receiver_count() > 0)
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Option<String>>>> {
        self.shared.watches.lock().expect("no test has panicked in here")
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no test has panicked in here").clone()
    }

    pub(crate) fn changes(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|one| !one.what.starts_with("GET")).collect()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default().to_owned();
    let what = format!("{method} {}", uri.path());
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let watch = query.contains("watch=true");
    let name = if watch { format!("WATCH {}", uri.path()) } else { what.clone() };
    let kind = kind.unwrap_or_default().to_owned();
    shared.asked.lock().expect("no test has panicked in here").push(Asked {
        what: name.clone(),
        query,
        kind,
        body,
    });
    let told = {
        let mut answers = shared.answers.lock().expect("no test has panicked in here");
        answers.get_mut(&name).and_then(|queue| match queue.len() {
            0 | 1 => queue.front().cloned(),
            _ => queue.pop_front(),
        })
    };
    match told {
        Some(Answer::Silence) => std::future::pending().await,
        Some(Answer::Json(code, body)) => reply(code, body.to_string()),
        Some(Answer::Text(code, body)) => reply(code, body),
        None if watch => follow(&shared, uri.path()),
        None => reply(404, failure(404, "NotFound", "not found").to_string()),
    }
}

fn follow(shared: &Shared, path: &str) -> Response {
    let mut watches = shared.watches.lock().expect("no test has panicked in here");
    let sender = watches.entry(path.to_owned()).or_insert_with(|| broadcast::Sender::new(64));
    let told = stream::unfold(sender.subscribe(), |mut told| async {
        match told.recv().await {
            Ok(Some(line)) => Some((Ok::<_, io::Error>(format!("{line}\n")), told)),
            _ => None,
        }
    });
    Body::from_stream(told.boxed()).into_response()
}

fn reply(code: u16, body: String) -> Response {
    let code = StatusCode::from_u16(code).expect("a status");
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code })
}

pub(crate) fn list(version: &str, next: Option<&str>, items: &[Value]) -> Value {
    json!({ "kind": "List", "apiVersion": "v1", "items": items,
        "metadata": { "resourceVersion": version, "continue": next.unwrap_or_default() } })
}

pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/agents/deployments/codegen";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/agents/deployments";
pub(crate) const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/agents/replicasets";
pub(crate) const PODS: &str = "/api/v1/namespaces/agents/pods";
pub(crate) const EVENTS: &str = "/api/v1/namespaces/agents/events";

pub(crate) fn target() -> Target {
    Target {
        namespace: "agents".to_owned(),
        deployment: "codegen".to_owned(),
        container: "worker".to_owned(),
    }
}

pub(crate) fn release() -> Release {
    Release {
        id: "r2".to_owned(),
        image: "ghcr.io/acme/codegen:v2@sha256:22".to_owned(),
        digest: "sha256:22".to_owned(),
        fence: Fence { agent: "agent".to_owned(), number: 3 },
    }
}

pub(crate) fn template(release: &str, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "codegen" },
            "annotations": { "cogo.dev/release-id": release } },
        "spec": { "containers": [{ "name": "worker", "image": image }] },
    })
}

pub(crate) fn deployment(replicas: i32, generation: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "codegen", "namespace": "agents", "uid": "d1",
            "resourceVersion": "11", "generation": generation, "annotations": {
            "deployment.kubernetes.io/revision": "2" } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "codegen" } },
            "template": template("r2", "ghcr.io/acme/codegen:v2@sha256:22"),
        },
        "status": {
            "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
            "availableReplicas": replicas, "conditions": [
                { "type": "Available", "status": "True" },
                { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                  "message": "ReplicaSet \"codegen-2\" has successfully progressed." } ],
        },
    })
}

pub(crate) fn replica_set(number: &str, release: &str, image: &str) -> Value {
    json!({
        "metadata": { "name": format!("codegen-{number}"), "namespace": "agents",
            "uid": format!("rs{number}"), "resourceVersion": "12",
            "labels": { "app": "codegen", "pod-template-hash": number },
            "annotations": { "deployment.kubernetes.io/revision": number },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment",
                "name": "codegen", "uid": "d1", "controller": true }] },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "codegen" } },
            "template": template(release, image) },
        "status": { "replicas": 1, "readyReplicas": 1, "availableReplicas": 1 },
    })
}

pub(crate) fn pod(name: &str, replica_set: &str, container: &Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "agents", "uid": format!("uid-{name}"),
            "resourceVersion": "13", "labels": { "app": "codegen" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": "codegen-2", "uid": replica_set, "controller": true }] },
        "spec": { "containers": [] },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z" } ],
            "containerStatuses": [container] },
    })
}
