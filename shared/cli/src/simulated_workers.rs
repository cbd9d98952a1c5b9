use std::collections::HashMap;
use std::time::Duration;

use bus::{Bus, Heartbeat, WorkerState};
use simcluster::{PodEvent, PodFacts, PodWhat};
use telemetry::Chain;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

const BEAT: Duration = Duration::from_secs(2);

/// Says on the bus what the workers in simulated pods would say, for as long as there are pods.
pub(crate) async fn keep_beating(bus: &Bus, mut pods: mpsc::Receiver<PodEvent>) {
    let mut ready: HashMap<String, Heartbeat> = HashMap::new();
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = pods.recv() => {
                let Some(PodEvent { what, pod }) = event else { return };
                match what {
                    PodWhat::Ready if !pod.silent => {
                        let heartbeat = heartbeat(&pod);
                        beat(bus, &heartbeat).await;
                        ready.insert(pod.uid, heartbeat);
                    }
                    PodWhat::Started | PodWhat::Ready => {}
                    PodWhat::NotReady | PodWhat::Stopping | PodWhat::Died | PodWhat::Gone => {
                        if let Some(last) = ready.remove(&pod.uid) {
                            beat(bus, &Heartbeat { state: WorkerState::Gone, ..last }).await;
                        }
                    }
                }
            }
            _ = beats.tick() => {
                for heartbeat in ready.values() {
                    beat(bus, heartbeat).await;
                }
            }
        }
    }
}

async fn beat(bus: &Bus, heartbeat: &Heartbeat) {
    if let Err(error) = bus.beat(heartbeat).await {
        warn!(error = %Chain(&error), "could not say what a simulated worker says");
    }
}

fn heartbeat(pod: &PodFacts) -> Heartbeat {
    let said = |name: &str| pod.env.get(name).cloned();
    Heartbeat {
        id: pod.name.clone(),
        agent_name: "demo-worker".to_owned(),
        service: None,
        role: None,
        shards: None,
        tenant: None,
        host: Some(pod.name.clone()),
        pod_uid: said("POD_UID"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        image: Some(pod.image.clone()),
        digest: said("COGO_IMAGE_DIGEST"),
        release_id: said("COGO_RELEASE_ID"),
        state: WorkerState::Ready,
        slots: 1,
        busy: 0,
        started_at: OffsetDateTime::now_utc(),
    }
}
