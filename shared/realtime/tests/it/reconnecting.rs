use std::time::{Duration, Instant};

use realtime::{JoinOptions, Link, Realtime, RealtimeOptions, Timings};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

use crate::proxy::{Proxy, Weather};
use crate::server::{Server, a_moment};
use crate::world::{
    connect, down, is_open, listen, ms, next, options, project, ready, ready_again, status, told,
    with_timings, within,
};

#[tokio::test]
async fn whatever_the_code_a_closed_connection_is_opened_again() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    for (number, code) in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999]
            .into_iter()
            .enumerate()
    {
        let (mut peer, _) = server.joined().await;
        ready(&mut channel).await;
        assert_eq!(realtime.status().borrow().reconnects, number as u64);
        // The connection stays open below: the client must not wait for its end.
        peer.close(code, "bye").await;
        let why = down(&mut channel).await;
        assert!(why.contains(&format!("closed the connection with code {code}: bye")), "{why}");
    }
    let (peer, _) = server.joined().await;
    ready(&mut channel).await;
    peer.reset();
    assert!(down(&mut channel).await.contains("lost the connection"));
    let (peer, _) = server.joined().await;
    ready(&mut channel).await;
    drop(peer);
    down(&mut channel).await;
    let _peer = server.joined().await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_refused_handshake_says_why_and_is_tried_again() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    for (status, body, why) in [
        (401, r#"{"error":"Token has expired"}"#, "HTTP 401: Token has expired"),
        (403, r#"{"error":"suspended"}"#, "HTTP 403: suspended"),
        (404, "<html>not here</html>", "HTTP 404: <html>not here</html>"),
        (429, r#"{"error":"Too many connected users"}"#, "HTTP 429: Too many"),
        (503, "", "HTTP 503"),
        (200, "", "HTTP 200"),
    ] {
        server.refuse(status, body).await;
        let told = down(&mut channel).await;
        assert!(told.contains(why), "{told}");
    }
    // The same reason again is no news.
    server.refuse(200, "").await;
    let _peer = server.joined().await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_server_that_never_opens_is_given_up() {
    let server = Server::start().await;
    let mut channel = listen(&server, &with_timings(|timings| timings.connect = ms(400)));
    let mut silent = server.accept_tcp().await;
    let why = down(&mut channel).await;
    assert!(why.contains("did not open the connection within 400ms"), "{why}");
    let mut request = Vec::new();
    within("the end", silent.read_to_end(&mut request)).await.unwrap();
    let _peer = server.joined().await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_server_that_is_something_else_is_told_as_such() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let stream = server.accept_tcp().await;
    stream.writable().await.unwrap();
    stream.try_write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").unwrap();
    let why = down(&mut channel).await;
    assert!(why.contains("did not answer like Realtime"), "{why}");
}

#[test]
fn a_dead_connection_is_found_within_35_seconds() {
    let Timings { heartbeat, heartbeat_answer, write, .. } = Timings::default();
    assert!(heartbeat + heartbeat_answer.max(write) <= Duration::from_secs(35));
}

#[tokio::test]
async fn an_unanswered_heartbeat_ends_the_connection_and_an_answered_one_does_not() {
    let server = Server::start().await;
    let beating = with_timings(|timings| {
        timings.heartbeat = ms(50);
        timings.heartbeat_answer = ms(500);
    });
    let mut channel = listen(&server, &beating);
    let (mut peer, _) = server.joined().await;
    ready(&mut channel).await;
    for _ in 0..5 {
        let beat = peer.heartbeat().await;
        peer.reply(&beat, "ok", json!({})).await;
    }
    let beat = peer.heartbeat().await;
    // The answer to another one is none.
    let mut other = beat.clone();
    other.reference = json!("999999");
    peer.reply(&other, "ok", json!({})).await;
    let why = down(&mut channel).await;
    assert!(why.contains("did not answer a heartbeat within 500ms"), "{why}");
    peer.ended_in_silence().await;
    let _peer = server.joined().await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_network_that_freezes_is_found_and_one_that_breaks_is_survived() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let beating = with_timings(|timings| {
        timings.heartbeat = ms(50);
        timings.heartbeat_answer = ms(400);
        timings.connect = ms(1000);
    });
    let realtime = Realtime::new(&project(&proxy.url), &beating);
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let answering = async {
        loop {
            let Some(mut peer) = crate::server::Peer::open(server.accept_tcp().await).await else {
                continue;
            };
            // Each connection is answered until it ends.
            while let Some(push) = peer.try_push().await {
                peer.reply(&push, "ok", json!({})).await;
            }
        }
    };
    let weather = async {
        ready(&mut channel).await;
        proxy.turn(Weather::Frozen);
        assert!(down(&mut channel).await.contains("heartbeat"));
        proxy.turn(Weather::Cut);
        // It is tried in vain until the network is back.
        let mut status_of = realtime.status();
        status(&mut status_of, |status| matches!(status.link, Link::Down { .. })).await;
        a_moment().await;
        proxy.turn(Weather::Fair);
        ready_again(&mut channel).await;
    };
    tokio::select! {
        () = answering => {}
        () = within("the weather", weather) => {}
    }
}

#[tokio::test]
async fn a_message_above_the_limit_ends_the_connection() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    peer.broadcast(&join, "large", json!("x".repeat(4 << 20))).await;
    assert!(matches!(next(&mut channel).await, realtime::Happening::Broadcast(_)));
    peer.broadcast(&join, "too large", json!("x".repeat(5 << 20))).await;
    let why = down(&mut channel).await;
    assert!(why.contains("sent a message of more than 5242880 bytes"), "{why}");
    let _peer = server.joined().await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn two_missed_canaries_end_the_connection() {
    let server = Server::start().await;
    let watched = RealtimeOptions { canary: Some(ms(200)), ..options() };
    let realtime = connect(&server, &watched);
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let mut peer = server.accept().await;
    let (one, two) = (peer.joined(&[]).await, peer.joined(&[]).await);
    let canary = if one.topic == "realtime:work" { two } else { one };
    let config = &canary.payload["config"];
    assert!(canary.topic.starts_with("realtime:cogo:canary:"), "{}", canary.topic);
    assert_eq!((&config["private"], &config["broadcast"]["self"]), (&json!(true), &json!(true)));
    ready(&mut channel).await;
    for _ in 0..5 {
        // One miss in between is forgiven.
        peer.push("broadcast").await;
        let sent = peer.push("broadcast").await;
        assert_eq!(sent.topic, canary.topic);
        peer.broadcast(&canary, "canary", json!({})).await;
    }
    peer.push("broadcast").await;
    peer.push("broadcast").await;
    let why = down(&mut channel).await;
    assert!(why.contains("none of the last two broadcasts"), "{why}");
    assert_eq!(realtime.status().borrow().channels, 1, "the canary is nobody's channel");
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_hammered() {
    let server = Server::start().await;
    let patient = with_timings(|timings| {
        timings.backoff = ms(20);
        timings.backoff_cap = ms(100);
    });
    let mut channel = listen(&server, &patient);
    let started = Instant::now();
    for _ in 0..8 {
        let (mut peer, _) = server.joined().await;
        ready_again(&mut channel).await;
        peer.close(1000, "").await;
    }
    server.accept().await;
    // A quarter of 20 + 40 + 80 + 5 × 100 ms is the least that these waits can be.
    assert!(started.elapsed() >= ms(640 / 4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_server_that_refuses_joins_at_once_is_not_hammered() {
    let server = Server::start().await;
    let patient = with_timings(|timings| {
        timings.backoff = ms(20);
        timings.backoff_cap = ms(100);
    });
    let _channel = listen(&server, &patient);
    let mut peer = server.accept().await;
    let started = Instant::now();
    for _ in 0..8 {
        let join = peer.push("phx_join").await;
        peer.reply(&join, "error", json!({ "reason": "no" })).await;
        peer.push("phx_leave").await;
    }
    peer.push("phx_join").await;
    assert!(started.elapsed() >= ms(640 / 4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_status_tells_how_it_goes() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let mut watched = realtime.status();
    assert!(matches!(watched.borrow().link, Link::Idle));
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    server.refuse(401, r#"{"error":"no"}"#).await;
    let seen = status(&mut watched, |status| matches!(status.link, Link::Down { .. })).await;
    assert!(seen.link.told().ends_with("HTTP 401: no"), "{}", seen.link.told());
    let Link::Down { why } = &seen.link else { unreachable!() };
    assert!(miette::Diagnostic::help(&**why).unwrap().to_string().contains("SUPABASE_SECRET_KEY"));
    assert!(told(&**why).contains("127.0.0.1"));
    let (peer, _) = server.joined().await;
    ready_again(&mut channel).await;
    let seen = status(&mut watched, |status| status.ready == 1).await;
    assert_eq!((seen.channels, seen.reconnects, seen.rejoins), (1, 0, 0));
    assert!(is_open(&seen));
    drop(peer);
    let (_peer, _) = server.joined().await;
    ready_again(&mut channel).await;
    let seen = status(&mut watched, |status| status.ready == 1 && status.rejoins == 1).await;
    assert_eq!((seen.reconnects, seen.link.told().as_str()), (1, "open"));
    realtime.close().await;
    let seen = status(&mut watched, |status| matches!(status.link, Link::Closed)).await;
    assert_eq!(seen.link.told(), "closed");
}

#[tokio::test]
async fn the_last_handle_takes_the_connection_with_it() {
    let before = Handle::current().metrics().num_alive_tasks();
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    drop(realtime);
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    // A channel is a handle too.
    peer.broadcast(&join, "ring", json!({})).await;
    next(&mut channel).await;
    drop(channel);
    peer.ended().await;
    let gone = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    within("the end of its tasks", gone).await;
}

#[tokio::test]
async fn nothing_is_opened_before_somebody_joins_or_after_everybody_left() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    a_moment().await;
    assert!(matches!(realtime.status().borrow().link, Link::Idle));
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let (mut peer, _) = server.joined().await;
    ready(&mut channel).await;
    drop(channel);
    peer.push("phx_leave").await;
    drop(peer);
    let mut watched = realtime.status();
    status(&mut watched, |status| matches!(status.link, Link::Down { .. })).await;
    a_moment().await;
    assert!(!is_open(&watched.borrow()));
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let _peer = server.joined().await;
    ready_again(&mut channel).await;
}
