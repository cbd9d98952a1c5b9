use std::time::Instant;

use cluster::facts::{Container, Facts, Phase, Pod, State};

use super::evidence::{Clock, Heartbeat, Limits, Question, Release};
use super::verdict::{Code, Verdict};
use super::{available_after, is_ours, standing};

/// What a release still lacks to be good, the first thing first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// Somebody else's template is in its place.
    Template,
    /// Kubernetes has not looked at the change yet.
    Notice,
    /// There are to be no pods at all.
    Wanted,
    /// Not as many pods as are wanted, or still some of before.
    Pods,
    /// They run another image.
    Image {
        what: String,
    },
    /// They are well since then, and some of them are silent on the bus.
    Heartbeats {
        since: Instant,
        silent: usize,
    },
    Nothing {
        since: Instant,
    },
}

pub(super) fn lacking(
    facts: &Facts,
    heartbeats: &[Heartbeat],
    release: &Release,
    clock: &Clock,
    limits: &Limits,
) -> Lacking {
    let deployment = &facts.deployment;
    if deployment.generation < release.generation {
        // What we see is from before the change.
        return Lacking::Notice;
    }
    if !is_ours(facts, release) {
        return Lacking::Template;
    }
    if deployment.observed_generation < deployment.generation.max(release.generation) {
        return Lacking::Notice;
    }
    if deployment.wanted == 0 {
        return match release.question {
            Question::IsGood => Lacking::Wanted,
            // Nobody wants any pods, and those that come will be the right ones.
            Question::IsBack => Lacking::Nothing { since: clock.now },
        };
    }
    let is_ready = |pod: &&Pod| pod.phase == Phase::Running && pod.ready.is_some();
    let ready: Vec<&Pod> = standing(facts).filter(is_ready).collect();
    if !is_complete(facts, release, ready.len()) {
        return Lacking::Pods;
    }
    if let Some(what) = standing(facts).find_map(|pod| other_image(pod, facts, release)) {
        return Lacking::Image { what };
    }
    let available = available_after(facts);
    let well = ready.iter().filter_map(|pod| pod.ready).max().map(|ready| ready + available);
    let well = well.unwrap_or(clock.now);
    let vouched: Vec<Instant> =
        ready.iter().filter_map(|pod| vouches(heartbeats, release, pod, clock, limits)).collect();
    let wanted = usize::try_from(deployment.wanted).unwrap_or_default();
    if vouched.len() < wanted {
        return Lacking::Heartbeats { since: well, silent: wanted - vouched.len() };
    }
    Lacking::Nothing { since: vouched.into_iter().fold(well, Instant::max) }
}

/// Replicas, updated and available are as many as wanted, all of this template, and both the
/// Deployment and its replica set say so: one of them may be seen later than the other.
fn is_complete(facts: &Facts, release: &Release, ready: usize) -> bool {
    let deployment = &facts.deployment;
    let wanted = deployment.wanted;
    let Some(current) = &facts.current else { return false };
    current.template.release.as_deref() == Some(release.id.as_str())
        && [deployment.replicas, deployment.updated, deployment.available] == [wanted; 3]
        && [current.replicas, current.available] == [wanted; 2]
        && i32::try_from(ready).is_ok_and(|ready| ready >= wanted)
}

/// The container that a rollout is about is the one that its template gives the release's image.
fn other_image(pod: &Pod, facts: &Facts, release: &Release) -> Option<String> {
    let is_meant = |container: &&Container| {
        let image = facts.deployment.template.images.get(&container.name);
        image.is_some_and(|image| image.contains(&release.digest))
    };
    let meant: Vec<&Container> = pod.containers.iter().filter(is_meant).collect();
    if meant.is_empty() {
        return Some(format!("pod {} has no container with the release's image", pod.name));
    }
    let other = meant.into_iter().find(|one| !one.image_id.contains(&release.digest))?;
    Some(format!("pod {} runs {}", pod.name, other.image_id))
}

/// Since when a worker in this pod is ready for this release.
fn vouches(
    heartbeats: &[Heartbeat],
    release: &Release,
    pod: &Pod,
    clock: &Clock,
    limits: &Limits,
) -> Option<Instant> {
    let of_pod = heartbeats.iter().filter(|one| {
        one.release_id == release.id
            && one.pod_uid == pod.uid
            && clock.now.saturating_duration_since(one.heard) <= limits.beat
    });
    of_pod.filter_map(|one| one.ready).min()
}

impl Lacking {
    /// Once there is no more time.
    pub(super) fn told(&self, facts: &Facts) -> Verdict {
        let (code, what) = match self {
            Self::Template => {
                let what = "somebody else changed the Deployment's template".to_owned();
                (Code::Overwritten, what)
            }
            Self::Wanted => {
                (Code::ScaledToZero, "somebody scaled the Deployment to zero".to_owned())
            }
            Self::Image { what } => (Code::WrongImage, what.clone()),
            Self::Heartbeats { silent, .. } => {
                let what = "pods are ready, and no worker in them is ready on the bus";
                (Code::Silent, format!("{silent} {what}"))
            }
            Self::Notice | Self::Pods | Self::Nothing { .. } => lagging(facts),
        };
        Verdict::bad(code, what)
    }
}

/// What the pods lack, by the one that is furthest behind.
fn lagging(facts: &Facts) -> (Code, String) {
    let deployment = &facts.deployment;
    let told = |what: &str| {
        let available = facts.current.as_ref().map_or(0, |current| current.available);
        let wanted = deployment.wanted;
        let stale = facts.current.as_ref().is_none_or(|current| {
            let progress = deployment.progress.as_ref();
            // It may still be about the template before: only its name tells.
            !progress.is_some_and(|one| {
                !one.going && one.message.contains(&format!("\"{}\"", current.name))
            })
        });
        let also = if stale { "" } else { "; Kubernetes has given it up too" };
        format!("{what}; {available} of its {wanted} pods are available{also}")
    };
    if let Some(refusal) = facts.refusals.first() {
        let quota = refusal.message.to_ascii_lowercase().contains("exceeded quota");
        let code = if quota { Code::Quota } else { Code::NotAdmitted };
        return (code, told(&format!("no pod may be made: {}", refusal.message)));
    }
    for pod in standing(facts) {
        let name = &pod.name;
        if let Some(why) = &pod.unschedulable {
            return (Code::Unschedulable, told(&format!("no node takes pod {name}: {why}")));
        }
        if let Some(pull) = pod.containers.iter().find_map(|one| one.pull.as_ref()) {
            let what = format!("pod {name} cannot pull: {}", pull.message);
            return (Code::ImagePull, told(&what));
        }
    }
    for pod in standing(facts) {
        let name = &pod.name;
        let running = pod.containers.iter().filter(|one| !one.init);
        let runs = pod.phase == Phase::Running
            && running.clone().next().is_some()
            && running.clone().all(|one| one.state == State::Running);
        if !runs {
            return (Code::NotStarted, told(&format!("pod {name} has not started")));
        }
        if pod.ready.is_none() {
            return (Code::NotReady, told(&format!("pod {name} runs and is not ready")));
        }
    }
    if standing(facts).next().is_none() {
        return (Code::NotStarted, told("there is no pod of it"));
    }
    (Code::Unstable, told("its pods were never all well for long enough"))
}
