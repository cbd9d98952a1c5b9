use std::time::Duration;

use tokio::sync::mpsc;

use crate::fates::Fates;
use crate::pod_event::PodEvent;

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many times faster than real everything goes: 10 makes a backoff of ten seconds last one.
    /// Timestamps in objects stay those of the clock on the wall.
    pub pace: f64,
    /// What becomes of pods, by their images. Kept by the caller, who may change it at any time.
    pub fates: Fates,
    /// Namespaces that are there from the start.
    pub namespaces: Vec<String>,
    /// Where it listens; port 0 takes a free one.
    pub port: u16,
    /// Told of what every pod does. Bounded: a node waits until what it tells is taken.
    pub on_pod: Option<mpsc::Sender<PodEvent>>,
    /// Where images must really be, as in `127.0.0.1:5000`: a pod whose image this registry does
    /// not have fails to pull it. Images of other registries are there unless their fate says not.
    pub registry: Option<String>,
    /// How many changes a watch may be behind before it must list anew.
    pub remembered_changes: usize,
    /// What `/version` says, as in `v1.33.0`.
    pub version: String,
    /// How long containers go on after they were told to stop, at most their grace period.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: 1.0,
            fates: Fates::default(),
            namespaces: vec!["default".to_owned()],
            port: 0,
            on_pod: None,
            registry: None,
            // A rollout of a hundred Deployments is some five thousand changes.
            remembered_changes: 20_000,
            version: "v1.33.0".to_owned(),
            drain: Duration::from_millis(200),
        }
    }
}
