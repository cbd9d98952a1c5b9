//! Against a real registry, with a user and a password.

use model::{Digest, Provider, Repo, Tag};
use oci::{Account, Oci, OciError, OciSettings, Platform, Registry};
use testkit::{ImageFormat, ImageRegistry};

use crate::scripted::registry;

const LABELS: [(&str, &str); 3] = [
    ("org.opencontainers.image.version", "v1.2.3"),
    ("org.opencontainers.image.revision", "1a2b3c4d"),
    ("cogo.component", "codegen-worker"),
];

fn client(server: &ImageRegistry) -> Registry {
    registry(&server.host(), Some(server.credential().expose()), &OciSettings::default())
}

fn repo(server: &ImageRegistry) -> Repo {
    format!("{}/acme/cogo-codegen-worker", server.host()).parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_tag_is_what_was_pushed_last_under_it() {
    let server = ImageRegistry::start().await;
    let (client, repo) = (client(&server), repo(&server));
    client.check().await.unwrap();
    let first = server.pusher().push(repo.path(), "v1.2.3", &LABELS).await.unwrap();
    assert_eq!(client.resolve(&repo, &tag("v1.2.3")).await, Ok(first));

    let moved = server.pusher().push(repo.path(), "v1.2.3", &LABELS[..1]).await.unwrap();
    assert_ne!(moved, first);
    assert_eq!(client.resolve(&repo, &tag("v1.2.3")).await, Ok(moved));
    let image = client.image(&repo, &first).await.unwrap();
    assert_eq!(image.digest(), first, "what it was before is still there");
}

#[tokio::test]
async fn an_image_says_what_it_is_in_either_format() {
    let server = ImageRegistry::start().await;
    let (client, repo) = (client(&server), repo(&server));
    for format in [ImageFormat::Oci, ImageFormat::Docker] {
        let platforms = ["linux/amd64", "linux/arm64/v8"];
        let one = server
            .pusher()
            .push_one(format, repo.path(), "v1.2.3", "linux/arm64/v8", &LABELS)
            .await
            .unwrap();
        let index = server
            .pusher()
            .push_index(format, repo.path(), "v1.2.4", &platforms, &LABELS)
            .await
            .unwrap();
        for (name, digest, has) in [
            ("v1.2.3", one, &["linux/arm64"][..]),
            ("v1.2.4", index, &["linux/amd64", "linux/arm64"]),
        ] {
            assert_eq!(client.resolve(&repo, &tag(name)).await, Ok(digest), "{format:?}");
            let image = client.image(&repo, &digest).await.unwrap();
            let found: Vec<String> = image.platforms().map(Platform::to_string).collect();
            assert_eq!(found, has);
            assert_eq!(image.must_serve(&[platform("linux/arm64")]), Ok(()));
            let arm = platform("linux/arm64");
            let facts = client.facts(&repo, &image, Some(&arm)).await.unwrap();
            assert_eq!(facts.platform, arm);
            assert_eq!(facts.version.as_deref(), Some("v1.2.3"));
            assert_eq!(facts.revision.as_deref(), Some("1a2b3c4d"));
            assert_eq!(facts.component.as_deref(), Some("codegen-worker"));
            assert_eq!(
                client.facts(&repo, &image, None).await.unwrap().platform.to_string(),
                has[0]
            );

            let error = image.must_serve(&[platform("linux/s390x")]).unwrap_err();
            let OciError::NoPlatform { has: told, .. } = error else { panic!("{error}") };
            assert_eq!(told, has.join(", "));
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_one_may_not_see() {
    let server = ImageRegistry::start().await;
    let repo = repo(&server);
    let digest = server.pusher().push(repo.path(), "v1.2.3", &[]).await.unwrap();
    let known = client(&server);

    let error = known.resolve(&repo, &tag("v9.9.9")).await.unwrap_err();
    assert_eq!(error, OciError::NoImage { image: format!("{repo}:v9.9.9") });
    let nothing = Digest::of(b"nothing");
    let error = known.image(&repo, &nothing).await.unwrap_err();
    assert_eq!(error, OciError::NoImage { image: format!("{repo}@{nothing}") });
    let other: Repo = format!("{}/acme/other", server.host()).parse().unwrap();
    let error = known.image(&other, &digest).await.unwrap_err();
    assert!(matches!(error, OciError::NoImage { .. } | OciError::NoRepo(_)), "{error}");

    let anybody = registry(&server.host(), None, &OciSettings::default());
    let wrong = format!("{}:hunter2", server.user());
    let wrong = registry(&server.host(), Some(&wrong), &OciSettings::default());
    let host = server.host();
    for (client, expected) in [
        (anybody, OciError::LoginNeeded { registry: host.clone() }),
        (wrong, OciError::LoginRefused { registry: host }),
    ] {
        assert_eq!(client.check().await, Err(expected.clone()));
        assert_eq!(client.resolve(&repo, &tag("v1.2.3")).await, Err(expected.clone()));
        assert_eq!(client.image(&repo, &digest).await, Err(expected));
    }
}

#[tokio::test]
async fn a_pull_secret_opens_the_registry_that_it_is_for() {
    let server = ImageRegistry::start().await;
    let repo = repo(&server);
    let digest = server.pusher().push(repo.path(), "v1.2.3", &[]).await.unwrap();
    let client = client(&server);
    let login = client.login().await.unwrap().unwrap();
    assert_eq!(login.expires_at, None);
    let document = oci::dockerconfigjson(client.account(), &login);

    // Read as whoever gets it reads it: by the registry's name.
    let account = Account::new(Provider::Oci, &server.host(), None).unwrap();
    let again = Oci::new(&OciSettings::default()).unwrap();
    let again = again.registry(&account, Some(&document)).unwrap();
    assert_eq!(again.resolve(&repo, &tag("v1.2.3")).await, Ok(digest));
    let elsewhere = Account::new(Provider::Ghcr, "ghcr.io", None).unwrap();
    let oci = Oci::new(&OciSettings::default()).unwrap();
    assert!(oci.registry(&elsewhere, Some(&document)).is_err());
}

#[tokio::test]
async fn a_login_is_never_shown_to_another_registry() {
    let server = ImageRegistry::start().await;
    let other = crate::scripted::Scripted::start().await;
    other.has_image();
    let client = client(&server);
    let error = client.resolve(&other.repo(), &tag("v1.2.3")).await.unwrap_err();
    let (registry, repo) = (server.host(), other.repo());
    assert_eq!(error, OciError::WrongRegistry { registry, repo });
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn an_artifact_of_another_kind_is_no_image() {
    let server = ImageRegistry::start().await;
    let repo = repo(&server);
    let config = server.pusher().put_blob(repo.path(), b"{}").await.unwrap();
    let chart = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json",
            "digest": config,
            "size": 2,
        },
        "layers": [],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = server
        .pusher()
        .put_manifest(repo.path(), "v1.2.3", kind, &chart.to_string())
        .await
        .unwrap();
    let error = client(&server).image(&repo, &digest).await.unwrap_err();
    assert!(matches!(error, OciError::NotAnImage { .. }), "{error}");
}
