use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WARNING};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;

use super::ask::{Ask, Place, Query};
use super::{change, discovery, list, openapi, review, table, watch};
use crate::access::{Identity, is_allowed};
use crate::asked;
use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::refusal::Refusal;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The connection closes without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the server is not to be reached")]
pub(crate) struct Silence;

/// A request larger than this is refused; etcd takes no more than half of it.
const LARGEST: usize = 3 * 1024 * 1024;

pub(crate) async fn answer(
    cluster: Arc<Cluster>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Silence> {
    if cluster.faults.is_unreachable() {
        return Err(Silence);
    }
    tokio::time::sleep(cluster.faults.slowness()).await;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut note = asked::Request {
        verb: method.as_str().to_lowercase(),
        path,
        user: String::new(),
        status: 0,
    };
    let watches = Query::parse(request.uri().query().unwrap_or_default()).is("watch");
    let fault = if watches { None } else { cluster.faults.next() };
    let refusal = fault.and_then(|fault| fault.refusal(cluster.with(|store| store.version())));
    let answered = match refusal {
        Some(refusal) => Err(refusal),
        None => answer_rightly(&cluster, request, &mut note).await,
    };
    if fault == Some(Fault::LostAnswer) || cluster.faults.is_unreachable() {
        return Err(Silence);
    }
    let response = answered.unwrap_or_else(|refusal| refused(&refusal));
    note.status = response.status().as_u16();
    cluster.asked.note(note);
    Ok(response)
}

async fn answer_rightly(
    cluster: &Arc<Cluster>,
    request: Request<Incoming>,
    note: &mut asked::Request,
) -> Result<Response<Body>, Refusal> {
    let (parts, body) = request.into_parts();
    let who = authenticate(cluster, &parts.headers)?;
    note.user.clone_from(&who.name);
    let (path, query) = (parts.uri.path(), Query::parse(parts.uri.query().unwrap_or_default()));
    let body = Limited::new(body, LARGEST).collect().await.map_err(|_| {
        Refusal::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    })?;
    let body = body.to_bytes();
    match Place::of(path) {
        Place::Nowhere => Err(Refusal::no_such_path()),
        Place::About if path.starts_with("/openapi") => openapi::answer(path),
        Place::About => discovery::answer(cluster, path, &parts.headers),
        Place::Review(kind) => review::answer(cluster, kind, &who, &parts.method, &body),
        Place::Objects { kind, namespace, name, subresource } => {
            let (method, headers) = (parts.method, parts.headers);
            let ask = Ask { kind, namespace, name, subresource, method, query, headers, body, who };
            note.verb = ask.wish().verb;
            objects(cluster, ask).await
        }
    }
}

fn authenticate(cluster: &Cluster, headers: &HeaderMap) -> Result<Identity, Refusal> {
    let Some(said) = headers.get(AUTHORIZATION) else { return Ok(Identity::anonymous()) };
    let token = said.to_str().ok().and_then(|said| said.strip_prefix("Bearer "));
    token.and_then(|token| cluster.identity(token)).ok_or_else(Refusal::unauthorized)
}

async fn objects(cluster: &Arc<Cluster>, ask: Ask) -> Result<Response<Body>, Refusal> {
    let wish = ask.wish();
    if !cluster.with(|store| is_allowed(store, &ask.who, &wish)) {
        return Err(wish.refusal(ask.kind, &ask.who));
    }
    match (&ask.method, ask.name.is_empty(), ask.subresource.as_str()) {
        (&Method::GET, true, _) if ask.watches() => watch::answer(cluster, &ask),
        (&Method::GET, true, _) => list::answer(cluster, &ask).await,
        (&Method::GET, false, "scale") if ask.kind.scale => change::get_scale(cluster, &ask),
        (&Method::GET, false, "") => change::get(cluster, &ask),
        (&Method::GET, false, "status") if ask.kind.status => change::get(cluster, &ask),
        (&Method::POST, true, _) => change::create(cluster, &ask),
        (&Method::POST, false, "binding") => change::bind(cluster, &ask),
        (&Method::POST, false, "token") => review::token(cluster, &ask),
        (&Method::PUT | &Method::PATCH, false, "scale") if ask.kind.scale => {
            change::scale(cluster, &ask)
        }
        (&Method::PUT, false, "") => change::update(cluster, &ask),
        (&Method::PUT, false, "status") if ask.kind.status => change::update(cluster, &ask),
        (&Method::PATCH, false, "") => change::patch(cluster, &ask),
        (&Method::PATCH, false, "status") if ask.kind.status => change::patch(cluster, &ask),
        (&Method::DELETE, true, "") => change::delete_all(cluster, &ask),
        (&Method::DELETE, false, "") => change::delete(cluster, &ask),
        (_, false, "" | "status" | "scale") => Err(Refusal::not_allowed()),
        (_, true, _) => Err(Refusal::not_allowed()),
        _ => Err(Refusal::no_such_path()),
    }
}

pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = json(refusal.code, &refusal.status());
    if matches!(refusal.code, 429 | 504) {
        response.headers_mut().insert(RETRY_AFTER, "1".parse().expect("a number is a header"));
    }
    response
}

pub(crate) fn json(status: u16, value: &Value) -> Response<Body> {
    whole(status, "application/json", value.to_string())
}

pub(crate) fn whole(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).expect("statuses are ours");
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("types are ours"));
    response
}

/// An object, in the form that was asked for.
pub(crate) fn object(ask: &Ask, status: u16, object: &Value) -> Response<Body> {
    match ask.shown_as() {
        "Table" => json(status, &table::of(ask.kind, std::iter::once(object), object)),
        "PartialObjectMetadata" => json(status, &list::metadata_of(object)),
        _ => json(status, object),
    }
}

/// Tells of fields that were left out, as servers do that are asked to warn.
pub(crate) fn warn(response: &mut Response<Body>, unknown: &[String]) {
    for field in unknown {
        let text = format!("299 - \"unknown field \\\"{}\\\"\"", field.trim_start_matches('.'));
        if let Ok(text) = text.parse() {
            response.headers_mut().append(WARNING, text);
        }
    }
}
