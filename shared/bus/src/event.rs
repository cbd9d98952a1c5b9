use db::{Json, Statement, Type};
use messages::{Event, EventType};
use model::{MessageId, TraceId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::statement::statement;
use crate::{Bus, BusError, InvalidPayload};

/// An event to be recorded. About a message, it takes route, tenant and trace from it.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    pub(crate) event_type: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Box<RawValue>>,
}

impl NewEvent {
    pub fn new(event_type: EventType) -> Self {
        Self {
            event_type,
            message_id: None,
            trace_id: None,
            agent_id: None,
            reason: None,
            payload: None,
        }
    }

    pub fn of<E: Event>(event: &E) -> Result<Self, InvalidPayload> {
        Self::new(E::TYPE).payload(event)
    }

    pub fn payload(self, payload: &impl Serialize) -> Result<Self, InvalidPayload> {
        let payload = serde_json::value::to_raw_value(payload)
            .map_err(|source| InvalidPayload::new(&self.event_type, source))?;
        Ok(Self { payload: Some(payload), ..self })
    }

    pub fn message(self, id: MessageId) -> Self {
        Self { message_id: Some(id), ..self }
    }

    pub fn trace(self, trace: TraceId) -> Self {
        Self { trace_id: Some(trace), ..self }
    }

    pub fn agent(self, agent: impl Into<String>) -> Self {
        Self { agent_id: Some(agent.into()), ..self }
    }

    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// Nothing but its type and details: fit for the short way of settling.
    pub(crate) fn is_plain(&self) -> bool {
        self.message_id.is_none()
            && self.trace_id.is_none()
            && self.agent_id.is_none()
            && self.reason.is_none()
    }
}

pub(crate) static EMIT: Statement =
    statement("bus.emit", "select public.bus_emit(p_events => $1)", &[Type::JSONB]);

impl Bus {
    /// Records events on their own. Those that belong to a message's end go with its settle.
    pub async fn emit(&self, events: &[NewEvent]) -> Result<(), BusError> {
        self.db().query(&EMIT, &[&Json(events)]).await?;
        Ok(())
    }
}
