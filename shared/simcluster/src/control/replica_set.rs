//! Keeps as many pods as a ReplicaSet says.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::conditions::{condition, find, remove, set};
use super::deployment::owner;
use super::{Controllers, count, record, write};
use crate::admission;
use crate::kind::{POD, REPLICA_SET};
use crate::look::{self, text};
use crate::managed::Writer;
use crate::names;
use crate::refusal::Refusal;
use crate::store::{Key, Store};
use crate::write::Deletion;

/// Between two attempts to make a pod that was refused: doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(40);
const LONGEST_RETRY: Duration = Duration::from_secs(1000);

impl Controllers {
    pub(super) fn sync_replica_set(&mut self, store: &mut Store, key: &Key) -> Option<Duration> {
        let set_of = store.get(&REPLICA_SET, &key.namespace, &key.name)?.clone();
        if look::is_leaving(&set_of) {
            super::garbage::sync_leaving(store, &REPLICA_SET, &set_of);
            return None;
        }
        // One moment for the whole look: a pod that becomes available within it would otherwise be
        // neither available nor waited for.
        let now = Instant::now();
        let pods: Vec<Arc<Value>> =
            store.owned(&POD, look::uid(&set_of)).filter(|pod| is_active(pod)).cloned().collect();
        let wanted = count(&set_of, "/spec/replicas");
        let have = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        let refused = match wanted - have {
            0 => None,
            more @ 1.. => self.create_pods(store, &set_of, more).err(),
            fewer => {
                self.delete_pods(store, &set_of, pods.clone(), fewer.unsigned_abs());
                None
            }
        };
        let available: Vec<Option<Instant>> =
            pods.iter().map(|pod| self.available_at(&set_of, pod)).collect();
        let many = available.iter().flatten().filter(|at| **at <= now).count();
        write_status(store, &set_of, &pods, many, refused.as_ref());
        let retry = refused.map(|_| {
            let tries = self.refusals.entry(look::uid(&set_of).to_owned()).or_default();
            *tries += 1;
            let longer = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*tries - 1));
            self.cluster.paced(longer.min(LONGEST_RETRY))
        });
        if retry.is_none() {
            self.refusals.remove(look::uid(&set_of));
        }
        let next = available.into_iter().flatten().filter(|at| *at > now).min();
        let next = next.map(|at| at - now + Duration::from_millis(1));
        [retry, next].into_iter().flatten().min()
    }

    /// Stops at the first that is refused: the others would be, too.
    fn create_pods(&self, store: &mut Store, set: &Value, many: i64) -> Result<(), Refusal> {
        let namespace = look::namespace(set).to_owned();
        let template = &set["spec"]["template"];
        let writer = Writer::update("kube-controller-manager", "");
        for _ in 0..many.min(500) {
            let prefix = format!("{}-", look::name(set));
            let mut pod = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": format!("{prefix}{}", names::suffix()),
                    "generateName": prefix,
                    "labels": template["metadata"]["labels"],
                    "ownerReferences": [owner(set, "ReplicaSet")],
                },
                "spec": template["spec"],
            });
            if let Some(annotations) = template.pointer("/metadata/annotations") {
                pod["metadata"]["annotations"] = annotations.clone();
            }
            let made = admission::admit(store, &self.cluster.fates, &POD, &namespace, &pod)
                .and_then(|()| store.create(&POD, &namespace, pod, &writer, false));
            match made {
                Ok(pod) => {
                    let message = format!("Created pod: {}", look::name(&pod));
                    record(store, set, "Normal", "SuccessfulCreate", &message);
                }
                Err(refusal) => {
                    let message = format!("Error creating: {refusal}");
                    record(store, set, "Warning", "FailedCreate", &message);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// Those who are worth least go first.
    fn delete_pods(&self, store: &mut Store, set: &Value, mut pods: Vec<Arc<Value>>, many: u64) {
        pods.sort_by_key(|pod| self.worth(pod));
        for pod in pods.iter().take(usize::try_from(many).unwrap_or(usize::MAX)) {
            if store.delete(&Key::of(&POD, pod), &Deletion::default(), false).is_ok() {
                let message = format!("Deleted pod: {}", look::name(pod));
                record(store, set, "Normal", "SuccessfulDelete", &message);
            }
        }
    }

    fn worth(&self, pod: &Value) -> impl Ord + use<> {
        let phase = match text(pod, "/status/phase") {
            "Pending" => 0,
            "Running" => 2,
            _ => 1,
        };
        let cost = "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost";
        let cost: i64 = text(pod, cost).parse().unwrap_or_default();
        let restarts: i64 = look::list(pod, "/status/containerStatuses")
            .iter()
            .map(|one| count(one, "/restartCount"))
            .sum();
        let ready_since = self.ready_since.get(look::uid(pod)).copied();
        (
            !text(pod, "/spec/nodeName").is_empty(),
            phase,
            look::is_true(pod, "Ready"),
            cost,
            Reverse(ready_since),
            Reverse(restarts),
            Reverse(text(pod, "/metadata/creationTimestamp").to_owned()),
        )
    }

    /// When a ready pod counts as available: now, or some time after it became ready.
    fn available_at(&self, set: &Value, pod: &Value) -> Option<Instant> {
        let since = self.ready_since.get(look::uid(pod)).filter(|_| look::is_true(pod, "Ready"))?;
        Some(*since + self.cluster.paced_seconds(count(set, "/spec/minReadySeconds")))
    }
}

fn write_status(
    store: &mut Store,
    set_of: &Arc<Value>,
    pods: &[Arc<Value>],
    available: usize,
    refused: Option<&Refusal>,
) {
    let ready = |pod: &&Arc<Value>| look::is_true(pod, "Ready");
    let mut status = set_of["status"].clone();
    if status.is_null() {
        status = json!({});
    }
    status["replicas"] = pods.len().into();
    status["observedGeneration"] = look::generation(set_of).into();
    for (name, value) in [
        ("fullyLabeledReplicas", pods.len()),
        ("readyReplicas", pods.iter().filter(ready).count()),
        ("availableReplicas", available),
    ] {
        match value {
            0 => {
                status.as_object_mut().map(|fields| fields.remove(name));
            }
            value => status[name] = value.into(),
        }
    }
    match refused {
        Some(refusal) => {
            let why = &refusal.message;
            let mut failure = condition("ReplicaFailure", true, "FailedCreate", why);
            failure.as_object_mut().map(|fields| fields.remove("lastUpdateTime"));
            if find(&status, "ReplicaFailure").is_none() {
                set(&mut status, failure);
            }
        }
        None => remove(&mut status, "ReplicaFailure"),
    }
    let mut after = Value::clone(set_of);
    after["status"] = status;
    write(store, &REPLICA_SET, set_of, after);
}

fn is_active(pod: &Value) -> bool {
    !look::is_leaving(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}
