//! Registries that take tokens, which are to be had somewhere else for a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Disposition, OciError};

use crate::scripted::{MANIFEST, Reply, Scripted, tag};

const PASSWORD: &str = "user:hunter2";

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(PASSWORD))
}

fn asks(realm: &str) -> Reply {
    let bearer = format!(
        "Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:acme/app:pull\""
    );
    Reply::new(401, "").with("www-authenticate", bearer)
}

/// A registry that wants a token first, and gives out `tokens`.
async fn registry(tokens: &[&str]) -> Scripted {
    let server = Scripted::start().await;
    server.has_image();
    let line = format!("HEAD {MANIFEST}");
    let good = Reply::new(200, "").with("docker-content-digest", digest());
    server.on(&line, [asks(&server.url("/token?a=b")), good]);
    server.on("GET /token", tokens.iter().map(|body| Reply::new(200, *body)));
    server
}

fn digest() -> String {
    model::Digest::of(b"a").to_string()
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_password_and_used_until_it_expires() {
    let server = registry(&[r#"{"token":"t1","expires_in":300}"#]).await;
    let client = server.registry(Some(PASSWORD));
    for _ in 0..3 {
        client.resolve(&server.repo(), &tag()).await.unwrap();
    }
    let asked = server.asked().clone();
    let lines: Vec<&str> = asked.iter().map(|one| one.line.as_str()).collect();
    let head = format!("HEAD {MANIFEST}");
    let token = "GET /token?a=b&service=the+registry&scope=repository%3Aacme%2Fapp%3Apull";
    assert_eq!(lines, [&head, token, &head, &head, &head]);
    let shown: Vec<_> = asked.iter().map(|one| one.authorization.as_deref()).collect();
    let (basic, bearer) = (basic(), Some("Bearer t1"));
    assert_eq!(shown, [None, Some(basic.as_str()), bearer, bearer, bearer]);
}

#[tokio::test]
async fn a_token_that_expired_or_is_refused_is_replaced() {
    let server = registry(&[r#"{"access_token":"t1","expires_in":0}"#, r#"{"token":"t2"}"#]).await;
    let client = server.registry(Some(PASSWORD));
    client.resolve(&server.repo(), &tag()).await.unwrap();
    // It was good for no time at all, so nothing is shown.
    server.on(
        &format!("HEAD {MANIFEST}"),
        [
            asks(&server.url("/token")),
            Reply::new(200, "").with("docker-content-digest", digest()),
            // The second is forgotten by the registry before its time.
            asks(&server.url("/token")),
            Reply::new(200, "").with("docker-content-digest", digest()),
        ],
    );
    server.asked().clear();
    client.resolve(&server.repo(), &tag()).await.unwrap();
    client.resolve(&server.repo(), &tag()).await.unwrap();
    let asked = server.asked().clone();
    let shown: Vec<_> = asked.iter().map(|one| one.authorization.clone()).collect();
    let (basic, t2) = (Some(basic()), Some("Bearer t2".to_owned()));
    assert_eq!(shown, [None, basic.clone(), t2.clone(), t2.clone(), basic, t2]);
}

#[tokio::test]
async fn anybody_gets_a_token_for_what_is_public() {
    let server = registry(&[r#"{"token":"t1"}"#]).await;
    server.registry(None).resolve(&server.repo(), &tag()).await.unwrap();
    assert_eq!(server.asked()[1].authorization, None);
    assert_eq!(server.asked()[2].authorization.as_deref(), Some("Bearer t1"));
}

#[tokio::test]
async fn a_token_for_one_repository_is_not_shown_for_another() {
    let server = registry(&[r#"{"token":"t1","expires_in":300}"#]).await;
    let client = server.registry(Some(PASSWORD));
    client.resolve(&server.repo(), &tag()).await.unwrap();
    let other = format!("{}/acme/other", server.host()).parse().unwrap();
    client.resolve(&other, &tag()).await.unwrap_err();
    let asked = server.asked();
    assert_eq!(asked.last().unwrap().line, "HEAD /v2/acme/other/manifests/v1.2.3");
    assert_eq!(asked.last().unwrap().authorization, None);
}

#[tokio::test]
async fn who_knows_us_and_lets_us_in_nowhere_denies_us() {
    for (secret, expected) in [(Some(PASSWORD), "denied"), (None, "needed")] {
        let server = registry(&[r#"{"token":"t1"}"#]).await;
        server.on(&format!("HEAD {MANIFEST}"), [asks(&server.url("/token"))]);
        let error = server.registry(secret).resolve(&server.repo(), &tag()).await.unwrap_err();
        let found = match &error {
            OciError::Denied { place } if *place == server.repo().to_string() => "denied",
            OciError::LoginNeeded { .. } => "needed",
            _ => panic!("{error}"),
        };
        assert_eq!(found, expected);
        assert_eq!(server.times("GET /token"), 1, "it is not asked again and again");
    }
}

#[tokio::test]
async fn what_a_realm_answers_instead_of_a_token_has_a_name() {
    let retry = Disposition::Retry { after: None };
    for (reply, secret, told, disposition) in [
        (Reply::new(401, ""), Some(PASSWORD), "refused the account's login", Disposition::Refuse),
        (Reply::new(403, ""), Some(PASSWORD), "refused the account's login", Disposition::Refuse),
        (Reply::new(401, ""), None, "asks for a login", Disposition::Refuse),
        (Reply::new(429, ""), Some(PASSWORD), "asked too often", retry),
        (Reply::new(503, ""), Some(PASSWORD), "in trouble itself (503)", retry),
        (Reply::new(404, ""), Some(PASSWORD), "did not understand us (404)", Disposition::Refuse),
        (Reply::new(200, "<html>"), Some(PASSWORD), "it gave no token", Disposition::Refuse),
        (Reply::new(200, "{}"), Some(PASSWORD), "it gave no token", Disposition::Refuse),
        (
            Reply::new(200, vec![b' '; (64 << 10) + 1]),
            Some(PASSWORD),
            "answers more than the 65536 bytes",
            Disposition::Refuse,
        ),
        (
            Reply::new(302, "").with("location", "https://evil.example/"),
            Some(PASSWORD),
            "a login is not sent on",
            Disposition::Refuse,
        ),
    ] {
        let server = registry(&[]).await;
        server.on("GET /token", [reply.clone()]);
        let error = server.registry(secret).resolve(&server.repo(), &tag()).await.unwrap_err();
        assert!(error.to_string().contains(told), "{reply:?}: {error}");
        assert_eq!(error.disposition(), disposition, "{reply:?}");
    }
}

#[tokio::test]
async fn a_realm_at_a_strangers_gets_nothing_and_a_password_is_enough_where_it_may_be_sent() {
    let server = registry(&[]).await;
    let stranger = "https://auth.evil.example/token";
    server.on(&format!("HEAD {MANIFEST}"), [asks(stranger)]);
    for secret in [Some(PASSWORD), None] {
        let error = server.registry(secret).resolve(&server.repo(), &tag()).await.unwrap_err();
        let (registry, why) = (server.host().to_owned(), "it is on another host");
        assert_eq!(error, OciError::UntrustedRealm { registry, why });
    }

    // The registry takes the password itself as well.
    let both = asks(stranger).with("www-authenticate", "Basic realm=\"a\"");
    let good = Reply::new(200, "").with("docker-content-digest", digest());
    server.on(&format!("HEAD {MANIFEST}"), [both, good]);
    server.asked().clear();
    let client = server.registry(Some(PASSWORD));
    for _ in 0..2 {
        client.resolve(&server.repo(), &tag()).await.unwrap();
    }
    let asked = server.asked();
    let shown: Vec<_> = asked.iter().map(|one| one.authorization.clone()).collect();
    // From then on it is sent at once.
    assert_eq!(shown, [None, Some(basic()), Some(basic())]);
}

#[tokio::test]
async fn the_account_itself_can_be_checked() {
    let server = registry(&[r#"{"token":"t1"}"#]).await;
    server.on("GET /v2/", [asks(&server.url("/token")), Reply::new(200, "{}")]);
    server.registry(Some(PASSWORD)).check().await.unwrap();
    let line = server.asked()[1].line.clone();
    assert_eq!(line, "GET /token?service=the+registry", "no repository is asked for");
    server.on("GET /v2/", [Reply::new(403, "")]);
    let error = server.registry(Some(PASSWORD)).check().await.unwrap_err();
    assert_eq!(error, OciError::Denied { place: server.host().to_owned() });
}
