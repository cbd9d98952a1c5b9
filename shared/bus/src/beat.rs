use db::{Json, Statement, Type};
use model::{Shard, Tenant};
use serde::Serialize;
use time::OffsetDateTime;

use crate::statement::statement;
use crate::{Bus, BusError};

/// What a worker says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Heartbeat {
    pub id: String,
    pub agent_name: String,
    pub service: Option<String>,
    pub role: Option<String>,
    pub shards: Option<Vec<Shard>>,
    pub tenant: Option<Tenant>,
    pub host: Option<String>,
    pub pod_uid: Option<String>,
    pub version: String,
    pub image: Option<String>,
    pub digest: Option<String>,
    pub release_id: Option<String>,
    pub state: WorkerState,
    pub slots: usize,
    pub busy: usize,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    Starting,
    Ready,
    Draining,
    Gone,
}

pub(crate) static BEAT: Statement =
    statement("bus.beat", "select public.bus_beat(p_worker => $1)", &[Type::JSONB]);

impl Bus {
    /// Says that we are alive; true when an operator asked us to drain.
    pub async fn beat(&self, heartbeat: &Heartbeat) -> Result<bool, BusError> {
        let rows = self.db().query(&BEAT, &[&Json(heartbeat)]).await?;
        Ok(rows[0].get(0))
    }
}
