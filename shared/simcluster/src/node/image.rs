use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode};
use serde_json::Value;

/// A registry that is asked whether it really has an image.
#[derive(Clone)]
pub(crate) struct Registry {
    address: String,
    client: Client,
}

/// What a registry said of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Digest(String),
    Missing,
    Refused,
    Unreachable,
}

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

impl Registry {
    pub(crate) fn new(address: String) -> Self {
        // Another part of the program may have chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(Duration::from_secs(10)).build();
        Self { address, client: client.expect("a client without settings can be made") }
    }

    pub(crate) fn has(&self, image: &str) -> bool {
        image.strip_prefix(&self.address).is_some_and(|rest| rest.starts_with('/'))
    }

    /// `logins` are the pull secrets' contents.
    pub(crate) async fn find(&self, image: &str, logins: &[Value]) -> Found {
        let path = image.strip_prefix(&self.address).unwrap_or(image).trim_start_matches('/');
        let (tagged, digest) = path.split_once('@').map_or((path, None), |(t, d)| (t, Some(d)));
        let (repository, tag) = tagged.rsplit_once(':').unwrap_or((tagged, "latest"));
        let reference = digest.unwrap_or(tag);
        let url = format!("http://{}/v2/{repository}/manifests/{reference}", self.address);
        let mut request = self.client.head(url).header(ACCEPT, MANIFESTS);
        if let Some((user, password)) = logins.iter().find_map(|one| self.login(one)) {
            request = request.basic_auth(user, Some(password));
        }
        let Ok(answer) = request.send().await else { return Found::Unreachable };
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Found::Refused,
            StatusCode::NOT_FOUND => Found::Missing,
            status if status.is_success() => {
                let said = answer.headers().get("docker-content-digest");
                let said = said.and_then(|said| said.to_str().ok());
                match said.or(digest) {
                    Some(digest) => Found::Digest(digest.to_owned()),
                    None => Found::Missing,
                }
            }
            _ => Found::Unreachable,
        }
    }

    fn login(&self, config: &Value) -> Option<(String, String)> {
        let auths = config["auths"].as_object()?;
        let found = auths.iter().find(|(server, _)| {
            let server = server.trim_start_matches("https://").trim_start_matches("http://");
            server.split('/').next() == Some(&self.address)
        });
        let login = found?.1;
        if let (Some(user), Some(password)) =
            (login["username"].as_str(), login["password"].as_str())
        {
            return Some((user.to_owned(), password.to_owned()));
        }
        let plain = STANDARD.decode(login["auth"].as_str()?).ok()?;
        let plain = String::from_utf8(plain).ok()?;
        let (user, password) = plain.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }
}
