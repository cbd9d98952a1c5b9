use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::Digest;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A registry that has every tag, each with its own digest, unless told otherwise.
pub(crate) struct RegistryServer {
    pub(crate) host: String,
    answers: Arc<Answers>,
    _serving: JoinSet<io::Result<()>>,
}

#[derive(Default)]
struct Answers {
    lacks: Mutex<HashSet<String>>,
    digests: Mutex<HashMap<String, Digest>>,
}

impl RegistryServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answers = Arc::<Answers>::default();
        let router = Router::new().fallback(answer).with_state(answers.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Self { host, answers, _serving: serving }
    }

    pub(crate) fn lacks(&self, tag: &str) {
        self.answers.lacks.lock().unwrap().insert(tag.to_owned());
    }

    /// The tag means another image from now on.
    pub(crate) fn moves(&self, tag: &str, to: &Digest) {
        self.answers.digests.lock().unwrap().insert(tag.to_owned(), *to);
    }
}

/// What a tag means here from the start.
pub(crate) fn digest(tag: &str) -> Digest {
    Digest::of(tag.as_bytes())
}

async fn answer(State(answers): State<Arc<Answers>>, uri: Uri) -> Response {
    let tag = uri.path().rsplit('/').next().unwrap_or_default();
    if answers.lacks.lock().unwrap().contains(tag) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let moved = answers.digests.lock().unwrap().get(tag).copied();
    let digest = moved.unwrap_or_else(|| digest(tag)).to_string();
    let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
    ([("docker-content-digest", digest), ("content-type", kind)], ()).into_response()
}
