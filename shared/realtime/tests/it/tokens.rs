use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use model::Secret;
use realtime::{AccessToken, Endpoint, JoinOptions, Realtime, RealtimeOptions, TokenSource};
use serde_json::json;

use crate::server::Server;
use crate::world::{KEY, down, listen, ms, options, ready, ready_again, with_timings};

fn token(number: usize, life: Duration) -> AccessToken {
    let token = Secret::new(format!("token-{number}"));
    AccessToken { token, expires: SystemTime::now() + life }
}

/// Gives `token-0`, `token-1` and so on, as the answers say.
fn source(
    answer: impl Fn(usize) -> Result<AccessToken, io::Error> + Send + Sync + 'static,
) -> RealtimeOptions {
    let asked = AtomicUsize::new(0);
    let answer = Arc::new(answer);
    let token = TokenSource::fetched(move || {
        let (number, answer) = (asked.fetch_add(1, Ordering::Relaxed), answer.clone());
        async move { answer(number) }
    });
    RealtimeOptions { token, ..options() }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_key_of_the_new_kind_is_never_sent_as_a_token() {
    let server = Server::start().await;
    let key = Secret::new("sb_secret_canary".to_owned());
    let realtime = Realtime::new(&Endpoint::new(&server.url, key).unwrap(), &options());
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let (peer, join) = server.joined().await;
    ready(&mut channel).await;
    assert!(peer.uri.contains("apikey=sb_secret_canary"));
    assert!(join.payload.get("access_token").is_none(), "{}", join.payload);
}

#[tokio::test]
async fn a_fixed_token_may_differ_from_the_key() {
    let server = Server::start().await;
    let token = TokenSource::Fixed(Secret::new("token-x".to_owned()));
    let mut channel = listen(&server, &RealtimeOptions { token, ..options() });
    let (mut peer, join) = server.joined().await;
    assert!(peer.uri.contains("apikey=key%2Fcanary"));
    assert_eq!(join.payload["access_token"], "token-x");
    ready(&mut channel).await;
    peer.system(&join, "system", "error", "token-x is bad").await;
    assert_eq!(down(&mut channel).await, "the server gave `work` up: … is bad");
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let server = Server::start().await;
    let mut channel = listen(&server, &source(|number| Ok(token(number, ms(800)))));
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    assert_eq!(join.payload["access_token"], "token-0");
    for number in 1..4 {
        let refresh = peer.push("access_token").await;
        assert_eq!(refresh.topic, "realtime:work");
        assert_eq!(refresh.join_ref, join.join_ref);
        assert_eq!(refresh.payload, json!({ "access_token": format!("token-{number}") }));
    }
}

#[tokio::test]
async fn a_token_that_the_server_lets_expire_is_replaced_for_the_rejoin() {
    let server = Server::start().await;
    let mut channel = listen(&server, &source(|number| Ok(token(number, LONG))));
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    // As the server does at `exp`, with the connection left open.
    peer.system(&join, "system", "error", "Token has expired 1 seconds ago").await;
    peer.tell(&join, "phx_close", json!({})).await;
    let why = down(&mut channel).await;
    assert_eq!(why, "the server gave `work` up: Token has expired 1 seconds ago");
    let leave = peer.push("phx_leave").await;
    peer.reply(&leave, "error", json!({ "reason": "unmatched topic" })).await;
    let join = peer.joined(&[]).await;
    assert_eq!(join.payload["access_token"], "token-1");
    ready(&mut channel).await;

    // A channel that is closed without a reason may have been closed for its token.
    peer.tell(&join, "phx_close", json!({})).await;
    down(&mut channel).await;
    peer.push("phx_leave").await;
    assert_eq!(peer.joined(&[]).await.payload["access_token"], "token-2");
    ready(&mut channel).await;
}

#[tokio::test]
async fn one_expired_token_is_replaced_once_for_all_channels() {
    let server = Server::start().await;
    let options = source(|number| Ok(token(number, LONG)));
    let realtime = crate::world::connect(&server, &options);
    let mut first = realtime.join("first", JoinOptions::default()).unwrap();
    let mut peer = server.accept().await;
    let join = peer.joined(&[]).await;
    ready(&mut first).await;
    let mut second = realtime.join("second", JoinOptions::default()).unwrap();
    let pending = peer.push("phx_join").await;
    assert_eq!(pending.payload["access_token"], "token-0");

    peer.tell(&join, "phx_close", json!({})).await;
    peer.push("phx_leave").await;
    assert_eq!(peer.joined(&[]).await.payload["access_token"], "token-1");
    ready_again(&mut first).await;
    // This was about the token that has been replaced by now.
    peer.reply(&pending, "error", json!({ "reason": "Token has expired" })).await;
    peer.push("phx_leave").await;
    assert_eq!(peer.joined(&[]).await.payload["access_token"], "token-1");
    ready_again(&mut second).await;
}

#[tokio::test]
async fn without_a_token_a_channel_says_so_and_waits_for_one() {
    let server = Server::start().await;
    let mut channel = listen(
        &server,
        &source(|number| match number {
            0 => Err(io::Error::other("the issuer is away")),
            1 => Ok(token(number, Duration::ZERO)),
            2 => panic!("a bug in somebody's code"),
            _ => Ok(token(number, LONG)),
        }),
    );
    let mut peer = server.accept().await;
    let join = peer.joined(&[]).await;
    assert_eq!(join.payload["access_token"], "token-3");
    // The tries before the connection was open are not told.
    let mut whys = Vec::new();
    loop {
        match crate::world::next(&mut channel).await {
            realtime::Happening::Down { why } => whys.push(crate::world::told(&*why)),
            realtime::Happening::Ready => break,
            other => panic!("{other:?}"),
        }
    }
    for why in whys {
        assert!(why.starts_with("there is no access token for `work`: "), "{why}");
    }
}

#[tokio::test]
async fn a_token_that_never_comes_is_asked_for_again() {
    let server = Server::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let token = TokenSource::fetched(move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            if number == 0 {
                std::future::pending::<()>().await;
            }
            Ok::<_, io::Error>(token(number, LONG))
        }
    });
    let impatient = with_timings(|timings| timings.token = ms(300));
    let mut channel = listen(&server, &RealtimeOptions { token, ..impatient });
    let (_peer, join) = server.joined().await;
    assert_eq!(join.payload["access_token"], "token-1");
    ready_again(&mut channel).await;
}

#[test]
fn a_token_source_shows_nothing_of_its_token() {
    let fixed = TokenSource::Fixed(Secret::new(KEY.to_owned()));
    let fetched = TokenSource::fetched(|| async { Ok::<_, io::Error>(token(0, LONG)) });
    assert_eq!(
        format!("{fixed:?} {fetched:?} {:?}", TokenSource::Key),
        "Fixed(..) Fetched(..) Key"
    );
}
