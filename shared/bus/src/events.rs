use std::time::Instant;

use db::{Json, Row, Statement, Type};
use model::{MessageId, Route, Shard, Stage, Tenant, TraceId, Word};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::history::{MessageState, state, state_columns};
use crate::statement::statement;
use crate::{Bus, BusError, Follow};

/// What happened: a row of `bus_events`.
#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// A text and not an `EventType`: whoever reads must not fail on what others wrote.
    pub event_type: String,
    pub message_id: Option<MessageId>,
    pub trace_id: TraceId,
    /// Of the message it is about, without the tenant.
    pub route: Option<Route>,
    /// Where an event is about a stage and no message of it.
    pub stage: Option<Stage>,
    pub tenant: Tenant,
    pub project_id: Option<Uuid>,
    pub agent_id: Option<String>,
    pub reason: Option<String>,
    pub payload: Value,
}

macro_rules! event_columns {
    () => {
        "id, created_at, event_type, message_id, trace_id, service, role, shard, tenant,
        project_id, agent_id, reason, payload"
    };
}
pub(crate) use event_columns;

/// What became visible since the last look. The numbers and the transactions come in one statement,
/// so that they are of one snapshot.
pub(crate) static EVENTS_SINCE: Statement = statement(
    "bus.events_since",
    concat!(
        "select ",
        event_columns!(),
        ", oldest_running, next_transaction from public.bus_events_since(p_after => $1, p_skipped => $2, p_limit => $3)"
    ),
    &[Type::INT8, Type::INT8_ARRAY, Type::INT8],
);

pub(crate) static MESSAGES_SINCE: Statement = statement(
    "bus.messages_since",
    concat!(
        "select ",
        state_columns!(),
        ", oldest_running, next_transaction from public.bus_messages_since(p_after => $1, p_skipped => $2, p_limit => $3)"
    ),
    &[Type::INT8, Type::INT8_ARRAY, Type::INT8],
);

pub(crate) static NEWEST_EVENT: Statement =
    statement("bus.newest_event", "select public.bus_newest_event()", &[]);
pub(crate) static NEWEST_MESSAGE: Statement =
    statement("bus.newest_message", "select public.bus_newest_message()", &[]);

/// How far below the newest number a transaction may still be writing when we start to follow.
const LOOK_BACK: i64 = 1_000;

impl Bus {
    /// The events that became visible since the last call with this cursor, each exactly once, in
    /// the order of their numbers. The first call brings those of the recent past.
    pub async fn events_since(&self, follow: &mut Follow) -> Result<Vec<EventRow>, BusError> {
        let rows = self.read_on(follow, &NEWEST_EVENT, &EVENTS_SINCE, 13).await?;
        Ok(rows.iter().map(event).collect())
    }

    /// The same for messages, without their payloads.
    pub async fn messages_since(&self, follow: &mut Follow) -> Result<Vec<MessageState>, BusError> {
        let rows = self.read_on(follow, &NEWEST_MESSAGE, &MESSAGES_SINCE, 29).await?;
        Ok(rows.iter().map(state).collect())
    }

    async fn read_on(
        &self,
        follow: &mut Follow,
        newest: &Statement,
        since: &Statement,
        transactions: usize,
    ) -> Result<Vec<Row>, BusError> {
        if !follow.started {
            let newest: i64 = self.db().query_one(newest, &[]).await?.get(0);
            follow.high = (newest - LOOK_BACK).max(0);
            follow.started = true;
        }
        let mut rows =
            self.db().query(since, &[&follow.high, &follow.skipped(), &self.most_rows()]).await?;
        let running = (rows[0].get(transactions), rows[0].get(transactions + 1));
        // Nothing new is one row without an event.
        rows.retain(|row| row.get::<Option<i64>>(0).is_some());
        let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        follow.saw(Instant::now(), &numbers, running.0, running.1);
        Ok(rows)
    }
}

pub(crate) fn event(row: &Row) -> EventRow {
    let words: (Option<Word>, Option<Word>) = (row.get(5), row.get(6));
    let stage = words.0.zip(words.1).map(|(service, role)| Stage::new(service, role));
    let shard: Option<Shard> = row.get(7);
    let Json(payload) = row.get::<Json<Value>>(12);
    EventRow {
        id: row.get(0),
        created_at: row.get(1),
        event_type: row.get(2),
        message_id: row.get(3),
        trace_id: row.get(4),
        route: stage.clone().zip(shard).map(|(stage, shard)| Route::new(stage, shard)),
        stage,
        tenant: row.get(8),
        project_id: row.get(9),
        agent_id: row.get(10),
        reason: row.get(11),
        payload,
    }
}
