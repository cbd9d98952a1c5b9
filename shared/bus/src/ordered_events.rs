use std::collections::BTreeSet;

use db::{Row, Statement, Type};
use model::{Stage, Tenant, TraceId};

use crate::events::{EventRow, event};
use crate::statement::statement;
use crate::{Bus, BusError, InOrder};

/// Whose transactions hold the lock of an insert into `bus_events`. In one statement with the rows,
/// because its snapshot is older than this look at the locks: see [`InOrder`].
macro_rules! writing {
    () => {
        "array(select locked.virtualtransaction from pg_catalog.pg_locks as locked
            where locked.locktype = 'relation' and locked.relation = 'public.bus_events'::regclass
                and locked.database = (select oid from pg_catalog.pg_database
                    where datname = current_database())
                and locked.mode = 'RowExclusiveLock' and locked.granted)"
    };
}

pub(crate) static EVENTS_ANCHOR: Statement = statement(
    "bus.events_anchor",
    concat!("select coalesce((select max(id) from public.bus_events), 0), ", writing!()),
    &[],
);

pub(crate) static EVENTS_IN_ORDER: Statement = statement(
    "bus.events_in_order",
    concat!(
        "with fresh as (select * from public.bus_events where id > $1 order by id limit $2)
        select fresh.id, fresh.created_at, fresh.event_type, fresh.message_id, fresh.trace_id,
            fresh.service, fresh.role, fresh.shard, fresh.tenant, fresh.project_id, fresh.agent_id,
            fresh.reason, fresh.payload, looked.writing
        from (select case when $3 then ",
        writing!(),
        " end as writing) as looked left join fresh on true
        order by fresh.id"
    ),
    &[Type::INT8, Type::INT8, Type::BOOL],
);

pub(crate) static EVENTS_BETWEEN: Statement = statement(
    "bus.events_between",
    "select id, created_at, event_type, message_id, trace_id, service, role, shard, tenant,
        project_id, agent_id, reason, payload
    from public.bus_events
    where id > $1 and id <= $2 and ($3::text is null or tenant = $3)
    order by id limit $4",
    &[Type::INT8, Type::INT8, Type::TEXT, Type::INT8],
);

/// Apart from the other, so that each has the index that suits it.
pub(crate) static TRACE_EVENTS_BETWEEN: Statement = statement(
    "bus.trace_events_between",
    "select id, created_at, event_type, message_id, trace_id, service, role, shard, tenant,
        project_id, agent_id, reason, payload
    from public.bus_events
    where trace_id = $5 and id > $1 and id <= $2 and ($3::text is null or tenant = $3)
    order by id limit $4",
    &[Type::INT8, Type::INT8, Type::TEXT, Type::INT8, Type::TEXT],
);

pub(crate) static TRACES_OVER: Statement = statement(
    "bus.traces_over",
    "select asked.trace_id, nullif(asked.tenant, ''),
        coalesce((select max(event.id) from public.bus_events as event
            where event.trace_id = asked.trace_id
                and (asked.tenant = '' or event.tenant = asked.tenant)), 0)
    from unnest($1::text[], $2::text[]) as asked(trace_id, tenant)
    where not exists (
        select from public.agent_messages as message
        where message.trace_id = asked.trace_id
            and (asked.tenant = '' or message.tenant = asked.tenant)
            and message.status in ('queued', 'claimed'))",
    &[Type::TEXT_ARRAY, Type::TEXT_ARRAY],
);

pub(crate) static TRACE_KNOWN: Statement = statement(
    "bus.trace_known",
    "select exists (select from public.agent_messages
            where trace_id = $1 and ($2::text is null or tenant = $2))
        or exists (select from public.bus_events
            where trace_id = $1 and ($2::text is null or tenant = $2))",
    &[Type::TEXT, Type::TEXT],
);

pub(crate) static OPEN_TO: Statement = statement(
    "bus.open_to",
    "select exists (select from public.bus_routes
        where service = $1 and role = $2 and $3 = any (open_to))",
    &[Type::TEXT, Type::TEXT, Type::TEXT],
);

/// As much as one look brings.
const MOST_AT_ONCE: i64 = 1_000;

/// A trace as somebody may see it: all of it, or one tenant's part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceScope {
    pub trace: TraceId,
    pub tenant: Option<Tenant>,
}

/// Some events of the past, in order.
#[derive(Clone, Debug)]
pub struct EventPage {
    pub events: Vec<EventRow>,
    /// There are more between the last of these and where the page was to end.
    pub more: bool,
}

impl Bus {
    /// The events that can be handed out now, each once, strictly in the order of their numbers.
    pub async fn events_in_order(&self, order: &mut InOrder) -> Result<Vec<EventRow>, BusError> {
        let Some(position) = order.position() else {
            let row = self.db().query_one(&EVENTS_ANCHOR, &[]).await?;
            order.anchor(row.get(0), &writers(&row, 1).unwrap_or_default());
            return Ok(Vec::new());
        };
        let mut rows =
            self.db().query(&EVENTS_IN_ORDER, &[&position, &MOST_AT_ONCE, &order.waits()]).await?;
        let writing = writers(&rows[0], 13);
        // Nothing new is one row without an event.
        rows.retain(|row| row.get::<_, Option<i64>>(0).is_some());
        let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let ready = order.saw(&numbers, is_full(rows.len()), writing.as_ref());
        Ok(rows[..ready].iter().map(event).collect())
    }

    /// The highest number that is visible: not a place to start from, but good to tell how far
    /// somebody is behind.
    pub async fn newest_event(&self) -> Result<i64, BusError> {
        Ok(self.db().query_one(&crate::events::NEWEST_EVENT, &[]).await?.get(0))
    }

    /// What happened after one number and up to another. Complete if an [`InOrder`] has reached the
    /// second: then nothing at or below it can come any more.
    pub async fn events_between(
        &self,
        after: i64,
        upto: i64,
        trace: Option<TraceId>,
        tenant: Option<&Tenant>,
    ) -> Result<EventPage, BusError> {
        let rows = match trace {
            Some(trace) => {
                self.db()
                    .query(&TRACE_EVENTS_BETWEEN, &[&after, &upto, &tenant, &MOST_AT_ONCE, &trace])
                    .await?
            }
            None => {
                self.db().query(&EVENTS_BETWEEN, &[&after, &upto, &tenant, &MOST_AT_ONCE]).await?
            }
        };
        Ok(EventPage { more: is_full(rows.len()), events: rows.iter().map(event).collect() })
    }

    /// Those of the traces in which every message is final, each with the number of its last event.
    pub async fn traces_over(
        &self,
        traces: &[TraceScope],
    ) -> Result<Vec<(TraceScope, i64)>, BusError> {
        let ids: Vec<TraceId> = traces.iter().map(|scope| scope.trace).collect();
        let tenants: Vec<&str> =
            traces.iter().map(|scope| scope.tenant.as_ref().map_or("", Tenant::as_str)).collect();
        let rows = self.db().query(&TRACES_OVER, &[&ids, &tenants]).await?;
        let scope = |row: &Row| TraceScope { trace: row.get(0), tenant: row.get(1) };
        Ok(rows.iter().map(|row| (scope(row), row.get(2))).collect())
    }

    /// Whether there is a message or an event of a trace.
    pub async fn knows_trace(&self, scope: &TraceScope) -> Result<bool, BusError> {
        Ok(self.db().query_one(&TRACE_KNOWN, &[&scope.trace, &scope.tenant]).await?.get(0))
    }

    /// Whether an operator has opened a stage to a client role, such as `authenticated`.
    pub async fn is_open_to(&self, stage: &Stage, role: &str) -> Result<bool, BusError> {
        let (service, stage_role) = (stage.service(), stage.role());
        Ok(self.db().query_one(&OPEN_TO, &[&service, &stage_role, &role]).await?.get(0))
    }
}

fn writers(row: &Row, column: usize) -> Option<BTreeSet<String>> {
    row.get::<_, Option<Vec<String>>>(column).map(|names| names.into_iter().collect())
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= MOST_AT_ONCE)
}
