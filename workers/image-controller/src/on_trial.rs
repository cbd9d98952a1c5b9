use std::time::{Duration, Instant};

use cluster::{CanaryRoute, Fence, Release, Target};
use model::Digest;
use registry::{Phase, Rollout};
use uuid::Uuid;

/// A release on its way, as the database told it and as we have moved it since.
#[derive(Clone, Debug)]
pub(crate) struct OnTrial {
    pub(crate) row: Rollout,
    /// Of the phase that it is in.
    pub(crate) deadline: Instant,
    /// Of the Deployment, once we have changed it.
    pub(crate) generation: i64,
    /// When nothing could be known for the last time.
    pub(crate) held: Option<Instant>,
    /// Since when a canary is well.
    pub(crate) serves: Option<Instant>,
    /// How often somebody else's template was in its place.
    pub(crate) overwritten: u32,
    /// When the database last took a step of it.
    pub(crate) moved: Instant,
}

impl OnTrial {
    /// `read` is when the row was: its times count from there.
    pub(crate) fn new(row: Rollout, read: Instant) -> Self {
        let left = row.deadline_ms.unwrap_or_default();
        let part = Duration::from_millis(left.unsigned_abs());
        let deadline = if left < 0 { read.checked_sub(part) } else { read.checked_add(part) };
        Self {
            deadline: deadline.unwrap_or(read),
            generation: row.generation.unwrap_or_default(),
            held: None,
            serves: None,
            overwritten: 0,
            moved: read,
            row,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.row.phase
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            namespace: self.row.kube_namespace.clone(),
            deployment: self.row.deployment.clone(),
            container: self.row.container.clone(),
        }
    }

    /// `None`: its image is not known yet, which the database allows only before it is deployed.
    pub(crate) fn release(&self) -> Option<Release> {
        let digest = self.row.digest.as_ref()?;
        Some(self.image(self.row.release_id, self.row.tag.as_str(), digest))
    }

    /// What ran before, and comes back if this fails.
    pub(crate) fn previous(&self) -> Option<Release> {
        let (tag, digest) = (self.row.previous_tag.as_ref()?, self.row.previous_digest.as_ref()?);
        Some(self.image(self.row.previous_id?, tag.as_str(), digest))
    }

    fn image(&self, id: Uuid, tag: &str, digest: &Digest) -> Release {
        Release {
            id: id.to_string(),
            image: format!("{}:{tag}@{digest}", self.row.repo),
            digest: digest.to_string(),
            fence: Fence { agent: self.row.agent_id.to_string(), number: self.row.fence },
        }
    }

    pub(crate) fn canary(&self) -> Option<CanaryRoute> {
        let canary = self.row.canary.as_ref()?;
        Some(CanaryRoute { shard: canary.shard, tenant: canary.tenant.clone() })
    }

    /// It failed before the Deployment itself was touched.
    pub(crate) fn failed_as_canary(&self) -> bool {
        matches!(self.row.failed_in, Some(Phase::CanaryDeploying | Phase::CanaryVerifying))
    }
}

/// What there is to do for an agent first. The rows come newest first.
///
/// What goes back comes to its end before anything new begins; of the rest the newest wins, and takes
/// the place of what is still on its way.
pub(crate) fn choose(rows: &[Rollout]) -> Option<&Rollout> {
    let find = |is: fn(Phase) -> bool| rows.iter().find(|row| is(row.phase));
    find(goes_back).or_else(|| find(|phase| phase == Phase::Queued)).or_else(|| find(goes_on))
}

pub(crate) fn goes_back(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::RollingBack)
}

pub(crate) fn goes_on(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::CanaryDeploying | Phase::CanaryVerifying | Phase::Deploying | Phase::Verifying
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tag: &str, phase: Phase) -> Rollout {
        Rollout {
            release_id: Uuid::new_v4(),
            agent_id: Uuid::nil(),
            agent_name: "cogo-codegen-worker".parse().unwrap(),
            service: None,
            role: None,
            repo: "ghcr.io/acme/codegen".to_owned(),
            tag: tag.parse().unwrap(),
            digest: Some(Digest::of(b"2")),
            phase,
            fence: 4,
            forced: false,
            canary: None,
            generation: None,
            template_hash: None,
            deadline_ms: Some(-500),
            extended: false,
            running_ms: None,
            failure_code: None,
            failure_detail: None,
            failed_in: None,
            kube_namespace: "agents".to_owned(),
            deployment: "codegen".to_owned(),
            container: "worker".to_owned(),
            trace_id: model::TraceId::mint(),
            previous_id: Some(Uuid::nil()),
            previous_tag: Some("v0.9.0".parse().unwrap()),
            previous_digest: Some(Digest::of(b"1")),
            provider: None,
            registry_url: None,
            credential_ref: None,
        }
    }

    #[test]
    fn what_goes_back_comes_first_and_then_the_newest() {
        use Phase::{Failed, Queued, Recorded, RollingBack, Verifying};
        for (phases, chosen) in [
            (&[Recorded][..], None),
            (&[Queued, Verifying], Some("v1.0.0")),
            (&[Queued, Failed], Some("v1.0.1")),
            (&[Queued, RollingBack], Some("v1.0.1")),
            (&[Recorded, Verifying], Some("v1.0.1")),
            (&[Queued, Queued], Some("v1.0.0")),
            (&[], None),
        ] {
            let number = |(place, phase): (usize, &Phase)| row(&format!("v1.0.{place}"), *phase);
            let rows: Vec<Rollout> = phases.iter().enumerate().map(number).collect();
            let found = choose(&rows).map(|row| row.tag.to_string());
            assert_eq!(found.as_deref(), chosen, "{phases:?}");
        }
    }

    #[test]
    fn an_image_is_named_by_tag_and_digest_and_a_deadline_may_be_over() {
        let read = Instant::now();
        let trial = OnTrial::new(row("v1.0.0", Phase::Verifying), read);
        assert!(trial.deadline < read);
        let digest = Digest::of(b"2");
        let release = trial.release().unwrap();
        assert_eq!(release.image, format!("ghcr.io/acme/codegen:v1.0.0@{digest}"));
        assert_eq!(
            trial.previous().unwrap().image,
            format!("ghcr.io/acme/codegen:v0.9.0@{}", Digest::of(b"1"))
        );
        assert_eq!(release.fence.number, 4);
    }
}
