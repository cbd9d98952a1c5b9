use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use registry::{Phase, Registry, Rollout};
use telemetry::Chain;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::hearing::Hearing;
use crate::judge::Limits;
use crate::metrics::Metrics;
use crate::resolve::{Resolver, resolve};
use crate::roll::{Read, roll};
use crate::settings::{CanarySettings, RolloutSettings};

/// What all rollouts share.
pub(crate) struct Controller {
    pub(crate) registry: Registry,
    pub(crate) cluster: Cluster,
    pub(crate) resolver: Resolver,
    pub(crate) hearing: Hearing,
    pub(crate) metrics: Metrics,
    pub(crate) settings: RolloutSettings,
    pub(crate) canaries: CanarySettings,
    pub(crate) limits: Limits,
    /// Held by whoever writes a pull secret.
    pub(crate) keeping: Mutex<()>,
    /// Something has come to an end: there may be something new to do.
    pub(crate) look_again: Notify,
    /// Whether the database was last reached.
    pub(crate) reached: AtomicBool,
}

/// What is being done, by whom it is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// Asking a registry what a tag is: touches nothing, so each release has its own.
    Resolve(Uuid),
    /// An agent's Deployment is changed by one at a time.
    Roll(Uuid),
}

#[derive(Default)]
struct Underway {
    tasks: JoinSet<()>,
    told: HashMap<Work, watch::Sender<Read>>,
    works: HashMap<Id, Work>,
}

impl Controller {
    /// Looks again and again for what there is to do, and has it done, until told to stop.
    pub(crate) async fn run(self: Arc<Self>, holder: &str, stop: &CancellationToken) {
        let mut underway = Underway::default();
        let hold = self.settings.rollout_hold;
        while !stop.is_cancelled() {
            // Before it is read: what ends after that is begun again from something newer.
            underway.reap();
            let at = Instant::now();
            let taken = self.registry.take_rollouts(holder, hold).await;
            self.reached.store(taken.is_ok(), Ordering::Relaxed);
            match taken {
                Ok(rows) => self.hand_out(&rows, at, &mut underway, stop),
                Err(error) => warn!(error = %Chain(&error), "could not look for releases"),
            }
            self.metrics.under_way(underway.told.len());
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.settings.rollout_every) => {}
                // Those who end at once are looked for once.
                () = self.look_again.notified() => sleep(TOGETHER).await,
            }
        }
        underway.told.clear();
        if timeout(LEAVE, async { while underway.tasks.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            warn!("left in the middle of a step; whoever comes next takes it again");
        }
        drop(underway);
        match timeout(LEAVE, self.registry.let_go(holder)).await {
            Ok(Ok(agents)) => info!(agents, "let go"),
            Ok(Err(error)) => warn!(error = %Chain(&error), "could not let go"),
            Err(_) => warn!("could not let go in time"),
        }
    }

    fn hand_out(
        self: &Arc<Self>,
        rows: &[Rollout],
        at: Instant,
        underway: &mut Underway,
        stop: &CancellationToken,
    ) {
        let mut due: HashMap<Work, Vec<Rollout>> = HashMap::new();
        for row in rows {
            let work = match row.phase {
                Phase::Recorded => Work::Resolve(row.release_id),
                _ => Work::Roll(row.agent_id),
            };
            due.entry(work).or_default().push(row.clone());
        }
        // Whose release is gone hears that nobody tells them any more.
        underway.told.retain(|work, _| due.contains_key(work));
        for (work, rows) in due {
            let read = Read { rows, at };
            if let Some(told) = underway.told.get(&work) {
                told.send_replace(read);
            } else if underway.tasks.len() < self.settings.rollout_at_once.get() {
                underway.begin(work, read, self, stop);
            }
        }
    }
}

const TOGETHER: Duration = Duration::from_millis(20);

/// How long a shutdown waits for steps that are under way.
const LEAVE: Duration = Duration::from_secs(2);

impl Underway {
    fn begin(&mut self, work: Work, read: Read, of: &Arc<Controller>, stop: &CancellationToken) {
        // One that was told to end may still be at its last step.
        if self.works.values().any(|one| *one == work) {
            return;
        }
        let (told, hears) = watch::channel(read);
        let task = match work {
            Work::Resolve(_) => self.tasks.spawn(resolve(of.clone(), hears, stop.clone())),
            Work::Roll(_) => self.tasks.spawn(roll(of.clone(), hears, stop.clone())),
        };
        self.works.insert(task.id(), work);
        self.told.insert(work, told);
    }

    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = match &ended {
                Ok((id, ())) => *id,
                Err(panicked) => panicked.id(),
            };
            if let Some(work) = self.works.remove(&id) {
                self.told.remove(&work);
            }
            if let Err(panicked) = ended {
                error!(error = %panicked, "a rollout broke off; it begins again where it was");
            }
        }
    }
}
