use std::time::Duration;

use db::{Row, Statement, Type};
use model::{Route, Shard, Stage, Tenant, Word};
use serde::Serialize;

use crate::statement::statement;
use crate::{Bus, BusError};

/// How much stands where on a route, for one tenant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Depth {
    /// With its tenant.
    pub route: Route,
    pub paused: bool,
    /// May be claimed now.
    pub ready: i64,
    /// Waits for a time: asked for by its producer, or after a failed attempt.
    pub delayed: i64,
    /// Waits for another message of the same ordering key.
    pub waiting: i64,
    pub claimed: i64,
    /// How long the oldest ready message has been ready.
    #[serde(rename = "oldest_ready_s", serialize_with = "seconds")]
    pub oldest_ready: Option<Duration>,
    pub done_last_hour: i64,
    pub failed_last_hour: i64,
}

/// The depth of every route that ever had a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Depths {
    pub routes: Vec<Depth>,
    /// The last hour had more ends than were looked at, so its counts are lower bounds.
    pub last_hour_is_partial: bool,
}

/// Receipts carry no time that an index knows, and a busy bus writes millions an hour; as many of
/// the newest messages as one can look at in a moment must do.
const RECEIPTS_LOOKED_AT: i64 = 50_000;

pub(crate) static DEPTH: Statement = statement(
    "bus.depth",
    "select service, role, shard, tenant, paused, ready, delayed, waiting, claimed, oldest_ready_s,
        done_last_hour, failed_last_hour, last_hour_is_partial
    from public.bus_depth(p_recent => $1)",
    &[Type::INT8],
);

impl Bus {
    /// How deep every route is, by tenant. Counts the narrow tables, so it stays quick with a
    /// million messages queued and more of them finished.
    pub async fn depth(&self) -> Result<Depths, BusError> {
        let rows = self.db().query(&DEPTH, &[&RECEIPTS_LOOKED_AT]).await?;
        let partial = rows.first().is_some_and(|row| row.get::<Option<bool>>(12) == Some(true));
        Ok(Depths { routes: rows.iter().map(depth).collect(), last_hour_is_partial: partial })
    }
}

fn depth(row: &Row) -> Depth {
    Depth {
        route: route(row, 0),
        paused: row.get(4),
        ready: row.get(5),
        delayed: row.get(6),
        waiting: row.get(7),
        claimed: row.get(8),
        oldest_ready: row.get::<Option<f64>>(9).map(Duration::from_secs_f64),
        done_last_hour: row.get(10),
        failed_last_hour: row.get(11),
    }
}

/// Reads service, role, shard and tenant from four columns that follow each other.
pub(crate) fn route(row: &Row, first: usize) -> Route {
    let stage = Stage::new(row.get::<Word>(first), row.get::<Word>(first + 1));
    Route::new(stage, row.get::<Shard>(first + 2)).for_tenant(row.get::<Tenant>(first + 3))
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
pub(crate) fn seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
