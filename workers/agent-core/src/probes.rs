use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use db::{Db, DbError, Statement, migrate, within};
use serde::Serialize;
use telemetry::Chain;
use tracing::warn;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ErrorBody};
use crate::caller::Caller;
use crate::http::App;

/// That all is well.
#[derive(Serialize, ToSchema)]
pub(crate) struct Well {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether this process can do its work.
pub(crate) struct Readiness {
    db: Db,
}

pub(crate) static SCHEMA: Statement =
    Statement { name: "agent_core.schema", sql: "select public.bus_schema()", types: &[] };

/// Probes give up after a second or two themselves.
const LIMIT: Duration = Duration::from_secs(2);

impl Readiness {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }

    async fn check(&self) -> Result<(), ApiError> {
        let newest = match within("agent_core.ready", LIMIT, self.newest()).await {
            Ok(Ok(newest)) => newest,
            // Postgres says that there is no such function, PostgREST that it knows none.
            Ok(Err(error))
                if error.code().is_some_and(|code| NO_FUNCTION.contains(&code.code())) =>
            {
                return Err(not_migrated());
            }
            _ => {
                return Err(not_ready(
                    "the database cannot be reached",
                    "check DATABASE_URL (or SUPABASE_URL) and the server",
                ));
            }
        };
        // Where nobody recorded the migrations, somebody applied them by hand.
        if newest.is_none_or(|newest| newest.as_str() >= migrate::newest()) {
            Ok(())
        } else {
            Err(not_migrated())
        }
    }

    async fn newest(&self) -> Result<Option<String>, DbError> {
        Ok(self.db.query_one(&SCHEMA, &[]).await?.get(0))
    }
}

const NO_FUNCTION: [&str; 2] = ["42883", "PGRST202"];

fn not_migrated() -> ApiError {
    not_ready("the database lacks migrations", "run `cogo db migrate`")
}

fn not_ready(what: &str, help: &str) -> ApiError {
    ApiError::unavailable("not_ready", what, help)
}

/// Whether the process runs
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "operations",
    responses((status = 200, description = "It runs.", body = Well)))]
pub(crate) async fn healthz() -> Json<Well> {
    Json(Well { status: "ok" })
}

/// Whether it can serve
///
/// The database can be reached and has the migrations.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operations",
    responses(
        (status = 200, description = "It can.", body = Well),
        (status = "default", description = "What is missing.", body = ErrorBody)))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Well>, ApiError> {
    if app.stop.is_cancelled() {
        return Err(not_ready("the server is stopping", "ask another replica"));
    }
    app.readiness.check().await?;
    Ok(Json(Well { status: "ok" }))
}

/// What is counted
///
/// In the OpenMetrics text format. Needs a secret key; a server with METRICS_PORT also serves it
/// there without one.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations",
    responses(
        (status = 200, description = "The metrics.", body = String, content_type = "application/openmetrics-text"),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn metrics(
    caller: Caller,
    State(app): State<App>,
) -> Result<impl IntoResponse, ApiError> {
    caller.require_server()?;
    Ok(open_metrics(State(app)).await)
}

pub(crate) async fn open_metrics(State(app): State<App>) -> impl IntoResponse {
    app.metrics.streams(app.feed.listeners());
    match within("agent_core.undecided", LIMIT, app.admission.undecided()).await {
        Ok(Ok(count)) => app.metrics.undecided(count),
        Ok(Err(error)) => warn!(error = %Chain(&error), "could not count the undecided intents"),
        Err(late) => warn!(error = %late, "could not count the undecided intents"),
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], app.metrics.text())
}
