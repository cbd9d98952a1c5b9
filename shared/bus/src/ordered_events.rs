use std::collections::BTreeSet;

use db::{Row, Statement, Type};
use model::{Stage, Tenant, TraceId};

use crate::events::{EventRow, event, event_columns};
use crate::statement::{full, statement};
use crate::{Bus, BusError, InOrder};

pub(crate) static EVENTS_ANCHOR: Statement =
    statement("bus.events_anchor", "select newest, writing from public.bus_events_anchor()", &[]);

pub(crate) static EVENTS_IN_ORDER: Statement = statement(
    "bus.events_in_order",
    concat!(
        "select ",
        event_columns!(),
        ", writing from public.bus_events_in_order(p_after => $1, p_limit => $2, p_look => $3)"
    ),
    &[Type::INT8, Type::INT8, Type::BOOL],
);

pub(crate) static EVENTS_BETWEEN: Statement = statement(
    "bus.events_between",
    concat!(
        "select ",
        event_columns!(),
        " from public.bus_events_between(
            p_after => $1, p_upto => $2, p_limit => $3, p_tenant => $4, p_trace_id => $5)"
    ),
    &[Type::INT8, Type::INT8, Type::INT8, Type::TEXT, Type::TEXT],
);

pub(crate) static TRACES_OVER: Statement = statement(
    "bus.traces_over",
    "select trace_id, tenant, last_event
    from public.bus_traces_over(p_traces => $1, p_tenants => $2)",
    &[Type::TEXT_ARRAY, Type::TEXT_ARRAY],
);

pub(crate) static TRACE_KNOWN: Statement = statement(
    "bus.trace_known",
    "select public.bus_trace_known(p_trace_id => $1, p_tenant => $2)",
    &[Type::TEXT, Type::TEXT],
);

pub(crate) static OPEN_TO: Statement = statement(
    "bus.open_to",
    "select public.bus_is_open(p_service => $1, p_role => $2, p_client => $3)",
    &[Type::TEXT, Type::TEXT, Type::TEXT],
);

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
        let most = self.most_rows();
        let mut rows =
            self.db().query(&EVENTS_IN_ORDER, &[&position, &most, &order.waits()]).await?;
        let writing = writers(&rows[0], 13);
        // Nothing new is one row without an event.
        rows.retain(|row| row.get::<Option<i64>>(0).is_some());
        let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let ready = order.saw(&numbers, full(rows.len(), most), writing.as_ref());
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
        let most = self.most_rows();
        let rows =
            self.db().query(&EVENTS_BETWEEN, &[&after, &upto, &most, &tenant, &trace]).await?;
        Ok(EventPage { more: full(rows.len(), most), events: rows.iter().map(event).collect() })
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
    row.get::<Option<Vec<String>>>(column).map(|names| names.into_iter().collect())
}
