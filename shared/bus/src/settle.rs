use std::collections::HashSet;
use std::time::Duration;

use db::{Json, Statement, Type};
use messages::{Event, Payload};
use model::{MessageId, Route};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::new_message::millis;
use crate::statement::statement;
use crate::{Bus, BusError, InvalidPayload, NewEvent, NewMessage};

/// What comes of a message, with everything that follows from it, to be committed at once.
///
/// ```ignore
/// Settle::done().result("3 files").publish(&BuildTest { .. })?.event(&CodegenDone { .. })?
/// ```
#[must_use = "a message is settled when its outcome is returned"]
#[derive(Clone, Debug, Serialize)]
pub struct Settle {
    outcome: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_snippet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publish: Vec<NewMessage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<NewEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Done,
    Retry,
    Fail,
    Release,
    Cancel,
}

/// Errors and results are kept short in the row; whatever is long belongs to an artifact.
const LONGEST_TEXT: usize = 4_000;

impl Settle {
    pub fn done() -> Self {
        Self::new(Kind::Done)
    }

    /// Another attempt, after the route's backoff or after `after`; the last one fails for good.
    pub fn retry(error: impl Into<String>) -> Self {
        Self { error: Some(short(&error.into())), ..Self::new(Kind::Retry) }
    }

    /// No other attempt would help: to the dead letters, with a reason code and an explanation.
    pub fn fail(reason: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            error: Some(short(&error.into())),
            ..Self::new(Kind::Fail)
        }
    }

    /// Gives the message back untouched: our shutdown is not its failure, so no attempt is spent. It
    /// may be claimed at once, or [`after`](Self::after) a while.
    pub fn release() -> Self {
        Self::new(Kind::Release)
    }

    /// We were asked to stop, and did.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancel)
    }

    fn new(outcome: Kind) -> Self {
        Self {
            outcome,
            result_snippet: None,
            result_url: None,
            reason: None,
            error: None,
            retry_in_ms: None,
            publish: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn after(self, wait: Duration) -> Self {
        Self { retry_in_ms: Some(millis(wait)), ..self }
    }

    pub fn result(self, snippet: impl AsRef<str>) -> Self {
        Self { result_snippet: Some(short(snippet.as_ref())), ..self }
    }

    pub fn result_url(self, url: impl Into<String>) -> Self {
        Self { result_url: Some(url.into()), ..self }
    }

    /// Hands on to the next stage, under the same trace and tenant.
    pub fn publish<P: Payload>(self, payload: &P) -> Result<Self, InvalidPayload> {
        Ok(self.follow_up(NewMessage::of(payload)?))
    }

    pub fn publish_to(
        self,
        route: &Route,
        payload: &impl Serialize,
    ) -> Result<Self, InvalidPayload> {
        Ok(self.follow_up(NewMessage::to(route, payload)?))
    }

    pub fn follow_up(mut self, message: NewMessage) -> Self {
        self.publish.push(message);
        self
    }

    pub fn event<E: Event>(self, event: &E) -> Result<Self, InvalidPayload> {
        Ok(self.note(NewEvent::of(event)?))
    }

    pub fn note(mut self, event: NewEvent) -> Self {
        self.events.push(event);
        self
    }

    pub fn is_done(&self) -> bool {
        self.outcome == Kind::Done
    }

    fn is_plain(&self) -> bool {
        self.is_done()
            && self.result_snippet.is_none()
            && self.result_url.is_none()
            && self.reason.is_none()
            && self.publish.is_empty()
            && self.events.len() <= 1
            && self.events.iter().all(NewEvent::is_plain)
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A message's lease and what comes of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub id: MessageId,
    pub lease: Uuid,
    #[serde(flatten)]
    pub settle: Settle,
}

/// What the database says to an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    /// The lease is no longer ours, and nothing was changed: another worker has the message, or it
    /// ended; possibly by this very outcome, if an earlier try was cut off before its answer came.
    Lost,
}

pub(crate) static SETTLE: Statement = statement(
    "bus.settle",
    "select accepted from public.bus_settle(p_worker => $1, p_outcomes => $2)",
    &[Type::TEXT, Type::JSONB],
);

pub(crate) static DONE: Statement = statement(
    "bus.done",
    "select public.bus_done(p_worker => $1, p_ids => $2, p_leases => $3, p_event_types => $4,
        p_event_payloads => $5)",
    &[Type::TEXT, Type::INT8_ARRAY, Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::JSONB_ARRAY],
);

impl Bus {
    /// Settles a batch and answers each. Plain `done`s take the short way and commit apart from the
    /// others; every single message is settled with all that follows from it, or not at all.
    pub async fn settle(
        &self,
        worker: &str,
        outcomes: &[Outcome],
    ) -> Result<Vec<Answer>, BusError> {
        // The short way answers by message, so only one outcome of each may go there: beside it there
        // may be one under a lease that was lost before we claimed the same message again.
        let mut seen = HashSet::new();
        let (plain, full): (Vec<_>, Vec<_>) = outcomes
            .iter()
            .enumerate()
            .partition(|(_, outcome)| outcome.settle.is_plain() && seen.insert(outcome.id));
        let mut answers = vec![Answer::Lost; outcomes.len()];
        if !plain.is_empty() {
            let mut accepted = self.settle_plain(worker, &plain).await?;
            accepted.sort_unstable();
            for (place, outcome) in &plain {
                if accepted.binary_search(&outcome.id.get()).is_ok() {
                    answers[*place] = Answer::Accepted;
                }
            }
        }
        for full in full.chunks(self.most_answers()) {
            let outcomes: Vec<&Outcome> = full.iter().map(|(_, outcome)| *outcome).collect();
            let rows = self.db().query(&SETTLE, &[&worker, &Json(outcomes)]).await?;
            for ((place, _), row) in full.iter().zip(&rows) {
                if row.get(0) {
                    answers[*place] = Answer::Accepted;
                }
            }
        }
        Ok(answers)
    }

    async fn settle_plain(
        &self,
        worker: &str,
        outcomes: &[(usize, &Outcome)],
    ) -> Result<Vec<i64>, BusError> {
        let ids: Vec<MessageId> = outcomes.iter().map(|(_, outcome)| outcome.id).collect();
        let leases: Vec<Uuid> = outcomes.iter().map(|(_, outcome)| outcome.lease).collect();
        let events = outcomes.iter().map(|(_, outcome)| outcome.settle.events.first());
        let types: Vec<Option<&str>> =
            events.clone().map(|event| event.map(|event| event.event_type.as_str())).collect();
        let payloads: Vec<Option<Json<&RawValue>>> =
            events.map(|event| event?.payload.as_deref().map(Json)).collect();
        // Null, and not an array of nulls: most batches have no events, and then nothing is sent.
        let (types, payloads) = match types.iter().any(Option::is_some) {
            true => (Some(types), Some(payloads)),
            false => (None, None),
        };
        let rows = self.db().query(&DONE, &[&worker, &ids, &leases, &types, &payloads]).await?;
        Ok(rows[0].get(0))
    }

    /// Settles inside a transaction of the caller's, so that what a handler writes to this database
    /// and the end of its message are one thing. Commit only what was [`Answer::Accepted`].
    pub async fn settle_in(
        &self,
        transaction: &db::Transaction<'_>,
        worker: &str,
        outcome: &Outcome,
    ) -> Result<Answer, BusError> {
        let rows = transaction.query(&SETTLE, &[&worker, &Json([outcome])]).await?;
        Ok(if rows[0].get(0) { Answer::Accepted } else { Answer::Lost })
    }
}
