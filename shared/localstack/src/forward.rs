use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{Request, StatusCode, Uri, Version};
use axum::response::Response;
use http_body_util::Limited;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::refusal::Refusal;
use crate::tunnel::{is_websocket, tunnel};
use crate::upstream::Upstream;

/// Hands requests on, and what comes back as it comes.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    pub(crate) tasks: TaskTracker,
    /// Ends what would go on for ever: tunnels.
    pub(crate) stop: CancellationToken,
    /// Ends whatever is still on its way.
    pub(crate) cut: CancellationToken,
}

/// Why there is no answer of the part.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Nobody listens there.
    Unreachable,
    /// It hung up.
    Broke,
    Late(Duration),
    Refused(Refusal),
}

/// Far more than a row or a picture needs; what is larger is a mistake.
pub(crate) const LARGEST_BODY: usize = 256 * 1024 * 1024;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

impl Forwarder {
    /// `path` is the request's path as the part knows it. `patience` is how long it may take to
    /// begin its answer, for which it may need all of the request.
    pub(crate) async fn forward(
        &self,
        to: &Upstream,
        mut request: Request<Body>,
        path: &str,
        patience: Duration,
    ) -> Result<Response, NoAnswer> {
        if announced(request.headers()).is_some_and(|length| length > LARGEST_BODY as u64) {
            return Err(NoAnswer::Refused(too_large()));
        }
        *request.uri_mut() = relative(path, request.uri().query());
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
        if is_websocket(&request) {
            return tunnel(self, to, request).await;
        }
        remove_hop_by_hop(request.headers_mut());
        let request = request.map(|body| Limited::new(body, LARGEST_BODY));
        let (mut send, connection) = to.open().await.map_err(|_| NoAnswer::Unreachable)?;
        self.drive(connection, &self.cut);
        let answer = timeout(patience, send.send_request(request)).await;
        let answer = answer.map_err(|_| NoAnswer::Late(patience))?;
        let mut answer = answer.map_err(|error| {
            let cut = chain(&error).any(|cause| cause.is::<http_body_util::LengthLimitError>());
            if cut { NoAnswer::Refused(too_large()) } else { NoAnswer::Broke }
        })?;
        remove_hop_by_hop(answer.headers_mut());
        Ok(answer.map(Body::new))
    }

    /// Moves what goes through a connection, until it is over or ended.
    pub(crate) fn drive(&self, connection: impl Future + Send + 'static, end: &CancellationToken) {
        // Whoever waits for it hears of its errors.
        let until_end = end.clone().run_until_cancelled_owned(async { drop(connection.await) });
        self.tasks.spawn(until_end);
    }
}

/// The same path and query, without a host: that is what a server expects.
fn relative(path: &str, query: Option<&str>) -> Uri {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    text.parse().expect("it is a part of a URI that was parsed")
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What is meant for the next in line and nobody behind.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.into_iter().chain(always) {
        headers.remove(name);
    }
}

fn too_large() -> Refusal {
    let message = format!("the body is larger than {} MB", LARGEST_BODY / 1024 / 1024);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message, "send it in several requests")
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_the_next_in_line_is_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("prefer", "return=minimal"),
            ("prefer", "count=exact"),
            ("x-yours", "2"),
            ("content-length", "3"),
        ] {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "prefer", "prefer", "x-yours"]);
    }
}
