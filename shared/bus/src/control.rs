use db::{Statement, Type};
use model::{MessageId, Stage};

use crate::statement::statement;
use crate::{Bus, BusError};

/// What a cancellation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was queued and is cancelled now.
    Now,
    /// Its worker was asked to stop.
    Asked,
    /// It had ended already, in this way.
    Ended(&'static str),
}

pub(crate) static CANCEL: Statement =
    statement("bus.cancel", "select public.bus_cancel($1, $2)", &[Type::INT8, Type::TEXT]);
pub(crate) static ENDED: Statement =
    statement("bus.ended", "select status from cogo.receipts where id = $1", &[Type::INT8]);
pub(crate) static REPLAY: Statement =
    statement("bus.replay", "select public.bus_replay($1)", &[Type::INT8]);
pub(crate) static PAUSE: Statement = statement(
    "bus.pause",
    "select public.bus_pause($1, $2, $3)",
    &[Type::TEXT, Type::TEXT, Type::BOOL],
);
pub(crate) static DRAIN: Statement =
    statement("bus.drain", "select public.bus_drain($1)", &[Type::TEXT]);

impl Bus {
    pub async fn cancel(&self, id: MessageId, reason: &str) -> Result<Cancelled, BusError> {
        let before = self.db().query(&ENDED, &[&id]).await?;
        let rows = self.db().query(&CANCEL, &[&id, &reason]).await?;
        Ok(match (rows[0].get(0), before.is_empty()) {
            ("claimed", _) => Cancelled::Asked,
            ("cancelled", true) => Cancelled::Now,
            ("cancelled", false) => Cancelled::Ended("cancelled"),
            ("failed", _) => Cancelled::Ended("failed"),
            _ => Cancelled::Ended("done"),
        })
    }

    /// Publishes a copy of a message that has ended, under the same trace.
    pub async fn replay(&self, id: MessageId) -> Result<MessageId, BusError> {
        let rows = self.db().query(&REPLAY, &[&id]).await?;
        Ok(rows[0].get(0))
    }

    /// Stops claiming on a stage, for the whole fleet; messages are still accepted.
    pub async fn pause(&self, stage: &Stage) -> Result<(), BusError> {
        self.set_paused(stage, true).await
    }

    pub async fn resume(&self, stage: &Stage) -> Result<(), BusError> {
        self.set_paused(stage, false).await
    }

    async fn set_paused(&self, stage: &Stage, paused: bool) -> Result<(), BusError> {
        let (service, role) = (stage.service().as_str(), stage.role().as_str());
        self.db().query(&PAUSE, &[&service, &role, &paused]).await?;
        Ok(())
    }

    /// Asks a worker to finish what it holds and leave; false if there is none of that name.
    pub async fn drain(&self, worker: &str) -> Result<bool, BusError> {
        let rows = self.db().query(&DRAIN, &[&worker]).await?;
        Ok(rows[0].get(0))
    }
}
