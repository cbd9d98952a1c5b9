use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use registry::{Registry, RegistryError};
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;
use uuid::Uuid;

use crate::judge::Heartbeat;

/// What the workers of all releases on trial say on the bus, asked for once for all of them.
pub(crate) struct Hearing {
    registry: Registry,
    silent: Duration,
    /// By agent: its release on trial and the one before.
    wanted: Mutex<HashMap<Uuid, Vec<Uuid>>>,
    heard: watch::Sender<Arc<Heard>>,
}

#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// When it was asked; `None`: not yet.
    pub(crate) at: Option<Instant>,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) bus_is_out: bool,
}

const EVERY: Duration = Duration::from_millis(500);
/// Whoever was silent for longer was told to be gone by the keeper.
const RECENT: Duration = Duration::from_secs(60);

impl Hearing {
    pub(crate) fn new(registry: Registry, silent: Duration) -> Self {
        let heard = watch::Sender::default();
        Self { registry, silent, wanted: Mutex::default(), heard }
    }

    pub(crate) fn want(&self, agent: Uuid, releases: Vec<Uuid>) {
        self.wanted.lock().expect("nobody panics in here").insert(agent, releases);
    }

    pub(crate) fn forget(&self, agent: Uuid) {
        self.wanted.lock().expect("nobody panics in here").remove(&agent);
    }

    pub(crate) fn heard(&self) -> watch::Receiver<Arc<Heard>> {
        self.heard.subscribe()
    }

    /// For ever. Never fails: what cannot be asked now is asked again.
    pub(crate) async fn listen<T>(&self) -> T {
        let mut ready = HashMap::new();
        loop {
            let wanted: Vec<Uuid> = self
                .wanted
                .lock()
                .expect("nobody panics in here")
                .values()
                .flatten()
                .copied()
                .collect();
            if wanted.is_empty() {
                ready.clear();
            } else {
                match self.ask(&wanted, &mut ready).await {
                    Ok(heard) => drop(self.heard.send_replace(Arc::new(heard))),
                    Err(error) => warn!(error = %Chain(&error), "could not hear the workers"),
                }
            }
            sleep(EVERY).await;
        }
    }

    /// `ready` is since when each worker says so.
    async fn ask(
        &self,
        releases: &[Uuid],
        ready: &mut HashMap<String, Instant>,
    ) -> Result<Heard, RegistryError> {
        let at = Instant::now();
        let (said, pulse) = tokio::try_join!(
            self.registry.heartbeats(releases),
            self.registry.pulse(releases, RECENT, self.silent),
        )?;
        let before = std::mem::take(ready);
        let heartbeats = said.into_iter().filter_map(|one| {
            let silent = Duration::from_millis(u64::try_from(one.silent_ms).unwrap_or_default());
            let since = (one.state == "ready").then(|| {
                let since = before.get(&one.worker_id).copied().unwrap_or(at);
                ready.insert(one.worker_id, since);
                since
            });
            Some(Heartbeat {
                release_id: one.release_id,
                pod_uid: one.pod_uid?,
                ready: since,
                heard: at.checked_sub(silent).unwrap_or(at),
            })
        });
        let heartbeats = heartbeats.collect();
        let bus_is_out = pulse.workers > 0 && pulse.silent >= pulse.workers;
        Ok(Heard { at: Some(at), heartbeats, bus_is_out })
    }
}
