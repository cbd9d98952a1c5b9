use std::path::Path;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Node, Pod, ResourceQuota, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::ApiResource;
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use simcluster::{Fate, Fates, RemoteNodes, Settings, SimCluster};
use tokio::time::sleep;
use uuid::Uuid;

/// A Kubernetes API server with simulated nodes: the stand-in, or a real one wherever
/// `COGO_TEST_KUBECONFIG` names it. The controller asks it under the roles that ship, and no others.
pub(crate) struct Server {
    /// Where the agents are.
    pub(crate) namespace: String,
    /// Where the controller is.
    pub(crate) control: String,
    /// Only the stand-in can be made to fail.
    sim: Option<SimCluster>,
    administrator: String,
    client: Client,
    fates: Fates,
    _nodes: Option<RemoteNodes>,
}

const ACCOUNT: &str = "cogo-image-controller";

impl Server {
    pub(crate) async fn start(settings: Settings) -> Self {
        let namespace = format!("cogo-test-{}", Uuid::new_v4().simple());
        let control = format!("{namespace}-control");
        let fates = settings.fates.clone();
        let (sim, nodes, administrator) = match real_server() {
            None => {
                let sim = SimCluster::start(settings).await.unwrap();
                let administrator = sim.kubeconfig();
                (Some(sim), None, administrator)
            }
            Some(file) => {
                let administrator = std::fs::read_to_string(file).unwrap();
                let client = client(&administrator).await;
                let nodes = RemoteNodes::start(client, &namespace, &namespace, &settings);
                (None, Some(nodes.await.unwrap()), administrator)
            }
        };
        let client = client(&administrator).await;
        let server = Self { namespace, control, sim, administrator, client, fates, _nodes: nodes };
        server.settle_in().await;
        server
    }

    /// Two namespaces, and in them what `k8s/` has for the controller.
    async fn settle_in(&self) {
        for name in [&self.namespace, &self.control] {
            let namespace =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            let namespace: Namespace = serde_json::from_value(namespace).unwrap();
            let all: Api<Namespace> = Api::all(self.client.clone());
            all.create(&PostParams::default(), &namespace).await.unwrap();
        }
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT } });
        self.apply_in(&self.control, account).await;
        for (folder, namespace) in [
            ("components/controller-access", &self.namespace),
            ("base/control/image-controller", &self.control),
        ] {
            for file in ["role.yaml", "binding.yaml"] {
                let mut shipped = shipped(&format!("{folder}/{file}"));
                // As the overlays do.
                if file == "binding.yaml" {
                    shipped["subjects"][0]["namespace"] = json!(self.control);
                }
                self.apply_in(namespace, shipped).await;
            }
        }
    }

    /// Creates or replaces it among the agents, as an administrator would.
    pub(crate) async fn apply(&self, object: Value) {
        self.apply_in(&self.namespace, object).await;
    }

    pub(crate) async fn apply_in(&self, namespace: &str, mut object: Value) {
        object["metadata"]["namespace"] = json!(namespace);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let types = object.types.clone().unwrap();
        let (group, version) =
            types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: types.api_version.clone(),
            plural: format!("{}s", types.kind.to_lowercase()),
            kind: types.kind.clone(),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let administrator = PatchParams::apply("cogo-test").force();
        api.patch(&object.name_any(), &administrator, &Patch::Apply(&object)).await.unwrap();
    }

    /// Leads the controller here.
    pub(crate) async fn write_kubeconfig(&self, file: &Path) {
        let kubeconfig = match &self.sim {
            Some(sim) => sim.kubeconfig_of_service_account(&self.control, ACCOUNT),
            None => self.with_token(&self.token().await),
        };
        std::fs::write(file, kubeconfig).unwrap();
    }

    async fn token(&self) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.control);
        let wish = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {}, "spec": { "audiences": [], "expirationSeconds": 7200 } });
        let given: Value = accounts
            .create_subresource("token", ACCOUNT, &PostParams::default(), &wish)
            .await
            .unwrap();
        given["status"]["token"].as_str().unwrap().to_owned()
    }

    fn with_token(&self, token: &str) -> String {
        let mut config =
            serde_json::to_value(Kubeconfig::from_yaml(&self.administrator).unwrap()).unwrap();
        for user in config["users"].as_array_mut().unwrap() {
            user["user"] = json!({ "token": token });
        }
        config.to_string()
    }

    /// What the cluster itself says, past everything of ours.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn sim(&self) -> &SimCluster {
        self.sim
            .as_ref()
            .expect("`.ci/kubernetes` asks a real server nothing that needs the stand-in")
    }

    pub(crate) async fn fate(&self, tag: &str, fate: Fate) {
        let refuses = matches!(fate, Fate::Refused | Fate::OverQuota);
        if self.sim.is_some() || !refuses {
            self.fates.set(tag, fate);
            return;
        }
        // No node has a say in what the real server refuses.
        if matches!(fate, Fate::Refused) {
            let range = json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "none" },
                "spec": { "limits": [{ "type": "Pod", "max": { "cpu": "1" } }] } });
            return self.apply(range).await;
        }
        let pods = self.api::<Pod>().list(&ListParams::default()).await.unwrap().items.len();
        let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "full" },
            "spec": { "hard": { "pods": pods.to_string() } } });
        self.apply(quota).await;
        loop {
            let quota = self.api::<ResourceQuota>().get("full").await.unwrap();
            if quota.status.is_some_and(|status| status.used.is_some()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Pods are let in again.
    pub(crate) async fn let_in(&self) {
        if self.sim.is_some() {
            return;
        }
        let (at_once, none) = (DeleteParams::default(), ListParams::default());
        self.api::<LimitRange>().delete_collection(&at_once, &none).await.unwrap();
        self.api::<ResourceQuota>().delete_collection(&at_once, &none).await.unwrap();
    }
}

/// A real server outlives its cases.
impl Drop for Server {
    fn drop(&mut self) {
        if self.sim.is_some() {
            return;
        }
        let (administrator, namespace, control) =
            (self.administrator.clone(), self.namespace.clone(), self.control.clone());
        // On a runtime of its own: that of the case ends.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(clean(&administrator, &namespace, &control));
        });
        let _ = cleaned.join();
    }
}

async fn clean(administrator: &str, namespace: &str, control: &str) {
    let client = client(administrator).await;
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    let nodes: Api<Node> = Api::all(client.clone());
    let namespaces: Api<Namespace> = Api::all(client);
    nodes.delete(namespace, &at_once).await.unwrap();
    for name in [namespace, control] {
        namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings of their own")]
fn real_server() -> Option<String> {
    std::env::var("COGO_TEST_KUBECONFIG").ok().filter(|file| !file.is_empty())
}

fn shipped(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_saphyr::from_str(&text).unwrap()
}

async fn client(kubeconfig: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(config, &options).await.unwrap();
    Client::try_from(config).unwrap()
}
