use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::{Digest, Shard, Tag, Tenant, TraceId};
use registry::{Canary, NewTag, Recorded, RegistryError, Release};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api_error::{ApiError, ErrorBody};
use crate::body::Body;
use crate::caller::Caller;
use crate::http::App;
use crate::paths::{AgentPath, ReleasePath};

/// A tag that was pushed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagRequest {
    /// dev-YYYYMMDDHHMMSS, or vX.Y.Z with -shortsha.
    #[schema(value_type = String, example = "v1.4.0")]
    tag: Tag,
    /// Looked up in the registry where it is not said.
    #[schema(value_type = Option<String>)]
    digest: Option<Digest>,
    built_by: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    built_at: Option<OffsetDateTime>,
    changelog_url: Option<String>,
    #[schema(value_type = Option<String>)]
    trace_id: Option<TraceId>,
    canary: Option<CanaryRequest>,
}

/// Whom a release serves before everybody else.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryRequest {
    #[schema(value_type = Option<i32>)]
    shard: Option<Shard>,
    #[schema(value_type = Option<String>)]
    tenant: Option<Tenant>,
}

/// The tag that should run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteRequest {
    #[schema(value_type = String, example = "v1.4.0")]
    tag: Tag,
    /// Also if its image has failed before.
    #[serde(default)]
    force: bool,
    canary: Option<CanaryRequest>,
}

/// Where to go back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackRequest {
    /// Without it, what ran before.
    #[schema(value_type = Option<String>)]
    to: Option<Tag>,
}

/// Where its rollout can be followed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReleaseView {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    phase: String,
    rollout_status: String,
    trace_id: String,
    /// The same tag was recorded before, and this is that release.
    attached: bool,
}

/// List the agents
///
/// What runs of each, what should run, and how the latest release stands.
#[utoipa::path(get, path = "/v1/agents", operation_id = "list_agents", tag = "registry",
    responses(
        (status = 200, description = "The agents.", body = Vec<serde_json::Value>),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn list_agents(
    caller: Caller,
    State(app): State<App>,
) -> Result<Json<Vec<registry::Agent>>, ApiError> {
    caller.require_server()?;
    Ok(Json(app.registry.agents().await?))
}

/// List releases of an agent
///
/// The newest fifty.
#[utoipa::path(get, path = "/v1/agents/{agent}/images", operation_id = "list_images", tag = "registry",
    params(("agent" = String, Path, description = "cogo-<domain>-<role>")),
    responses(
        (status = 200, description = "The releases, the newest first.", body = Vec<serde_json::Value>),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn list_images(
    caller: Caller,
    State(app): State<App>,
    AgentPath(agent): AgentPath,
) -> Result<Json<Vec<Release>>, ApiError> {
    caller.require_server()?;
    if app.registry.agent(&agent).await?.is_none() {
        return Err(ApiError::not_found(format!("there is no agent {agent}")));
    }
    Ok(Json(app.registry.releases(Some(&agent), SHOWN).await?))
}

const SHOWN: i32 = 50;

/// Record a tag
///
/// What a build calls after its push. The same tag once more is the same release.
#[utoipa::path(post, path = "/v1/agents/{agent}/images", operation_id = "record_image", tag = "registry",
    params(("agent" = String, Path, description = "cogo-<domain>-<role>")),
    request_body = TagRequest,
    responses(
        (status = 202, description = "It is recorded.", body = ReleaseView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn record_image(
    caller: Caller,
    State(app): State<App>,
    AgentPath(agent): AgentPath,
    Body(given): Body<TagRequest>,
) -> Result<(StatusCode, Json<ReleaseView>), ApiError> {
    caller.require_server()?;
    let new = NewTag {
        agent,
        tag: given.tag,
        digest: given.digest,
        built_by: given.built_by,
        built_at: given.built_at,
        changelog_url: given.changelog_url,
        trace_id: given.trace_id,
        canary: given.canary.map(CanaryRequest::canary),
    };
    let Recorded { release_id, attached } = app.registry.record(&new).await?;
    view(&app, release_id, attached).await
}

/// Promote a tag
///
/// Makes a recorded tag the one that should run.
#[utoipa::path(post, path = "/v1/agents/{agent}/promote", operation_id = "promote_image", tag = "registry",
    params(("agent" = String, Path, description = "cogo-<domain>-<role>")),
    request_body = PromoteRequest,
    responses(
        (status = 202, description = "It should run now.", body = ReleaseView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn promote_image(
    caller: Caller,
    State(app): State<App>,
    AgentPath(agent): AgentPath,
    Body(given): Body<PromoteRequest>,
) -> Result<(StatusCode, Json<ReleaseView>), ApiError> {
    caller.require_server()?;
    let canary = given.canary.map(CanaryRequest::canary);
    let wanted = app.registry.promote(&agent, &given.tag, given.force, canary.as_ref()).await?;
    view(&app, wanted.release_id, false).await
}

/// Go back
///
/// To the release that ran before, or to any that has run.
#[utoipa::path(post, path = "/v1/agents/{agent}/rollback", operation_id = "rollback_image", tag = "registry",
    params(("agent" = String, Path, description = "cogo-<domain>-<role>")),
    request_body = RollbackRequest,
    responses(
        (status = 202, description = "It should run now.", body = ReleaseView),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn rollback_image(
    caller: Caller,
    State(app): State<App>,
    AgentPath(agent): AgentPath,
    Body(given): Body<RollbackRequest>,
) -> Result<(StatusCode, Json<ReleaseView>), ApiError> {
    caller.require_server()?;
    let wanted = app.registry.rollback(&agent, given.to.as_ref()).await?;
    view(&app, wanted.release_id, false).await
}

/// Show a release
///
/// Where its rollout stands, and why.
#[utoipa::path(get, path = "/v1/releases/{release}", operation_id = "show_release", tag = "registry",
    params(("release" = String, Path, description = "The id of the release.")),
    responses(
        (status = 200, description = "The release.", body = serde_json::Value),
        (status = "default", description = "What is wrong.", body = ErrorBody)),
    security(("bearer" = []), ("apikey" = [])))]
pub(crate) async fn show_release(
    caller: Caller,
    State(app): State<App>,
    ReleasePath(id): ReleasePath,
) -> Result<Json<Release>, ApiError> {
    caller.require_server()?;
    let release = app.registry.release(id).await?;
    release.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no release {id}")))
}

impl CanaryRequest {
    fn canary(self) -> Canary {
        Canary { shard: self.shard, tenant: self.tenant }
    }
}

async fn view(
    app: &App,
    id: Uuid,
    attached: bool,
) -> Result<(StatusCode, Json<ReleaseView>), ApiError> {
    let release = app.registry.release(id).await?.expect("a release is never deleted");
    let view = ReleaseView {
        id,
        phase: release.phase.to_string(),
        rollout_status: release.rollout_status,
        trace_id: release.trace_id.to_string(),
        attached,
    };
    Ok((StatusCode::ACCEPTED, Json(view)))
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(refused) => Self::refused(refused),
            RegistryError::Db(error) => error.into(),
            RegistryError::Unreadable(error) => Self::unreadable(&error),
        }
    }
}
