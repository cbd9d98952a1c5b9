use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use model::{Digest, Provider, Repo, Secret, Tag};
use oci::{Account, Oci, OciSettings, Registry};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that answers what it is told, and remembers what it was asked.
pub(crate) struct Scripted {
    address: String,
    shared: Arc<Shared>,
    _server: JoinSet<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    /// By method and path: one answer after the other, and the last one for ever.
    script: Mutex<HashMap<String, Vec<Reply>>>,
    asked: Mutex<Vec<Asked>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `GET /v2/?a=b`
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    silent: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), silent: false }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// It never comes.
    pub(crate) fn silence() -> Self {
        Self { silent: true, ..Self::new(200, "") }
    }
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await });
        Self { address, shared, _server: running }
    }

    /// As repositories begin here.
    pub(crate) fn host(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers `GET /v2/` with these, one after the other.
    pub(crate) fn on(&self, line: &str, replies: impl IntoIterator<Item = Reply>) {
        let mut script = self.shared.script.lock().unwrap();
        script.insert(line.to_owned(), replies.into_iter().collect());
    }

    pub(crate) fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.shared.asked.lock().unwrap()
    }

    /// Of all questions, those that begin like this.
    pub(crate) fn times(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line.starts_with(line)).count()
    }

    pub(crate) fn repo(&self) -> Repo {
        format!("{}/acme/app", self.address).parse().unwrap()
    }

    pub(crate) fn registry(&self, secret: Option<&str>) -> Registry {
        self.registry_with(secret, &OciSettings::default())
    }

    pub(crate) fn registry_with(&self, secret: Option<&str>, settings: &OciSettings) -> Registry {
        registry(&self.address, secret, settings)
    }

    /// What a registry with one image says, whoever asks.
    pub(crate) fn has_image(&self) -> Digest {
        let config =
            br#"{"os":"linux","architecture":"amd64","config":{"Labels":{"cogo.component":"x"}}}"#;
        let config_digest = Digest::of(config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": config.len(),
            },
            "layers": [],
        })
        .to_string();
        let digest = Digest::of(manifest.as_bytes());
        let reply = || Reply::new(200, manifest.clone()).with("content-type", OCI_MANIFEST);
        let reply = || reply().with("docker-content-digest", digest.to_string());
        self.on(&format!("HEAD {MANIFEST}"), [reply()]);
        self.on(&format!("GET {MANIFEST}"), [reply()]);
        self.on(&format!("GET /v2/acme/app/manifests/{digest}"), [reply()]);
        let blob = format!("GET /v2/acme/app/blobs/{config_digest}");
        self.on(&blob, [Reply::new(200, config)]);
        digest
    }
}

pub(crate) const MANIFEST: &str = "/v2/acme/app/manifests/v1.2.3";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn tag() -> Tag {
    "v1.2.3".parse().unwrap()
}

pub(crate) fn registry(url: &str, secret: Option<&str>, settings: &OciSettings) -> Registry {
    let account = Account::new(Provider::Oci, url, Some("acme")).unwrap();
    let secret = secret.map(|text| Secret::new(text.to_owned()));
    Oci::new(settings).unwrap().registry(&account, secret.as_ref()).unwrap()
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let authorization = headers.get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    let line = format!("{method} {uri}");
    shared.asked.lock().unwrap().push(Asked { line, authorization, headers, body });
    let reply = {
        let mut script = shared.script.lock().unwrap();
        let replies = script.get_mut(&format!("{method} {}", uri.path()));
        match replies {
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
            None => Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        }
    };
    if reply.silent {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}
