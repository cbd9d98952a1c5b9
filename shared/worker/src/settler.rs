use std::time::Duration;

use bus::{Answer, Bus, BusError, Outcome, Settle};
use db::Disposition;
use rand::RngExt;
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use crate::held::Held;

/// Messages settled by one statement at most.
const LARGEST_BATCH: usize = 500;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Settles what handlers finish until every sender is gone. While one batch is on its way the next
/// one gathers, so one message goes at once and many go together, without a timer.
pub(crate) async fn settle_all(
    bus: &Bus,
    worker: &str,
    held: &Held,
    mut finished: mpsc::Receiver<Outcome>,
) {
    let mut batch = Vec::with_capacity(LARGEST_BATCH);
    while finished.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
        settle_batch(bus, worker, held, &mut batch).await;
    }
}

/// Does not give up while the database is away: the leases decide how long it makes sense, and the
/// database knows them best. Doing it twice is harmless, because the second time they are gone.
async fn settle_batch(bus: &Bus, worker: &str, held: &Held, batch: &mut Vec<Outcome>) {
    let mut wait = FIRST_WAIT;
    let mut uncertain = false;
    loop {
        match bus.settle(worker, batch).await {
            Ok(answers) => {
                for (outcome, answer) in batch.drain(..).zip(answers) {
                    if answer == Answer::Lost && !uncertain {
                        warn!(msg.id = %outcome.id, "lost the lease of message {} before it was settled", outcome.id);
                    }
                    held.let_go(outcome.id, outcome.lease);
                }
                return;
            }
            Err(error) if error.disposition() == Disposition::Retry => {
                warn!(error = %Chain(&error), "could not settle {} messages; trying again", batch.len());
                uncertain = true;
                // On a line of its own: across an await, the generator would bind us to this thread.
                let jittered = wait.mul_f64(rand::rng().random_range(0.5..1.5));
                sleep(jittered).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            Err(refused) => {
                settle_each(bus, worker, held, batch, &refused).await;
                return;
            }
        }
    }
}

/// One outcome of the batch asks for something that cannot be, such as a follow-up message that is
/// too large. The others must not suffer; that one is a failed attempt.
async fn settle_each(
    bus: &Bus,
    worker: &str,
    held: &Held,
    batch: &mut Vec<Outcome>,
    refused: &BusError,
) {
    let alone = batch.len() == 1;
    for outcome in batch.drain(..) {
        let (id, lease) = (outcome.id, outcome.lease);
        let result =
            if alone { Ok(None) } else { Box::pin(settle_one(bus, worker, outcome)).await };
        let result = match result {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => refuse(bus, worker, id, lease, refused).await,
            Err(error) if error.disposition() == Disposition::GiveUp => {
                refuse(bus, worker, id, lease, &error).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(Answer::Accepted) => {}
            Ok(Answer::Lost) => debug!(msg.id = %id, "message {id} was settled before, or lost"),
            // Its lease runs out, and another attempt follows.
            Err(error) => {
                error!(error = %Chain(&error), msg.id = %id, "could not settle message {id}");
            }
        }
        held.let_go(id, lease);
    }
}

async fn settle_one(bus: &Bus, worker: &str, outcome: Outcome) -> Result<Option<Answer>, BusError> {
    Ok(bus.settle(worker, &[outcome]).await?.first().copied())
}

async fn refuse(
    bus: &Bus,
    worker: &str,
    id: model::MessageId,
    lease: uuid::Uuid,
    why: &BusError,
) -> Result<Answer, BusError> {
    warn!(error = %Chain(why), msg.id = %id, "the outcome of message {id} was refused");
    let settle = Settle::retry(format!("its outcome was refused: {}", Chain(why)));
    Ok(bus.settle(worker, &[Outcome { id, lease, settle }]).await?[0])
}
