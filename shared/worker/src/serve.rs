use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, Heartbeat, Lease, Listen, Outcome, Station, WorkerState};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use model::Stage;
use rand::RngExt;
use telemetry::Chain;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::held::Held;
use crate::keep_alive::{beat, renew_leases};
use crate::run_one::run_one;
use crate::settler::settle_all;
use crate::{Cx, Handlers, Shards, WorkerSettings};

/// Why a worker does not even start.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ServeError {
    #[error("this worker has no handlers")]
    NoHandlers,
    #[error("this worker serves {serves}, and not {asked}")]
    #[diagnostic(help(
        "unset AGENT_SERVICE and AGENT_ROLE, or run the worker that serves {asked}"
    ))]
    WrongStage { serves: String, asked: String },
}

/// After a short but not empty claim, more is probably on its way: a short wait saves lying down.
const LINGER: Duration = Duration::from_millis(1);
/// Somebody is publishing to us at this very moment.
const MOMENT: Duration = Duration::from_millis(2);
const LONGEST_MOMENT: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// For what a shutdown still asks of the database: one claim, one goodbye, what is released.
const RELEASE: Duration = Duration::from_secs(5);

/// Takes messages until `stop`, then lets the running ones finish within the grace.
pub async fn serve(
    bus: Bus,
    agent_name: &str,
    handlers: Handlers,
    settings: &WorkerSettings,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let routes = routes(&handlers, settings)?;
    let worker: Arc<str> = holder(agent_name, settings).into();
    let heartbeat = heartbeat(agent_name, &worker, &handlers, settings);
    let held = Held::default();
    let abandon = CancellationToken::new();
    // An operator's drain ends this worker only, not what else runs in the process.
    let stop = stop.child_token();
    let (call, called) = watch::channel(());
    // Each slot's outcome fits, so a handler never waits to hand over.
    let (settled, finished) = mpsc::channel(settings.worker_slots.get());
    let mut claiming = Claiming {
        station: Station::new(&bus, &worker, &routes),
        slots: settings.worker_slots.get(),
        bus: bus.clone(),
        worker: Arc::clone(&worker),
        handlers: Arc::new(handlers),
        held: held.clone(),
        abandon: abandon.clone(),
        settled,
        running: JoinSet::new(),
        call,
    };

    bus.tell_doorbell();
    info!(worker = %worker, slots = settings.worker_slots, "serving {}", listed(&routes));
    // Boxed: it is large, and every worker's `run` would carry it along.
    let working = Box::pin(async {
        claiming.until(&stop).await;
        info!("stopping: {} messages are still worked on", held.len());
        if timeout(settings.worker_grace, claiming.drain()).await.is_err() {
            abandon.cancel();
            let _ = timeout(RELEASE, claiming.drain()).await;
        }
        // Handlers that do not even stop when dropped (they block) end with this; the settler ends
        // with the last sender.
        drop(claiming);
    });
    let mut settling = Box::pin(settle_all(&bus, &worker, &held, finished));
    let serving = async {
        tokio::select! {
            // It ends with the last sender, and those are in `working`.
            () = &mut settling => {}
            // Not for ever: while the database is away there is nobody to settle with, and what we
            // hold comes back when its lease runs out.
            () = working => if timeout(RELEASE, settling).await.is_err() {
                warn!("stopping without having settled {} messages", held.len());
            },
        }
    };
    let renewing = Box::pin(renew_leases(&bus, &worker, &held, called.clone()));
    let beating = Box::pin(beat(&bus, &heartbeat, settings.worker_beat, &held, called, &stop));
    tokio::select! {
        () = serving => {}
        // These end only with the work.
        () = renewing => {}
        () = beating => {}
    }
    let gone = Heartbeat { state: WorkerState::Gone, ..heartbeat };
    if let Ok(Err(error)) = timeout(RELEASE, Box::pin(bus.beat(&gone))).await {
        warn!(error = %Chain(&error), "could not say goodbye");
    }
    Ok(())
}

/// The only loop: claim, hand over, sleep.
struct Claiming {
    station: Station,
    slots: usize,
    bus: Bus,
    worker: Arc<str>,
    handlers: Arc<Handlers>,
    held: Held,
    abandon: CancellationToken,
    settled: mpsc::Sender<Outcome>,
    running: JoinSet<()>,
    call: watch::Sender<()>,
}

impl Claiming {
    async fn until(&mut self, stop: &CancellationToken) {
        let mut trouble = FIRST_WAIT;
        while !stop.is_cancelled() {
            // A claim is raced against nothing but the end of our patience at a shutdown: dropped
            // half-way, it strands messages until their leases run out.
            let round = tokio::select! {
                round = self.round(stop) => round,
                () = long_after(stop) => break,
            };
            match round {
                Ok(()) => trouble = FIRST_WAIT,
                Err(error) => {
                    warn!(error = %Chain(&error), "could not claim messages; trying again");
                    let wait = trouble.mul_f64(rand::rng().random_range(0.5..1.5));
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = stop.cancelled() => {}
                    }
                    trouble = (trouble * 2).min(LONGEST_WAIT);
                }
            }
        }
        // A producer would ring us in vain.
        let _ = timeout(RELEASE, self.station.unpark()).await;
    }

    async fn round(&mut self, stop: &CancellationToken) -> Result<(), BusError> {
        while let Some(finished) = self.running.try_join_next() {
            log_panic(finished);
        }
        let free = self.slots.saturating_sub(self.held.len());
        if free == 0 {
            return self.hands_full(stop).await;
        }
        // Whatever called while we were busy.
        if let Some(heard) = self.station.heard().now_or_never()
            && heard.attention
        {
            self.call.send_replace(());
        }
        let leases = self.station.wake_and_claim(free).await?;
        let (none, more) = (leases.is_empty(), leases.len() == free.min(LARGEST_CLAIM));
        self.hand_over(leases);
        if let Some(longest) = self.station.resting() {
            self.rest(longest, stop).await;
        } else if none {
            self.lie_down(free, stop).await?;
        } else if !more {
            sleep(LINGER).await;
        }
        Ok(())
    }

    async fn lie_down(&mut self, free: usize, stop: &CancellationToken) -> Result<(), BusError> {
        let mut moment = MOMENT;
        let longest = loop {
            match self.station.park().await? {
                Some(wait) => break wait,
                // Not ours to wait for: their work may be there already.
                None => {
                    sleep(moment).await;
                    moment = (moment * 2).min(LONGEST_MOMENT);
                    let leases = self.station.claim(free).await?;
                    if !leases.is_empty() || stop.is_cancelled() {
                        self.hand_over(leases);
                        return Ok(());
                    }
                }
            }
        };
        // We may have been told to stop meanwhile, and then nothing more is to be begun.
        if stop.is_cancelled() {
            return Ok(());
        }
        // What came between looking and lying down.
        let leases = self.station.claim(free).await?;
        if !leases.is_empty() {
            self.hand_over(leases);
            return self.station.unpark().await;
        }
        self.rest(longest, stop).await;
        Ok(())
    }

    async fn rest(&self, longest: Duration, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(longest) => {}
            heard = self.station.heard() => {
                if heard.attention {
                    self.call.send_replace(());
                }
            }
        }
    }

    async fn hands_full(&mut self, stop: &CancellationToken) -> Result<(), BusError> {
        self.station.unpark().await?;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.held.freed() => {}
            heard = self.station.heard() => {
                if heard.attention {
                    self.call.send_replace(());
                }
                if heard.ring {
                    self.station.pass_on().await?;
                }
            }
        }
        Ok(())
    }

    /// A few messages get a task each; a claim of hundreds is split over a few tasks, because then a
    /// task of its own would cost more than what a quick handler does. They run side by side either
    /// way.
    fn hand_over(&mut self, leases: Vec<Lease>) {
        let size = leases.len().div_ceil(TASKS).max(1);
        let mut leases = leases.into_iter().peekable();
        while leases.peek().is_some() {
            let group: FuturesUnordered<_> =
                leases.by_ref().take(size).map(|lease| self.handle(lease)).collect();
            self.running.spawn(group.collect::<()>());
        }
    }

    fn handle(&self, lease: Lease) -> impl Future<Output = ()> + Send + use<> {
        self.held.take(&lease);
        let cx = Cx::new(&self.bus, &self.worker, &self.held, &lease);
        run_one(
            Arc::clone(&self.handlers),
            lease,
            cx,
            self.held.clone(),
            self.abandon.clone(),
            self.settled.clone(),
        )
    }

    async fn drain(&mut self) {
        while let Some(finished) = self.running.join_next().await {
            log_panic(finished);
        }
    }
}

/// A request that nobody answers must not keep a process that is to stop.
async fn long_after(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(RELEASE).await;
}

const LARGEST_CLAIM: usize = 500;
/// Of one claim at most; a multiple of the threads there are, so that slow ones spread.
const TASKS: usize = 16;

fn log_panic(finished: Result<(), tokio::task::JoinError>) {
    if let Err(error) = finished {
        warn!(error = %Chain(&error), "a handler's task died; its lease will run out");
    }
}

fn routes(handlers: &Handlers, settings: &WorkerSettings) -> Result<Vec<Listen>, ServeError> {
    let mut routes = Vec::new();
    for stage in handlers.stages() {
        check(stage, settings)?;
        let listen =
            |shard| Listen { stage: stage.clone(), shard, tenant: settings.agent_tenant.clone() };
        match &settings.agent_shard {
            Shards::Every => routes.push(listen(None)),
            Shards::These(shards) => {
                routes.extend(shards.iter().map(|shard| listen(Some(*shard))));
            }
        }
    }
    if routes.is_empty() { Err(ServeError::NoHandlers) } else { Ok(routes) }
}

fn check(stage: &Stage, settings: &WorkerSettings) -> Result<(), ServeError> {
    let service = settings.agent_service.as_ref().unwrap_or(stage.service());
    let role = settings.agent_role.as_ref().unwrap_or(stage.role());
    if service == stage.service() && role == stage.role() {
        return Ok(());
    }
    let asked = format!("{service}/{role}");
    Err(ServeError::WrongStage { serves: stage.to_string(), asked })
}

/// Unique, so that two processes on one host are told apart; and told by its host when one reads it.
fn holder(agent_name: &str, settings: &WorkerSettings) -> String {
    settings.holder_id.clone().unwrap_or_else(|| {
        let unique: u32 = rand::rng().random();
        format!("{agent_name}@{}-{unique:08x}", host().as_deref().unwrap_or("unknown"))
    })
}

fn host() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
}

fn heartbeat(
    agent_name: &str,
    worker: &str,
    handlers: &Handlers,
    settings: &WorkerSettings,
) -> Heartbeat {
    let stages: Vec<&Stage> = handlers.stages().collect();
    let only = if let [stage] = stages[..] { Some(stage) } else { None };
    Heartbeat {
        id: worker.to_owned(),
        agent_name: agent_name.to_owned(),
        service: only.map(|stage| stage.service().to_string()),
        role: only.map(|stage| stage.role().to_string()),
        shards: match &settings.agent_shard {
            Shards::Every => None,
            Shards::These(shards) => Some(shards.clone()),
        },
        tenant: settings.agent_tenant.clone(),
        host: host(),
        pod_uid: settings.pod_uid.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        image: settings.cogo_image.clone(),
        digest: settings.cogo_image_digest.clone(),
        release_id: settings.cogo_release_id.clone(),
        state: WorkerState::Starting,
        slots: settings.worker_slots.get(),
        busy: 0,
        started_at: OffsetDateTime::now_utc(),
    }
}

fn listed(routes: &[Listen]) -> String {
    let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
    routes.join(", ")
}
