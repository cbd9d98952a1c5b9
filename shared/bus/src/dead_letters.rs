use db::{Json, Row, Statement, Type};
use model::{MessageId, Route, Stage, Tenant, TraceId};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::depth::route;
use crate::statement::statement;
use crate::{Bus, BusError};

/// A message that failed for good.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// The message's own number, by which it is shown and replayed.
    pub message_id: MessageId,
    /// With its tenant.
    pub route: Route,
    pub trace_id: TraceId,
    pub attempts: i32,
    pub reason: String,
    pub error: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub died_at: OffsetDateTime,
    pub replayed_as: Option<MessageId>,
    /// Only read where one letter is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

/// Which dead letters to list; `None` is any.
#[derive(Clone, Debug)]
pub struct LetterFilter {
    pub stage: Option<Stage>,
    pub reason: Option<String>,
    pub tenant: Option<Tenant>,
    /// Only those that nobody has replayed yet.
    pub open_only: bool,
    pub limit: u32,
}

pub(crate) static LETTERS: Statement = statement(
    "bus.letters",
    "select orig_id, service, role, shard, tenant, trace_id, attempts, reason, error, created_at,
        replayed_as, payload
    from public.bus_letters(p_service => $1, p_role => $2, p_reason => $3, p_tenant => $4,
        p_open_only => $5, p_limit => $6)",
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::BOOL, Type::INT8],
);

pub(crate) static LETTER: Statement = statement(
    "bus.letter",
    "select orig_id, service, role, shard, tenant, trace_id, attempts, reason, error, created_at,
        replayed_as, payload
    from public.bus_letter(p_id => $1)",
    &[Type::INT8],
);

impl Bus {
    /// Dead letters, the latest first.
    pub async fn dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, BusError> {
        let service = filter.stage.as_ref().map(|stage| stage.service().as_str());
        let role = filter.stage.as_ref().map(|stage| stage.role().as_str());
        let tenant = filter.tenant.as_ref().map(Tenant::as_str);
        let limit = i64::from(filter.limit);
        let rows = self
            .db()
            .query(&LETTERS, &[&service, &role, &filter.reason, &tenant, &filter.open_only, &limit])
            .await?;
        Ok(rows.iter().map(letter).collect())
    }

    /// The dead letter of a message, with its payload.
    pub async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, BusError> {
        let row = self.db().query_opt(&LETTER, &[&message]).await?;
        Ok(row.as_ref().map(letter))
    }
}

fn letter(row: &Row) -> DeadLetter {
    DeadLetter {
        message_id: row.get(0),
        route: route(row, 1),
        trace_id: row.get(5),
        attempts: row.get(6),
        reason: row.get(7),
        error: row.get(8),
        died_at: row.get(9),
        replayed_as: row.get(10),
        payload: row.get::<Option<Json<Box<RawValue>>>>(11).map(|Json(payload)| payload),
    }
}
