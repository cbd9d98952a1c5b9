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
    "with ready as (
        select lane_id, count(*) as count, min(id) as oldest from cogo.ready group by lane_id
    ),
    delayed as (select lane_id, count(*) as count from cogo.later group by lane_id),
    waiting as (select lane_id, count(*) as count from cogo.ordered where not placed group by lane_id),
    claimed as (select lane_id, count(*) as count from cogo.leases group by lane_id),
    recent as materialized (
        select id, status, done_at from cogo.receipts order by id desc limit $1
    ),
    ended as (
        select message.service, message.role, message.shard, message.tenant,
            count(*) filter (where recent.status = 'done') as done,
            count(*) filter (where recent.status = 'failed') as failed
        from recent join cogo.agent_messages as message on message.id = recent.id
        where recent.done_at > now() - interval '1 hour'
        group by 1, 2, 3, 4
    ),
    standing as (
        select lane.service, lane.role, lane.shard, lane.tenant,
            coalesce(sum(ready.count), 0)::bigint as ready,
            coalesce(sum(delayed.count), 0)::bigint as delayed,
            coalesce(sum(waiting.count), 0)::bigint as waiting,
            coalesce(sum(claimed.count), 0)::bigint as claimed,
            min(greatest(oldest.created_at, oldest.retry_at)) as ready_since
        from cogo.lanes as lane
        left join ready on ready.lane_id = lane.id
        left join delayed on delayed.lane_id = lane.id
        left join waiting on waiting.lane_id = lane.id
        left join claimed on claimed.lane_id = lane.id
        left join cogo.agent_messages as oldest on oldest.id = ready.oldest
        group by 1, 2, 3, 4
    )
    select standing.service, standing.role, standing.shard, standing.tenant,
        coalesce(settings.paused, false),
        standing.ready, standing.delayed, standing.waiting, standing.claimed,
        -- greatest() would make a zero of nothing.
        case when standing.ready_since is not null then
            greatest(0, extract(epoch from clock_timestamp() - standing.ready_since))::float8 end,
        coalesce(ended.done, 0), coalesce(ended.failed, 0),
        -- Fewer than asked for means that these were all.
        (select count(*) = $1 and min(done_at) > now() - interval '1 hour' from recent)
    from standing
    left join ended using (service, role, shard, tenant)
    left join public.bus_routes as settings
        on settings.service = standing.service and settings.role = standing.role
    order by 1, 2, 3, 4",
    &[Type::INT8],
);

impl Bus {
    /// How deep every route is, by tenant. Counts the narrow tables, so it stays quick with a
    /// million messages queued and more of them finished.
    pub async fn depth(&self) -> Result<Depths, BusError> {
        let rows = self.db().query(&DEPTH, &[&RECEIPTS_LOOKED_AT]).await?;
        let partial = rows.first().is_some_and(|row| row.get::<_, Option<bool>>(12) == Some(true));
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
        oldest_ready: row.get::<_, Option<f64>>(9).map(Duration::from_secs_f64),
        done_last_hour: row.get(10),
        failed_last_hour: row.get(11),
    }
}

/// Reads service, role, shard and tenant from four columns that follow each other.
pub(crate) fn route(row: &Row, first: usize) -> Route {
    let stage = Stage::new(row.get::<_, Word>(first), row.get::<_, Word>(first + 1));
    Route::new(stage, row.get::<_, Shard>(first + 2)).for_tenant(row.get::<_, Tenant>(first + 3))
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
