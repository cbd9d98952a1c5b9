use std::collections::BTreeMap;
use std::time::Duration;

use miette::Diagnostic;
use model::{Digest, Secret};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// Pushes small images to a registry of this machine, by the distribution API.
#[derive(Clone, Debug)]
pub struct ImagePusher {
    host: String,
    user: String,
    password: Secret,
    http: Client,
}

/// Whose words an image is written in. Both mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    Oci,
    Docker,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum PushError {
    #[error("the registry does not answer")]
    Unreachable(#[source] reqwest::Error),
    #[error("the registry answers {0}")]
    Status(StatusCode),
}

const PATIENCE: Duration = Duration::from_secs(60);
const EMPTY_TAR: [u8; 1024] = [0; 1024];

impl ImagePusher {
    /// `host` is on loopback, and spoken to without TLS.
    pub fn new(host: String, user: String, password: Secret) -> Self {
        // Not even to loopback is there a client without a provider of TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().tls_certs_only(Vec::<reqwest::Certificate>::new());
        let http = http.no_proxy().timeout(PATIENCE).build();
        Self { host, user, password, http: http.expect("nothing in here depends on the machine") }
    }

    /// Whether it takes what we log in with.
    pub async fn is_welcome(&self) -> bool {
        done(self.ask(Method::GET, "v2/"), StatusCode::OK).await.is_ok()
    }

    /// An image for linux/amd64 with nothing in it but labels.
    pub async fn push(
        &self,
        path: &str,
        tag: &str,
        labels: &[(&str, &str)],
    ) -> Result<Digest, PushError> {
        self.push_one(ImageFormat::Oci, path, tag, "linux/amd64", labels).await
    }

    /// The same for a platform, in either format. `name` is a tag, or the image's own digest.
    pub async fn push_one(
        &self,
        format: ImageFormat,
        path: &str,
        tag: &str,
        platform: &str,
        labels: &[(&str, &str)],
    ) -> Result<Digest, PushError> {
        let manifest = self.push_parts(format, path, platform, labels).await?;
        self.put_manifest(path, tag, format.image(), &manifest).await
    }

    /// One such image for each platform, and an index over them.
    pub async fn push_index(
        &self,
        format: ImageFormat,
        path: &str,
        tag: &str,
        platforms: &[&str],
        labels: &[(&str, &str)],
    ) -> Result<Digest, PushError> {
        let mut entries = Vec::new();
        for platform in platforms {
            let manifest = self.push_parts(format, path, platform, labels).await?;
            let digest = Digest::of(manifest.as_bytes());
            self.put_manifest(path, &digest.to_string(), format.image(), &manifest).await?;
            entries.push(json!({
                "mediaType": format.image(),
                "digest": digest,
                "size": manifest.len(),
                "platform": words(platform),
            }));
        }
        let index =
            json!({ "schemaVersion": 2, "mediaType": format.index(), "manifests": entries });
        self.put_manifest(path, tag, format.index(), &index.to_string()).await
    }

    /// Whatever it is, under a tag or its own digest.
    pub async fn put_manifest(
        &self,
        path: &str,
        name: &str,
        media_type: &str,
        body: &str,
    ) -> Result<Digest, PushError> {
        let url = format!("v2/{path}/manifests/{name}");
        let request = self.ask(Method::PUT, &url).header("content-type", media_type);
        done(request.body(body.to_owned()), StatusCode::CREATED).await?;
        Ok(Digest::of(body.as_bytes()))
    }

    pub async fn put_blob(&self, path: &str, body: &[u8]) -> Result<Digest, PushError> {
        let digest = Digest::of(body);
        let begin = self.ask(Method::POST, &format!("v2/{path}/blobs/uploads/"));
        let begun = done(begin, StatusCode::ACCEPTED).await?;
        let place = begun.headers().get("location").and_then(|place| place.to_str().ok());
        let place = place.ok_or(PushError::Status(begun.status()))?;
        let put = self.http.put(format!("{place}&digest={digest}"));
        let put = put.basic_auth(&self.user, Some(self.password.expose()));
        done(put.body(body.to_vec()), StatusCode::CREATED).await?;
        Ok(digest)
    }

    /// Its layers and config; answers its manifest.
    async fn push_parts(
        &self,
        format: ImageFormat,
        path: &str,
        platform: &str,
        labels: &[(&str, &str)],
    ) -> Result<String, PushError> {
        let layer = self.put_blob(path, &EMPTY_TAR).await?;
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let mut config = words(platform);
        config["config"] = json!({ "Labels": labels });
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer] });
        let config = config.to_string();
        let digest = self.put_blob(path, config.as_bytes()).await?;
        let (config_type, layer_type) = format.parts();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": format.image(),
            "config": { "mediaType": config_type, "digest": digest, "size": config.len() },
            "layers": [{ "mediaType": layer_type, "digest": layer, "size": EMPTY_TAR.len() }],
        });
        Ok(manifest.to_string())
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}/{path}", self.host);
        self.http.request(method, url).basic_auth(&self.user, Some(self.password.expose()))
    }
}

async fn done(request: RequestBuilder, expected: StatusCode) -> Result<Response, PushError> {
    let response =
        request.send().await.map_err(|error| PushError::Unreachable(error.without_url()))?;
    if response.status() == expected {
        Ok(response)
    } else {
        Err(PushError::Status(response.status()))
    }
}

impl ImageFormat {
    fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn image(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// Of the config and of a layer that is not compressed.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Oci => (
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            ),
            Self::Docker => (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
            ),
        }
    }
}

/// Of `linux/arm/v7`.
fn words(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut words = json!({ "os": parts.next(), "architecture": parts.next() });
    if let Some(variant) = parts.next() {
        words["variant"] = json!(variant);
    }
    words
}
