//! Everything that a registry, or what stands before it, can answer instead of an image.

use std::time::Duration;

use miette::Diagnostic;
use model::Digest;
use oci::{Disposition, OciError, OciSettings};

use crate::scripted::{MANIFEST, OCI_MANIFEST, Reply, Scripted, registry, tag};

const PASSWORD: Option<&str> = Some("user:hunter2");

#[tokio::test]
async fn each_way_to_fail_has_a_name_and_says_whether_it_passes() {
    let server = Scripted::start().await;
    let (registry, repo) = (server.host().to_owned(), server.repo());
    let here = || registry.clone();
    let place = repo.to_string();
    let image = format!("{repo}:v1.2.3");
    let soon = Some(Duration::from_secs(30));
    let retry = |after| Disposition::Retry { after };
    let basic = || Reply::new(401, "").with("www-authenticate", "Basic realm=\"a\"");
    let digest = |text: &str| Reply::new(200, "").with("docker-content-digest", text);
    for (reply, expected, disposition) in [
        (basic(), OciError::LoginRefused { registry: here() }, Disposition::Refuse),
        (
            Reply::new(401, "who?"),
            OciError::Unreadable {
                registry: here(),
                why: "it asks for a login and does not say how",
            },
            Disposition::Refuse,
        ),
        (
            Reply::new(401, "").with("www-authenticate", "Negotiate"),
            OciError::Unreadable {
                registry: here(),
                why: "it asks for a login and does not say how",
            },
            Disposition::Refuse,
        ),
        (Reply::new(403, ""), OciError::Denied { place }, Disposition::Refuse),
        (Reply::new(404, ""), OciError::NoImage { image }, Disposition::Refuse),
        (Reply::new(429, ""), OciError::TooOften { registry: here(), after: None }, retry(None)),
        (
            Reply::new(429, "").with("retry-after", "30"),
            OciError::TooOften { registry: here(), after: soon },
            retry(soon),
        ),
        (
            Reply::new(500, ""),
            OciError::Broken { registry: here(), status: 500, after: None },
            retry(None),
        ),
        (
            Reply::new(503, "").with("retry-after", "30"),
            OciError::Broken { registry: here(), status: 503, after: soon },
            retry(soon),
        ),
        (
            Reply::new(418, ""),
            OciError::Refused { registry: here(), status: 418 },
            Disposition::Refuse,
        ),
        (
            digest("sha512:00"),
            OciError::Unreadable {
                registry: here(),
                why: "it names images by something else than their sha256",
            },
            Disposition::Refuse,
        ),
    ] {
        server.on(&format!("HEAD {MANIFEST}"), [reply.clone()]);
        let client = server.registry(PASSWORD);
        let error = client.resolve(&repo, &tag()).await.unwrap_err();
        assert_eq!(error, expected, "{reply:?}");
        assert_eq!(error.disposition(), disposition, "{reply:?}");
        assert!(error.help().is_some(), "{error} has no help");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told_from_an_image() {
    let server = Scripted::start().await;
    let (repo, digest) = (server.repo(), Digest::of(b"a"));
    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"hunter2"}]}"#;
    let line = format!("GET /v2/acme/app/manifests/{digest}");
    server.on(&line, [Reply::new(404, body)]);
    let error = server.registry(None).image(&repo, &digest).await.unwrap_err();
    assert_eq!(error, OciError::NoRepo(repo));
}

#[tokio::test]
async fn a_registry_that_does_not_answer_head_is_asked_for_the_whole() {
    let server = Scripted::start().await;
    let digest = server.has_image();
    for head in [Reply::new(200, ""), Reply::new(405, ""), Reply::new(501, "")] {
        server.on(&format!("HEAD {MANIFEST}"), [head]);
        assert_eq!(server.registry(None).resolve(&server.repo(), &tag()).await, Ok(digest));
    }
    // And it is hashed, whatever the registry says it is.
    let other = Digest::of(b"other");
    let lie = Reply::new(200, "{}").with("docker-content-digest", other.to_string());
    server.on(&format!("GET {MANIFEST}"), [lie]);
    let error = server.registry(None).resolve(&server.repo(), &tag()).await.unwrap_err();
    let registry = server.host().to_owned();
    assert_eq!(error, OciError::WrongDigest { registry, expected: other });
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_not_used() {
    let server = Scripted::start().await;
    let digest = server.has_image();
    let (repo, client) = (server.repo(), server.registry(None));
    let image = client.image(&repo, &digest).await.unwrap();
    assert_eq!(client.facts(&repo, &image, None).await.unwrap().component.as_deref(), Some("x"));

    let line = format!("GET /v2/acme/app/manifests/{digest}");
    server.on(&line, [Reply::new(200, "{}").with("content-type", OCI_MANIFEST)]);
    let registry = server.host().to_owned();
    let expected = OciError::WrongDigest { registry, expected: digest };
    assert_eq!(client.image(&repo, &digest).await, Err(expected.clone()));
    assert_eq!(client.facts(&repo, &image, None).await, Err(expected));
}

#[tokio::test]
async fn a_config_that_is_not_what_its_digest_says_is_not_used() {
    let server = Scripted::start().await;
    let digest = server.has_image();
    let client = server.registry(None);
    client.image(&server.repo(), &digest).await.unwrap();
    let blob = server.asked().iter().find(|it| it.line.contains("/blobs/")).unwrap().line.clone();
    let other = br#"{"os":"linux","architecture":"arm64"}"#;
    server.on(&blob, [Reply::new(200, other)]);
    let error = client.image(&server.repo(), &digest).await.unwrap_err();
    assert!(matches!(error, OciError::WrongDigest { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Scripted::start().await;
    let (repo, digest) = (server.repo(), Digest::of(b"a"));
    let line = format!("GET /v2/acme/app/manifests/{digest}");
    server.on(&line, [Reply::new(200, vec![b' '; (4 << 20) + 1])]);
    let error = server.registry(None).image(&repo, &digest).await.unwrap_err();
    let registry = server.host().to_owned();
    assert_eq!(error, OciError::TooLarge { registry, limit: 4 << 20 });
    // A refusal may be as long as it likes.
    server.on(&line, [Reply::new(500, vec![b' '; 4 << 20])]);
    let error = server.registry(None).image(&repo, &digest).await.unwrap_err();
    assert!(matches!(error, OciError::Broken { status: 500, .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_silent_or_gone_is_asked_again_later() {
    let server = Scripted::start().await;
    server.on(&format!("HEAD {MANIFEST}"), [Reply::silence()]);
    let limit = Duration::from_millis(200);
    let settings = OciSettings { registry_timeout: limit, ..OciSettings::default() };
    let client = server.registry_with(None, &settings);
    let error = client.resolve(&server.repo(), &tag()).await.unwrap_err();
    assert_eq!(error, OciError::TooSlow { registry: server.host().to_owned(), limit });
    assert_eq!(error.disposition(), Disposition::Retry { after: None });

    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let repo = format!("{gone}/acme/app").parse().unwrap();
    let client = registry(&gone.to_string(), None, &settings);
    let error = client.resolve(&repo, &tag()).await.unwrap_err();
    let OciError::Unreachable { why, .. } = &error else { panic!("{error}") };
    assert!(why.contains("refused"), "{why}");
    assert_eq!(error.disposition(), Disposition::Retry { after: None });
}

#[tokio::test]
async fn all_ways_to_write_an_image_are_asked_for() {
    let server = Scripted::start().await;
    server.has_image();
    server.registry(None).resolve(&server.repo(), &tag()).await.unwrap();
    let asked = server.asked()[0].clone();
    let accept = asked.headers["accept"].to_str().unwrap();
    assert_eq!(accept.split(", ").count(), 4, "{accept}");
    assert!(asked.headers["user-agent"].to_str().unwrap().starts_with("cogo/"));
}
