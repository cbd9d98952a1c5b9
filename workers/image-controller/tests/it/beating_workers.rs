use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, Heartbeat, WorkerState};
use futures_util::{StreamExt, stream};
use simcluster::{PodEvent, PodFacts, PodWhat};
use time::OffsetDateTime;
use tokio::sync::mpsc;

/// What the workers in the pods say on the bus.
#[derive(Default)]
pub(crate) struct Workers {
    alive: Mutex<HashMap<String, (PodFacts, WorkerState)>>,
    /// Held while something is said: what is said later is newer.
    saying: tokio::sync::Mutex<()>,
    /// Nobody is heard.
    pub(crate) bus_is_out: AtomicBool,
}

impl Workers {
    pub(crate) async fn run(
        self: Arc<Self>,
        bus: Bus,
        pods: mpsc::Receiver<PodEvent>,
        every: Duration,
    ) {
        tokio::join!(self.tell_changes(&bus, pods), self.beat(&bus, every));
    }

    /// Whoever becomes ready says so at once.
    async fn tell_changes(&self, bus: &Bus, mut pods: mpsc::Receiver<PodEvent>) {
        while let Some(event) = pods.recv().await {
            let _alone = self.saying.lock().await;
            self.say(bus, self.note(event)).await;
        }
    }

    async fn beat(&self, bus: &Bus, every: Duration) {
        let mut every = tokio::time::interval(every);
        loop {
            every.tick().await;
            let _alone = self.saying.lock().await;
            self.say(bus, self.all()).await;
        }
    }

    fn all(&self) -> Vec<Heartbeat> {
        let alive = self.alive.lock().unwrap();
        alive.values().map(|(pod, state)| heartbeat(pod, *state)).collect()
    }

    async fn say(&self, bus: &Bus, said: Vec<Heartbeat>) {
        if self.bus_is_out.load(Ordering::Relaxed) {
            return;
        }
        let beats = stream::iter(said).for_each_concurrent(8, async |heartbeat| {
            // The database is dropped while the last of them still beat.
            let _ = bus.beat(&heartbeat).await;
        });
        beats.await;
    }

    fn note(&self, PodEvent { what, pod }: PodEvent) -> Vec<Heartbeat> {
        let mut alive = self.alive.lock().unwrap();
        // One that never speaks, and one that is not ours.
        if pod.silent {
            return Vec::new();
        }
        let state = match what {
            PodWhat::Started => WorkerState::Starting,
            PodWhat::Ready => WorkerState::Ready,
            PodWhat::NotReady | PodWhat::Stopping => WorkerState::Draining,
            // Whoever is killed says nothing any more.
            PodWhat::Died => {
                alive.remove(&pod.uid);
                return Vec::new();
            }
            PodWhat::Gone => WorkerState::Gone,
        };
        let said = vec![heartbeat(&pod, state)];
        if what == PodWhat::Gone {
            alive.remove(&pod.uid);
        } else {
            alive.insert(pod.uid.clone(), (pod, state));
        }
        said
    }
}

pub(crate) fn heartbeat(pod: &PodFacts, state: WorkerState) -> Heartbeat {
    Heartbeat {
        id: format!("worker-{}", pod.uid),
        agent_name: "test".to_owned(),
        service: None,
        role: None,
        shards: None,
        tenant: None,
        host: Some(pod.name.clone()),
        pod_uid: pod.env.get("POD_UID").cloned(),
        version: "0".to_owned(),
        image: pod.env.get("COGO_IMAGE").cloned(),
        digest: pod.env.get("COGO_IMAGE_DIGEST").cloned(),
        release_id: pod.env.get("COGO_RELEASE_ID").cloned(),
        state,
        slots: 1,
        busy: 0,
        started_at: OffsetDateTime::now_utc(),
    }
}
