use std::time::Duration;

use model::Secret;
use realtime::{
    Channel, Endpoint, Happening, JoinOptions, Link, Realtime, RealtimeOptions, Status, Timings,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::logs;
use crate::server::Server;

/// Nothing we print may contain it, as it is or as a URL would have it.
pub(crate) const KEY: &str = "key/canary+7f3a==";
pub(crate) const TOKEN: &str = "token/canary+91bc==";

/// A test that waits this long has failed; nothing in it takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn key() -> Secret {
    Secret::new(KEY.to_owned())
}

/// Short waits between tries, long ones for what must not happen by itself.
pub(crate) fn options() -> RealtimeOptions {
    logs::collect();
    let timings = Timings {
        join_answer: Duration::from_secs(10),
        backoff: ms(10),
        backoff_cap: ms(80),
        ..Timings::default()
    };
    RealtimeOptions { canary: None, timings, ..RealtimeOptions::default() }
}

pub(crate) fn with_timings(change: impl FnOnce(&mut Timings)) -> RealtimeOptions {
    let mut options = options();
    change(&mut options.timings);
    options
}

pub(crate) fn connect(server: &Server, options: &RealtimeOptions) -> Realtime {
    Realtime::new(&project(&server.url), options)
}

pub(crate) fn project(url: &str) -> Endpoint {
    Endpoint::new(url, key()).unwrap()
}

/// One channel on a connection of its own.
pub(crate) fn listen(server: &Server, options: &RealtimeOptions) -> Channel {
    connect(server, options).join("work", JoinOptions::default()).unwrap()
}

pub(crate) async fn next(channel: &mut Channel) -> Happening {
    within("a happening", channel.next()).await.expect("the connection is not closed for good")
}

pub(crate) async fn ready(channel: &mut Channel) {
    let happening = next(channel).await;
    assert!(matches!(happening, Happening::Ready), "{happening:?}");
}

/// Why it is down, with all causes.
pub(crate) async fn down(channel: &mut Channel) -> String {
    match next(channel).await {
        Happening::Down { why } => told(&*why),
        other => panic!("{other:?}"),
    }
}

/// Waits until it is ready again, however often it is down before.
pub(crate) async fn ready_again(channel: &mut Channel) {
    while !matches!(next(channel).await, Happening::Ready) {}
}

pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(crate) async fn status(
    status: &mut watch::Receiver<Status>,
    wanted: impl FnMut(&Status) -> bool,
) -> Status {
    within("a status", status.wait_for(wanted)).await.unwrap().clone()
}

pub(crate) fn is_open(status: &Status) -> bool {
    matches!(status.link, Link::Open)
}
