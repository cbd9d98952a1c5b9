use realtime::{JoinOptions, SendError};
use serde_json::{Value, json};

use crate::server::Server;
use crate::world::{connect, down, listen, ms, options, ready, with_timings, within};

#[tokio::test]
async fn a_broadcast_is_sent_on_a_joined_channel() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let error = channel.send("ring", &json!({})).await.unwrap_err();
    assert!(matches!(error, SendError::NotJoined { .. }), "{error:?}");
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    channel.send("ring", &json!({ "n": 1 })).await.unwrap();
    let sent = peer.push("broadcast").await;
    assert_eq!(sent.join_ref, join.join_ref);
    let payload = json!({ "type": "broadcast", "event": "ring", "payload": { "n": 1 } });
    assert_eq!((sent.topic.as_str(), sent.payload), ("realtime:work", payload));
}

#[tokio::test]
async fn a_broadcast_that_wants_to_be_confirmed_waits_for_it() {
    let server = Server::start().await;
    let realtime = connect(&server, &with_timings(|timings| timings.ack = ms(500)));
    let wanted = JoinOptions { ack: true, ..JoinOptions::default() };
    let mut channel = realtime.join("work", wanted).unwrap();
    let (mut peer, join) = server.joined().await;
    assert_eq!(join.payload["config"]["broadcast"]["ack"], true);
    ready(&mut channel).await;

    let answer = async |peer: &mut crate::server::Peer, status, response: Value| {
        let sent = peer.push("broadcast").await;
        peer.reply(&sent, status, response).await;
    };
    let payload = json!({});
    let (sent, ()) =
        tokio::join!(channel.send("ring", &payload), answer(&mut peer, "ok", json!({})));
    sent.unwrap();
    let refusal = json!({ "reason": "no" });
    let (sent, ()) =
        tokio::join!(channel.send("ring", &payload), answer(&mut peer, "error", refusal));
    assert!(matches!(&sent, Err(SendError::Refused { said, .. }) if said == "no"), "{sent:?}");
    let sent = channel.send("ring", &payload).await;
    assert!(matches!(&sent, Err(SendError::Slow { .. })), "{sent:?}");
    let lose = async {
        peer.push("broadcast").await;
        peer.push("broadcast").await;
        peer.reset();
    };
    let (sent, ()) = tokio::join!(channel.send("ring", &payload), lose);
    assert!(matches!(&sent, Err(SendError::Lost { .. })), "{sent:?}");
    down(&mut channel).await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_here() {
    let server = Server::start().await;
    let mut options = options();
    options.max_frame = 1000;
    let realtime = connect(&server, &options);
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let (mut peer, _) = server.joined().await;
    ready(&mut channel).await;
    let error = channel.send("ring", &"x".repeat(1001)).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { limit: 1000, .. }), "{error:?}");
    let keys = std::collections::HashMap::from([((1, 2), 3)]);
    let error = channel.send("ring", &keys).await.unwrap_err();
    assert!(matches!(error, SendError::Payload { .. }), "{error:?}");
    channel.send("ring", &json!({})).await.unwrap();
    peer.push("broadcast").await;

    realtime.close().await;
    let error = channel.send("ring", &json!({})).await.unwrap_err();
    assert!(matches!(error, SendError::Closed { .. }), "{error:?}");
    peer.ended().await;
    // What happened before the end is still told; after it, nothing more.
    within("the end", async { while channel.next().await.is_some() {} }).await;
    let mut late = realtime.join("late", JoinOptions::default()).unwrap();
    assert!(within("the end", late.next()).await.is_none());
}

#[tokio::test]
async fn a_server_that_takes_nothing_any_more_is_given_up() {
    let server = Server::start().await;
    let mut channel = listen(&server, &with_timings(|timings| timings.write = ms(300)));
    let (_peer, _) = server.joined().await;
    ready(&mut channel).await;
    // Nobody reads these, so at some point they fit nowhere.
    let large = "x".repeat(4 << 20);
    let error = within("a full connection", async {
        loop {
            if let Err(error) = channel.send("ring", &large).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error, SendError::Lost { .. }), "{error:?}");
    let why = down(&mut channel).await;
    assert!(why.contains("took nothing from us for 300ms"), "{why}");
    let _peer = server.joined().await;
    ready(&mut channel).await;
}
