use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1 as apps;
use kube::api::ListParams;
use miette::Diagnostic;
use tokio::time::timeout;

use crate::call::call;
use crate::facts::{Deployment, Facts, Pod, ReplicaSet};
use crate::follow::list;
use crate::read::Kind;
use crate::selector::Selector;
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
        let failed = |trouble| ObserveError::Trouble { target: target.clone(), trouble };
        let watched = self.observe(target).await?;
        let started = Instant::now();
        let read = self.read(target, started).await;
        let (deployment, replica_sets, mut pods) = read.map_err(|trouble| match trouble {
            Trouble::NotFound => ObserveError::NoDeployment { target: target.clone() },
            trouble => failed(trouble),
        })?;
        for pod in &mut pods {
            let before = watched.pods.iter().chain(&watched.older).find(|one| one.uid == pod.uid);
            if let Some(before) = before {
                pod.remember(before);
            }
        }
        let looked = Looked { seen: started, watched_since: watched.watched_since, trouble: None };
        let (replica_sets, pods) = (replica_sets.iter(), pods.iter());
        Ok(gather(deployment, replica_sets, pods, watched.refusals.iter(), looked))
    }

    async fn read(
        &self,
        target: &Target,
        now: Instant,
    ) -> Result<(Deployment, Vec<ReplicaSet>, Vec<Pod>), Trouble> {
        let limit: Duration = self.limit();
        let deployments = self.api::<apps::Deployment>(&target.namespace);
        let object = call("get deployment", limit, deployments.get(&target.deployment)).await?;
        let deployment = Deployment::read(&object, now).ok_or(Trouble::Unreadable)?;
        let selector = object.spec.map(|spec| Selector::of(spec.selector)).unwrap_or_default();
        let which = ListParams::default().labels(&selector.to_string());
        let (replica_sets, pods) = (self.api(&target.namespace), self.api(&target.namespace));
        let (replica_sets, pods) = tokio::try_join!(
            list::<ReplicaSet>(&replica_sets, limit, &which),
            list::<Pod>(&pods, limit, &which),
        )?;
        let replica_sets = replica_sets.0.iter().filter_map(|one| ReplicaSet::read(one, now));
        let pods = pods.0.iter().filter_map(|one| Pod::read(one, now));
        Ok((deployment, replica_sets.collect(), pods.collect()))
    }
}
