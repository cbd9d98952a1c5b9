use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bus::{NewMessage, Published};
use messages::{Intent, Payload};
use model::{MessageId, Route, Shard, Stage, Tenant, TraceId, Traceparent, Word};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api_error::{ApiError, ErrorBody};
use crate::body::{Body, payload};
use crate::caller::Caller;
use crate::http::App;

/// What somebody wants done, by name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewIntent {
    /// Its name in the table `intents`.
    #[schema(example = "hello")]
    intent: String,
    /// Servers may name any; a user's own is taken from the token.
    #[schema(value_type = Option<String>, example = "acme")]
    tenant: Option<Tenant>,
    /// As the intent's schema has it. `__assignment` in it asks for another model, budget or time
    /// limit than the intent has by default.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

/// A message for any stage. Everything but service and role has a default.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageRequest {
    #[schema(value_type = String, example = "codegen")]
    service: Word,
    #[schema(value_type = String, example = "generate")]
    role: Word,
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0)]
    shard: Shard,
    /// Servers may name any; a user's own is taken from the token.
    #[schema(value_type = Option<String>, example = "acme")]
    tenant: Option<Tenant>,
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
    /// The trace it joins; a new one unless given.
    #[schema(value_type = Option<String>)]
    trace_id: Option<TraceId>,
    /// A W3C trace context, whose trace it joins.
    #[schema(value_type = Option<String>)]
    traceparent: Option<Traceparent>,
    #[schema(value_type = Option<i64>)]
    parent_id: Option<MessageId>,
    #[schema(value_type = Option<String>, format = "uuid")]
    project_id: Option<Uuid>,
    /// Messages of one key are worked on one at a time, in order.
    ordering_key: Option<String>,
    #[serde(default)]
    priority: i16,
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<i32>,
    /// Not claimed before so many milliseconds have passed.
    delay_ms: Option<u32>,
    /// Not claimed before this time.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    retry_at: Option<OffsetDateTime>,
    /// If nobody has claimed it by then, it fails.
    #[schema(minimum = 1)]
    ttl_ms: Option<u32>,
}

/// Where it can be followed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    id: i64,
    trace_id: String,
    /// There was one with this idempotency key before, and this is that one.
    attached: bool,
}

/// Ask for something to be done
///
/// Publishes a message to orchestrator/intent. What becomes of it is decided right after: follow the
/// trace. Sent again with the same `Idempotency-Key`, it answers with the first message.
#[utoipa::path(post, path = "/v1/intents", operation_id = "publish_intent", tag = "intents",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters; a second call with it makes no second message.")),
    request_body = NewIntent,
    responses(
        (status = 202, description = "It is on the bus.", body = Accepted),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn publish_intent(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    Body(given): Body<NewIntent>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let tenant = caller.acts_for(given.tenant)?;
    let length = given.intent.chars().count();
    if !(1..=LONGEST_NAME).contains(&length) || given.intent.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            "intent_invalid",
            format!("`intent` is not a name of 1 to {LONGEST_NAME} characters"),
            "use a name of the table `intents`, as in `hello`",
        ));
    }
    let intent = Intent { intent: given.intent, payload: Some(payload(given.payload)?) };
    let route = Route::new(Intent::stage(), Shard::default()).for_tenant(tenant);
    let mut message = NewMessage::to(&route, &intent).expect("an intent can be written");
    if let Some(key) = idempotency_key(&headers)? {
        message = message.idempotency_key(key);
    }
    Ok(accepted(app.admission.publish(&route, message).await?))
}

/// Publish a message
///
/// To any stage for servers; for users to the stages that `bus_routes` opens to `authenticated`, and
/// to orchestrator/intent.
#[utoipa::path(post, path = "/v1/messages", operation_id = "publish_message", tag = "messages",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters; a second call with it makes no second message.")),
    request_body = MessageRequest,
    responses(
        (status = 202, description = "It is on the bus.", body = Accepted),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn publish_message(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    Body(given): Body<MessageRequest>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let tenant = caller.acts_for(given.tenant.clone())?;
    let stage = Stage::new(given.service.clone(), given.role.clone());
    may_publish(&app, &caller, &stage).await?;
    if let Some(parent) = given.parent_id {
        let seen = app.bus.message(parent).await?;
        if !seen.is_some_and(|parent| caller.may_see(&tenant_of(&parent.route))) {
            return Err(ApiError::invalid(
                "parent_unknown",
                format!("there is no message {parent} to be the parent"),
                "leave `parent_id` out, or name a message of the same tenant",
            ));
        }
    }
    let route = Route::new(stage, given.shard).for_tenant(tenant);
    let key = idempotency_key(&headers)?;
    let message = given.into_message(&route, key)?;
    Ok(accepted(app.admission.publish(&route, message).await?))
}

/// Far longer than any name; an unknown one is told from the known by the orchestrator.
const LONGEST_NAME: usize = 255;

impl MessageRequest {
    fn into_message(self, route: &Route, key: Option<String>) -> Result<NewMessage, ApiError> {
        let contradiction = |one: &str, other: &str| {
            ApiError::invalid(
                "fields_contradict",
                format!("`{one}` and `{other}` say the same thing"),
                "give one of them",
            )
        };
        if self.trace_id.is_some() && self.traceparent.is_some() {
            return Err(contradiction("trace_id", "traceparent"));
        }
        if self.delay_ms.is_some() && self.retry_at.is_some() {
            return Err(contradiction("delay_ms", "retry_at"));
        }
        if self.ttl_ms == Some(0) {
            return Err(ApiError::invalid(
                "ttl_invalid",
                "`ttl_ms` is 0",
                "give it at least one millisecond, or leave it out",
            ));
        }
        let payload = payload(self.payload)?;
        let mut message = NewMessage::to(route, &payload).expect("what was read can be written");
        message = message.priority(self.priority);
        if let Some(trace) = self.trace_id {
            message = message.trace(trace);
        }
        if let Some(context) = self.traceparent {
            message = message.traceparent(context);
        }
        if let Some(parent) = self.parent_id {
            message = message.parent(parent);
        }
        if let Some(project) = self.project_id {
            message = message.project(project);
        }
        if let Some(key) = key {
            message = message.idempotency_key(key);
        }
        if let Some(key) = self.ordering_key {
            message = message.ordering_key(key);
        }
        if let Some(attempts) = self.max_attempts {
            message = message.max_attempts(attempts);
        }
        if let Some(delay) = self.delay_ms {
            message = message.delay(Duration::from_millis(delay.into()));
        }
        if let Some(time) = self.retry_at {
            let in_utc = time.checked_to_utc().filter(|utc| (1..=9999).contains(&utc.year()));
            let time = in_utc.ok_or_else(|| {
                ApiError::invalid(
                    "retry_at_invalid",
                    "`retry_at` is not a time in the years 1 to 9999",
                    "write it as in 2030-01-31T12:00:00Z",
                )
            })?;
            message = message.not_before(time.into());
        }
        if let Some(ttl) = self.ttl_ms {
            message = message.ttl(Duration::from_millis(ttl.into()));
        }
        Ok(message)
    }
}

/// Whether the caller may publish to a stage, by hand or by a replay.
pub(crate) async fn may_publish(app: &App, caller: &Caller, stage: &Stage) -> Result<(), ApiError> {
    if caller.tenant().is_none()
        || *stage == Intent::stage()
        || app.bus.is_open_to(stage, "authenticated").await?
    {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "stage_closed",
        format!("{stage} is not open to users"),
        "publish an intent, or have an operator open the stage: `open_to` of its row in bus_routes",
    ))
}

pub(crate) fn tenant_of(route: &Route) -> Tenant {
    route.tenant().cloned().unwrap_or_default()
}

fn accepted(published: Published) -> (StatusCode, Json<Accepted>) {
    let Published { id, trace, attached } = published;
    let accepted = Accepted { id: id.get(), trace_id: trace.to_string(), attached };
    (StatusCode::ACCEPTED, Json(accepted))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let invalid = || {
        ApiError::invalid(
            "idempotency_key_invalid",
            "`Idempotency-Key` is not one text of 1 to 255 characters",
            "send a random one for each thing you ask for, such as a uuid",
        )
    };
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(value) = given.next() else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| invalid())?;
    let length = text.chars().count();
    if given.next().is_some() || !(1..=255).contains(&length) || text.chars().any(char::is_control)
    {
        return Err(invalid());
    }
    Ok(Some(text.to_owned()))
}
