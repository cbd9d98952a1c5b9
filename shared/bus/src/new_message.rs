use std::fmt;
use std::time::Duration;

use messages::Payload;
use model::{MessageId, Route, Tenant, TraceId, Traceparent};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

/// A message to be published. Everything but its route and payload has a default.
#[derive(Clone, Debug, Serialize)]
pub struct NewMessage {
    pub(crate) service: String,
    pub(crate) role: String,
    pub(crate) shard: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<Tenant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) project_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<Traceparent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordering_key: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) priority: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub(crate) retry_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<i64>,
    pub(crate) payload: Box<RawValue>,
}

#[derive(Debug, thiserror::Error)]
#[error("the payload of {of} cannot be written as JSON")]
pub struct InvalidPayload {
    of: String,
    source: serde_json::Error,
}

impl InvalidPayload {
    pub(crate) fn new(of: &dyn fmt::Display, source: serde_json::Error) -> Self {
        Self { of: of.to_string(), source }
    }
}

impl NewMessage {
    /// To the stage that the payload's type names, shard 0.
    pub fn of<P: Payload>(payload: &P) -> Result<Self, InvalidPayload> {
        let shard = 0.try_into().expect("0 is a shard");
        Self::to(&Route::new(P::stage(), shard), payload)
    }

    pub fn to(route: &Route, payload: &impl Serialize) -> Result<Self, InvalidPayload> {
        let payload = serde_json::value::to_raw_value(payload)
            .map_err(|source| InvalidPayload::new(route, source))?;
        Ok(Self {
            service: route.service().to_string(),
            role: route.role().to_string(),
            shard: route.shard().get(),
            tenant: route.tenant().cloned(),
            project_id: None,
            trace_id: None,
            traceparent: None,
            parent_id: None,
            idempotency_key: None,
            ordering_key: None,
            priority: 0,
            max_attempts: None,
            delay_ms: None,
            retry_at: None,
            ttl_ms: None,
            payload,
        })
    }

    pub fn tenant(self, tenant: Tenant) -> Self {
        Self { tenant: Some(tenant), ..self }
    }

    pub fn project(self, project_id: Uuid) -> Self {
        Self { project_id: Some(project_id), ..self }
    }

    pub fn trace(self, trace_id: TraceId) -> Self {
        Self { trace_id: Some(trace_id), ..self }
    }

    /// Joins the trace of a W3C context, and carries it along.
    pub fn traceparent(self, context: Traceparent) -> Self {
        Self { trace_id: Some(context.trace()), traceparent: Some(context), ..self }
    }

    pub fn parent(self, parent: MessageId) -> Self {
        Self { parent_id: Some(parent), ..self }
    }

    /// A second message with this key on the same route and tenant attaches to the first.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    /// Messages of one key are claimed one at a time, in order.
    pub fn ordering_key(self, key: impl Into<String>) -> Self {
        Self { ordering_key: Some(key.into()), ..self }
    }

    pub fn priority(self, priority: i16) -> Self {
        Self { priority, ..self }
    }

    pub fn max_attempts(self, attempts: i32) -> Self {
        Self { max_attempts: Some(attempts), ..self }
    }

    pub fn delay(self, delay: Duration) -> Self {
        Self { delay_ms: Some(millis(delay)), retry_at: None, ..self }
    }

    pub fn not_before(self, time: OffsetDateTime) -> Self {
        Self { retry_at: Some(time), delay_ms: None, ..self }
    }

    /// If nobody has claimed it by then, it fails with the reason `expired`.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl_ms: Some(millis(ttl)), ..self }
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &i16) -> bool {
    *number == 0
}
