//! What is so in a cluster, as far as a rollout cares: plain data without a client, so that whoever
//! judges a rollout can be given any of it.
//!
//! Moments are of our own clock: when *we* saw something. The clocks of nodes may be wrong.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::Trouble;

/// A Deployment and all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When all of it was last known to be so.
    pub seen: Instant,
    /// Since when we look without a gap.
    pub watched_since: Instant,
    /// Why we cannot look any more, since `seen`.
    pub trouble: Option<Trouble>,
    pub deployment: Deployment,
    /// The replica set of the template that the Deployment has now, once there is one.
    pub current: Option<ReplicaSet>,
    /// The pods of `current`.
    pub pods: Vec<Pod>,
    /// Pods of older templates. They prove nothing about the current one.
    pub older: Vec<Pod>,
    /// Pods of `current` that Kubernetes refused to make.
    pub refusals: Vec<Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub observed_generation: i64,
    pub template: Template,
    /// How many pods it is to have.
    pub wanted: i32,
    /// Pods of all templates, without those that are going.
    pub replicas: i32,
    /// Those of the current template.
    pub updated: i32,
    pub available: i32,
    /// How long a pod has to be ready before it is available, in seconds.
    pub min_ready: i32,
    pub paused: bool,
    /// What Kubernetes itself says of the rollout. Goes stale: it may be about an older template.
    pub progress: Option<Progress>,
    pub revision: Option<String>,
}

/// What we set in a template of pods, as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Our annotation: the release that it is of.
    pub release: Option<String>,
    /// By container.
    pub images: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub going: bool,
    /// As in `ProgressDeadlineExceeded`.
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSet {
    pub name: String,
    pub uid: String,
    /// The uid of the Deployment it belongs to.
    pub owner: String,
    /// The label `pod-template-hash`.
    pub hash: String,
    pub template: Template,
    pub revision: Option<String>,
    pub wanted: i32,
    pub replicas: i32,
    pub ready: i32,
    pub available: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    /// The uid of the replica set it belongs to.
    pub owner: String,
    pub phase: Phase,
    /// Why the pod as a whole is as it is, as in `Evicted`.
    pub reason: Option<String>,
    /// It was told to go.
    pub going: bool,
    /// Since when we see it ready without a gap.
    pub ready: Option<Instant>,
    /// When it became ready by its node's clock: another value is another time of becoming ready.
    pub ready_mark: Option<String>,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    pub containers: Vec<Container>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    /// It runs before the others, and its end is no failure.
    pub init: bool,
    pub state: State,
    pub restarts: i32,
    /// How it ended the last time.
    pub last_exit: Option<Exit>,
    /// What it runs, as its node says: with a digest in it once it was pulled.
    pub image_id: String,
    /// The trouble with pulling its image, until it runs.
    pub pull: Option<Pull>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Waiting { reason: String, message: String },
    Running,
    Exited(Exit),
    Unknown,
}

/// What a program leaves behind. Its last words are not taken over: they may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// What the registry said at the last failure that said anything.
    pub message: String,
    pub since: Instant,
    /// How often we saw it change between failing and waiting.
    pub times: u32,
}

/// A pod that Kubernetes did not let a replica set make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The uid of the replica set.
    pub owner: String,
    pub message: String,
    pub times: i32,
    pub since: Instant,
}
