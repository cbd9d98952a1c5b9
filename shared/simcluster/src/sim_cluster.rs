use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::access::Identity;
use crate::api;
use crate::asked::Request;
use crate::cluster::Cluster;
use crate::control;
use crate::fates::Fates;
use crate::faults::Faults;
use crate::kind::{NAMESPACE, SERVICE_ACCOUNT};
use crate::load::{LoadError, load};
use crate::managed::Writer;
use crate::node::{Node, Reach};
use crate::settings::Settings;

/// A cluster that runs in this process, until it is dropped.
pub struct SimCluster {
    cluster: Arc<Cluster>,
    server: String,
    authority: String,
    administrator: String,
    _running: JoinSet<()>,
}

/// The only node; nothing that is simulated needs a second one.
const NODE: &str = "sim-node-0";

impl SimCluster {
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listening = api::listen(settings.port).await?;
        let server = format!("https://{}", listening.address);
        let authority = listening.authority.clone();
        let cluster = Arc::new(Cluster::new(settings));
        let mut namespaces = cluster.settings.namespaces.clone();
        namespaces.extend(["default", "kube-system"].map(str::to_owned));
        for name in namespaces {
            add_namespace(&cluster, &name);
        }
        let administrator = Uuid::new_v4().simple().to_string();
        cluster.add_identity(administrator.clone(), Identity::administrator());
        let node = Node::new(NODE, Reach::Here(cluster.clone()), &cluster.settings);
        let mut running = JoinSet::new();
        running.spawn(listening.serve(cluster.clone()));
        running.spawn(control::run(cluster.clone()));
        running.spawn(node.run());
        Ok(Self { cluster, server, authority, administrator, _running: running })
    }

    /// `https://127.0.0.1:…`
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Leads here as somebody who may do everything.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_with(&self.administrator, "default")
    }

    /// Leads here as a ServiceAccount, which may do what the roles let it that were loaded.
    pub fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> String {
        let token = Uuid::new_v4().simple().to_string();
        self.cluster.add_identity(token.clone(), Identity::service_account(namespace, name));
        self.kubeconfig_with(&token, namespace)
    }

    /// Leads here as a user of this name.
    pub fn kubeconfig_of_user(&self, name: &str) -> String {
        let token = Uuid::new_v4().simple().to_string();
        self.cluster.add_identity(token.clone(), Identity::user(name));
        self.kubeconfig_with(&token, "default")
    }

    pub fn write_kubeconfig(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, self.kubeconfig())
    }

    fn kubeconfig_with(&self, token: &str, namespace: &str) -> String {
        let cluster =
            json!({ "server": self.server, "certificate-authority-data": self.authority });
        let context = json!({ "cluster": "sim", "user": "sim", "namespace": namespace });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sim",
            "clusters": [{ "name": "sim", "cluster": cluster }],
            "contexts": [{ "name": "sim", "context": context }],
            "users": [{ "name": "sim", "user": { "token": token } }],
        });
        format!("{config:#}\n")
    }

    /// Creates or replaces what a manifest says: Roles, RoleBindings, Deployments, …
    pub fn load(&self, yaml: &str) -> Result<(), LoadError> {
        self.cluster.with(|store| load(store, yaml))
    }

    pub fn add_namespace(&self, name: &str) {
        add_namespace(&self.cluster, name);
    }

    pub fn fates(&self) -> &Fates {
        &self.cluster.fates
    }

    pub fn faults(&self) -> &Faults {
        &self.cluster.faults
    }

    /// Forgets what has been: watches that are behind are told to list anew.
    pub fn compact(&self) {
        self.cluster.with(|store| store.compact());
    }

    /// All that was asked from outside and answered.
    pub fn asked(&self) -> Vec<Request> {
        self.cluster.asked.all()
    }
}

fn add_namespace(cluster: &Cluster, name: &str) {
    let writer = Writer::update("kube-apiserver", "");
    cluster.with(|store| {
        let namespace = json!({ "metadata": { "name": name } });
        // It may be there already, which is as good.
        let _ = store.create(&NAMESPACE, "", namespace, &writer, false);
        let account = json!({ "metadata": { "name": "default" } });
        let _ = store.create(&SERVICE_ACCOUNT, name, account, &writer, false);
    });
}
