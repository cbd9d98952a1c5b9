use std::fmt;
use std::str::FromStr;

use db::{Json, Row, Statement, Type};
use model::{MessageId, Route, TraceId, Traceparent};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::depth::route;
use crate::events::{EventRow, event, event_columns};
use crate::statement::{full, statement};
use crate::{Bus, BusError, TraceScope};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Queued,
    Claimed,
    Done,
    Failed,
    Cancelled,
}

impl Status {
    /// It will never change again.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Claimed => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        let all = [Self::Queued, Self::Claimed, Self::Done, Self::Failed, Self::Cancelled];
        let found = all.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of a message; it is queued, claimed, done, failed or cancelled")]
pub struct UnknownStatus(String);

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// A message and where it stands, as `agent_messages` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct MessageState {
    pub id: MessageId,
    /// With its tenant.
    pub route: Route,
    pub status: Status,
    pub attempts: i32,
    pub max_attempts: Option<i32>,
    pub priority: i16,
    pub trace_id: TraceId,
    pub traceparent: Option<Traceparent>,
    pub parent_id: Option<MessageId>,
    pub replay_of: Option<MessageId>,
    pub project_id: Option<Uuid>,
    pub idempotency_key: Option<String>,
    pub ordering_key: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Not claimed before.
    #[serde(with = "time::serde::rfc3339::option")]
    pub retry_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    pub claimed_by: Option<String>,
    /// When the running or last attempt began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub claimed_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub lease_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub done_at: Option<OffsetDateTime>,
    /// What the last failed attempt said.
    pub error: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_error_at: Option<OffsetDateTime>,
    pub result_snippet: Option<String>,
    pub result_url: Option<String>,
    pub cancel_requested: bool,
    /// Only read where one message is asked for: a trace may have many, and each may be large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

/// All that follows from one intent.
#[derive(Clone, Debug, Serialize)]
pub struct TraceHistory {
    pub trace_id: TraceId,
    /// By the server's clock, which all other times are of.
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    /// Parents come before their children.
    pub messages: Vec<MessageState>,
    pub events: Vec<EventRow>,
    /// There are more messages or events than were read.
    pub truncated: bool,
}

macro_rules! state_columns {
    () => {
        "id, service, role, shard, tenant, status, attempts, max_attempts, priority, trace_id,
        traceparent, parent_id, replay_of, project_id, idempotency_key, ordering_key, created_at,
        retry_at, expires_at, claimed_by, claimed_at, lease_until, done_at, error, last_error_at,
        result_snippet, result_url, cancel_requested, payload"
    };
}
pub(crate) use state_columns;

pub(crate) static MESSAGE: Statement = statement(
    "bus.message",
    concat!("select ", state_columns!(), " from public.bus_message(p_id => $1)"),
    &[Type::INT8],
);

pub(crate) static STATES: Statement = statement(
    "bus.states",
    concat!("select ", state_columns!(), " from public.bus_states(p_ids => $1)"),
    &[Type::INT8_ARRAY],
);

pub(crate) static TRACE_MESSAGES: Statement = statement(
    "bus.trace_messages",
    concat!(
        "select ",
        state_columns!(),
        ", read_at from public.bus_trace_messages(p_trace_id => $1, p_limit => $2, p_tenant => $3)"
    ),
    &[Type::TEXT, Type::INT8, Type::TEXT],
);

pub(crate) static TRACE_EVENTS: Statement = statement(
    "bus.trace_events",
    concat!(
        "select ",
        event_columns!(),
        " from public.bus_trace_history(p_trace_id => $1, p_limit => $2, p_tenant => $3)"
    ),
    &[Type::TEXT, Type::INT8, Type::TEXT],
);

impl Bus {
    /// One message with its payload; `None` if there is none of that number (any more).
    pub async fn message(&self, id: MessageId) -> Result<Option<MessageState>, BusError> {
        let row = self.db().query_opt(&MESSAGE, &[&id]).await?;
        Ok(row.as_ref().map(state))
    }

    /// Where these messages stand, in the order of their numbers; those that are gone are left out.
    pub async fn states(&self, ids: &[MessageId]) -> Result<Vec<MessageState>, BusError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let mut states = Vec::with_capacity(ids.len());
        for ids in ids.chunks(self.most_answers()) {
            let rows = self.db().query(&STATES, &[&ids]).await?;
            states.extend(rows.iter().map(state));
        }
        Ok(states)
    }

    /// A whole trace; `None` if nothing of it is there.
    pub async fn trace(&self, trace: TraceId) -> Result<Option<TraceHistory>, BusError> {
        self.trace_in(&TraceScope { trace, tenant: None }).await
    }

    /// The same, or one tenant's part of it.
    pub async fn trace_in(&self, scope: &TraceScope) -> Result<Option<TraceHistory>, BusError> {
        let TraceScope { trace, ref tenant } = *scope;
        let most = self.most_rows();
        let messages = self.db().query(&TRACE_MESSAGES, &[&trace, &most, tenant]).await?;
        let events = self.db().query(&TRACE_EVENTS, &[&trace, &most, tenant]).await?;
        let truncated = full(messages.len(), most) || full(events.len(), most);
        let events: Vec<EventRow> = events.iter().map(event).collect();
        let read_at = messages.first().map(|row| row.get(29));
        let Some(read_at) = read_at.or_else(|| events.last().map(|event| event.created_at)) else {
            return Ok(None);
        };
        let messages = messages.iter().map(state).collect();
        Ok(Some(TraceHistory { trace_id: trace, read_at, messages, events, truncated }))
    }
}

pub(crate) fn state(row: &Row) -> MessageState {
    let status: String = row.get(5);
    MessageState {
        id: row.get(0),
        route: route(row, 1),
        status: status.parse().expect("the view says only these"),
        attempts: row.get(6),
        max_attempts: row.get(7),
        priority: row.get(8),
        trace_id: row.get(9),
        traceparent: row.get(10),
        parent_id: row.get(11),
        replay_of: row.get(12),
        project_id: row.get(13),
        idempotency_key: row.get(14),
        ordering_key: row.get(15),
        created_at: row.get(16),
        retry_at: row.get(17),
        expires_at: row.get(18),
        claimed_by: row.get(19),
        claimed_at: row.get(20),
        lease_until: row.get(21),
        done_at: row.get(22),
        error: row.get(23),
        last_error_at: row.get(24),
        result_snippet: row.get(25),
        result_url: row.get(26),
        cancel_requested: row.get(27),
        payload: row.get::<Option<Json<Box<RawValue>>>>(28).map(|Json(payload)| payload),
    }
}
