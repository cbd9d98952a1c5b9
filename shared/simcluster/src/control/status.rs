//! What a Deployment says of itself.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::conditions::{condition, find, remove, set};
use super::deployment::{Rollout, has_deadline};
use super::rolling::limits;
use super::{Controllers, count, write};
use crate::kind::DEPLOYMENT;
use crate::look;
use crate::store::Store;

impl Controllers {
    /// Writes the status with what it says of progress; tells when to look whether there was any.
    pub(super) fn write_progress(
        &mut self,
        store: &mut Store,
        rollout: &mut Rollout,
    ) -> Option<Duration> {
        let before = rollout.deployment.clone();
        let mut status = counted(rollout);
        let held = find(&before["status"], "Progressing").cloned();
        if !has_deadline(&before) {
            remove(&mut status, "Progressing");
        }
        let reason = |of: &Option<Value>| {
            of.as_ref().map(|one| look::text(one, "/reason").to_owned()).unwrap_or_default()
        };
        // Once a rollout was complete nothing is said of progress any more, whatever becomes of
        // its pods: a container that exits is only seen in what is available.
        let complete = status["replicas"] == status["updatedReplicas"]
            && reason(&held) == "NewReplicaSetAvailable";
        if has_deadline(&before) && !complete {
            let about = match &rollout.new {
                Some(new) => format!("ReplicaSet \"{}\"", look::name(new)),
                None => format!("Deployment \"{}\"", look::name(&before)),
            };
            if is_done(&before, &status) {
                let message = format!("{about} has successfully progressed.");
                set(
                    &mut status,
                    condition("Progressing", true, "NewReplicaSetAvailable", &message),
                );
            } else if has_progressed(&before["status"], &status) {
                let message = format!("{about} is progressing.");
                let mut told = condition("Progressing", true, "ReplicaSetUpdated", &message);
                if let Some(held) = held.as_ref().filter(|held| held["status"] == "True") {
                    told["lastTransitionTime"] = held["lastTransitionTime"].clone();
                }
                remove(&mut status, "Progressing");
                set(&mut status, told);
                self.progressed(&before);
            } else if self.is_late(&before, &reason(&held)) {
                let message = format!("{about} has timed out progressing.");
                set(
                    &mut status,
                    condition("Progressing", false, "ProgressDeadlineExceeded", &message),
                );
            }
        }
        match failure(rollout) {
            Some(failure) => set(&mut status, failure),
            None => remove(&mut status, "ReplicaFailure"),
        }
        let mut after = Value::clone(&before);
        after["status"] = status;
        rollout.deployment = write(store, &DEPLOYMENT, &before, after);
        self.look_again(&rollout.deployment)
    }

    fn is_late(&self, deployment: &Value, reason: &str) -> bool {
        match reason {
            "ProgressDeadlineExceeded" => true,
            "" | "NewReplicaSetAvailable" => false,
            _ => self.deadline(deployment).is_some_and(|at| at <= Instant::now()),
        }
    }

    fn deadline(&self, deployment: &Value) -> Option<Instant> {
        let seconds = count(deployment, "/spec/progressDeadlineSeconds");
        let since = self.progress_at.get(look::uid(deployment))?;
        Some(*since + self.cluster.paced_seconds(seconds))
    }

    fn look_again(&self, deployment: &Value) -> Option<Duration> {
        let held = find(&deployment["status"], "Progressing")?;
        let done = is_done(deployment, &deployment["status"]);
        if done || held["reason"] == "ProgressDeadlineExceeded" || !has_deadline(deployment) {
            return None;
        }
        let left = self.deadline(deployment)?.saturating_duration_since(Instant::now());
        // The real one looks a second after the deadline.
        Some(left + self.cluster.paced(Duration::from_millis(700)))
    }
}

/// The status of a Deployment that is only scaled or paused: progress is not judged.
pub(super) fn write_counts(store: &mut Store, rollout: &mut Rollout) {
    let mut after = Value::clone(&rollout.deployment);
    after["status"] = counted(rollout);
    rollout.deployment = write(store, &DEPLOYMENT, &rollout.deployment, after);
}

fn counted(rollout: &Rollout) -> Value {
    let before = &rollout.deployment;
    let mut status = match &before["status"] {
        Value::Null => serde_json::json!({}),
        held => held.clone(),
    };
    let available = rollout.sum("/status/availableReplicas");
    let updated = rollout.new.iter().map(|new| count(new, "/status/replicas")).sum();
    let missing = (rollout.sum("/spec/replicas") - available).max(0);
    status["observedGeneration"] = look::generation(before).into();
    for (name, value) in [
        ("replicas", rollout.sum("/status/replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", rollout.sum("/status/readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", missing),
    ] {
        // Zeros are left out, as Go does it.
        match value {
            0 => {
                status.as_object_mut().map(|fields| fields.remove(name));
            }
            value => status[name] = value.into(),
        }
    }
    let (unavailable, _) = limits(before);
    let told = if available >= rollout.replicas() - unavailable {
        let message = "Deployment has minimum availability.";
        condition("Available", true, "MinimumReplicasAvailable", message)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", false, "MinimumReplicasUnavailable", message)
    };
    set(&mut status, told);
    status
}

pub(super) fn is_complete(rollout: &Rollout) -> bool {
    is_done(&rollout.deployment, &rollout.deployment["status"])
}

fn is_done(deployment: &Value, status: &Value) -> bool {
    let wanted = count(deployment, "/spec/replicas");
    ["/updatedReplicas", "/replicas", "/availableReplicas"]
        .into_iter()
        .all(|pointer| count(status, pointer) == wanted)
        && count(status, "/observedGeneration") >= look::generation(deployment)
}

fn has_progressed(before: &Value, after: &Value) -> bool {
    let old = |status: &Value| count(status, "/replicas") - count(status, "/updatedReplicas");
    let more = |pointer: &str| count(after, pointer) > count(before, pointer);
    more("/updatedReplicas")
        || old(after) < old(before)
        || more("/readyReplicas")
        || more("/availableReplicas")
}

fn failure(rollout: &Rollout) -> Option<Value> {
    let of = |set: &Value| find(&set["status"], "ReplicaFailure").cloned();
    let failure = rollout.new.iter().chain(&rollout.old).find_map(|set| of(set))?;
    let mut told = condition("ReplicaFailure", failure["status"] == "True", "", "");
    for key in ["reason", "message", "lastTransitionTime"] {
        told[key] = failure[key].clone();
    }
    told["lastUpdateTime"] = failure["lastTransitionTime"].clone();
    Some(told)
}
