use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use localstack::{DOCKER_REGISTRY, htpasswd, image_registry_config};
use model::{Digest, Secret};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::Program;

/// A real registry of images on loopback, Debian's `docker-registry`, with one user. It is empty,
/// and ends when dropped.
///
/// ```no_run
/// # async fn test() {
/// let registry = testkit::ImageRegistry::start().await;
/// let labels = [("cogo.component", "codegen-worker")];
/// let digest = registry.push("acme/cogo-codegen-worker", "v1.2.3", &labels).await;
/// # }
/// ```
pub struct ImageRegistry {
    port: u16,
    user: String,
    password: Secret,
    http: Client,
    program: Program,
}

/// Whose words an image is written in. Both mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    Oci,
    Docker,
}

const PATIENCE: Duration = Duration::from_secs(60);
const EMPTY_TAR: [u8; 1024] = [0; 1024];

impl ImageRegistry {
    /// Answers when it serves.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn start() -> Self {
        let user = format!("user-{}", hex::encode(rand::random::<[u8; 8]>()));
        let password = Secret::new(hex::encode(rand::random::<[u8; 16]>()));
        Self::with_login(&user, password).await
    }

    /// The same, for a user and a password of one's own.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn with_login(user: &str, password: Secret) -> Self {
        let http = client();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let port = localstack::free_port().expect("there are free ports");
            let program = launch(port, user, &password);
            let (user, password, http) = (user.to_owned(), password.clone(), http.clone());
            let mut registry = Self { port, user, password, http, program };
            // Another may have taken the port meanwhile; then this one ends, and the next is tried.
            if registry.serves(deadline).await {
                return registry;
            }
        }
    }

    /// As repositories begin here.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// `user:password`, as the secret of an account.
    pub fn credential(&self) -> Secret {
        Secret::new(format!("{}:{}", self.user, self.password.expose()))
    }

    /// All it has said.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// An image for linux/amd64 with nothing in it but labels.
    pub async fn push(&self, path: &str, tag: &str, labels: &[(&str, &str)]) -> Digest {
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
    ) -> Digest {
        let manifest = self.push_parts(format, path, platform, labels).await;
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
    ) -> Digest {
        let mut entries = Vec::new();
        for platform in platforms {
            let manifest = self.push_parts(format, path, platform, labels).await;
            let digest = Digest::of(manifest.as_bytes());
            self.put_manifest(path, &digest.to_string(), format.image(), &manifest).await;
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
    ) -> Digest {
        let url = format!("v2/{path}/manifests/{name}");
        let request = self.ask(Method::PUT, &url).header("content-type", media_type);
        self.done(request.body(body.to_owned()), StatusCode::CREATED).await;
        Digest::of(body.as_bytes())
    }

    pub async fn put_blob(&self, path: &str, body: &[u8]) -> Digest {
        let digest = Digest::of(body);
        let begin = self.ask(Method::POST, &format!("v2/{path}/blobs/uploads/"));
        let begun = self.done(begin, StatusCode::ACCEPTED).await;
        let place = begun.headers()["location"].to_str().expect("it is a URL").to_owned();
        let put = self.http.put(format!("{place}&digest={digest}"));
        let put = put.basic_auth(&self.user, Some(self.password.expose()));
        self.done(put.body(body.to_vec()), StatusCode::CREATED).await;
        digest
    }

    /// Its layers and config; answers its manifest.
    async fn push_parts(
        &self,
        format: ImageFormat,
        path: &str,
        platform: &str,
        labels: &[(&str, &str)],
    ) -> String {
        let layer = self.put_blob(path, &EMPTY_TAR).await;
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let mut config = words(platform);
        config["config"] = json!({ "Labels": labels });
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer] });
        let config = config.to_string();
        let digest = self.put_blob(path, config.as_bytes()).await;
        let (config_type, layer_type) = format.parts();
        json!({
            "schemaVersion": 2,
            "mediaType": format.image(),
            "config": { "mediaType": config_type, "digest": digest, "size": config.len() },
            "layers": [{ "mediaType": layer_type, "digest": layer, "size": EMPTY_TAR.len() }],
        })
        .to_string()
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}/{path}", self.host());
        self.http.request(method, url).basic_auth(&self.user, Some(self.password.expose()))
    }

    async fn done(&self, request: RequestBuilder, expected: StatusCode) -> reqwest::Response {
        let response = request.send().await.expect("the registry answers");
        let status = response.status();
        assert_eq!(status, expected, "{}", self.log());
        response
    }

    async fn serves(&mut self, deadline: Instant) -> bool {
        while self.program.ended().is_none() {
            let answer = self.ask(Method::GET, "v2/").send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return true;
            }
            assert!(Instant::now() < deadline, "the registry does not serve:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = self.log();
        let in_use = log.contains("in use") && Instant::now() < deadline;
        assert!(in_use, "the registry did not start:\n{log}");
        false
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

fn client() -> Client {
    // Not even to loopback is there a client without a provider of TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().tls_certs_only(Vec::<reqwest::Certificate>::new());
    client.no_proxy().timeout(PATIENCE).build().expect("nothing in here depends on the machine")
}

fn launch(port: u16, user: &str, password: &Secret) -> Program {
    let started = Program::start(|folder| {
        let (data, users) = (folder.join("data"), folder.join("htpasswd"));
        fs::create_dir(&data)?;
        fs::write(&users, htpasswd(user, password))?;
        let config = folder.join("config.yml");
        fs::write(&config, image_registry_config(&data, &users, port))?;
        let registry = DOCKER_REGISTRY.find().map_err(std::io::Error::other)?;
        let mut command = Command::new(registry);
        command.arg("serve").arg(config);
        Ok(command)
    });
    started.expect("docker-registry can be started")
}
