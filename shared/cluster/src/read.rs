use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;

use crate::facts::{
    Container, Deployment, Exit, Phase, Pod, Progress, Pull, Refusal, ReplicaSet, State, Template,
};
use crate::printable::printable;
use crate::words::{HASH, RELEASE_ID, REVISION};

/// One kind of facts: which objects of Kubernetes it is read from, and how.
pub(crate) trait Kind: Clone + Send + Sized + 'static {
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static;
    const PLURAL: &'static str;
    const LIST: &'static str;
    const WATCH: &'static str;
    /// Which of them matter at all.
    const FIELDS: Option<&'static str> = None;

    /// `None`: it belongs to nothing that we roll out.
    fn read(object: &Self::Object, now: Instant) -> Option<Self>;

    /// Takes over what only whoever saw `before` can know.
    fn remember(&mut self, _before: &Self) {}
}

impl Kind for Deployment {
    type Object = apps::Deployment;
    const PLURAL: &'static str = "deployments";
    const LIST: &'static str = "list deployments";
    const WATCH: &'static str = "watch deployments";

    fn read(object: &apps::Deployment, _: Instant) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        let status = object.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let progress = conditions.into_iter().find(|one| one.type_ == "Progressing");
        Some(Self {
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            template: template(&spec.template),
            wanted: spec.replicas.unwrap_or(1),
            replicas: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            min_ready: spec.min_ready_seconds.unwrap_or_default(),
            paused: spec.paused.unwrap_or_default(),
            progress: progress.map(|condition| Progress {
                going: condition.status != "False",
                reason: printable(&condition.reason.unwrap_or_default(), 64),
                message: printable(&condition.message.unwrap_or_default(), MESSAGE),
            }),
            revision: annotation(&object.metadata, REVISION),
        })
    }
}

impl Kind for ReplicaSet {
    type Object = apps::ReplicaSet;
    const PLURAL: &'static str = "replica sets";
    const LIST: &'static str = "list replica sets";
    const WATCH: &'static str = "watch replica sets";

    fn read(object: &apps::ReplicaSet, _: Instant) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        let status = object.status.clone().unwrap_or_default();
        Some(Self {
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone()?,
            owner: owner(&object.metadata, "Deployment")?,
            hash: label(&object.metadata, HASH)?,
            template: spec.template.as_ref().map(template).unwrap_or_default(),
            revision: annotation(&object.metadata, REVISION),
            wanted: spec.replicas.unwrap_or(1),
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
        })
    }
}

impl Kind for Pod {
    type Object = core::Pod;
    const PLURAL: &'static str = "pods";
    const LIST: &'static str = "list pods";
    const WATCH: &'static str = "watch pods";

    fn read(object: &core::Pod, now: Instant) -> Option<Self> {
        let status = object.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let condition = |name| conditions.iter().find(|one| one.type_ == name);
        let ready = condition("Ready").filter(|one| one.status == "True");
        let unschedulable = condition("PodScheduled").filter(|one| one.status == "False");
        let first = status.init_container_statuses.iter().flatten().map(|one| (one, true));
        let rest = status.container_statuses.iter().flatten().map(|one| (one, false));
        Some(Self {
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone()?,
            owner: owner(&object.metadata, "ReplicaSet")?,
            phase: match status.phase.as_deref() {
                Some("Pending") => Phase::Pending,
                Some("Running") => Phase::Running,
                Some("Succeeded") => Phase::Succeeded,
                Some("Failed") => Phase::Failed,
                _ => Phase::Unknown,
            },
            reason: status.reason.as_deref().map(|reason| printable(reason, 64)),
            going: object.metadata.deletion_timestamp.is_some(),
            ready: ready.map(|_| now),
            ready_mark: ready.and_then(|one| one.last_transition_time.as_ref()).map(moment),
            unschedulable: unschedulable
                .map(|one| printable(one.message.as_deref().unwrap_or("no reason given"), MESSAGE)),
            containers: first.chain(rest).map(|(one, init)| container(one, init, now)).collect(),
        })
    }

    fn remember(&mut self, before: &Self) {
        if self.uid != before.uid {
            return;
        }
        if self.ready.is_some() && before.ready.is_some() && self.ready_mark == before.ready_mark {
            self.ready = before.ready;
        }
        for container in &mut self.containers {
            let known = before.containers.iter().find(|one| one.name == container.name);
            if let Some(known) = known {
                container.remember(known);
            }
        }
    }
}

impl Container {
    fn remember(&mut self, before: &Self) {
        let Some(known) = &before.pull else { return };
        match &mut self.pull {
            Some(pull) => {
                pull.since = known.since;
                pull.times = known.times + u32::from(self.state != before.state);
                // While it waits for the next try, older versions do not say for what.
                if !pull_failed(&self.state) && !known.message.is_empty() {
                    pull.message.clone_from(&known.message);
                }
            }
            // Between two tries it looks as if nothing had been wrong.
            None if matches!(self.state, State::Waiting { .. }) => self.pull = Some(known.clone()),
            None => {}
        }
    }
}

impl Kind for Refusal {
    type Object = core::Event;
    const PLURAL: &'static str = "events";
    const LIST: &'static str = "list events";
    const WATCH: &'static str = "watch events";
    const FIELDS: Option<&'static str> = Some("involvedObject.kind=ReplicaSet,reason=FailedCreate");

    fn read(object: &core::Event, now: Instant) -> Option<Self> {
        // Asked for already; a server that cannot filter sends all of them.
        let about = &object.involved_object;
        if about.kind.as_deref() != Some("ReplicaSet")
            || object.reason.as_deref() != Some("FailedCreate")
        {
            return None;
        }
        let series = object.series.as_ref().and_then(|series| series.count);
        Some(Self {
            owner: about.uid.clone()?,
            message: printable(object.message.as_deref().unwrap_or_default(), MESSAGE),
            times: series.or(object.count).unwrap_or(1),
            since: now,
        })
    }

    fn remember(&mut self, before: &Self) {
        if self.owner == before.owner {
            self.since = before.since;
        }
    }
}

/// Enough for an error that names an image with its digest three times, and not for a page of HTML
/// that a registry answered.
const MESSAGE: usize = 1000;

fn container(status: &core::ContainerStatus, init: bool, now: Instant) -> Container {
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let state = if let Some(waiting) = state.waiting {
        State::Waiting {
            reason: printable(&waiting.reason.unwrap_or_default(), 64),
            message: printable(&waiting.message.unwrap_or_default(), MESSAGE),
        }
    } else if state.running.is_some() {
        State::Running
    } else {
        state.terminated.as_ref().map_or(State::Unknown, |state| State::Exited(exit(state)))
    };
    Container {
        name: status.name.clone(),
        init,
        pull: pull(&state, now),
        state,
        restarts: status.restart_count,
        last_exit: last.map(exit),
        image_id: printable(&status.image_id, 512),
    }
}

fn exit(state: &core::ContainerStateTerminated) -> Exit {
    Exit {
        code: state.exit_code,
        reason: printable(state.reason.as_deref().unwrap_or_default(), 64),
    }
}

fn pull(state: &State, now: Instant) -> Option<Pull> {
    match state {
        State::Waiting { reason, message } if PULLING.contains(&reason.as_str()) => {
            Some(Pull { message: message.clone(), since: now, times: 1 })
        }
        _ => None,
    }
}

const PULLING: [&str; 3] = [FAILED_PULL, "ImagePullBackOff", "RegistryUnavailable"];
const FAILED_PULL: &str = "ErrImagePull";

fn pull_failed(state: &State) -> bool {
    matches!(state, State::Waiting { reason, .. } if reason == FAILED_PULL)
}

fn template(of: &core::PodTemplateSpec) -> Template {
    let containers = of.spec.iter().flat_map(|spec| &spec.containers);
    let images = containers.filter_map(|one| Some((one.name.clone(), one.image.clone()?)));
    let annotations = of.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    Template {
        release: annotations.and_then(|all| all.get(RELEASE_ID)).cloned(),
        images: images.collect::<BTreeMap<_, _>>(),
    }
}

fn owner(metadata: &ObjectMeta, kind: &str) -> Option<String> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|one| one.controller == Some(true) && one.kind == kind)?;
    Some(owner.uid.clone())
}

pub(crate) fn annotation(metadata: &ObjectMeta, name: &str) -> Option<String> {
    metadata.annotations.as_ref()?.get(name).cloned()
}

pub(crate) fn label(metadata: &ObjectMeta, name: &str) -> Option<String> {
    metadata.labels.as_ref()?.get(name).cloned()
}

fn moment(time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time) -> String {
    time.0.to_string()
}
