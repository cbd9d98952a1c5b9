use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::rest::is_gateway;

/// Why the REST API did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum RestError {
    #[error("could not reach Supabase at {server}: {why}")]
    #[diagnostic(help("check SUPABASE_URL and that this machine may connect to it"))]
    Unreachable { server: String, why: String },

    #[error("lost the connection to Supabase at {server}: {why}")]
    Lost { server: String, why: String },

    #[error("Supabase did not answer within {limit:?}")]
    TooSlow { limit: Duration },

    #[error("Supabase at {server} cannot serve this now: {why}")]
    #[diagnostic(help("it is starting, overloaded or limiting us; this passes"))]
    NotNow { server: String, why: String },

    #[error("Supabase at {server} refused our key: {why}")]
    #[diagnostic(help("check SUPABASE_SECRET_KEY: it must be a secret key of this very project"))]
    KeyRefused { server: String, why: String },

    /// The database, or PostgREST in front of it, says that the request is wrong.
    #[error("{0}")]
    Server(Refusal),

    #[error("all {connections} connections of this process are busy")]
    #[diagnostic(help("raise DB_POOL if this happens while the database has little to do"))]
    Busy { connections: usize },

    #[error("the request cannot be sent: {0}")]
    Invalid(String),

    #[error("the answer cannot be read: {0}")]
    #[diagnostic(help("check that SUPABASE_URL is a Supabase project and not something else"))]
    Unreadable(String),
}

/// As PostgREST tells it. Without `details`, which quote whole rows, and with them payloads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// An SQLSTATE, or one of PostgREST's own, as in `PGRST202`.
    #[serde(default)]
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub hint: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({})", self.message, self.code)
    }
}

impl RestError {
    /// Whether the same call may succeed in a moment.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::TooSlow { .. }
            | Self::NotNow { .. }
            | Self::Busy { .. } => true,
            Self::KeyRefused { .. } | Self::Server(_) | Self::Invalid(_) | Self::Unreadable(_) => {
                false
            }
        }
    }

    /// Whether it may have been carried out although we got no answer.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::TooSlow { .. } | Self::Unreadable(_))
    }

    pub(crate) fn invalid(error: &serde_json::Error) -> Self {
        Self::Invalid(error.to_string())
    }

    /// By its place only: what is there may be a payload.
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::Unreadable(format!("unexpected JSON in line {line}, column {column}"))
    }
}

/// Of an answer that is no success.
pub(crate) fn decode(server: &str, status: StatusCode, body: &[u8]) -> RestError {
    let server = server.to_owned();
    let said: Option<Refusal> = serde_json::from_slice(body).ok();
    let code = said.as_ref().map_or("", |said| said.code.as_str());
    // A token that expired or was not signed by this project; no key at all, says the gateway.
    let key = status == StatusCode::UNAUTHORIZED && !is_sqlstate(code);
    if key || code == "PGRST301" || code == "PGRST303" {
        return RestError::KeyRefused { server, why: told(said, status) };
    }
    // 0xx: it cannot reach the database, or waited too long for a connection.
    let starting = code.starts_with("PGRST00");
    let gateway = is_gateway(status) && !is_sqlstate(code);
    // 001: or the connection broke in the middle of it. So it may have for a gateway in front, unless
    // that says that nobody was there.
    if code == "PGRST001" || (gateway && !starting && status != StatusCode::SERVICE_UNAVAILABLE) {
        return RestError::Lost { server, why: told(said, status) };
    }
    if starting || gateway || status == StatusCode::TOO_MANY_REQUESTS {
        return RestError::NotNow { server, why: told(said, status) };
    }
    match said {
        // It has no words for a database that hung up in the middle.
        Some(said) if said.code.is_empty() && said.message.is_empty() => {
            RestError::Lost { server, why: "the database hung up".to_owned() }
        }
        Some(said) => RestError::Server(said),
        None => RestError::Unreadable(format!("it is {status}, without an explanation in JSON")),
    }
}

fn told(said: Option<Refusal>, status: StatusCode) -> String {
    said.map_or_else(|| status.to_string(), |said| said.message)
}

fn is_sqlstate(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_what_one_can_do_about_it() {
        let refusal = |code: &str, hint: Option<&str>| {
            let hint = hint.map(str::to_owned);
            RestError::Server(Refusal { code: code.into(), message: "m".into(), hint })
        };
        let here = || "s".to_owned();
        let m = || "m".to_owned();
        for (status, body, expected) in [
            (
                409,
                r#"{"code":"23505","details":"Key (k)=(x)","hint":null,"message":"m"}"#,
                refusal("23505", None),
            ),
            (400, r#"{"code":"22023","message":"m","hint":"h"}"#, refusal("22023", Some("h"))),
            (404, r#"{"code":"PGRST202","message":"m"}"#, refusal("PGRST202", None)),
            (403, r#"{"code":"42501","message":"m"}"#, refusal("42501", None)),
            (401, r#"{"code":"42501","message":"m"}"#, refusal("42501", None)),
            (500, r#"{"code":"57014","message":"m"}"#, refusal("57014", None)),
            (503, r#"{"code":"53300","message":"m"}"#, refusal("53300", None)),
            (
                401,
                r#"{"code":"PGRST301","message":"m"}"#,
                RestError::KeyRefused { server: here(), why: m() },
            ),
            (401, r#"{"message":"m"}"#, RestError::KeyRefused { server: here(), why: m() }),
            (
                503,
                r#"{"code":"PGRST000","message":"m"}"#,
                RestError::NotNow { server: here(), why: m() },
            ),
            (
                503,
                r#"{"code":"PGRST001","message":"m"}"#,
                RestError::Lost { server: here(), why: m() },
            ),
            (
                400,
                r#"{"code":"","details":null,"hint":null,"message":""}"#,
                RestError::Lost { server: here(), why: "the database hung up".into() },
            ),
            (
                504,
                r#"{"code":"PGRST003","message":"m"}"#,
                RestError::NotNow { server: here(), why: m() },
            ),
            (429, r#"{"message":"m"}"#, RestError::NotNow { server: here(), why: m() }),
            (502, "<html>", RestError::Lost { server: here(), why: "502 Bad Gateway".into() }),
            (504, r#"{"message":"m"}"#, RestError::Lost { server: here(), why: m() }),
            (503, r#"{"message":"m"}"#, RestError::NotNow { server: here(), why: m() }),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(decode("s", status, body.as_bytes()), expected, "{status} {body}");
        }
        assert!(matches!(decode("s", StatusCode::NOT_FOUND, b"nope"), RestError::Unreadable(_)));
    }
}
