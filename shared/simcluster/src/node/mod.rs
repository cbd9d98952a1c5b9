//! Simulated nodes: a pod's fate decides what its status says, and when. No container ever runs.

mod env;
mod image;
mod life;
mod reach;
mod remote;
mod shown;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fates::Fates;
use crate::look;
use crate::pod_event::PodEvent;
use crate::settings::Settings;

pub(crate) use reach::Reach;
pub use remote::RemoteNodes;

/// What all pods of a node have in common.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) reach: Reach,
    pub(crate) pace: f64,
    pub(crate) fates: Fates,
    pub(crate) drain: Duration,
    pub(crate) on_pod: Option<mpsc::Sender<PodEvent>>,
    pub(crate) registry: Option<image::Registry>,
}

/// A pod that lives here.
struct Running {
    /// It was told to stop.
    stop: CancellationToken,
    /// It is gone, whether it had stopped or not.
    gone: CancellationToken,
}

impl Node {
    pub(crate) fn new(name: &str, reach: Reach, settings: &Settings) -> Self {
        Self {
            name: name.to_owned(),
            reach,
            pace: settings.pace,
            fates: settings.fates.clone(),
            drain: settings.drain,
            on_pod: settings.on_pod.clone(),
            registry: settings.registry.clone().map(image::Registry::new),
        }
    }

    /// Takes every pod that no other node has, until it is dropped.
    pub(crate) async fn run(self) {
        let node = Arc::new(self);
        let mut running: HashMap<String, Running> = HashMap::new();
        let mut lives = JoinSet::new();
        let mut pods = node.reach.pods();
        loop {
            let seen = tokio::select! {
                seen = pods.next() => seen,
                Some(ended) = lives.join_next() => {
                    if let Ok(uid) = ended {
                        running.remove(&uid);
                    }
                    continue;
                }
            };
            match seen {
                reach::Seen::Pod(pod) => {
                    let uid = look::uid(&pod).to_owned();
                    match running.get(&uid) {
                        Some(held) if look::is_leaving(&pod) => held.stop.cancel(),
                        Some(_) => {}
                        None if node.takes(&pod) => {
                            let held = Running {
                                stop: CancellationToken::new(),
                                gone: CancellationToken::new(),
                            };
                            // One that we find leaving has drained for long enough.
                            if look::is_leaving(&pod) {
                                held.stop.cancel();
                            }
                            let life = life::Life::new(
                                node.clone(),
                                pod,
                                held.stop.clone(),
                                held.gone.clone(),
                            );
                            running.insert(uid.clone(), held);
                            lives.spawn(async move {
                                life.live().await;
                                uid
                            });
                        }
                        None => {}
                    }
                }
                reach::Seen::Gone(uid) => {
                    if let Some(held) = running.get(&uid) {
                        held.gone.cancel();
                    }
                }
                // After a gap only those who are still there are told again.
                reach::Seen::Only(there) => {
                    for (uid, held) in &running {
                        if !there.contains(uid) {
                            held.gone.cancel();
                        }
                    }
                }
            }
        }
    }

    fn takes(&self, pod: &Value) -> bool {
        let bound = look::text(pod, "/spec/nodeName");
        let over = matches!(look::text(pod, "/status/phase"), "Succeeded" | "Failed");
        !over && (bound == self.name || (bound.is_empty() && self.reach.binds(pod)))
    }

    fn paced(&self, real: Duration) -> Duration {
        real.div_f64(self.pace)
    }
}
