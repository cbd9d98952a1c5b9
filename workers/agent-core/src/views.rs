use bus::{MessageState, Status, TraceHistory};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::events::EventView;

/// A message and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageView {
    id: i64,
    /// As in `codegen/generate/0`.
    route: String,
    tenant: String,
    /// queued, claimed, done, failed or cancelled; the last three are final.
    status: &'static str,
    /// Attempts started, the running one included.
    attempts: i32,
    max_attempts: Option<i32>,
    priority: i16,
    trace_id: String,
    traceparent: Option<String>,
    /// The message whose handler published this one.
    parent_id: Option<i64>,
    replay_of: Option<i64>,
    project_id: Option<String>,
    idempotency_key: Option<String>,
    ordering_key: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Not claimed before.
    #[schema(format = DateTime)]
    retry_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    claimed_by: Option<String>,
    /// When the running or last attempt began.
    #[schema(format = DateTime)]
    claimed_at: Option<String>,
    #[schema(format = DateTime)]
    lease_until: Option<String>,
    #[schema(format = DateTime)]
    done_at: Option<String>,
    /// From its publishing to the beginning of the running or last attempt; failed attempts and the
    /// pauses after them included. Without an attempt: until it ended, or until now.
    waited_ms: f64,
    /// How long the running or last attempt has taken. Null without one.
    worked_ms: Option<f64>,
    error: Option<String>,
    result_snippet: Option<String>,
    result_url: Option<String>,
    cancel_requested: bool,
    /// Only where one message is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
}

/// All that followed from one intent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TraceView {
    trace_id: String,
    /// By the server's clock, which all other times are of.
    #[schema(format = DateTime)]
    read_at: String,
    /// No message of it will change any more, unless somebody adds one.
    over: bool,
    /// From the first message to the end of the last, or until now.
    duration_ms: Option<f64>,
    /// Parents come before their children.
    messages: Vec<MessageView>,
    /// In the order in which they happened.
    events: Vec<EventView>,
    /// There are more messages or events than are shown.
    truncated: bool,
}

impl MessageView {
    pub(crate) fn new(message: MessageState, now: OffsetDateTime) -> Self {
        let route = &message.route;
        let began = message.claimed_at;
        let waited = began.or(message.done_at).unwrap_or(now) - message.created_at;
        let worked = began.map(|began| message.done_at.unwrap_or(now) - began);
        Self {
            id: message.id.get(),
            route: format!("{}/{}", route.stage(), route.shard()),
            tenant: route.tenant().cloned().unwrap_or_default().to_string(),
            status: message.status.as_str(),
            attempts: message.attempts,
            max_attempts: message.max_attempts,
            priority: message.priority,
            trace_id: message.trace_id.to_string(),
            traceparent: message.traceparent.map(|context| context.to_string()),
            parent_id: message.parent_id.map(model::MessageId::get),
            replay_of: message.replay_of.map(model::MessageId::get),
            project_id: message.project_id.map(|id| id.to_string()),
            idempotency_key: message.idempotency_key,
            ordering_key: message.ordering_key,
            created_at: moment(message.created_at),
            retry_at: message.retry_at.map(moment),
            expires_at: message.expires_at.map(moment),
            claimed_by: message.claimed_by,
            claimed_at: began.map(moment),
            lease_until: message.lease_until.map(moment),
            done_at: message.done_at.map(moment),
            waited_ms: millis(waited),
            worked_ms: worked.map(millis),
            error: message.error,
            result_snippet: message.result_snippet,
            result_url: message.result_url,
            cancel_requested: message.cancel_requested,
            payload: message.payload,
        }
    }
}

impl From<TraceHistory> for TraceView {
    fn from(trace: TraceHistory) -> Self {
        let now = trace.read_at;
        let over = trace.messages.iter().all(|message| Status::is_final(message.status));
        let first = trace.messages.iter().map(|message| message.created_at).min();
        let last = trace.messages.iter().filter_map(|message| message.done_at).max();
        let end = if over { last } else { Some(now) };
        Self {
            trace_id: trace.trace_id.to_string(),
            read_at: moment(now),
            over,
            duration_ms: first.zip(end).map(|(first, end)| millis(end - first)),
            messages: trace.messages.into_iter().map(|one| MessageView::new(one, now)).collect(),
            events: trace.events.into_iter().map(EventView::from).collect(),
            truncated: trace.truncated,
        }
    }
}

/// To the microsecond, as Postgres has it. Two clocks may disagree, but nothing takes less than no
/// time.
fn millis(time: time::Duration) -> f64 {
    (time.as_seconds_f64() * 1_000_000.0).round().max(0.0) / 1_000.0
}

pub(crate) fn moment(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("the bus keeps times of the years 1 to 9999")
}
