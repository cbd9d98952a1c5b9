use std::time::Duration;

use db::{Row, Statement};
use model::{Shard, Tenant};
use serde::Serialize;
use time::OffsetDateTime;

use crate::depth::seconds;
use crate::statement::statement;
use crate::{Bus, BusError};

/// A worker process, as it last said of itself.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerSeen {
    pub id: String,
    pub agent_name: String,
    /// `None`: several stages.
    pub service: Option<String>,
    pub role: Option<String>,
    /// `None`: every shard.
    pub shards: Option<Vec<Shard>>,
    /// `None`: every tenant.
    pub tenant: Option<Tenant>,
    pub host: Option<String>,
    pub version: Option<String>,
    pub image: Option<String>,
    pub digest: Option<String>,
    pub release_id: Option<String>,
    /// starting, ready, draining or gone.
    pub state: String,
    pub drain_requested: bool,
    pub slots: i32,
    pub busy: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub seen_at: OffsetDateTime,
    /// Since its last heartbeat, by the server's clock.
    #[serde(rename = "silent_s", serialize_with = "seconds")]
    pub silent: Option<Duration>,
}

pub(crate) static FLEET: Statement = statement(
    "bus.fleet",
    "select id, agent_name, service, role, shards, tenant, host, version, image, digest, release_id,
        state, drain_requested, slots, busy, started_at, seen_at, silent_s
    from public.bus_fleet()",
    &[],
);

impl Bus {
    /// Every worker that is known, the living first.
    pub async fn fleet(&self) -> Result<Vec<WorkerSeen>, BusError> {
        let rows = self.db().query(&FLEET, &[]).await?;
        Ok(rows.iter().map(worker).collect())
    }
}

fn worker(row: &Row) -> WorkerSeen {
    WorkerSeen {
        id: row.get(0),
        agent_name: row.get(1),
        service: row.get(2),
        role: row.get(3),
        shards: row.get(4),
        tenant: row.get(5),
        host: row.get(6),
        version: row.get(7),
        image: row.get(8),
        digest: row.get(9),
        release_id: row.get(10),
        state: row.get(11),
        drain_requested: row.get(12),
        slots: row.get(13),
        busy: row.get(14),
        started_at: row.get(15),
        seen_at: row.get(16),
        silent: row.get::<Option<f64>>(17).map(Duration::from_secs_f64),
    }
}
