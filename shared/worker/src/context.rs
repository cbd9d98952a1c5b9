use std::sync::Arc;

use bus::{Answer, Bus, BusError, Lease, Outcome, Settle};
use tokio_util::sync::CancellationToken;

use crate::held::Held;

/// What a handler has besides its message.
#[derive(Clone)]
pub struct Cx {
    pub(crate) bus: Bus,
    pub(crate) worker: Arc<str>,
    pub(crate) held: Held,
    pub(crate) id: model::MessageId,
    pub(crate) lease: uuid::Uuid,
    pub(crate) stop: CancellationToken,
}

impl Cx {
    pub(crate) fn new(bus: &Bus, worker: &Arc<str>, held: &Held, lease: &Lease) -> Self {
        Self {
            bus: bus.clone(),
            worker: Arc::clone(worker),
            id: lease.message.id,
            lease: lease.token,
            stop: held.stop_of(lease.message.id),
            held: held.clone(),
        }
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Resolves when the work is no longer wanted: the message was cancelled, its lease was lost, or
    /// the process is out of time to stop. A handler that takes long should race against it.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Who holds the message, as a function in SQL has to name it that settles the message itself.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The lease that such a function has to name.
    pub fn lease(&self) -> uuid::Uuid {
        self.lease
    }

    /// Tells the runtime that such a function has settled the message. Return [`Settle::done`]
    /// afterwards.
    pub fn was_settled(&self) {
        self.held.settled_by_handler(self.id);
    }

    /// Settles within a transaction of the handler's own, so that what it writes to this database
    /// happens exactly once. Commit if and only if this says [`Answer::Accepted`], and return
    /// [`Settle::done`] afterwards: the runtime knows that the message is settled.
    pub async fn settle_in(
        &self,
        transaction: &db::Transaction<'_>,
        settle: Settle,
    ) -> Result<Answer, BusError> {
        let outcome = Outcome { id: self.id, lease: self.lease, settle };
        let answer = self.bus.settle_in(transaction, &self.worker, &outcome).await?;
        if answer == Answer::Accepted {
            self.held.settled_by_handler(self.id);
        }
        Ok(answer)
    }
}
