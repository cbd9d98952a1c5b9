//! Pods of images that a real registry must have.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use simcluster::Settings;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::bed::{Bed, until};

/// Debian's registry, on loopback, which lets nobody in who shows no login.
struct Registry {
    address: String,
    client: Client,
    _program: Child,
    _folder: TempDir,
}

impl Registry {
    /// `None` where the program is not installed.
    async fn start() -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": folder.path() } },
            "http": { "addr": address },
            "auth": { "silly": { "realm": "test", "service": "test" } },
        });
        let file = folder.path().join("config.yml");
        // A flat file of JSON is YAML, too, but the program wants a plain version number.
        std::fs::write(&file, config.to_string().replace("\"0.1\"", "0.1")).unwrap();
        let program = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = Self { address, client: Client::new(), _program: program, _folder: folder };
        until("the registry to answer", async || {
            registry.client.get(registry.url("")).send().await.ok()
        })
        .await;
        Some(registry)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.address)
    }

    /// Pushes an image of nothing, and says its digest.
    async fn push(&self, repository: &str, tag: &str) -> String {
        let config = self.blob(repository, "{}").await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": 2,
                "digest": config,
            },
            "layers": [],
        });
        let put = self
            .client
            .put(self.url(&format!("{repository}/manifests/{tag}")))
            .basic_auth("somebody", Some("anything"))
            .header("content-type", "application/vnd.docker.distribution.manifest.v2+json")
            .body(manifest.to_string());
        let answer = put.send().await.unwrap().error_for_status().unwrap();
        answer.headers()["docker-content-digest"].to_str().unwrap().to_owned()
    }

    async fn blob(&self, repository: &str, content: &'static str) -> String {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(content);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{digest}");
        let start = self.client.post(self.url(&format!("{repository}/blobs/uploads/")));
        let start = start.basic_auth("somebody", Some("anything")).send().await.unwrap();
        let place = start.headers()["location"].to_str().unwrap().to_owned();
        let put = self
            .client
            .put(format!("{place}&digest={digest}"))
            .basic_auth("somebody", Some("anything"))
            .body(content);
        put.send().await.unwrap().error_for_status().unwrap();
        digest
    }
}

#[tokio::test]
async fn only_what_a_registry_has_can_be_pulled_and_only_by_those_it_knows() {
    let Some(registry) = Registry::start().await else {
        eprintln!("there is no docker-registry on this machine, so none is asked");
        return;
    };
    let digest = registry.push("acme/worker", "v1.0.0").await;
    let settings =
        Settings { pace: 10.0, registry: Some(registry.address.clone()), ..Settings::default() };
    let bed = Bed::simulated(settings).await;
    let image = |tag: &str| format!("{}/acme/worker:{tag}", registry.address);

    let stranger = bed.deployment("web", &image("v1.0.0"));
    bed.apply(&stranger).await;
    let pod = bed.until_waiting("web", &image("v1.0.0"), "ErrImagePull").await;
    assert!(why(&pod).contains("401 Unauthorized"), "{}", why(&pod));

    let login = json!({ "auths": { &registry.address: { "username": "u", "password": "p" } } });
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "pull", "namespace": bed.namespace },
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": login.to_string() },
    });
    bed.sim.as_ref().unwrap().load(&secret.to_string()).unwrap();
    let known = |image: &str| {
        let mut deployment = bed.deployment("web", image);
        deployment["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{ "name": "pull" }]);
        deployment
    };
    bed.apply(&known(&image("v1.0.0"))).await;
    bed.until_rolled_out("web").await;
    let pods = until("only those who could pull", async || {
        let pods = bed.pods("web").await;
        (pods.len() == 2).then_some(pods)
    })
    .await;
    let told = &pods[0]["status"]["containerStatuses"][0]["imageID"];
    assert_eq!(*told, format!("{}/acme/worker@{digest}", registry.address));

    bed.apply(&known(&image("v9.9.9"))).await;
    let pod = bed.until_waiting("web", &image("v9.9.9"), "ErrImagePull").await;
    assert!(why(&pod).ends_with("not found"), "{}", why(&pod));
    // What is pushed meanwhile is found by the next attempt.
    registry.push("acme/worker", "v9.9.9").await;
    tokio::time::timeout(Duration::from_secs(60), bed.until_rolled_out("web")).await.unwrap();
}

fn why(pod: &Value) -> &str {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    waiting["message"].as_str().unwrap()
}
