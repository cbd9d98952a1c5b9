use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::Trouble;
use crate::facts::{Deployment, Facts, Pod, Refusal, ReplicaSet};
use crate::read::Kind;
use crate::shelf::{Known, Shelf};

/// What is known of one namespace.
pub(crate) struct View {
    pub(crate) deployments: Shelf<Deployment>,
    pub(crate) replica_sets: Shelf<ReplicaSet>,
    pub(crate) pods: Shelf<Pod>,
    pub(crate) refusals: Shelf<Refusal>,
    used: Mutex<Instant>,
    changes: watch::Sender<u64>,
}

/// A namespace that nobody has asked for this long is not followed any further.
const UNUSED: Duration = Duration::from_secs(60);

impl View {
    pub(crate) fn new(changes: watch::Sender<u64>) -> Self {
        Self {
            deployments: Shelf::new(),
            replica_sets: Shelf::new(),
            pods: Shelf::new(),
            refusals: Shelf::new(),
            used: Mutex::new(Instant::now()),
            changes,
        }
    }

    pub(crate) fn use_it(&self) {
        *self.used.lock().expect("nobody panics in here") = Instant::now();
    }

    pub(crate) fn is_used(&self) -> bool {
        self.used.lock().expect("nobody panics in here").elapsed() < UNUSED
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether all of it was read once; an error if it could not be.
    pub(crate) fn is_read(&self) -> Result<bool, Trouble> {
        Ok(is_read(&self.deployments.known())?
            & is_read(&self.replica_sets.known())?
            & is_read(&self.pods.known())?
            & is_read(&self.refusals.known())?)
    }

    /// `None`: there is no such Deployment, or nothing was read yet.
    pub(crate) fn facts(&self, deployment: &str) -> Option<Facts> {
        let deployments = self.deployments.known();
        let deployment = deployments.get(deployment)?.clone();
        let replica_sets = self.replica_sets.known();
        let pods = self.pods.known();
        let refusals = self.refusals.known();
        let seen = [deployments.seen, replica_sets.seen, pods.seen, refusals.seen];
        let since = [deployments.since, replica_sets.since, pods.since, refusals.since];
        let seen = seen.into_iter().min()??;
        let trouble = deployments.trouble.as_ref().or(replica_sets.trouble.as_ref());
        let trouble = trouble.or(pods.trouble.as_ref()).or(refusals.trouble.as_ref()).cloned();
        // A gap in one of them lasts until it is closed, so the latest counts, or now.
        let gap = since.iter().any(Option::is_none);
        let watched_since = since.into_iter().flatten().max().filter(|_| !gap);
        Some(gather(
            deployment,
            replica_sets.all(),
            pods.all(),
            refusals.all(),
            Looked { seen, watched_since: watched_since.unwrap_or(seen), trouble },
        ))
    }
}

/// When, and how well, we looked.
pub(crate) struct Looked {
    pub(crate) seen: Instant,
    pub(crate) watched_since: Instant,
    pub(crate) trouble: Option<Trouble>,
}

/// Puts together what belongs to a Deployment.
pub(crate) fn gather<'a>(
    deployment: Deployment,
    replica_sets: impl Iterator<Item = &'a ReplicaSet>,
    pods: impl Iterator<Item = &'a Pod>,
    refusals: impl Iterator<Item = &'a Refusal>,
    looked: Looked,
) -> Facts {
    let ours: Vec<&ReplicaSet> = replica_sets.filter(|one| one.owner == deployment.uid).collect();
    let current = ours.iter().filter(|one| is_current(one, &deployment));
    let current = current.max_by_key(|one| number(one)).map(|one| (*one).clone());
    let uid = current.as_ref().map(|one| one.uid.as_str());
    let of_ours = pods.filter(|pod| ours.iter().any(|one| one.uid == pod.owner)).cloned();
    let (pods, older) = of_ours.partition(|pod| Some(pod.owner.as_str()) == uid);
    let refusals = refusals.filter(|one| Some(one.owner.as_str()) == uid).cloned().collect();
    let Looked { seen, watched_since, trouble } = looked;
    Facts { seen, watched_since, trouble, deployment, current, pods, older, refusals }
}

/// Whether it is of the template that the Deployment has now. What was told of one may be newer than
/// what was told of the other, so both the template and the number of its revision have to agree.
fn is_current(replica_set: &ReplicaSet, deployment: &Deployment) -> bool {
    let revisions = replica_set.revision.as_ref().zip(deployment.revision.as_ref());
    replica_set.template == deployment.template && revisions.is_none_or(|(ours, its)| ours == its)
}

fn number(replica_set: &ReplicaSet) -> u64 {
    replica_set.revision.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn is_read<T: Kind>(known: &Known<T>) -> Result<bool, Trouble> {
    match (&known.seen, &known.trouble) {
        (Some(_), _) => Ok(true),
        (None, Some(trouble)) => Err(trouble.clone()),
        (None, None) => Ok(false),
    }
}
