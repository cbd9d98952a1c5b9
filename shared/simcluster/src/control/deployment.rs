//! Looks at one Deployment: which ReplicaSet is its newest, and what must happen next.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::conditions::{condition, find, set};
use super::{Controllers, count, record, write};
use crate::kind::{DEPLOYMENT, POD, REPLICA_SET};
use crate::look::{self, text};
use crate::managed::Writer;
use crate::names;
use crate::store::{Key, Store};
use crate::write::Deletion;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const HASH: &str = "pod-template-hash";

/// A Deployment with what it owns.
pub(super) struct Rollout {
    pub(super) deployment: Arc<Value>,
    pub(super) new: Option<Arc<Value>>,
    /// The oldest first.
    pub(super) old: Vec<Arc<Value>>,
}

impl Rollout {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    pub(super) fn replicas(&self) -> i64 {
        count(&self.deployment, "/spec/replicas")
    }

    pub(super) fn sum(&self, pointer: &str) -> i64 {
        self.all().map(|one| count(one, pointer)).sum()
    }
}

impl Controllers {
    pub(super) fn sync_deployment(&mut self, store: &mut Store, key: &Key) -> Option<Duration> {
        let deployment = store.get(&DEPLOYMENT, &key.namespace, &key.name)?.clone();
        let mut rollout = found(store, deployment);
        if look::is_leaving(&rollout.deployment) {
            super::garbage::sync_leaving(store, &DEPLOYMENT, &rollout.deployment);
            return None;
        }
        self.note_pause(store, &mut rollout);
        let paused = rollout.deployment["spec"]["paused"] == true;
        if paused || super::scaling::is_due(&rollout) {
            self.adopt_newest(store, &mut rollout);
            super::scaling::scale(store, &mut rollout);
            super::status::write_counts(store, &mut rollout);
            return None;
        }
        if rollout.deployment["spec"]["strategy"]["type"] == "Recreate" {
            self.recreate(store, &mut rollout);
        } else {
            self.adopt_newest(store, &mut rollout);
            if rollout.new.is_none() {
                self.create_newest(store, &mut rollout);
            }
            let scaled = rollout.new.is_some()
                && (super::rolling::scale_up(store, &mut rollout)
                    || super::rolling::scale_down(store, &mut rollout));
            if !scaled && super::status::is_complete(&rollout) {
                forget_oldest(store, &rollout);
            }
        }
        self.write_progress(store, &mut rollout)
    }

    fn recreate(&mut self, store: &mut Store, rollout: &mut Rollout) {
        self.adopt_newest(store, rollout);
        let mut scaled = false;
        for at in 0..rollout.old.len() {
            if count(&rollout.old[at], "/spec/replicas") > 0 {
                rollout.old[at] = super::scaling::resize(store, rollout, &rollout.old[at], 0);
                scaled = true;
            }
        }
        if scaled {
            return;
        }
        let running =
            rollout.old.iter().any(|old| store.owned(&POD, look::uid(old)).next().is_some());
        if running {
            return;
        }
        if rollout.new.is_none() {
            self.create_newest(store, rollout);
        }
        super::rolling::scale_up(store, rollout);
        if super::status::is_complete(rollout) {
            forget_oldest(store, rollout);
        }
    }

    /// Brings the newest ReplicaSet's annotations up to what the Deployment says.
    fn adopt_newest(&mut self, store: &mut Store, rollout: &mut Rollout) {
        let Some(new) = rollout.new.clone() else { return };
        let revision = next_revision(&rollout.old);
        let mut after = Value::clone(&new);
        annotate(&mut after, &rollout.deployment, revision);
        let ready = rollout.deployment["spec"]["minReadySeconds"].clone();
        if !ready.is_null() || !after["spec"]["minReadySeconds"].is_null() {
            after["spec"]["minReadySeconds"] = ready;
        }
        let new = write(store, &REPLICA_SET, &new, after);
        let mut deployment = Value::clone(&rollout.deployment);
        let held = text(&new, &format!("/metadata/annotations/{}", escaped(REVISION))).to_owned();
        look::map_at(&mut deployment["metadata"], "annotations")
            .insert(REVISION.to_owned(), held.into());
        if has_deadline(&deployment) && find(&deployment["status"], "Progressing").is_none() {
            let message = format!("Found new replica set \"{}\"", look::name(&new));
            let found = condition("Progressing", true, "FoundNewReplicaSet", &message);
            set(&mut deployment["status"], found);
            self.progressed(&deployment);
        }
        rollout.deployment = write(store, &DEPLOYMENT, &rollout.deployment, deployment);
        rollout.new = Some(new);
    }

    fn create_newest(&mut self, store: &mut Store, rollout: &mut Rollout) {
        let deployment = rollout.deployment.clone();
        let (name, namespace) = (look::name(&deployment), look::namespace(&deployment));
        let hash = free_hash(store, &deployment);
        let replicas = super::rolling::newest_replicas(rollout, 0);
        let mut template = deployment["spec"]["template"].clone();
        look::map_at(&mut template["metadata"], "labels")
            .insert(HASH.to_owned(), hash.as_str().into());
        let mut selector = deployment["spec"]["selector"].clone();
        look::map_at(&mut selector, "matchLabels").insert(HASH.to_owned(), hash.as_str().into());
        let mut made = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{name}-{hash}"),
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner(&deployment, "Deployment")],
            },
            "spec": { "replicas": replicas, "selector": selector, "template": template },
        });
        if let Some(ready) = look::number(&deployment, "/spec/minReadySeconds") {
            made["spec"]["minReadySeconds"] = ready.into();
        }
        let revision = next_revision(&rollout.old);
        annotate(&mut made, &deployment, revision);
        let writer = Writer::update("kube-controller-manager", "");
        let mut after = Value::clone(&deployment);
        match store.create(&REPLICA_SET, namespace, made, &writer, false) {
            Ok(new) => {
                if replicas > 0 {
                    let message =
                        format!("Scaled up replica set {} from 0 to {replicas}", look::name(&new));
                    record(store, &deployment, "Normal", "ScalingReplicaSet", &message);
                }
                look::map_at(&mut after["metadata"], "annotations")
                    .insert(REVISION.to_owned(), revision.to_string().into());
                if has_deadline(&deployment) {
                    let message = format!("Created new replica set \"{}\"", look::name(&new));
                    let made = condition("Progressing", true, "NewReplicaSetCreated", &message);
                    set(&mut after["status"], made);
                    self.progressed(&deployment);
                }
                rollout.new = Some(new);
            }
            Err(refusal) => {
                let message =
                    format!("Failed to create new replica set \"{name}-{hash}\": {refusal}");
                let failed = condition("Progressing", false, "ReplicaSetCreateError", &message);
                set(&mut after["status"], failed);
                record(store, &deployment, "Warning", "ReplicaSetCreateError", &message);
            }
        }
        rollout.deployment = write(store, &DEPLOYMENT, &rollout.deployment, after);
    }

    fn note_pause(&mut self, store: &mut Store, rollout: &mut Rollout) {
        let deployment = &rollout.deployment;
        let paused = deployment["spec"]["paused"] == true;
        let held = find(&deployment["status"], "Progressing");
        let reason = held.map(|one| text(one, "/reason")).unwrap_or_default();
        if !has_deadline(deployment) || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let (reason, message) = match (paused, reason == "DeploymentPaused") {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let mut after = Value::clone(deployment);
        let mut told = condition("Progressing", true, reason, message);
        told["status"] = "Unknown".into();
        set(&mut after["status"], told);
        self.progressed(deployment);
        rollout.deployment = write(store, &DEPLOYMENT, &rollout.deployment, after);
    }

    pub(super) fn progressed(&mut self, deployment: &Value) {
        let now = tokio::time::Instant::now();
        self.progress_at.insert(look::uid(deployment).to_owned(), now);
    }
}

fn found(store: &Store, deployment: Arc<Value>) -> Rollout {
    let uid = look::uid(&deployment);
    let mut all: Vec<Arc<Value>> = store.owned(&REPLICA_SET, uid).cloned().collect();
    all.sort_by_key(|one| {
        let made = text(one, "/metadata/creationTimestamp").to_owned();
        (made, look::name(one).to_owned())
    });
    let template = without_hash(&deployment["spec"]["template"]);
    let new = all.iter().find(|one| without_hash(&one["spec"]["template"]) == template).cloned();
    let is_new = |one: &Arc<Value>| new.as_ref().is_some_and(|new| Arc::ptr_eq(new, one));
    let old = all.iter().filter(|one| !is_new(one)).cloned().collect();
    Rollout { new, old, deployment }
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    template
}

/// Another template may have the same hash; then the next one is tried.
fn free_hash(store: &Store, deployment: &Value) -> String {
    let template = deployment["spec"]["template"].to_string();
    let (name, namespace) = (look::name(deployment), look::namespace(deployment));
    let tries = (0_u32..).map(|salt| match salt {
        0 => names::hash(&template),
        salt => names::hash(&format!("{template}{salt}")),
    });
    let is_free =
        |hash: &String| store.get(&REPLICA_SET, namespace, &format!("{name}-{hash}")).is_none();
    tries.into_iter().find(is_free).expect("there are more hashes than ReplicaSets")
}

pub(super) fn has_deadline(deployment: &Value) -> bool {
    look::number(deployment, "/spec/progressDeadlineSeconds")
        .is_some_and(|deadline| deadline != i64::from(i32::MAX))
}

fn next_revision(old: &[Arc<Value>]) -> i64 {
    let pointer = format!("/metadata/annotations/{}", escaped(REVISION));
    let revisions = old.iter().filter_map(|one| text(one, &pointer).parse::<i64>().ok());
    revisions.max().unwrap_or_default() + 1
}

pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A ReplicaSet carries its Deployment's annotations, its revision and its sizes.
fn annotate(set: &mut Value, deployment: &Value, revision: i64) {
    let (_, surge) = super::rolling::limits(deployment);
    let replicas = count(deployment, "/spec/replicas");
    let given: Vec<(String, Value)> = look::entries(deployment, "/metadata/annotations")
        .filter(|(key, _)| {
            ![REVISION, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration"]
                .contains(&key.as_str())
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let annotations = look::map_at(&mut set["metadata"], "annotations");
    annotations.extend(given);
    let held: Option<i64> =
        annotations.get(REVISION).and_then(Value::as_str).and_then(|one| one.parse().ok());
    let revision = held.unwrap_or_default().max(revision);
    annotations.insert(REVISION.to_owned(), revision.to_string().into());
    annotations.insert(DESIRED.to_owned(), replicas.to_string().into());
    annotations.insert(MAXIMUM.to_owned(), (replicas + surge).to_string().into());
}

pub(super) fn owner(object: &Value, kind: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": look::name(object),
        "uid": look::uid(object),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn forget_oldest(store: &mut Store, rollout: &Rollout) {
    let Some(limit) = look::number(&rollout.deployment, "/spec/revisionHistoryLimit") else {
        return;
    };
    let kept = usize::try_from(limit).unwrap_or_default();
    let many = rollout.old.len().saturating_sub(kept);
    for old in &rollout.old[..many] {
        let settled = count(old, "/status/replicas") == 0
            && count(old, "/spec/replicas") == 0
            && count(old, "/status/observedGeneration") >= look::generation(old);
        if settled {
            let _ = store.delete(&Key::of(&REPLICA_SET, old), &Deletion::default(), false);
        }
    }
}
