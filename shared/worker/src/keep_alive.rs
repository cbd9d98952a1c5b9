use std::collections::HashSet;
use std::time::Duration;

use bus::{Bus, Heartbeat, Renewed, WorkerState};
use model::MessageId;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::held::Held;

/// Leases are renewed when a third of the shortest has passed, between these bounds. Looking is
/// cheap, and a message just claimed may come with a shorter lease than those we knew.
const SOONEST: Duration = Duration::from_millis(250);
const LATEST: Duration = Duration::from_secs(1);

/// Renews every lease of this process in one call, and hears in the answer what was cancelled.
pub(crate) async fn renew_leases(
    bus: &Bus,
    worker: &str,
    held: &Held,
    mut attention: watch::Receiver<()>,
) {
    let mut renewed_at = Instant::now();
    loop {
        let called = tokio::select! {
            () = sleep(SOONEST) => false,
            Ok(()) = attention.changed() => true,
        };
        let due = held.first_end().is_some_and(|end| {
            let left = end.saturating_duration_since(std::time::Instant::now());
            left < renewed_at.elapsed().max(LATEST) * 2
        });
        let leases = held.leases();
        if leases.is_empty() || !(called || due) {
            continue;
        }
        match bus.renew(worker, &leases).await {
            Ok(renewed) => answer(held, &leases, &renewed),
            // Not fatal yet: there is time left for another try.
            Err(error) => warn!(error = %Chain(&error), "could not renew {} leases", leases.len()),
        }
        renewed_at = Instant::now();
    }
}

fn answer(held: &Held, asked: &[(MessageId, Uuid)], renewed: &[Renewed]) {
    let mut ours = HashSet::with_capacity(renewed.len());
    for lease in renewed {
        ours.insert(lease.id);
        held.renewed(lease.id, lease.until);
        if lease.cancel_requested && held.cancel(lease.id) {
            info!(msg.id = %lease.id, "message {} was cancelled; stopping its handler", lease.id);
        }
    }
    for (id, lease) in asked.iter().filter(|(id, _)| !ours.contains(id)) {
        // Not a word if it was settled between asking and answering.
        if held.lose(*id, *lease) {
            warn!(msg.id = %id, "lost the lease of message {id}; stopping its handler");
        }
    }
}

/// Says that we live, until `drained`; an operator's wish to drain us comes back with the answer.
pub(crate) async fn beat(
    bus: &Bus,
    heartbeat: &Heartbeat,
    every: Duration,
    held: &Held,
    mut attention: watch::Receiver<()>,
    stop: &CancellationToken,
) {
    loop {
        let stopping = stop.is_cancelled();
        let state = if stopping { WorkerState::Draining } else { WorkerState::Ready };
        let said = Heartbeat { busy: held.len(), state, ..heartbeat.clone() };
        match bus.beat(&said).await {
            Ok(true) if !stopping => {
                info!("an operator asked this worker to drain");
                stop.cancel();
            }
            Ok(_) => {}
            Err(error) => warn!(error = %Chain(&error), "could not send a heartbeat"),
        }
        let next = Instant::now() + every;
        tokio::select! {
            () = sleep_until(next) => {}
            Ok(()) = attention.changed() => {}
            () = stop.cancelled(), if !stopping => {}
        }
    }
}
