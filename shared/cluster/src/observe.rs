use std::time::Instant;

use kube::api::ListParams;
use miette::Diagnostic;
use tokio::time::timeout;

use crate::facts::{Deployment, Facts, Pod, ReplicaSet};
use crate::follow::list;
use crate::fresh::Fresh;
use crate::read::Kind;
use crate::view::{Looked, gather};
use crate::{Cluster, Disposition, Target, Trouble};

/// Why we cannot tell what is so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum ObserveError {
    #[error("there is no Deployment {target}")]
    #[diagnostic(help("apply k8s/, or correct namespace and deployment of the agent"))]
    NoDeployment { target: Target },

    #[error("could not look at {target}")]
    Trouble {
        target: Target,
        #[source]
        #[diagnostic_source]
        trouble: Trouble,
    },
}

impl ObserveError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoDeployment { .. } => Disposition::GiveUp,
            Self::Trouble { trouble, .. } => trouble.disposition(),
        }
    }
}

impl Cluster {
    /// What was last seen of it, which is at most some milliseconds old while the watches live.
    /// Waits only where nobody has looked before.
    pub async fn observe(&self, target: &Target) -> Result<Facts, ObserveError> {
        let failed = |trouble| ObserveError::Trouble { target: target.clone(), trouble };
        let view = self.view(&target.namespace);
        let mut changes = self.changes();
        let read = async {
            while !view.is_read()? {
                // Each of the four tells when it has been read, and when it could not be.
                let _ = changes.changed().await;
            }
            Ok(())
        };
        let limit = self.limit().saturating_mul(2);
        let too_slow = Trouble::TooSlow { call: "observe", limit };
        timeout(limit, read).await.unwrap_or(Err(too_slow)).map_err(failed)?;
        let facts = view.facts(&target.deployment);
        facts.ok_or_else(|| ObserveError::NoDeployment { target: target.clone() })
    }

    /// Asks again, past the watches: what a verdict is based on must be true now.
    pub async fn inspect(&self, target: &Target) -> Result<Facts, ObserveError> {
        let asked = Instant::now();
        let watched = self.observe(target).await?;
        let view = self.view(&target.namespace);
        let fresh = view.fresh.since(asked, || self.read(&target.namespace)).await;
        let fresh =
            fresh.map_err(|trouble| ObserveError::Trouble { target: target.clone(), trouble })?;
        let deployment = fresh.deployments.iter().find(|one| one.name == target.deployment);
        let Some(deployment) = deployment else {
            return Err(ObserveError::NoDeployment { target: target.clone() });
        };
        let looked = Looked { seen: fresh.at, watched_since: watched.watched_since, trouble: None };
        let (replica_sets, pods) = (fresh.replica_sets.iter(), fresh.pods.iter());
        let mut facts =
            gather(deployment.clone(), replica_sets, pods, watched.refusals.iter(), looked);
        for pod in facts.pods.iter_mut().chain(&mut facts.older) {
            let before = watched.pods.iter().chain(&watched.older).find(|one| one.uid == pod.uid);
            if let Some(before) = before {
                pod.remember(before);
            }
        }
        Ok(facts)
    }

    async fn read(&self, namespace: &str) -> Result<Fresh, Trouble> {
        let (limit, all, at) = (self.limit(), ListParams::default(), Instant::now());
        let deployments = list::<Deployment>(&self.api(namespace), limit, &all).await?;
        let (replica_sets, pods) = (self.api(namespace), self.api(namespace));
        let (replica_sets, pods) = tokio::try_join!(
            list::<ReplicaSet>(&replica_sets, limit, &all),
            list::<Pod>(&pods, limit, &all),
        )?;
        Ok(Fresh {
            at,
            deployments: deployments.0.iter().filter_map(|one| Kind::read(one, at)).collect(),
            replica_sets: replica_sets.0.iter().filter_map(|one| Kind::read(one, at)).collect(),
            pods: pods.0.iter().filter_map(|one| Kind::read(one, at)).collect(),
        })
    }
}
