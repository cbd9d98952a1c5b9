use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use model::{AgentName, MessageId, TraceId, quote};
use uuid::Uuid;

use crate::api_error::ApiError;
use crate::http::App;

/// The message that a path names.
pub(crate) struct MessagePath(pub(crate) MessageId);
/// The agent that a path names.
pub(crate) struct AgentPath(pub(crate) AgentName);
/// The release that a path names.
pub(crate) struct ReleasePath(pub(crate) Uuid);
/// The trace that a path names.
pub(crate) struct TracePath(pub(crate) TraceId);

impl FromRequestParts<App> for MessagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        named(parts, app, "message").await.map(Self)
    }
}

impl FromRequestParts<App> for TracePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        named(parts, app, "trace").await.map(Self)
    }
}

impl FromRequestParts<App> for AgentPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        named(parts, app, "agent").await.map(Self)
    }
}

impl FromRequestParts<App> for ReleasePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        named(parts, app, "release").await.map(Self)
    }
}

/// What cannot be an id is the id of nothing.
async fn named<T: FromStr>(parts: &mut Parts, app: &App, what: &str) -> Result<T, ApiError> {
    let nothing = |id: &str| ApiError::not_found(format!("there is no {what} {}", quote(id)));
    let id = Path::<String>::from_request_parts(parts, app).await.map_err(|_| nothing("�"))?;
    id.parse().map_err(|_| nothing(&id))
}
