use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use db::migrate::{self, State as Migration};
use db::{Db, DbError, DbSettings, Statement, within};
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
    settings: DbSettings,
    /// Once they are applied, they stay.
    migrated: AtomicBool,
}

pub(crate) static REACHED: Statement =
    Statement { name: "agent_core.reached", sql: "select 1", types: &[] };

/// For a login or a pooler that keeps the list of migrations from us.
pub(crate) static HAS_OURS: Statement = Statement {
    name: "agent_core.has_ours",
    sql: "select to_regprocedure('public.intent_publish(jsonb, integer)') is not null",
    types: &[],
};

/// Probes give up after a second or two themselves.
const LIMIT: Duration = Duration::from_secs(2);

impl Readiness {
    pub(crate) fn new(db: Db, settings: DbSettings) -> Self {
        Self { db, settings, migrated: AtomicBool::new(false) }
    }

    async fn check(&self) -> Result<(), ApiError> {
        let reached = within("agent_core.ready", LIMIT, self.db.query_one(&REACHED, &[])).await;
        if !matches!(reached, Ok(Ok(_))) {
            return Err(not_ready(
                "the database cannot be reached",
                "check DATABASE_URL and the server",
            ));
        }
        if self.migrated.load(Ordering::Relaxed) {
            return Ok(());
        }
        match within("agent_core.migrated", LIMIT, self.is_migrated()).await {
            Ok(Ok(true)) => {
                self.migrated.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(Ok(false)) => {
                Err(not_ready("the database lacks migrations", "run `cogo db migrate`"))
            }
            Ok(Err(error)) => {
                warn!(error = %Chain(&error), "could not look at the migrations");
                Err(not_ready("the migrations cannot be read", "the server's log says why"))
            }
            Err(_) => Err(not_ready("the database is too slow", "check its load")),
        }
    }

    async fn is_migrated(&self) -> Result<bool, DbError> {
        match Box::pin(migrate::status(&self.settings)).await {
            Ok(all) => Ok(all.iter().all(|one| one.state != Migration::Pending)),
            Err(_) => Ok(self.db.query_one(&HAS_OURS, &[]).await?.get(0)),
        }
    }
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
