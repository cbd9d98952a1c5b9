use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use simcluster::{Fates, RemoteNodes, Settings, SimCluster};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// A server with one namespace for one case.
pub(crate) struct Bed {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) fates: Fates,
    /// Only the stand-in can be made to fail.
    pub(crate) sim: Option<SimCluster>,
    scheduler: String,
    kubeconfig: String,
    _nodes: Option<RemoteNodes>,
}

/// The longest any case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a case on the stand-in, and then on the real server if there is one.
pub(crate) async fn on_each(case: impl AsyncFn(&Bed)) {
    let bed = Bed::simulated(Settings { pace: 5.0, ..Settings::default() }).await;
    case(&bed).await;
    drop(bed);
    if let Some(file) = real_server() {
        let bed = Bed::real(&file).await;
        case(&bed).await;
        bed.clean().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings of their own")]
fn real_server() -> Option<String> {
    std::env::var("COGO_TEST_KUBECONFIG").ok().filter(|file| !file.is_empty())
}

impl Bed {
    pub(crate) async fn simulated(settings: Settings) -> Self {
        let fates = settings.fates.clone();
        let namespace = format!("cogo-test-{}", Uuid::new_v4().simple());
        let sim = SimCluster::start(settings).await.unwrap();
        let kubeconfig = sim.kubeconfig();
        let client = client(&kubeconfig).await;
        let bed = Self {
            client,
            namespace,
            fates,
            sim: Some(sim),
            scheduler: "default-scheduler".to_owned(),
            kubeconfig,
            _nodes: None,
        };
        bed.make_namespace().await;
        bed
    }

    async fn real(file: &str) -> Self {
        let text = std::fs::read_to_string(file).expect("COGO_TEST_KUBECONFIG names a file");
        let client = client(&text).await;
        let name = format!("cogo-test-{}", Uuid::new_v4().simple());
        let fates = Fates::default();
        let settings = Settings { fates: fates.clone(), ..Settings::default() };
        let nodes = RemoteNodes::start(client.clone(), &name, &name, &settings).await.unwrap();
        let bed = Self {
            client,
            namespace: name.clone(),
            fates,
            sim: None,
            scheduler: name,
            kubeconfig: text,
            _nodes: Some(nodes),
        };
        bed.make_namespace().await;
        bed
    }

    async fn clean(&self) {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.delete(&self.scheduler, &now).await.unwrap();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }

    async fn make_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = json!({ "metadata": { "name": self.namespace } });
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let accounts: Api<ServiceAccount> = self.api();
        until("the default ServiceAccount", async || accounts.get_opt("default").await.unwrap())
            .await;
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A Deployment of two replicas that surges, as ours do.
    pub(crate) fn deployment(&self, name: &str, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "replicas": 2,
                "minReadySeconds": 1,
                "progressDeadlineSeconds": 10,
                "revisionHistoryLimit": 2,
                "selector": { "matchLabels": { "app": name } },
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 },
                },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": {
                        "schedulerName": self.scheduler,
                        "terminationGracePeriodSeconds": 5,
                        "containers": [{
                            "name": "worker",
                            "image": image,
                            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
                        }],
                    },
                },
            },
        })
    }

    pub(crate) async fn apply(&self, deployment: &Value) -> Deployment {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let ours = PatchParams::apply("cogo-test");
        self.api::<Deployment>().patch(name, &ours, &Patch::Apply(deployment)).await.unwrap()
    }

    /// Waits until a Deployment is as it should be, and says what it last was if it never is.
    pub(crate) async fn until_deployment(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        let deployments = self.api::<Deployment>();
        let mut last = Value::Null;
        let waited = timeout(PATIENCE, async {
            loop {
                last = serde_json::to_value(deployments.get(name).await.unwrap()).unwrap();
                if is(&last) {
                    return;
                }
                sleep(Duration::from_millis(25)).await;
            }
        });
        if waited.await.is_err() {
            let pods = self.pods(name).await;
            panic!("waited in vain for {what}: {:#}, pods: {pods:#?}", last["status"]);
        }
        last
    }

    pub(crate) async fn until_rolled_out(&self, name: &str) -> Value {
        self.until_deployment(name, "the rollout to be complete", |seen| {
            let status = &seen["status"];
            let all = &seen["spec"]["replicas"];
            status["observedGeneration"] == seen["metadata"]["generation"]
                && ["replicas", "updatedReplicas", "availableReplicas"]
                    .iter()
                    .all(|one| status[one] == *all)
        })
        .await
    }

    /// A merge patch by somebody called `cogo-test`.
    pub(crate) async fn merge(&self, name: &str, patch: &Value) -> Value {
        self.try_merge(name, patch).await.unwrap()
    }

    pub(crate) async fn try_merge(&self, name: &str, patch: &Value) -> kube::Result<Value> {
        let ours =
            PatchParams { field_manager: Some("cogo-test".to_owned()), ..Default::default() };
        let seen = self.api::<Deployment>().patch(name, &ours, &Patch::Merge(patch)).await?;
        Ok(serde_json::to_value(seen).unwrap())
    }

    /// 20 of Kubernetes 1.20.
    pub(crate) async fn minor_version(&self) -> u32 {
        let version = self.client.apiserver_version().await.unwrap();
        version.minor.trim_end_matches('+').parse().unwrap()
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// A scheduler that no node listens to; in the stand-in every pod finds a node.
    pub(crate) fn nobody(&self) -> &'static str {
        "cogo-test-nobody"
    }

    pub(crate) async fn pods(&self, name: &str) -> Vec<Value> {
        let app = ListParams::default().labels(&format!("app={name}"));
        let listed = self.api::<Pod>().list(&app).await.unwrap();
        listed.items.iter().map(|pod| serde_json::to_value(pod).unwrap()).collect()
    }

    pub(crate) async fn replica_sets(&self, name: &str) -> Vec<Value> {
        let app = ListParams::default().labels(&format!("app={name}"));
        let listed = self.api::<ReplicaSet>().list(&app).await.unwrap();
        listed.items.iter().map(|set| serde_json::to_value(set).unwrap()).collect()
    }

    pub(crate) async fn until_pod(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        until(what, async || self.pods(name).await.into_iter().find(|pod| is(pod))).await
    }

    /// Waits until a container of this image waits for this reason.
    pub(crate) async fn until_waiting(&self, name: &str, image: &str, reason: &str) -> Value {
        self.until_pod(name, reason, |pod| {
            pod["spec"]["containers"][0]["image"] == image
                && pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
        })
        .await
    }

    pub(crate) async fn until_event(&self, reason: &str, says: &str) -> Event {
        let events = self.api::<Event>();
        until(&format!("an event {reason} that says `{says}`"), async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            all.into_iter().find(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.message.as_deref().unwrap_or_default().contains(says)
            })
        })
        .await
    }
}

pub(crate) async fn client(kubeconfig: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let mut config =
        Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// The same server, asked by whoever holds this token.
pub(crate) async fn as_token(bed: &Bed, token: &str) -> Client {
    let mut config: Value =
        serde_json::to_value(Kubeconfig::from_yaml(&bed.kubeconfig).unwrap()).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({ "token": token });
    }
    client(&config.to_string()).await
}

/// Why the server refused.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> kube::core::Status {
    match answer {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("it should have been refused: {other:?}"),
    }
}

pub(crate) fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap()
}

pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// A condition of a Deployment: its status and reason.
pub(crate) fn condition<'a>(seen: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let all = seen["status"]["conditions"].as_array();
    let found = all.into_iter().flatten().find(|one| one["type"] == kind);
    found.map_or(("", ""), |one| {
        (one["status"].as_str().unwrap(), one["reason"].as_str().unwrap_or_default())
    })
}
