use std::time::Duration;

use bus::{Bus, BusError, NewMessage, Published};
use db::{DbError, Json, Row, Statement, Type};
use messages::{Intent, Payload};
use model::{MessageId, Route, Tenant, quote};
use tracing::debug;

use crate::api_error::ApiError;

/// Publishes what callers send, and keeps each tenant's undecided intents below a limit. The limit
/// is held by the database, so it is the same for all replicas.
#[derive(Clone)]
pub(crate) struct Admission {
    bus: Bus,
    limit: i32,
}

pub(crate) static INTENT_PUBLISH: Statement = Statement {
    name: "agent_core.intent_publish",
    sql: "select verdict, id, trace_id, attached
        from public.intent_publish(p_message => $1, p_limit => $2)",
    types: &[Type::JSONB, Type::INT4],
};

pub(crate) static INTENT_REPLAY: Statement = Statement {
    name: "agent_core.intent_replay",
    sql: "select verdict, id from public.intent_replay(p_id => $1, p_limit => $2)",
    types: &[Type::INT8, Type::INT4],
};

pub(crate) static INTENT_UNDECIDED: Statement = Statement {
    name: "agent_core.intent_undecided",
    sql: "select public.intent_undecided()",
    types: &[],
};

/// The database asks to come again when the limit came near while it looked; then it waits its turn.
const MOST_TRIES: usize = 5;
/// Deciding takes milliseconds; a full second empties most of a queue.
const COME_BACK: Duration = Duration::from_secs(1);

impl Admission {
    pub(crate) fn new(bus: Bus, limit: i32) -> Self {
        Self { bus, limit }
    }

    pub(crate) async fn publish(
        &self,
        route: &Route,
        message: NewMessage,
    ) -> Result<Published, ApiError> {
        if *route.stage() != Intent::stage() {
            return Ok(self.bus.publish(message).await?);
        }
        let tenant = route.tenant().cloned().unwrap_or_default();
        let message = Json(message);
        let row = self.admitted(&tenant, &INTENT_PUBLISH, &[&message, &self.limit]).await?;
        Ok(Published { id: row.get(1), trace: row.get(2), attached: row.get(3) })
    }

    pub(crate) async fn replay(&self, route: &Route, id: MessageId) -> Result<MessageId, ApiError> {
        if *route.stage() != Intent::stage() {
            return Ok(self.bus.replay(id).await?);
        }
        let tenant = route.tenant().cloned().unwrap_or_default();
        let row = self.admitted(&tenant, &INTENT_REPLAY, &[&id, &self.limit]).await?;
        Ok(row.get(1))
    }

    pub(crate) async fn undecided(&self) -> Result<i32, DbError> {
        Ok(self.bus.db().query_one(&INTENT_UNDECIDED, &[]).await?.get(0))
    }

    async fn admitted(
        &self,
        tenant: &Tenant,
        statement: &Statement,
        parameters: &[&dyn db::Parameter],
    ) -> Result<Row, ApiError> {
        for _ in 0..MOST_TRIES {
            let row = self.bus.db().query_one(statement, parameters).await;
            let row = row.map_err(BusError::from)?;
            match row.get::<String>(0).as_str() {
                "yes" => return Ok(row),
                "again" => debug!("the limit came near while it was looked at; looking again"),
                _ => break,
            }
        }
        Err(ApiError::too_many(
            "too_many_undecided",
            format!(
                "{} intents of tenant {} wait to be decided already",
                self.limit,
                quote(tenant.as_str())
            ),
            "wait as long as `Retry-After` says, and send it again with the same `Idempotency-Key`",
            COME_BACK,
        ))
    }
}
