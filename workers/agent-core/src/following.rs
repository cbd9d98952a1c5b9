use axum::Json;
use axum::extract::State;
use bus::{Cancelled, MessageState, TraceScope};
use model::TraceId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ErrorBody};
use crate::caller::Caller;
use crate::http::App;
use crate::paths::{MessagePath, TracePath};
use crate::publishing::{may_publish, tenant_of};
use crate::views::{MessageView, TraceView};

/// What became of a message that was to be cancelled.
#[derive(Serialize, ToSchema)]
pub(crate) struct CancelledView {
    id: i64,
    /// `cancelled` (it was queued), `asked` (its worker was asked to stop), or the final state it
    /// had already: `done`, `failed`, `cancelled`.
    outcome: &'static str,
}

/// The message that repeats another.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReplayedView {
    id: i64,
    replay_of: i64,
    trace_id: String,
}

/// What became of the messages of a trace.
#[derive(Serialize, ToSchema)]
pub(crate) struct TraceCancelledView {
    trace_id: String,
    /// Messages that were queued and are cancelled now.
    cancelled: i32,
    /// Messages whose workers were asked to stop.
    asked: i32,
}

const REASON: &str = "cancelled over the API";

/// Show a message
///
/// With its payload and where it stands.
#[utoipa::path(get, path = "/v1/messages/{id}", operation_id = "show_message", tag = "messages",
    params(("id" = i64, Path, description = "The number of the message.")),
    responses(
        (status = 200, description = "The message.", body = MessageView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn show_message(
    caller: Caller,
    State(app): State<App>,
    path: MessagePath,
) -> Result<Json<MessageView>, ApiError> {
    let message = visible(&app, &caller, &path).await?;
    Ok(Json(MessageView::new(message, OffsetDateTime::now_utc())))
}

/// Cancel a message
///
/// A queued one ends at once; the worker of a claimed one is asked to stop; one that has ended
/// stays as it is.
#[utoipa::path(post, path = "/v1/messages/{id}/cancel", operation_id = "cancel_message", tag = "messages",
    params(("id" = i64, Path, description = "The number of the message.")),
    responses(
        (status = 200, description = "What became of it.", body = CancelledView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn cancel_message(
    caller: Caller,
    State(app): State<App>,
    path: MessagePath,
) -> Result<Json<CancelledView>, ApiError> {
    let message = visible(&app, &caller, &path).await?;
    let outcome = match app.bus.cancel(message.id, REASON).await? {
        Cancelled::Now => "cancelled",
        Cancelled::Asked => "asked",
        Cancelled::Ended(status) => status,
    };
    Ok(Json(CancelledView { id: message.id.get(), outcome }))
}

/// Replay a message
///
/// Publishes a copy of a message that has ended, under the same trace. Users may replay what they
/// may publish.
#[utoipa::path(post, path = "/v1/messages/{id}/replay", operation_id = "replay_message", tag = "messages",
    params(("id" = i64, Path, description = "The number of the message.")),
    responses(
        (status = 200, description = "The copy.", body = ReplayedView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn replay_message(
    caller: Caller,
    State(app): State<App>,
    path: MessagePath,
) -> Result<Json<ReplayedView>, ApiError> {
    let message = visible(&app, &caller, &path).await?;
    may_publish(&app, &caller, message.route.stage()).await?;
    let id = app.admission.replay(&message.route, message.id).await?;
    let trace_id = message.trace_id.to_string();
    Ok(Json(ReplayedView { id: id.get(), replay_of: message.id.get(), trace_id }))
}

/// Show a trace
///
/// All its messages and events, in order, with how long each waited and was worked on.
#[utoipa::path(get, path = "/v1/traces/{trace_id}", operation_id = "show_trace", tag = "traces",
    params(("trace_id" = String, Path, description = "32 hex digits.")),
    responses(
        (status = 200, description = "The trace.", body = TraceView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn show_trace(
    caller: Caller,
    State(app): State<App>,
    TracePath(trace): TracePath,
) -> Result<Json<TraceView>, ApiError> {
    let scope = TraceScope { trace, tenant: caller.tenant().cloned() };
    let history = app.bus.trace_in(&scope).await?.ok_or_else(|| no_trace(trace))?;
    Ok(Json(history.into()))
}

/// Cancel a trace
///
/// Ends every message of it that has not ended, also those that are being handed on.
#[utoipa::path(post, path = "/v1/traces/{trace_id}/cancel", operation_id = "cancel_trace", tag = "traces",
    params(("trace_id" = String, Path, description = "32 hex digits.")),
    responses(
        (status = 200, description = "What became of its messages.", body = TraceCancelledView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn cancel_trace(
    caller: Caller,
    State(app): State<App>,
    TracePath(trace): TracePath,
) -> Result<Json<TraceCancelledView>, ApiError> {
    let scope = TraceScope { trace, tenant: caller.tenant().cloned() };
    let mine = app.bus.trace_in(&scope).await?.ok_or_else(|| no_trace(trace))?;
    let shared = match scope.tenant {
        None => false,
        Some(_) => {
            let all = TraceScope { trace, tenant: None };
            let all = app.bus.trace_in(&all).await?.ok_or_else(|| no_trace(trace))?;
            all.truncated || all.messages.len() != mine.messages.len()
        }
    };
    let (cancelled, asked) = if shared {
        cancel_own_part(&app, &scope).await?
    } else {
        let done = app.bus.cancel_trace(trace, REASON).await?;
        (done.cancelled, done.asked)
    };
    Ok(Json(TraceCancelledView { trace_id: trace.to_string(), cancelled, asked }))
}

/// A stage may hand on between two looks; more rounds than this nobody's chain has stages.
const MOST_ROUNDS: usize = 20;

/// Another tenant has messages in the same trace, and those are not the caller's to end.
async fn cancel_own_part(app: &App, scope: &TraceScope) -> Result<(i32, i32), ApiError> {
    let (mut cancelled, mut asked) = (0, 0);
    for _ in 0..MOST_ROUNDS {
        let Some(history) = app.bus.trace_in(scope).await? else { break };
        let open: Vec<_> = history
            .messages
            .iter()
            .filter(|message| !message.status.is_final() && !message.cancel_requested)
            .collect();
        if open.is_empty() {
            break;
        }
        for message in open {
            match app.bus.cancel(message.id, REASON).await? {
                Cancelled::Now => cancelled += 1,
                Cancelled::Asked => asked += 1,
                Cancelled::Ended(_) => {}
            }
        }
    }
    Ok((cancelled, asked))
}

/// The message, if there is one and the caller may see it: the answer does not tell which.
async fn visible(
    app: &App,
    caller: &Caller,
    MessagePath(id): &MessagePath,
) -> Result<MessageState, ApiError> {
    let message = app.bus.message(*id).await?;
    message
        .filter(|message| caller.may_see(&tenant_of(&message.route)))
        .ok_or_else(|| ApiError::not_found(format!("there is no message `{id}`")))
}

fn no_trace(trace: TraceId) -> ApiError {
    ApiError::not_found(format!("there is no trace {trace}"))
}
