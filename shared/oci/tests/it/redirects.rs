//! Registries send whoever wants something large to where it lies.

use oci::OciError;

use crate::scripted::{MANIFEST, Reply, Scripted, tag};

const PASSWORD: Option<&str> = Some("user:hunter2");

fn to(place: impl Into<String>) -> Reply {
    Reply::new(307, "").with("location", place)
}

/// A registry whose blobs lie on another server.
async fn two() -> (Scripted, Scripted, model::Digest) {
    let (registry, store) = (Scripted::start().await, Scripted::start().await);
    let digest = registry.has_image();
    store.has_image();
    (registry, store, digest)
}

#[tokio::test]
async fn a_login_stays_with_the_registry_when_a_blob_lies_elsewhere() {
    let (registry, store, digest) = two().await;
    registry.registry(None).image(&registry.repo(), &digest).await.unwrap();
    let blob = registry.asked().iter().find(|it| it.line.contains("/blobs/")).unwrap().line.clone();
    let path = blob.trim_start_matches("GET ").to_owned();
    registry.asked().clear();

    let basic = Reply::new(401, "").with("www-authenticate", "Basic realm=\"a\"");
    let signed = store.url(&format!("{path}?signature=hunter3"));
    registry.on(&blob, [basic.clone(), to(signed)]);
    let client = registry.registry(PASSWORD);
    client.image(&registry.repo(), &digest).await.unwrap();
    assert_eq!(store.asked().len(), 1);
    assert_eq!(store.asked()[0].line, format!("{blob}?signature=hunter3"));
    assert_eq!(store.asked()[0].authorization, None);
    assert!(!store.asked()[0].headers.contains_key("referer"));

    // Nor does it get one by asking, for itself or for a place that may have it from the registry.
    let bearer = format!("Bearer realm=\"{}\"", store.url("/token"));
    for asks in [basic, Reply::new(401, "").with("www-authenticate", bearer)] {
        store.on(&blob, [asks]);
        let error = client.image(&registry.repo(), &digest).await.unwrap_err();
        assert!(matches!(error, OciError::Elsewhere { .. }), "{error}");
    }
    assert_eq!(store.times("GET /token"), 0);
    assert!(store.asked().iter().all(|asked| asked.authorization.is_none()));
}

#[tokio::test]
async fn within_the_registry_a_login_goes_along() {
    let (registry, _, _) = two().await;
    let good =
        Reply::new(200, "").with("docker-content-digest", model::Digest::of(b"a").to_string());
    let basic = Reply::new(401, "").with("www-authenticate", "Basic realm=\"a\"");
    registry.on(&format!("HEAD {MANIFEST}"), [basic, to("/moved"), to("/moved")]);
    registry.on("HEAD /moved", [good]);
    registry.registry(PASSWORD).resolve(&registry.repo(), &tag()).await.unwrap();
    let asked = registry.asked();
    assert_eq!(asked.last().unwrap().line, "HEAD /moved");
    assert!(asked.last().unwrap().authorization.as_deref().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn a_way_that_leads_astray_is_not_followed() {
    let (registry, store, _) = two().await;
    let line = format!("HEAD {MANIFEST}");
    for (reply, told) in [
        (Reply::new(307, ""), "to no place"),
        (to("http://"), "to no place"),
        (to("ftp://a.example/"), "away from HTTPS"),
        (to("http://registry.example.com/v2/"), "away from HTTPS"),
        (to("http://169.254.169.254/latest/meta-data"), "away from HTTPS"),
        (to(store.url("/v2/").replace("http://", "http://user:hunter2@")), "with a login"),
        (to(MANIFEST), "again and again"),
    ] {
        registry.on(&line, [reply.clone()]);
        let error = registry.registry(None).resolve(&registry.repo(), &tag()).await.unwrap_err();
        assert!(matches!(error, OciError::Elsewhere { .. }), "{reply:?}: {error}");
        assert!(error.to_string().contains(told), "{reply:?}: {error}");
    }
    assert!(store.asked().is_empty());
    assert_eq!(registry.times(&line), 6 + 6, "it is followed five times, and no more");
}
