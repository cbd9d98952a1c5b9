//! Tokens that are checked with the project's public keys.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fixture::{Hall, JWT_SECRET, claims, in_seconds, signed_with};

/// Where the project publishes its keys; `None` while it fails.
#[derive(Clone, Default)]
struct Project {
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Project {
    fn publish(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn serve(&self) -> (SocketAddr, JoinSet<()>) {
        async fn answer(State(project): State<Project>) -> Result<Json<Value>, StatusCode> {
            project.asked.fetch_add(1, Ordering::Relaxed);
            let keys = project.keys.lock().unwrap().clone();
            keys.map(Json).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/jwks.json", get(answer)).with_state(self.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        (address, serving)
    }
}

fn ed25519(id: &str) -> (Value, KeyPair) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "use": "sig", "x": base64(pair.der_bytes()) });
    (jwk, pair)
}

fn p256(id: &str) -> (Value, KeyPair) {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    // Uncompressed: a 4, then both coordinates.
    let (x, y) = pair.der_bytes()[1..].split_at(32);
    (json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": base64(x), "y": base64(y) }), pair)
}

fn token(algorithm: Algorithm, id: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    crate::access::base64(bytes)
}

async fn hall(project: &Project) -> (Hall, JoinSet<()>) {
    let (address, serving) = project.serve().await;
    let hall = Hall::with(|settings| {
        settings.auth.supabase_jwt_secret = None;
        settings.auth.supabase_jwks_url = Some(format!("http://{address}/jwks.json"));
    })
    .await;
    (hall, serving)
}

/// 404 is what somebody gets who was let in.
async fn tried(hall: &Hall, token: &str) -> u16 {
    hall.core.get("/v1/messages/987654", token).await.0
}

#[tokio::test]
async fn every_kind_of_public_key_lets_its_own_tokens_in_and_no_others() {
    let project = Project::default();
    let ((ed_jwk, ed), (ec_jwk, ec)) = (ed25519("ed"), p256("ec"));
    let rsa: Value = serde_json::from_str(include_str!("rsa.json")).unwrap();
    let octets =
        json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": base64(JWT_SECRET.as_bytes()) });
    project.publish(&[ed_jwk, ec_jwk, rsa["jwk"].clone(), octets]);
    let (hall, _serving) = hall(&project).await;
    let ed = EncodingKey::from_ed_der(ed.serialized_der());
    let ec_key = EncodingKey::from_ec_der(ec.serialized_der());
    let mine = claims("a");
    assert_eq!(tried(&hall, &token(Algorithm::EdDSA, Some("ed"), &ed, &mine)).await, 404);
    assert_eq!(tried(&hall, &token(Algorithm::ES256, Some("ec"), &ec_key, &mine)).await, 404);
    assert_eq!(tried(&hall, rsa["token"].as_str().unwrap()).await, 404);
    assert_eq!(project.asked(), 1, "they are kept");

    let mut expired = mine.clone();
    expired["exp"] = json!(in_seconds(-60));
    let rsa_token = rsa["token"].as_str().unwrap();
    // Signed by whoever knows the public key: the oldest trick.
    let with_public = |secret: &str, id: &str| {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &mine, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    };
    for (what, token) in [
        ("expired", token(Algorithm::EdDSA, Some("ed"), &ed, &expired)),
        ("another key's id", token(Algorithm::EdDSA, Some("ec"), &ed, &mine)),
        ("another key's id", token(Algorithm::ES256, Some("ed"), &ec_key, &mine)),
        ("no id", token(Algorithm::EdDSA, None, &ed, &mine)),
        ("a public key as secret", with_public(rsa["jwk"]["n"].as_str().unwrap(), "rsa")),
        ("a published secret", with_public(JWT_SECRET, "oct")),
        ("a secret nobody configured", signed_with(JWT_SECRET, &mine)),
        ("cut short", rsa_token[..rsa_token.len() - 4].to_owned()),
    ] {
        assert_eq!(tried(&hall, &token).await, 401, "{what}");
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_made_up_ones_do_not_make_us_ask_for_each() {
    let project = Project::default();
    let ((old_jwk, old), (new_jwk, new)) = (ed25519("old"), ed25519("new"));
    project.publish(std::slice::from_ref(&old_jwk));
    let (hall, _serving) = hall(&project).await;
    let (old, new) = (
        EncodingKey::from_ed_der(old.serialized_der()),
        EncodingKey::from_ed_der(new.serialized_der()),
    );
    let mine = claims("a");
    // Many at once fetch once.
    let mut first = JoinSet::new();
    for _ in 0..20 {
        let request = hall.core.http.get(hall.core.url("/v1/messages/987654"));
        let request = request.bearer_auth(token(Algorithm::EdDSA, Some("old"), &old, &mine));
        first.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    assert!(first.join_all().await.iter().all(|status| *status == 404));
    assert_eq!(project.asked(), 1);
    // An id that nobody knows is asked for at most every few seconds.
    for number in 0..50 {
        let id = format!("made up {number}");
        assert_eq!(tried(&hall, &token(Algorithm::EdDSA, Some(&id), &new, &mine)).await, 401);
    }
    assert!(project.asked() <= 2, "asked {} times", project.asked());
    project.publish(&[old_jwk, new_jwk]);
    let fresh = token(Algorithm::EdDSA, Some("new"), &new, &mine);
    let waiting = async {
        while tried(&hall, &fresh).await != 404 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(crate::fixture::TOO_LONG, waiting)
        .await
        .expect("the new key is never found");
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_the_answer_says_that_it_is_not_their_fault() {
    let project = Project::default();
    let (hall, _serving) = hall(&project).await;
    let (_, pair) = ed25519("ed");
    let key = EncodingKey::from_ed_der(pair.serialized_der());
    let token = token(Algorithm::EdDSA, Some("ed"), &key, &claims("a"));
    let (status, said) = hall.core.get("/v1/messages/1", &token).await;
    assert_eq!((status, said["error"]["code"].as_str()), (503, Some("keys_unavailable")));
    assert_eq!(project.asked(), 1);
    assert_eq!(tried(&hall, &token).await, 503);
    assert_eq!(project.asked(), 1, "it rests between two tries");
}
