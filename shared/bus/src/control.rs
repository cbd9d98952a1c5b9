use db::{Statement, Type};
use model::{MessageId, Stage, TraceId};

use crate::statement::statement;
use crate::{Bus, BusError, Status};

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

pub(crate) static CANCEL: Statement = statement(
    "bus.cancel",
    "select public.bus_cancel(p_id => $1, p_reason => $2)",
    &[Type::INT8, Type::TEXT],
);
pub(crate) static CANCEL_TRACE: Statement = statement(
    "bus.cancel_trace",
    "select cancelled, asked from public.bus_cancel_trace(p_trace_id => $1, p_reason => $2)",
    &[Type::TEXT, Type::TEXT],
);
pub(crate) static REPLAY: Statement =
    statement("bus.replay", "select public.bus_replay(p_id => $1)", &[Type::INT8]);
pub(crate) static PAUSE: Statement = statement(
    "bus.pause",
    "select public.bus_pause(p_service => $1, p_role => $2, p_paused => $3)",
    &[Type::TEXT, Type::TEXT, Type::BOOL],
);
pub(crate) static DRAIN: Statement =
    statement("bus.drain", "select public.bus_drain(p_worker => $1)", &[Type::TEXT]);

/// What the cancellation of a trace found, beside what had ended already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelledTrace {
    /// Messages that were queued and are cancelled now.
    pub cancelled: i32,
    /// Messages whose workers were asked to stop.
    pub asked: i32,
}

impl Bus {
    /// Ends a whole trace: nothing of it goes on, also what a stage is handing on at this moment.
    /// An error if there is no message of that trace.
    pub async fn cancel_trace(
        &self,
        trace: TraceId,
        reason: &str,
    ) -> Result<CancelledTrace, BusError> {
        let row = self.db().query_one(&CANCEL_TRACE, &[&trace, &reason]).await?;
        Ok(CancelledTrace { cancelled: row.get(0), asked: row.get(1) })
    }

    pub async fn cancel(&self, id: MessageId, reason: &str) -> Result<Cancelled, BusError> {
        let before = self.states(&[id]).await?;
        let was_cancelled = before.iter().any(|before| before.status == Status::Cancelled);
        let row = self.db().query_one(&CANCEL, &[&id, &reason]).await?;
        Ok(match (row.get::<String>(0).as_str(), was_cancelled) {
            ("claimed", _) => Cancelled::Asked,
            ("cancelled", false) => Cancelled::Now,
            ("cancelled", true) => Cancelled::Ended("cancelled"),
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
