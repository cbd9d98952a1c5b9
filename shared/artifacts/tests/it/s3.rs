//! The least of S3 there is, behind real HTTP: objects are put, asked for and fetched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use artifacts::{ArtifactError, ArtifactSettings, Bounds, Digest, Store};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use model::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::shelf::{Shelf, about, listed};

#[derive(Clone, Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

/// Aborted on drop.
struct Server {
    bucket: Bucket,
    settings: ArtifactSettings,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let bucket = Bucket::default();
        let router = Router::new().fallback(answer).with_state(bucket.clone());
        let router = router.layer(DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = ArtifactSettings {
            artifacts_s3_endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
            artifacts_s3_access_key_id: Some(Secret::new("the-id".to_owned())),
            artifacts_s3_secret_access_key: Some(Secret::new("hunter2".to_owned())),
            artifacts_s3_region: "eu-west-1".to_owned(),
            ..ArtifactSettings::at("s3://the-bucket/some/prefix")
        };
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { bucket, settings, _serving: serving }
    }
}

async fn answer(
    State(bucket): State<Bucket>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let signed = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    let scope = "AWS4-HMAC-SHA256 Credential=the-id/";
    if !signed.starts_with(scope) || !signed.contains("/eu-west-1/s3/aws4_request") {
        return Response::builder().status(StatusCode::FORBIDDEN).body(Body::empty()).unwrap();
    }
    let key = uri.path().to_owned();
    bucket.heard.lock().unwrap().push(format!("{method} {key} {headers:?}"));
    let mut objects = bucket.objects.lock().unwrap();
    let answer = Response::builder()
        .header("etag", "\"e\"")
        .header("last-modified", "Tue, 01 Jan 2030 00:00:00 GMT");
    let found = objects.get(&key).cloned();
    match (method, found) {
        (Method::PUT, _) => {
            objects.insert(key, body);
            answer.body(Body::empty()).unwrap()
        }
        (Method::HEAD | Method::GET, None) => {
            answer.status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap()
        }
        (Method::HEAD, Some(object)) => {
            answer.header("content-length", object.len()).body(Body::empty()).unwrap()
        }
        (Method::GET, Some(object)) => answer.body(Body::from(object)).unwrap(),
        _ => answer.status(StatusCode::METHOD_NOT_ALLOWED).body(Body::empty()).unwrap(),
    }
}

#[tokio::test]
async fn a_bucket_keeps_artifacts_as_a_folder_does() {
    let (server, shelf) = (Server::start().await, Shelf::new());
    let store = Store::connect(&server.settings).unwrap();
    let tree = shelf.tree("tree", &[("a", "1"), ("b/run!", "2")]);
    let bounds = Bounds::default();
    let artifact = store.put_tree(&tree, about(), &bounds).await.unwrap();
    let in_folder = shelf.store.put_tree(&tree, about(), &bounds).await.unwrap();
    assert_eq!(artifact.digest, in_folder.digest);
    let hex = artifact.digest.hex();
    let place = format!("some/prefix/blobs/sha256/{}/{hex}", &hex[..2]);
    assert_eq!(artifact.url, format!("s3://the-bucket/{place}"));
    assert!(server.bucket.objects.lock().unwrap().contains_key(&format!("/the-bucket/{place}")));
    let out = shelf.out("out");
    store.unpack(&artifact.digest, &out, &bounds).await.unwrap();
    assert_eq!(
        listed(&out),
        listed(&{
            let other = shelf.out("other");
            shelf.store.unpack(&artifact.digest, &other, &bounds).await.unwrap();
            other
        })
    );
    assert_eq!(store.manifest(&artifact.digest).await.unwrap().unwrap().about, about());
    let url = store.put_report(b"report".to_vec()).await.unwrap();
    assert_eq!(store.report(&url).await.unwrap(), b"report");

    // The second time nothing is sent, and the secret half of the key never was.
    let puts = |bucket: &Bucket| {
        bucket.heard.lock().unwrap().iter().filter(|one| one.starts_with("PUT")).count()
    };
    let before = puts(&server.bucket);
    assert_eq!(before, 3);
    store.put_tree(&tree, about(), &bounds).await.unwrap();
    assert_eq!(puts(&server.bucket), before);
    assert!(!server.bucket.heard.lock().unwrap().iter().any(|one| one.contains("hunter2")));
}

#[tokio::test]
async fn what_a_bucket_lost_or_changed_is_found_out() {
    let (server, shelf) = (Server::start().await, Shelf::new());
    let store = Store::connect(&server.settings).unwrap();
    let out = shelf.out("out");
    let bounds = Bounds::default();
    let never = store.unpack(&Digest::of(b"never"), &out, &bounds).await.unwrap_err();
    assert!(matches!(never, ArtifactError::NotFound { .. }), "{never:?}");
    let tree = shelf.tree("tree", &[("a", "1")]);
    let artifact = store.put_tree(&tree, about(), &bounds).await.unwrap();
    for object in server.bucket.objects.lock().unwrap().values_mut() {
        *object = Bytes::from_static(b"something else");
    }
    let changed = store.unpack(&artifact.digest, &out, &bounds).await.unwrap_err();
    assert!(matches!(changed, ArtifactError::WrongDigest { .. }), "{changed:?}");
    assert!(!out.exists());
}

#[tokio::test]
async fn a_wrong_key_is_said_without_showing_it() {
    let server = Server::start().await;
    let settings = ArtifactSettings {
        artifacts_s3_access_key_id: Some(Secret::new("somebody".to_owned())),
        ..server.settings.clone()
    };
    let store = Store::connect(&settings).unwrap();
    let error = store.put_report(b"report".to_vec()).await.unwrap_err();
    let said = format!("{error:?} {error}");
    assert!(said.contains("artifact store") && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_large_archive_is_sent_in_one_piece_up_to_the_limit() {
    let (server, shelf) = (Server::start().await, Shelf::new());
    let store = Store::connect(&server.settings).unwrap();
    // Noise, which does not get smaller.
    let mut seed = 1_u32;
    let noise: String = (0..6_000_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + u8::try_from((seed >> 24) % 90).unwrap())
        })
        .collect();
    let tree = shelf.tree("tree", &[("noise", &noise)]);
    let artifact = store.put_tree(&tree, about(), &Bounds::default()).await.unwrap();
    assert!(artifact.bytes > 4_000_000);
    let out = shelf.out("out");
    store.unpack(&artifact.digest, &out, &Bounds::default()).await.unwrap();
    assert_eq!(listed(&out)["noise"].1, noise);
}
