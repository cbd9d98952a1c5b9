use realtime::{ChangeEvent, ChangeFilter, Happening, InvalidJoin, JoinOptions, Protocol};
use serde_json::json;

use crate::server::Server;
use crate::world::{
    KEY, connect, down, listen, ms, next, options, ready, ready_again, with_timings,
};

fn changes() -> JoinOptions {
    let filter = ChangeFilter {
        event: ChangeEvent::Insert,
        schema: "public".to_owned(),
        table: Some("agent_messages".to_owned()),
        ..ChangeFilter::default()
    };
    JoinOptions { postgres_changes: vec![filter], ..JoinOptions::default() }
}

#[tokio::test]
async fn a_channel_is_joined_with_the_key_and_what_it_wants_to_hear() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let mut peer = server.accept().await;
    assert_eq!(peer.uri, "/realtime/v1/websocket?apikey=key%2Fcanary%2B7f3a%3D%3D&vsn=2.0.0");
    let join = peer.joined(&[]).await;
    assert_eq!(join.topic, "realtime:work");
    assert_eq!(join.join_ref, join.reference);
    assert_eq!(join.payload["access_token"], KEY);
    assert_eq!(join.payload["config"]["private"], false);
    ready(&mut channel).await;
}

#[tokio::test]
async fn the_older_protocol_is_spoken_when_asked_for() {
    let server = Server::start().await;
    let mut options = options();
    options.protocol = Protocol::V1;
    let mut channel = listen(&server, &options);
    let (mut peer, join) = server.joined().await;
    assert!(peer.uri.ends_with("&vsn=1.0.0"), "{}", peer.uri);
    ready(&mut channel).await;
    peer.broadcast(&join, "ring", json!({ "n": 1 })).await;
    assert!(matches!(next(&mut channel).await, Happening::Broadcast(_)));
    peer.frame(&json!(null), &join.join_ref, &join.topic, "phx_close", &json!({})).await;
    down(&mut channel).await;
    let rejoin = peer.push("phx_leave").await;
    assert_eq!(rejoin.join_ref, join.join_ref);
    peer.joined(&[]).await;
    ready(&mut channel).await;
    // In this version only its reference tells that this is about the first join.
    peer.frame(&json!(null), &join.join_ref, &join.topic, "phx_close", &json!({})).await;
    peer.broadcast(&join, "ring", json!({ "n": 2 })).await;
    assert!(matches!(next(&mut channel).await, Happening::Broadcast(_)));
}

#[tokio::test]
async fn a_channel_is_ready_only_when_every_source_is_up() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let wanted = JoinOptions { replication_ready: true, ..changes() };
    let mut channel = realtime.join("work", wanted).unwrap();
    let mut peer = server.accept().await;
    let join = peer.joined(&[7]).await;
    // Heard in this order, so each of these is told while it is not yet ready.
    peer.broadcast(&join, "after the join", json!({})).await;
    peer.system(&join, "postgres_changes", "ok", "Subscribed to PostgreSQL").await;
    peer.broadcast(&join, "after the changes", json!({})).await;
    peer.system(&join, "system", "ok", "Replication connection established").await;
    for expected in ["after the join", "after the changes"] {
        match next(&mut channel).await {
            Happening::Broadcast(broadcast) => assert_eq!(broadcast.event, expected),
            other => panic!("{other:?} before {expected}"),
        }
    }
    ready(&mut channel).await;

    // A second "Subscribed", as after a new token, is no second `Ready`.
    peer.system(&join, "postgres_changes", "ok", "Subscribed to PostgreSQL").await;
    peer.broadcast(&join, "later", json!({})).await;
    assert!(matches!(next(&mut channel).await, Happening::Broadcast(_)));

    drop(peer);
    down(&mut channel).await;
    let mut peer = server.accept().await;
    let join = peer.joined(&[7]).await;
    peer.system(&join, "system", "ok", "Replication connection established").await;
    peer.broadcast(&join, "not yet", json!({})).await;
    assert!(matches!(next(&mut channel).await, Happening::Broadcast(_)));
    peer.system(&join, "postgres_changes", "ok", "Subscribed to PostgreSQL").await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_refused_join_is_told_once_and_tried_again_for_ever() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let mut peer = server.accept().await;
    let reason = "Unauthorized: You do not have permissions to read from this Channel topic: work";
    for _ in 0..6 {
        let join = peer.push("phx_join").await;
        peer.reply(&join, "error", json!({ "reason": reason })).await;
        assert_eq!(peer.push("phx_leave").await.join_ref, join.join_ref);
    }
    peer.joined(&[]).await;
    assert_eq!(down(&mut channel).await, format!("could not join `work`: {reason}"));
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_join_that_nobody_answers_is_tried_again() {
    let server = Server::start().await;
    let mut channel = listen(&server, &with_timings(|timings| timings.join_answer = ms(500)));
    let mut peer = server.accept().await;
    let first = peer.push("phx_join").await;
    assert!(down(&mut channel).await.starts_with("nobody answered within"));
    peer.push("phx_leave").await;
    let second = peer.push("phx_join").await;
    assert_ne!(first.join_ref, second.join_ref);
    // Too late: the server has been told that we left.
    peer.reply(&first, "ok", json!({})).await;
    peer.broadcast(&second, "in between", json!({})).await;
    peer.reply(&second, "ok", json!({})).await;
    assert!(matches!(next(&mut channel).await, Happening::Broadcast(_)));
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_join_whose_sources_never_start_is_tried_again() {
    let server = Server::start().await;
    let realtime = connect(&server, &with_timings(|timings| timings.ready = ms(500)));
    let mut channel = realtime.join("work", changes()).unwrap();
    let mut peer = server.accept().await;
    peer.joined(&[7]).await;
    let why = down(&mut channel).await;
    assert!(why.starts_with("joined `work`, but table changes did not start"), "{why}");
    peer.push("phx_leave").await;
    let join = peer.joined(&[7]).await;
    peer.system(&join, "postgres_changes", "ok", "").await;
    ready(&mut channel).await;
}

#[tokio::test]
async fn a_join_that_loses_filters_is_no_join() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let mut channel = realtime.join("work", changes()).unwrap();
    let mut peer = server.accept().await;
    peer.joined(&[]).await;
    assert_eq!(down(&mut channel).await, "could not join `work`: it took 0 of our 1 filters");
    peer.push("phx_leave").await;
    peer.push("phx_join").await;
}

#[tokio::test]
async fn whatever_ends_a_channel_it_is_joined_again() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let mut channel = realtime.join("work", changes()).unwrap();
    let mut peer = server.accept().await;
    let bad = "Unable to subscribe to changes with given parameters";
    for (event, payload, why) in [
        (
            "system",
            json!({ "status": "error", "extension": "postgres_changes", "message": bad }),
            "the server gave `work` up: Unable to subscribe",
        ),
        ("phx_error", json!({}), "`work` crashed on the server"),
        ("phx_close", json!({}), "the server closed `work`"),
        (
            "phx_reply",
            json!({ "status": "error", "response": { "reason": "unmatched topic" } }),
            "the server forgot that we joined `work`",
        ),
    ] {
        let join = peer.joined(&[7]).await;
        peer.system(&join, "postgres_changes", "ok", "Subscribed to PostgreSQL").await;
        ready(&mut channel).await;
        if event == "phx_reply" {
            channel.send("anything", &json!({})).await.unwrap();
            let sent = peer.push("broadcast").await;
            peer.reply(&sent, "error", payload["response"].clone()).await;
        } else {
            peer.tell(&join, event, payload).await;
        }
        let told = down(&mut channel).await;
        assert!(told.starts_with(why), "{told}");
        let leave = peer.push("phx_leave").await;
        // What the server says to that is about nothing any more.
        peer.reply(&leave, "error", json!({ "reason": "unmatched topic" })).await;
        peer.frame(&join.join_ref, &join.join_ref, &join.topic, "phx_close", &json!({})).await;
    }
    let join = peer.joined(&[7]).await;
    peer.system(&join, "postgres_changes", "ok", "Subscribed to PostgreSQL").await;
    ready(&mut channel).await;
    assert_eq!(realtime.status().borrow().rejoins, 4);
    assert_eq!(realtime.status().borrow().reconnects, 0);
}

#[tokio::test]
async fn many_channels_share_a_connection_and_each_leaves_by_itself() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let mut one = realtime.join("one", JoinOptions::default()).unwrap();
    let mut two = realtime.clone().join("two", JoinOptions::default()).unwrap();
    let mut peer = server.accept().await;
    peer.joined(&[]).await;
    peer.joined(&[]).await;
    ready(&mut one).await;
    ready(&mut two).await;

    let twice = realtime.join("one", JoinOptions::default()).unwrap_err();
    assert_eq!(twice, InvalidJoin::Twice("one".to_owned()));
    drop(one);
    let mut again = realtime.join("one", JoinOptions::default()).unwrap();
    assert_eq!(peer.push("phx_leave").await.topic, "realtime:one");
    let join = peer.joined(&[]).await;
    assert_eq!(join.topic, "realtime:one");
    ready(&mut again).await;
    peer.broadcast(&join, "ring", json!({})).await;
    assert!(matches!(next(&mut again).await, Happening::Broadcast(_)));
}

#[tokio::test]
async fn a_channel_joined_during_an_outage_is_told_why_nothing_comes() {
    let server = Server::start().await;
    let realtime = connect(
        &server,
        &with_timings(|timings| {
            timings.backoff = ms(400);
            timings.backoff_cap = ms(400);
        }),
    );
    let mut one = realtime.join("one", JoinOptions::default()).unwrap();
    server.refuse(503, "{}").await;
    down(&mut one).await;
    let mut two = realtime.join("two", JoinOptions::default()).unwrap();
    assert!(down(&mut two).await.contains("HTTP 503"));
    let mut peer = server.accept().await;
    peer.joined(&[]).await;
    peer.joined(&[]).await;
    ready_again(&mut one).await;
    ready_again(&mut two).await;
}
