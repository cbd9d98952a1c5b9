use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN,
};
use axum::http::{Method, Request};
use axum::response::Response;

/// Any page may call Supabase: what one may do depends on the key alone.
const ANYBODY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS");
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The answer to a browser that asks whether it may ask.
pub(crate) fn preflight(request: &Request<Body>) -> Option<Response> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks {
        return None;
    }
    let mut answer = Response::new(Body::empty());
    let given = answer.headers_mut();
    given.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    given.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    given.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        given.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    Some(answer)
}

/// Lets a browser's page read the answer, unless the part has its own mind about that.
pub(crate) fn open_to_browsers(headers: &mut HeaderMap) {
    headers.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(ANYBODY);
}
