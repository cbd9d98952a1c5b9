use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use miette::Diagnostic;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::call::call;
use crate::facts::Deployment;
use crate::read::{Kind, annotation};
use crate::words::{FENCE, MANAGER, RELEASE_ID, REPLICAS};
use crate::{Applied, Cluster, Disposition, Release, Target, Trouble};

/// Why a Deployment was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum ApplyError {
    #[error("there is no Deployment {target}")]
    #[diagnostic(help("apply k8s/, or correct namespace and deployment of the agent"))]
    NoDeployment { target: Target },

    #[error("{target} has no container `{}`, but: {}", target.container, has.join(", "))]
    #[diagnostic(help("correct the agent's container in the catalogue"))]
    NoContainer { target: Target, has: Vec<String> },

    #[error("there is a Deployment {target} already, and it is not ours")]
    #[diagnostic(help(
        "canaries have this name; give the other one another, or roll out without a canary"
    ))]
    NotOurs { target: Target },

    #[error("another controller has taken {target} over")]
    #[diagnostic(help("it goes on from here; nothing has to be done"))]
    Overtaken { target: Target },

    #[error("pods of a canary could be taken for those of {target}")]
    #[diagnostic(help(
        "the Deployment's selector has to name a label by value, and its name at most 63 letters"
    ))]
    CannotTellApart { target: Target },

    #[error("could not change {target}")]
    Trouble {
        target: Target,
        #[source]
        #[diagnostic_source]
        trouble: Trouble,
    },
}

impl ApplyError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoDeployment { .. }
            | Self::NoContainer { .. }
            | Self::NotOurs { .. }
            | Self::Overtaken { .. }
            | Self::CannotTellApart { .. } => Disposition::GiveUp,
            Self::Trouble { trouble, .. } => trouble.disposition(),
        }
    }

    pub(crate) fn of(target: &Target, trouble: Trouble) -> Self {
        let target = target.clone();
        match trouble {
            Trouble::NotFound => Self::NoDeployment { target },
            trouble => Self::Trouble { target, trouble },
        }
    }
}

impl Cluster {
    /// Brings a release onto a Deployment. Safe to repeat: what is so already is not changed, and
    /// the answer is the same generation.
    ///
    /// A Deployment that was scaled to zero gets pods again, because no pod proves nothing: as many
    /// as before if we scaled it, or else one until [`Cluster::rest`].
    pub async fn deploy(&self, target: &Target, release: &Release) -> Result<Applied, ApplyError> {
        let mut backoff = Backoff::default();
        for _ in 0..TRIES {
            match self.deploy_once(target, release).await {
                // Kubernetes writes what it does into the same object.
                Err(ApplyError::Trouble { trouble: Trouble::Conflict, .. }) => {}
                other => return other,
            }
            sleep(backoff.next()).await;
        }
        self.deploy_once(target, release).await
    }

    async fn deploy_once(&self, target: &Target, release: &Release) -> Result<Applied, ApplyError> {
        let found = self.check(target).await?;
        if annotation(&found.metadata, FENCE).is_some_and(|one| release.fence.is_older_than(&one)) {
            return Err(ApplyError::Overtaken { target: target.clone() });
        }
        let change = change(target, release, &found.metadata);
        let applied = self.apply("apply deployment", target, &change).await?;
        if found.spec.and_then(|spec| spec.replicas) == Some(0) {
            return self.wake(target, annotation(&found.metadata, REPLICAS)).await;
        }
        Ok(applied)
    }

    /// Whether a release could be brought onto it: it is there, and has the container.
    pub async fn can_deploy(&self, target: &Target) -> Result<(), ApplyError> {
        self.check(target).await.map(drop)
    }

    async fn check(&self, target: &Target) -> Result<apps::Deployment, ApplyError> {
        let found = self.deployment(target).await?;
        let containers = found.spec.iter().flat_map(|spec| spec.template.spec.iter());
        let has = containers.flat_map(|spec| &spec.containers).map(|one| one.name.clone());
        let has: Vec<String> = has.collect();
        // Applying would add a container of that name.
        if !has.contains(&target.container) {
            return Err(ApplyError::NoContainer { target: target.clone(), has });
        }
        Ok(found)
    }

    pub(crate) async fn deployment(&self, target: &Target) -> Result<apps::Deployment, ApplyError> {
        let api = self.api::<apps::Deployment>(&target.namespace);
        let found = call("get deployment", self.limit(), api.get(&target.deployment)).await;
        found.map_err(|trouble| ApplyError::of(target, trouble))
    }

    pub(crate) async fn apply(
        &self,
        name: &'static str,
        target: &Target,
        change: &Value,
    ) -> Result<Applied, ApplyError> {
        // Whoever made the Deployment set an image too; ours is the one that counts.
        let how = PatchParams::apply(MANAGER).force();
        self.patch(name, target, &how, &Patch::Apply(change)).await
    }

    pub(crate) async fn patch(
        &self,
        name: &'static str,
        target: &Target,
        how: &PatchParams,
        change: &Patch<&Value>,
    ) -> Result<Applied, ApplyError> {
        let api = self.api::<apps::Deployment>(&target.namespace);
        let patched = call(name, self.limit(), api.patch(&target.deployment, how, change)).await;
        let patched = patched.map_err(|trouble| ApplyError::of(target, trouble))?;
        let read = Deployment::read(&patched, std::time::Instant::now());
        let read = read.ok_or_else(|| ApplyError::of(target, Trouble::Unreadable))?;
        Ok(Applied { generation: read.generation })
    }
}

/// Only what is ours: everything that is left out stays as it is. With the uid, so that a Deployment
/// that was deleted meanwhile is not made anew, and with the version that we have looked at, so that
/// whoever was held up changes nothing that a later one has changed.
fn change(target: &Target, release: &Release, found: &ObjectMeta) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": target.deployment,
            "namespace": target.namespace,
            "uid": found.uid,
            "resourceVersion": found.resource_version,
            "annotations": { RELEASE_ID: release.id, FENCE: release.fence.written() },
        },
        "spec": { "template": {
            "metadata": { "annotations": { RELEASE_ID: release.id } },
            "spec": { "containers": [{
                "name": target.container,
                "image": release.image,
                "env": variables(release),
            }] },
        } },
    })
}

/// How often a conflict is met by looking again.
const TRIES: u32 = 5;

/// What a worker says of itself on the bus, so that the pods of a release can be told from others.
pub(crate) fn variables(release: &Release) -> Vec<Value> {
    let pod_uid = json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.uid" } });
    vec![
        json!({ "name": "COGO_RELEASE_ID", "value": release.id }),
        json!({ "name": "COGO_IMAGE", "value": release.image }),
        json!({ "name": "COGO_IMAGE_DIGEST", "value": release.digest }),
        json!({ "name": "POD_UID", "valueFrom": pod_uid }),
    ]
}
