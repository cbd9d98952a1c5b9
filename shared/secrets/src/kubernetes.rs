use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret as Object;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use model::Secret;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::found::{Field, Found};
use crate::quietly::quietly;
use crate::vault::deepest;
use crate::{Through, Trouble};

/// Secrets of Kubernetes, each read by its name: no lists and no watches, so that a role can name
/// exactly what may be read.
pub(crate) struct Kubernetes {
    kubeconfig: Option<PathBuf>,
    limit: Duration,
    /// Made at the first use: most processes have no need of it, and not all of them run in a pod.
    made: OnceCell<Made>,
}

struct Made {
    client: Client,
    through: Arc<Through>,
}

const KUBERNETES: &str = "Kubernetes";

impl Kubernetes {
    pub(crate) fn new(kubeconfig: Option<PathBuf>, limit: Duration) -> Self {
        Self { kubeconfig, limit, made: OnceCell::new() }
    }

    pub(crate) async fn read(&self, namespace: &str, name: &str) -> Result<Found, Trouble> {
        let made = self.made.get_or_try_init(|| self.make()).await?;
        let objects: Api<Object> = Api::namespaced(made.client.clone(), namespace);
        let answer = timeout(self.limit, quietly(objects.get(name))).await;
        let answer = answer.map_err(|_| self.too_slow())?;
        let object = answer.map_err(|error| self.trouble(&error))?;
        let entries = object.data.unwrap_or_default().into_iter();
        let fields: BTreeMap<String, Field> =
            entries.map(|(key, bytes)| (key, field(bytes.0))).collect();
        let version = object.metadata.resource_version.map(Arc::from);
        Ok(Found { fields, version, lease: None, through: made.through.clone() })
    }

    async fn make(&self) -> Result<Made, Trouble> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (mut config, login) = match &self.kubeconfig {
            Some(file) => (from_file(file).await?, format!("kubeconfig {}", file.display())),
            None => (
                Config::incluster().map_err(|_| Trouble::NotSet(NO_CLUSTER))?,
                "this pod's service account".to_owned(),
            ),
        };
        config.connect_timeout = Some(self.limit);
        config.read_timeout = Some(self.limit);
        // Whoever asks decides when to ask again.
        config.default_retry = false;
        let server = config.cluster_url.authority().map(ToString::to_string);
        let client = quietly(async { Client::try_from(config) }).await;
        let client = client.map_err(|error| self.trouble(&error))?;
        let through = Through { keeper: KUBERNETES, server, namespace: None, login: Some(login) };
        Ok(Made { client, through: Arc::new(through) })
    }

    fn too_slow(&self) -> Trouble {
        Trouble::TooSlow { keeper: KUBERNETES, limit: self.limit }
    }

    /// Takes nothing over of what the server says: it may say what it was sent.
    fn trouble(&self, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) => match status.code {
                401 => Trouble::Unknown,
                403 => Trouble::Denied,
                404 => Trouble::NoSecret,
                429 => Trouble::TooOften { keeper: KUBERNETES },
                status @ 500.. => Trouble::Broken { keeper: KUBERNETES, status },
                status => Trouble::Refused { keeper: KUBERNETES, status },
            },
            kube::Error::HyperError(error) => unreachable(error),
            kube::Error::Service(error) => unreachable(&**error),
            kube::Error::Auth(_) => Trouble::NoLogin {
                file: self
                    .kubeconfig
                    .as_deref()
                    .unwrap_or(Path::new("the service account"))
                    .display()
                    .to_string(),
                why: "the login that it describes failed".to_owned(),
            },
            _ => Trouble::Unreadable { keeper: KUBERNETES },
        }
    }
}

const NO_CLUSTER: &str = "KUBECONFIG is not set, and this process runs in no pod of Kubernetes";

async fn from_file(file: &Path) -> Result<Config, Trouble> {
    // Its errors may show the lines around the mistake, tokens included.
    let invalid =
        |why: &str| Trouble::NoLogin { file: file.display().to_string(), why: why.to_owned() };
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| invalid(&error.to_string()))?;
    let parsed = Kubeconfig::from_yaml(&text).map_err(|_| invalid("it is no kubeconfig"))?;
    let options = KubeConfigOptions::default();
    let config = quietly(Config::from_custom_kubeconfig(parsed, &options));
    config.await.map_err(|_| invalid("its current context is not complete"))
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> Trouble {
    Trouble::Unreachable { keeper: KUBERNETES, why: deepest(error) }
}

fn field(bytes: Vec<u8>) -> Field {
    String::from_utf8(bytes).map_or(Field::Binary, |text| Field::Text(Secret::new(text)))
}
