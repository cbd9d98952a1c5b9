use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use hyper::upgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use crate::forward::{Forwarder, NoAnswer, remove_hop_by_hop};
use crate::upstream::Upstream;

/// A server may think for two seconds before it refuses somebody.
const SHAKING_HANDS: Duration = Duration::from_secs(30);

pub(crate) fn is_websocket(request: &Request<Body>) -> bool {
    let websocket = request.headers().get(UPGRADE);
    let websocket = websocket.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut connection = request.headers().get_all(CONNECTION).iter();
    websocket
        && connection.any(|value| {
            let mut words = value.as_bytes().split(|byte| *byte == b',');
            words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
}

/// Lets both sides shake hands, and from then on passes every byte on as it is: frames, pings and
/// the codes that they close with are between the two.
pub(crate) async fn tunnel(
    forwarder: &Forwarder,
    to: &Upstream,
    mut request: Request<Body>,
) -> Result<Response, NoAnswer> {
    as_upgrade(request.headers_mut());
    let theirs = upgrade::on(&mut request);
    let request = request.map(|_| Body::empty());
    let (mut send, connection) = to.open().await.map_err(|_| NoAnswer::Unreachable)?;
    forwarder.drive(connection.with_upgrades(), &forwarder.stop);
    let answer = timeout(SHAKING_HANDS, send.send_request(request)).await;
    let answer = answer.map_err(|_| NoAnswer::Late(SHAKING_HANDS))?;
    let mut answer = answer.map_err(|_| NoAnswer::Broke)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        remove_hop_by_hop(answer.headers_mut());
        return Ok(answer.map(Body::new));
    }
    as_upgrade(answer.headers_mut());
    let ours = upgrade::on(&mut answer);
    let tunnel = async move {
        let (Ok(theirs), Ok(ours)) = tokio::join!(theirs, ours) else { return };
        // However it ends, both ends are closed then, and see it.
        let _ = copy_bidirectional(&mut TokioIo::new(theirs), &mut TokioIo::new(ours)).await;
    };
    forwarder.drive(tunnel, &forwarder.stop);
    Ok(answer.map(|_| Body::empty()))
}

fn as_upgrade(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}
