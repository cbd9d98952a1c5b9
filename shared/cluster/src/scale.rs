use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::read::annotation;
use crate::words::{MANAGER, REPLICAS};
use crate::{Applied, ApplyError, Cluster, Target};

/// How many pods a Deployment has belongs to whoever scales it, so none of this is applied with a
/// release: it is a change of its own, that leaves the field to others.
impl Cluster {
    /// Ends all pods of a Deployment that has no release to go back to. The next release brings back
    /// as many as there were.
    pub async fn scale_to_zero(&self, target: &Target) -> Result<(), ApplyError> {
        let found = self.deployment(target).await?;
        let wanted = found.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let before = match annotation(&found.metadata, REPLICAS) {
            // Only we had woken it.
            Some(before) if before == RESTING => None,
            before if wanted == 0 => before,
            _ => Some(wanted.to_string()),
        };
        self.scale(target, Some(0), before.as_deref()).await.map(drop)
    }

    /// Lets a Deployment that had no pods before its release was judged have none again.
    pub async fn rest(&self, target: &Target) -> Result<(), ApplyError> {
        let found = self.deployment(target).await?;
        if annotation(&found.metadata, REPLICAS).as_deref() != Some(RESTING) {
            return Ok(());
        }
        // Somebody scales it by now, who knows better.
        let alone = found.spec.and_then(|spec| spec.replicas) == Some(1);
        self.scale(target, alone.then_some(0), None).await.map(drop)
    }

    pub(crate) async fn wake(
        &self,
        target: &Target,
        before: Option<String>,
    ) -> Result<Applied, ApplyError> {
        let before = before.and_then(|text| text.parse().ok()).filter(|before| *before > 0);
        match before {
            Some(before) => self.scale(target, Some(before), None).await,
            None => self.scale(target, Some(1), Some(RESTING)).await,
        }
    }

    pub(crate) async fn scale(
        &self,
        target: &Target,
        replicas: Option<i32>,
        before: Option<&str>,
    ) -> Result<Applied, ApplyError> {
        let change = change(replicas, before);
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.patch("scale deployment", target, &how, &Patch::Merge(&change)).await
    }
}

/// Where nobody wanted any pods.
const RESTING: &str = "0";

fn change(replicas: Option<i32>, before: Option<&str>) -> Value {
    let mut change = json!({ "metadata": { "annotations": { REPLICAS: before } } });
    if let Some(replicas) = replicas {
        change["spec"] = json!({ "replicas": replicas });
    }
    change
}
