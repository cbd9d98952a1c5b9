use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use bus::Bus;
use db::{Statement, Type};
use messages::Probe;
use simcluster::{PodEvent, PodFacts, PodWhat};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::{Cx, Handlers, Received, Settle, Shards, WorkerSettings, serve};

/// A worker of the bus in every pod that is ready: told to stop when its pod is, and dead when its
/// pod dies.
pub(crate) async fn work_in(bus: Bus, mut pods: mpsc::Receiver<PodEvent>) {
    let mut running = JoinSet::new();
    let mut known: HashMap<String, (CancellationToken, AbortHandle)> = HashMap::new();
    loop {
        let PodEvent { what, pod } = tokio::select! {
            event = pods.recv() => match event {
                Some(event) => event,
                None => return,
            },
            Some(_) = running.join_next() => continue,
        };
        match what {
            PodWhat::Ready if !known.contains_key(&pod.uid) => {
                let stop = CancellationToken::new();
                let (bus, settings, until) = (bus.clone(), settings(&pod), stop.clone());
                let worker = running.spawn(async move {
                    serve(bus, "test", handlers(), &settings, until).await.unwrap();
                });
                known.insert(pod.uid, (stop, worker));
            }
            PodWhat::Started | PodWhat::Ready | PodWhat::NotReady => {}
            PodWhat::Stopping => {
                if let Some((stop, _)) = known.get(&pod.uid) {
                    stop.cancel();
                }
            }
            PodWhat::Died => {
                if let Some((_, worker)) = known.remove(&pod.uid) {
                    worker.abort();
                }
            }
            // It has drained, and leaves in its own time.
            PodWhat::Gone => drop(known.remove(&pod.uid)),
        }
    }
}

/// A table of what was done: a second time is an error.
pub(crate) const EFFECTS: &str = "create table effects (message bigint primary key)";

static EFFECT: Statement =
    Statement { name: "test.effect", sql: "insert into effects values ($1)", types: &[Type::INT8] };

fn handlers() -> Handlers {
    Handlers::new().on(async |probe: Received<Probe>, cx: Cx| {
        // Long enough to be in the middle of it when a pod is told to stop.
        sleep(Duration::from_millis(40)).await;
        let mut client = cx.bus().db().client().await?;
        let transaction = client.transaction().await?;
        transaction.execute(&EFFECT, &[&probe.id.get()]).await?;
        cx.settle_in(&transaction, Settle::done()).await?;
        transaction.commit().await?;
        Ok(Settle::done())
    })
}

fn settings(pod: &PodFacts) -> WorkerSettings {
    WorkerSettings {
        agent_service: None,
        agent_role: None,
        agent_shard: Shards::Every,
        agent_tenant: None,
        holder_id: Some(format!("worker-{}", pod.uid)),
        worker_slots: NonZeroUsize::new(4).unwrap(),
        worker_grace: Duration::from_secs(20),
        worker_beat: Duration::from_secs(1),
        pod_uid: pod.env.get("POD_UID").cloned(),
        cogo_image: pod.env.get("COGO_IMAGE").cloned(),
        cogo_image_digest: pod.env.get("COGO_IMAGE_DIGEST").cloned(),
        cogo_release_id: pod.env.get("COGO_RELEASE_ID").cloned(),
    }
}
