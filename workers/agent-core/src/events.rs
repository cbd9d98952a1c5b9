use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use bus::{EventRow, TraceScope};
use futures_util::Stream;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ErrorBody};
use crate::caller::Caller;
use crate::feed::NotNow;
use crate::http::App;
use crate::listener::Listener;
use crate::paths::TracePath;

/// What happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// The number to resume from.
    pub(crate) id: i64,
    #[schema(format = DateTime)]
    created_at: String,
    /// As in `codegen_done`.
    event_type: String,
    message_id: Option<i64>,
    trace_id: String,
    /// Of the message it is about, as in `codegen/generate/0`.
    route: Option<String>,
    /// Where it is about a stage and no message of it.
    stage: Option<String>,
    tenant: String,
    project_id: Option<String>,
    agent_id: Option<String>,
    reason: Option<String>,
    payload: Value,
}

impl From<EventRow> for EventView {
    fn from(event: EventRow) -> Self {
        Self {
            id: event.id,
            created_at: crate::views::moment(event.created_at),
            event_type: event.event_type,
            message_id: event.message_id.map(model::MessageId::get),
            trace_id: event.trace_id.to_string(),
            route: event.route.map(|route| route.to_string()),
            stage: event.stage.map(|stage| stage.to_string()),
            tenant: event.tenant.to_string(),
            project_id: event.project_id.map(|id| id.to_string()),
            agent_id: event.agent_id,
            reason: event.reason,
            payload: event.payload,
        }
    }
}

/// Proxies cut connections on which nothing is said, most of them after a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Follow all events
///
/// Server-Sent Events, in the order of their numbers. Each has its number as `id`; a client that
/// comes back with `Last-Event-ID` gets exactly what came after it. Without it the stream begins
/// with what happens from now on. Users see the events of their tenant.
#[utoipa::path(get, path = "/v1/events", operation_id = "follow_events", tag = "events",
    params(("Last-Event-ID" = Option<i64>, Header, description = "The number of the last event you have.")),
    responses(
        (status = 200, description = "The events, as they happen.", body = EventView, content_type = "text/event-stream"),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn follow_events(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let after = last_event_id(&headers)?;
    listen(&app, &caller, None, after).await
}

/// Follow a trace
///
/// The same for one trace, from its first event unless `Last-Event-ID` says otherwise. When every
/// message of the trace is final and all its events are told, an event named `end` follows and the
/// stream ends.
#[utoipa::path(get, path = "/v1/traces/{trace_id}/events", operation_id = "follow_trace", tag = "traces",
    params(("trace_id" = String, Path, description = "32 hex digits."),
        ("Last-Event-ID" = Option<i64>, Header, description = "The number of the last event you have.")),
    responses(
        (status = 200, description = "The events of the trace, as they happen.", body = EventView, content_type = "text/event-stream"),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn follow_trace(
    caller: Caller,
    State(app): State<App>,
    TracePath(trace): TracePath,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let after = last_event_id(&headers)?.unwrap_or(0);
    let scope = TraceScope { trace, tenant: caller.tenant().cloned() };
    if !app.bus.knows_trace(&scope).await? {
        return Err(ApiError::not_found(format!("there is no trace {trace}")));
    }
    listen(&app, &caller, Some(scope), Some(after)).await
}

async fn listen(
    app: &App,
    caller: &Caller,
    scope: Option<TraceScope>,
    after: Option<i64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, ApiError> {
    let trace = scope.as_ref().map(|scope| scope.trace);
    let subscription = app.feed.subscribe(scope).await.map_err(|not_now| match not_now {
        NotNow::TooMany => ApiError::unavailable(
            "too_many_streams",
            "this server follows as many event streams as it may",
            "try again, or raise MAX_EVENT_STREAMS",
        ),
        NotNow::NoStart => ApiError::unavailable(
            "events_unavailable",
            "the place to start from could not be found in time",
            "try again; if it lasts, somebody's transaction that wrote events stays open",
        ),
    })?;
    let listener = Listener {
        bus: app.bus.clone(),
        after: after.unwrap_or(subscription.from),
        subscription,
        trace,
        tenant: caller.tenant().cloned(),
        until: caller.remaining().map(|left| Instant::now() + left),
        stop: app.stop.clone(),
    };
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("still here");
    Ok(Sse::new(listener.into_stream()).keep_alive(heartbeat))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let mut given = headers.get_all("last-event-id").iter();
    let Some(value) = given.next() else { return Ok(None) };
    // What an EventSource sends that never got an id.
    if value.is_empty() && given.next().is_none() {
        return Ok(None);
    }
    let number = value.to_str().ok().and_then(|text| text.parse::<i64>().ok());
    match (number, given.next()) {
        (Some(number), None) if number >= 0 => Ok(Some(number)),
        _ => Err(ApiError::invalid(
            "last_event_id_invalid",
            "`Last-Event-ID` is not the number of an event",
            "send the `id` of the last event you got, or leave the header out",
        )),
    }
}
