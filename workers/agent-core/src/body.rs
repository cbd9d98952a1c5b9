use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api_error::ApiError;
use crate::http::App;

/// A JSON body of a request.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::not_json());
        }
        let bytes = match Bytes::from_request(request, app).await {
            Ok(bytes) => bytes,
            Err(rejection) if rejection.status() == 413 => {
                return Err(ApiError::too_large(app.max_body));
            }
            // Its words are of a library; the sender stopped half-way.
            Err(_) => return Err(invalid("it could not be read to its end")),
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| invalid(&error.to_string()))
    }
}

fn invalid(why: &str) -> ApiError {
    // Unknown words are quoted from the body, which may be large.
    let why: String = why.chars().take(300).collect();
    ApiError::invalid(
        "body_invalid",
        format!("the body is not what this takes: {why}"),
        "GET /openapi.json describes the body",
    )
}

/// What serde and Postgres would both take, but not each other's way: too deep for the one, or not
/// representable for the other. Read here as values once, and sent on as written.
pub(crate) fn payload(given: Option<Box<RawValue>>) -> Result<Box<RawValue>, ApiError> {
    let Some(given) = given else {
        return Ok(RawValue::from_string("{}".to_owned()).expect("an object"));
    };
    let read: Result<Value, _> = serde_json::from_str(given.get());
    read.map(drop).map_err(|error| invalid(&format!("payload: {error}")))?;
    Ok(given)
}
