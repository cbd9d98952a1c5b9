use db::{Json, Statement, Type};
use model::MessageId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::events::{EventRow, event, event_columns};
use crate::history::{MessageState, Status, state, state_columns};
use crate::statement::statement;
use crate::{Bus, BusError};

/// A message, and all that tells why it stands where it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub message: MessageState,
    pub facts: MessageFacts,
}

/// What a message's own row does not tell. Moments are of the server's clock.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MessageFacts {
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    pub place: Place,
    /// Of what waits for a time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
    pub settings: RouteSettings,
    /// Since when its stage is paused, unless that is too long ago.
    #[serde(with = "time::serde::rfc3339::option")]
    pub paused_since: Option<OffsetDateTime>,
    pub receipt: Option<Receipt>,
    pub lease: Option<HeldLease>,
    /// Who holds it, or had it last.
    pub holder: Option<ServingWorker>,
    pub letter: Option<Letter>,
    /// `None`: no keeper ever swept.
    pub keeper_silent_s: Option<f64>,
    /// The nearest last.
    pub parents: Vec<Relative>,
    pub follow_ups: Vec<Relative>,
    pub replays: Vec<Relative>,
    /// The latest that are about it.
    pub events: Vec<OwnEvent>,
    /// Who could take it. Of what is queued only.
    #[serde(default)]
    pub workers: Vec<ServingWorker>,
    /// Ready messages before it in its lane, or messages before it in its stream; at most 10,000 are
    /// counted.
    pub ahead: Option<i64>,
    /// The message whose end it waits for.
    pub first: Option<Relative>,
    /// Of its stage, claimed at this moment. Of what is ready only.
    pub in_flight: Option<i64>,
    pub in_flight_tenant: Option<i64>,
    /// What the rate still allows at this moment. Of what is ready only.
    pub tokens: Option<f64>,
    pub tokens_tenant: Option<f64>,
}

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Ready,
    Later,
    /// Another of its ordering key comes first.
    Behind,
    Claimed,
    Ended,
}

/// How its stage is worked.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RouteSettings {
    pub lease_s: f64,
    pub max_attempts: i32,
    pub backoff_base_s: f64,
    pub backoff_cap_s: f64,
    pub ttl_s: Option<f64>,
    pub max_in_flight: Option<i64>,
    pub max_in_flight_per_tenant: Option<i64>,
    pub rate: Option<f64>,
    pub rate_per_tenant: Option<f64>,
    pub paused: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Receipt {
    pub status: String,
    pub attempts: i32,
    pub worker: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub claimed_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub done_at: OffsetDateTime,
    pub reason: Option<String>,
    pub error: Option<String>,
    pub result_snippet: Option<String>,
    pub result_url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct HeldLease {
    pub worker: String,
    #[serde(with = "time::serde::rfc3339")]
    pub claimed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub lease_until: OffsetDateTime,
    /// Negative once it has run out.
    pub left_s: f64,
    pub cancel_requested: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ServingWorker {
    pub id: String,
    pub agent_name: String,
    pub state: String,
    pub drain_requested: bool,
    pub slots: i32,
    pub busy: i32,
    /// It serves more stages than one, and does not say which.
    pub several: bool,
    pub silent_s: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Letter {
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub died_at: OffsetDateTime,
    pub replayed_as: Option<MessageId>,
}

/// Another message, in short.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Relative {
    pub id: MessageId,
    pub route: String,
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct OwnEvent {
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    pub event_type: String,
    pub reason: Option<String>,
    pub agent_id: Option<String>,
    pub payload: Value,
}

pub(crate) static EXPLAIN: Statement =
    statement("bus.explain", "select public.bus_explain(p_id => $1)", &[Type::INT8]);

pub(crate) static EVENT: Statement = statement(
    "bus.event",
    concat!("select ", event_columns!(), " from public.bus_event(p_id => $1)"),
    &[Type::INT8],
);

pub(crate) static HELD: Statement = statement(
    "bus.held",
    concat!("select ", state_columns!(), " from public.bus_held(p_worker => $1, p_limit => $2)"),
    &[Type::TEXT, Type::INT8],
);

/// A message may move between the two reads that make an explanation; it does not move for ever.
const LOOKS: usize = 5;

impl Bus {
    /// `None` if there is no message of that number (any more).
    pub async fn explain(&self, id: MessageId) -> Result<Option<Explained>, BusError> {
        let mut looks = 0;
        loop {
            let row = self.db().query_one(&EXPLAIN, &[&id]).await?;
            let Some(Json(facts)) = row.get::<Option<Json<Value>>>(0) else { return Ok(None) };
            let facts: MessageFacts = serde_json::from_value(facts)?;
            let Some(message) = self.message(id).await? else { return Ok(None) };
            looks += 1;
            if agree(&message, &facts) || looks == LOOKS {
                return Ok(Some(Explained { message, facts }));
            }
        }
    }

    pub async fn event(&self, id: i64) -> Result<Option<EventRow>, BusError> {
        let row = self.db().query_opt(&EVENT, &[&id]).await?;
        Ok(row.as_ref().map(event))
    }

    /// The messages that a worker holds, those it has had longest first.
    pub async fn held(&self, worker: &str, limit: u32) -> Result<Vec<MessageState>, BusError> {
        let rows = self.db().query(&HELD, &[&worker, &i64::from(limit)]).await?;
        Ok(rows.iter().map(state).collect())
    }
}

fn agree(message: &MessageState, facts: &MessageFacts) -> bool {
    let place = match message.status {
        Status::Queued => matches!(facts.place, Place::Ready | Place::Later | Place::Behind),
        Status::Claimed => facts.place == Place::Claimed,
        Status::Done | Status::Failed | Status::Cancelled => facts.place == Place::Ended,
    };
    place
        && facts.lease.as_ref().map(|lease| lease.claimed_at)
            == message.claimed_at.filter(|_| facts.place == Place::Claimed)
}
