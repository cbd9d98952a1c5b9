use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::upgrade::OnUpgrade;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::warn;

use crate::frame::{Body, Broadcast, Version};
use crate::hub::Channel;
use crate::identity::{Identity, Refused};
use crate::messages::Right;
use crate::news::LARGEST;
use crate::server::Server;

/// A socket whose handshake is done.
pub(crate) struct Seated {
    pub(crate) upgrade: OnUpgrade,
    pub(crate) version: Version,
    pub(crate) identity: Identity,
}

#[derive(Deserialize)]
struct Handshake {
    apikey: Option<String>,
    vsn: Option<String>,
}

#[derive(Deserialize)]
struct Messages {
    messages: Vec<OneMessage>,
}

#[derive(Deserialize)]
struct OneMessage {
    topic: String,
    event: String,
    payload: Box<RawValue>,
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
struct Privacy {
    #[serde(default)]
    private: bool,
}

/// As Supabase answers.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// What lies under `/realtime/v1`.
pub(crate) fn routes(server: Arc<Server>) -> Router {
    Router::new()
        .route("/websocket", get(socket))
        .route("/api/broadcast", post(broadcast))
        .route("/api/broadcast/{topic}/events/{event}", post(broadcast_one))
        .with_state(server)
}

async fn socket(
    State(server): State<Arc<Server>>,
    Query(asked): Query<Handshake>,
    request: Request,
) -> Response {
    match admit(&server, &asked, request) {
        Ok((seated, answer)) => {
            // Full only while everybody is being shown out.
            if server.seats.try_send(seated).is_err() {
                return Refusal(StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned())
                    .into_response();
            }
            answer
        }
        Err(refusal) => {
            sleep(server.settings.awkward.refused_socket).await;
            refusal.into_response()
        }
    }
}

fn admit(
    server: &Server,
    asked: &Handshake,
    mut request: Request,
) -> Result<(Seated, Response), Refusal> {
    if *server.down.borrow() {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "restarting".to_owned()));
    }
    let headers = request.headers();
    let key = asked.apikey.as_deref().or_else(|| text(headers, "x-api-key"));
    let key = key.or_else(|| text(headers, "apikey")).unwrap_or_default();
    let identity = server.doorkeeper.identify(key).map_err(unauthorized)?;
    let version = asked.vsn.as_deref().unwrap_or("1.0.0");
    let version = Version::parse(version).ok_or_else(|| {
        let why = "this version of the protocol is unknown; use vsn=1.0.0 or vsn=2.0.0";
        Refusal(StatusCode::BAD_REQUEST, why.to_owned())
    })?;
    let sockets = server.counters.sockets.load(Ordering::Relaxed);
    if sockets >= u64::try_from(server.settings.max_sockets).unwrap_or(u64::MAX) {
        return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, "Too many connected users".to_owned()));
    }
    let upgrades = text(headers, "upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"))
        && text(headers, "sec-websocket-version") == Some("13");
    let nonce = headers.get("sec-websocket-key").filter(|_| upgrades);
    let accept = nonce.map(|nonce| derive_accept_key(nonce.as_bytes()));
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Some(accept), Some(upgrade)) = (accept, upgrade) else {
        let why = "this speaks WebSocket, version 13, over HTTP/1.1";
        return Err(Refusal(StatusCode::UPGRADE_REQUIRED, why.to_owned()));
    };
    let mut answer = Response::new(HttpBody::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::from_str(&accept).expect("base64");
    for (name, value) in [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ] {
        answer.headers_mut().insert(name, value);
    }
    Ok((Seated { upgrade, version, identity }, answer))
}

/// Several messages at once.
async fn broadcast(State(server): State<Arc<Server>>, request: Request) -> Response {
    let work = async {
        let (identity, body) = read(&server, request).await?;
        let messages: Messages = serde_json::from_slice(&body).map_err(|_| {
            let shape = "the body must be {\"messages\": [{topic, event, payload, private}]}";
            Refusal(StatusCode::UNPROCESSABLE_ENTITY, shape.to_owned())
        })?;
        for OneMessage { topic, event, payload, private } in messages.messages {
            let channel = Channel { name: topic, private };
            send(&server, &identity, channel, event, Body::Json(payload)).await?;
        }
        Ok(())
    };
    answer(&server, work.await).await
}

/// One, whose payload is the body: JSON, or bytes.
async fn broadcast_one(
    State(server): State<Arc<Server>>,
    Path((topic, event)): Path<(String, String)>,
    Query(Privacy { private }): Query<Privacy>,
    request: Request,
) -> Response {
    let work = async {
        let kind = text(request.headers(), "content-type").unwrap_or_default();
        let bytes = kind.starts_with("application/octet-stream");
        let (identity, body) = read(&server, request).await?;
        let body = if bytes {
            Body::Binary(body)
        } else {
            Body::Json(serde_json::from_slice(&body).map_err(|_| {
                let why = "the body must be JSON, or application/octet-stream";
                Refusal(StatusCode::UNPROCESSABLE_ENTITY, why.to_owned())
            })?)
        };
        send(&server, &identity, Channel { name: topic, private }, event, body).await
    };
    answer(&server, work.await).await
}

async fn answer(server: &Server, done: Result<(), Refusal>) -> Response {
    match done {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => {
            sleep(server.settings.awkward.refused_socket).await;
            refusal.into_response()
        }
    }
}

async fn read(server: &Server, request: Request) -> Result<(Identity, Bytes), Refusal> {
    let headers = request.headers();
    let bearer = text(headers, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = bearer.filter(|token| !token.is_empty()).or_else(|| text(headers, "apikey"));
    let token = token.or_else(|| text(headers, "x-api-key")).unwrap_or_default();
    let identity = server.doorkeeper.identify(token).map_err(unauthorized)?;
    let body = to_bytes(request.into_body(), LARGEST).await.map_err(|_| {
        let why = format!("the body is larger than {LARGEST} bytes, or ended too early");
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, why)
    })?;
    Ok((identity, body))
}

/// What somebody may not send is lost without a word, as in earnest.
async fn send(
    server: &Server,
    identity: &Identity,
    channel: Channel,
    event: String,
    body: Body,
) -> Result<(), Refusal> {
    if channel.name.is_empty() {
        let why = "topic can't be blank".to_owned();
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    if server.meter.exceeded() {
        let why = "Too many messages per second".to_owned();
        return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, why));
    }
    let may = server.may(Right::Write, identity, &channel).await.map_err(|error| {
        warn!(%error, "could not ask the policies of realtime.messages");
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the database did not answer".to_owned())
    })?;
    if may {
        let broadcast = Broadcast { event, body, meta: None, as_text: true };
        server.hub.broadcast(&channel, &broadcast, None);
    }
    Ok(())
}

fn unauthorized(refused: Refused) -> Refusal {
    Refusal(StatusCode::UNAUTHORIZED, refused.to_string())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
