use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::{Disposition, Kept, PullSecret, PullSecretError, PullSecretState};
use model::Secret;
use serde_json::{Value, json};

use crate::server::{Answer, Server, failure};

const PATH: &str = "/api/v1/namespaces/agents/secrets/pull";
const ALL: &str = "/api/v1/namespaces/agents/secrets";
const CONTENT: &str = r#"{"auths":{"ghcr.io":{"auth":"hunter2"}}}"#;

async fn keep(server: &Server) -> Result<Kept, PullSecretError> {
    let content = Secret::new(CONTENT.to_owned());
    let secret = PullSecret {
        namespace: "agents",
        name: "pull",
        dockerconfigjson: &content,
        owner: "link-1",
    };
    let hash = |key: &Secret| format!("by {}", key.expose());
    server.cluster().await.apply_pull_secret(&secret, hash).await
}

fn kept(state: PullSecretState) -> Result<Kept, PullSecretError> {
    Ok(Kept { state, hash: "by its key".to_owned() })
}

fn existing(label: &str, owner: &str, hash: &str, content: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "pull", "namespace": "agents", "uid": "s1", "resourceVersion": "5",
            "labels": { "app.kubernetes.io/managed-by": label },
            "annotations": { "cogo.dev/owner": owner, "cogo.dev/content-hash": hash } },
        "data": { ".dockerconfigjson": STANDARD.encode(content), "cogo.dev.hash-key": STANDARD.encode("its key") },
    })
}

fn ours() -> Value {
    existing("cogo", "link-1", "by its key", CONTENT)
}

#[tokio::test]
async fn a_pull_secret_is_made_changed_or_left_alone() {
    let server = Server::start().await;
    server.on(&format!("POST {ALL}"), [Answer::Json(201, ours())]);
    server.on(&format!("PATCH {PATH}"), [Answer::Json(200, ours())]);
    let made = keep(&server).await.unwrap();
    assert_eq!(made.state, PullSecretState::Created);
    for (found, expected) in [
        (ours(), PullSecretState::Unchanged),
        (existing("cogo", "link-1", "h1", "{}"), PullSecretState::Updated),
        // Somebody changed it by hand.
        (existing("cogo", "link-1", "by its key", "{}"), PullSecretState::Updated),
    ] {
        server.on(&format!("GET {PATH}"), [Answer::Json(200, found)]);
        assert_eq!(keep(&server).await, kept(expected));
    }
    let changes = server.changes();
    assert_eq!(changes.len(), 3);
    for change in &changes {
        let body = &change.body;
        assert_eq!(body["type"], "kubernetes.io/dockerconfigjson");
        assert_eq!(body["data"][".dockerconfigjson"], STANDARD.encode(CONTENT));
        assert_eq!(body["metadata"]["labels"]["app.kubernetes.io/managed-by"], "cogo");
    }
    // A key of its own, and then the same for as long as it is there.
    let key = |change: usize| -> String {
        let text = changes[change].body["data"]["cogo.dev.hash-key"].as_str().unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    };
    assert_eq!(made.hash, format!("by {}", key(0)));
    assert_eq!((key(0).len(), key(1).as_str(), key(2).as_str()), (64, "its key", "its key"));
    let hash = &changes[1].body["metadata"]["annotations"]["cogo.dev/content-hash"];
    assert_eq!(hash, "by its key");
}

#[tokio::test]
async fn what_is_not_ours_is_never_overwritten() {
    let mut opaque = ours();
    opaque["type"] = json!("Opaque");
    for (found, told) in [
        (existing("helm", "link-1", "h1", "{}"), "it is not ours"),
        (existing("cogo", "link-2", "h1", "{}"), "belongs to another link"),
        (opaque, "of type Opaque"),
    ] {
        let server = Server::start().await;
        server.on(&format!("GET {PATH}"), [Answer::Json(200, found)]);
        let error = keep(&server).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(error.disposition(), Disposition::GiveUp);
        assert!(server.changes().is_empty());
    }
}

#[tokio::test]
async fn one_that_is_made_by_another_at_the_same_moment_is_a_conflict() {
    let server = Server::start().await;
    let exists = Answer::Json(409, failure(409, "AlreadyExists", "secrets \"pull\" exists"));
    server.on(&format!("POST {ALL}"), [exists]);
    assert_eq!(keep(&server).await.unwrap_err().disposition(), Disposition::Retry);
}

#[tokio::test]
async fn nothing_of_the_content_is_told_when_it_is_refused() {
    let server = Server::start().await;
    server.refuse(&format!("POST {ALL}"), 422, "Invalid", &format!("Invalid value: {CONTENT}"));
    let error = keep(&server).await.unwrap_err();
    let told = format!("{error:?} {:?}", miette::Report::new(error.clone()));
    assert!(!told.contains("hunter2"), "{told}");
    let paths: Vec<String> = server.asked().into_iter().map(|one| one.what).collect();
    assert_eq!(paths, [format!("GET {PATH}"), format!("POST {ALL}")], "by its name only");
}
