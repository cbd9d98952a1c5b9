use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

/// What the gateway itself answers instead of a part, as Supabase does: JSON with a `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) hint: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>, hint: &str) -> Self {
        Self { status, message: message.into(), hint: hint.to_owned() }
    }

    pub(crate) fn answer(&self) -> Response {
        let Self { status, message, hint } = self;
        let mut answer = json_answer(*status, &json!({ "message": message, "hint": hint }));
        if *status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

pub(crate) fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut answer = Response::new(Body::from(value.to_string()));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
