use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use miette::Diagnostic;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::follow::{Pace, follow};
use crate::quietly::quietly;
use crate::view::View;
use crate::{ClusterSettings, Disposition};

/// The way to Kubernetes. Clones share what they watch; with the last of them the watches end.
#[derive(Clone)]
pub struct Cluster(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    client: Client,
    pace: Pace,
    server: String,
    views: Mutex<HashMap<String, Followed>>,
    changes: watch::Sender<u64>,
}

/// A namespace, and those who keep what is known of it true.
struct Followed {
    view: Arc<View>,
    _following: JoinSet<()>,
}

/// Why there is no way to a cluster. Nothing of a kubeconfig but its path is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum ConnectError {
    #[error("KUBECONFIG is not set, and this process runs in no pod of Kubernetes")]
    #[diagnostic(help("name the kubeconfig of the cluster whose agents are to be rolled out"))]
    NoCluster,

    #[error("could not read {file}: {why}")]
    #[diagnostic(help("KUBECONFIG names one file; check the path and who may read it"))]
    Unreadable { file: String, why: String },

    #[error("{file} is no kubeconfig, or its context {context} is not complete")]
    #[diagnostic(help("`kubectl config get-contexts` lists what it has; KUBE_CONTEXT names one"))]
    Incomplete { file: String, context: String },

    #[error("the kubeconfig says `insecure-skip-tls-verify`: whoever is in between could be it")]
    #[diagnostic(help(
        "give it the cluster's certificate authority, or set KUBE_INSECURE in a test"
    ))]
    Insecure,

    #[error("what the kubeconfig or service account says cannot be used to connect")]
    #[diagnostic(help(
        "check its certificates and keys: PEM, and in base64 where they are inline"
    ))]
    Unusable,
}

impl ConnectError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoCluster
            | Self::Unreadable { .. }
            | Self::Incomplete { .. }
            | Self::Insecure
            | Self::Unusable => Disposition::GiveUp,
        }
    }
}

impl Cluster {
    /// By the kubeconfig, if there is one, or else as the pod that we run in. Asks nothing yet.
    pub async fn connect(
        settings: &ClusterSettings,
        kubeconfig: Option<&Path>,
    ) -> Result<Self, ConnectError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = match kubeconfig {
            Some(file) => from_file(file, settings.kube_context.as_deref()).await?,
            None => Config::incluster().map_err(|_| ConnectError::NoCluster)?,
        };
        if config.accept_invalid_certs && !settings.kube_insecure {
            return Err(ConnectError::Insecure);
        }
        config.connect_timeout = Some(settings.kube_timeout);
        // Every call has a limit of its own; a watch may be silent for longer than any of them.
        config.read_timeout = None;
        // Whoever asks decides when to ask again.
        config.default_retry = false;
        let server = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
        let client = quietly(async { Client::try_from(config) }).await;
        let client = client.map_err(|_| ConnectError::Unusable)?;
        Ok(Self::with_client(client, server, settings))
    }

    fn with_client(client: Client, server: String, settings: &ClusterSettings) -> Self {
        let pace = Pace { limit: settings.kube_timeout, list_every: settings.kube_list_every };
        let changes = watch::Sender::new(0);
        Self(Arc::new(Inner { client, pace, server, views: Mutex::default(), changes }))
    }

    /// Host and port.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// Changes whenever something changes in a namespace that is watched.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn limit(&self) -> Duration {
        self.0.pace.limit
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.0.client.clone(), namespace)
    }

    /// Of what lies in no namespace.
    pub(crate) fn everywhere<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = ()>,
    {
        Api::all(self.0.client.clone())
    }

    /// What is known of a namespace, which is followed from now on.
    pub(crate) fn view(&self, namespace: &str) -> Arc<View> {
        let mut views = self.0.views.lock().expect("nobody panics in here");
        let view = match views.entry(namespace.to_owned()) {
            // Nobody had asked for long, and those who followed it have ended.
            Entry::Occupied(entry) if !entry.get().view.is_used() => {
                let (key, _) = entry.remove_entry();
                let followed = self.followed(namespace);
                views.entry(key).or_insert(followed).view.clone()
            }
            Entry::Occupied(entry) => entry.get().view.clone(),
            Entry::Vacant(entry) => entry.insert(self.followed(namespace)).view.clone(),
        };
        view.use_it();
        view
    }

    fn followed(&self, namespace: &str) -> Followed {
        let view = Arc::new(View::new(self.0.changes.clone()));
        let pace = self.0.pace;
        let mut following = JoinSet::new();
        following.spawn(follow(self.api(namespace), view.clone(), |view| &view.deployments, pace));
        following.spawn(follow(self.api(namespace), view.clone(), |view| &view.replica_sets, pace));
        following.spawn(follow(self.api(namespace), view.clone(), |view| &view.pods, pace));
        following.spawn(follow(self.api(namespace), view.clone(), |view| &view.refusals, pace));
        Followed { view, _following: following }
    }
}

async fn from_file(file: &Path, context: Option<&str>) -> Result<Config, ConnectError> {
    let name = file.display().to_string();
    let text = tokio::fs::read_to_string(file).await;
    let text = text
        .map_err(|error| ConnectError::Unreadable { file: name.clone(), why: error.to_string() })?;
    // The library's errors may show the lines around a mistake, tokens included.
    let incomplete = || ConnectError::Incomplete {
        file: name.clone(),
        context: context.map_or("that is current".to_owned(), |name| format!("`{name}`")),
    };
    let parsed = Kubeconfig::from_yaml(&text).map_err(|_| incomplete())?;
    let options =
        KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = quietly(Config::from_custom_kubeconfig(parsed, &options)).await;
    config.map_err(|_| incomplete())
}
