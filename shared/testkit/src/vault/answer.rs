use axum::Json;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A request, read.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Without the `/v1/` that all begin with.
    pub(super) path: String,
    pub(super) version: Option<u64>,
    pub(super) token: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) wrap_ttl: Option<String>,
    pub(super) body: Value,
}

impl Ask {
    pub(super) fn new(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let query = uri.query().unwrap_or_default();
        let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy();
        Self {
            method: method.clone(),
            path: path.trim_start_matches("/v1/").to_owned(),
            version: query.strip_prefix("version=").and_then(|version| version.parse().ok()),
            token: header("x-vault-token"),
            namespace: header("x-vault-namespace"),
            wrap_ttl: header("x-vault-wrap-ttl"),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.method == Method::POST || self.method == Method::PUT
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// A length of time in seconds: a number, or as in `60s`.
    pub(super) fn seconds(&self, name: &str) -> u64 {
        seconds(&self.body[name])
    }
}

pub(super) fn seconds(value: &Value) -> u64 {
    let text = |text: &str| text.trim_end_matches('s').parse().unwrap_or(0);
    value.as_u64().or_else(|| value.as_str().map(text)).unwrap_or(0)
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn error(status: u16, text: &str) -> Self {
        Self { status, body: json!({ "errors": [text] }) }
    }

    /// Not an error to Vault: there is nothing.
    pub(super) fn nothing() -> Self {
        Self { status: 404, body: json!({ "errors": [] }) }
    }

    pub(super) fn done() -> Self {
        Self { status: 204, body: Value::Null }
    }

    pub(super) fn data(data: Value) -> Self {
        Self::of(200, "data", data)
    }

    pub(super) fn auth(auth: Value) -> Self {
        Self::of(200, "auth", auth)
    }

    /// In the envelope that all good answers come in, and some of the others.
    pub(super) fn of(status: u16, part: &str, value: Value) -> Self {
        let mut body = json!({
            "request_id": uuid(),
            "lease_id": "",
            "renewable": false,
            "lease_duration": 0,
            "data": null,
            "wrap_info": null,
            "warnings": null,
            "auth": null,
        });
        body[part] = value;
        Self { status, body }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("a status of ours");
        match self.body {
            Value::Null => status.into_response(),
            body => (status, Json(body)).into_response(),
        }
    }
}

pub(super) fn uuid() -> String {
    let hex = format!("{:032x}", rand::random::<u128>());
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
