use std::time::Duration;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bus::BusError;
use db::{DbError, Disposition, Refused};
use serde::Serialize;
use telemetry::Chain;
use tracing::{error, warn};
use utoipa::ToSchema;

/// Why a request was not done. Every error of the API is one of these, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    help: String,
    retry_after: Option<Duration>,
}

/// What an error looks like.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// For programs: it does not change.
    #[schema(example = "not_found")]
    code: String,
    /// What happened.
    message: String,
    /// What to do about it.
    help: String,
}

impl ApiError {
    fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), help: help.into(), retry_after: None }
    }

    pub(crate) fn invalid(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message, help)
    }

    pub(crate) fn unauthenticated(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            code,
            message,
            "send a user's token as `Authorization: Bearer <token>`, or a secret key as `apikey: <key>`",
        )
    }

    pub(crate) fn forbidden(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message, help)
    }

    /// Also for what is another tenant's: who may not see it shall not learn that it exists.
    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            what,
            "check the id; what is old is removed, and what belongs to another tenant is not shown",
        )
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "path_unknown",
            "there is nothing at this path",
            "GET /openapi.json lists every path",
        )
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not take this method",
            "GET /openapi.json lists what each path takes",
        )
    }

    pub(crate) fn conflict(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::CONFLICT, code, message, help)
    }

    pub(crate) fn too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body is larger than {most} bytes"),
            "store large content elsewhere and send where it is",
        )
    }

    pub(crate) fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type_unsupported",
            "the body is not declared to be JSON",
            "send `Content-Type: application/json`",
        )
    }

    pub(crate) fn too_many(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, code, message, help);
        Self { retry_after: Some(retry_after), ..error }
    }

    pub(crate) fn unavailable(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message, help);
        Self { retry_after: Some(Duration::from_secs(1)), ..error }
    }

    pub(crate) fn timed_out() -> Self {
        Self::unavailable(
            "timed_out",
            "the request took too long",
            "try again; with an `Idempotency-Key` publishing twice is safe",
        )
    }

    /// The database's words are written for who asked, and name no table.
    pub(crate) fn refused(refused: Refused) -> Self {
        let Refused { code, message, hint } = refused;
        let help = hint.unwrap_or_else(|| "correct the request".to_owned());
        match code.as_str() {
            "P0002" => Self::not_found(message),
            "55000" => Self::conflict("not_now", message, help),
            "42501" => {
                error!(error = message, "the database role may not do this");
                Self::broken()
            }
            _ => Self::invalid("refused", message, help),
        }
    }

    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        error!(error = %Chain(error), "the database's answer cannot be read: which is older?");
        Self::broken()
    }

    fn broken() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed",
            "the server's log says why; try again, or tell who runs it",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail =
            ErrorDetail { code: self.code.to_owned(), message: self.message, help: self.help };
        let mut response = (self.status, Json(ErrorBody { error: detail })).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        match &error {
            BusError::Refused { code, message, hint } => {
                let (code, message, hint) = (code.clone(), message.clone(), hint.clone());
                Self::refused(Refused { code, message, hint })
            }
            BusError::Db(_) | BusError::Interrupted | BusError::Unreadable(_) => {
                match error.disposition() {
                    Disposition::Retry => {
                        warn!(error = %Chain(&error), "could not serve a request");
                        Self::unavailable(
                            "database_unavailable",
                            "the database did not answer",
                            "try again; with an `Idempotency-Key` publishing twice is safe",
                        )
                    }
                    Disposition::GiveUp => {
                        error!(error = %Chain(&error), "could not serve a request");
                        Self::broken()
                    }
                }
            }
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        BusError::from(error).into()
    }
}
