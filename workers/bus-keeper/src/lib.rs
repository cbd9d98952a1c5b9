//! Looks after the bus: gives lost leases back, fails what expired, readies what is due, rings
//! where a ring was lost, and deletes what is old. Start at [`run`].
//! Invariant: any number may run; one leads, and another takes over within seconds when it dies.
mod settings;

use bus::{Bus, BusError, Retained, Swept};
use rand::RngExt;
use telemetry::Chain;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use settings::Settings;

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    let bus = Bus::connect(&settings.db, &settings.bus)?;
    let name = format!("bus-keeper-{:08x}", rand::rng().random::<u32>());
    info!(worker = %name, "keeping the bus");
    let mut keeper = Keeper { bus, name, settings, leads: false, retention: None };
    while !stop.is_cancelled() {
        let wait = keeper.round().await;
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

struct Keeper {
    bus: Bus,
    name: String,
    settings: Settings,
    leads: bool,
    retention: Option<Round>,
}

/// A walk of retention over the tables, one batch at a time between sweeps.
struct Round {
    started: Instant,
    from: Option<serde_json::Value>,
    done: bool,
}

impl Keeper {
    /// Never fails: whatever is wrong now may be right in a second, and nobody else does this work.
    async fn round(&mut self) -> Duration {
        match self.keep().await {
            Ok(true) => Duration::ZERO,
            Ok(false) => self.settings.keeper_every,
            Err(error) => {
                warn!(error = %Chain(&error), "could not keep the bus; trying again");
                self.settings.keeper_every
            }
        }
    }

    /// Whether there is more to do at once.
    async fn keep(&mut self) -> Result<bool, BusError> {
        let Some(swept) = self.bus.sweep(&self.name, BATCH).await? else {
            if std::mem::take(&mut self.leads) {
                info!("another keeper leads now");
            }
            return Ok(false);
        };
        if !std::mem::replace(&mut self.leads, true) {
            info!("leading");
        }
        tell(&swept);
        let retained = self.retain().await?;
        Ok(swept.more || retained)
    }

    async fn retain(&mut self) -> Result<bool, BusError> {
        let due = self.retention.as_ref().is_none_or(|round| {
            round.done && round.started.elapsed() >= self.settings.keeper_retention_every
        });
        if due {
            self.retention = Some(Round { started: Instant::now(), from: None, done: false });
        }
        let Some(round) = self.retention.as_mut().filter(|round| !round.done) else {
            return Ok(false);
        };
        let kept = self.settings.retention();
        let batch = self.bus.retain(&self.name, round.from.as_ref(), BATCH, &kept).await?;
        let Some(Retained { messages, events, workers, dead_letters, from }) = batch else {
            return Ok(false);
        };
        if messages + events + workers + dead_letters > 0 {
            info!(messages, events, workers, dead_letters, "deleted what was old");
        }
        round.done = from.is_none();
        round.from = from;
        // The rest between the next sweeps, so that it never stands in the way of work.
        Ok(false)
    }
}

/// Rows that one call may touch: a few milliseconds of work.
const BATCH: i32 = 1000;

fn tell(swept: &Swept) {
    let Swept { reclaimed, expired, promoted, rung, workers_gone, .. } = *swept;
    if reclaimed + expired + workers_gone > 0 {
        info!(reclaimed, expired, promoted, rung, workers_gone, "swept");
    }
}
