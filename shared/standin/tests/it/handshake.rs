use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::fixture::{Fixture, PUBLISHABLE_KEY, SECRET_KEY, http_client, token};
use crate::raw::Raw;

/// Status and body of a refused handshake.
fn refused(result: Result<Raw, Error>) -> (u16, Value) {
    match result {
        Err(Error::Http(answer)) => {
            let body = answer.body().as_ref().unwrap();
            (answer.status().as_u16(), serde_json::from_slice(body).unwrap())
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn a_handshake_without_a_good_key_is_refused_with_a_status_and_a_reason() {
    let on = Fixture::with(|settings| settings.max_sockets = 1).await;
    let expired = token(&json!({ "role": "anon" }), -1);
    let nobody = token(&json!({ "sub": "me" }), 60);
    for (key, version, status, why) in [
        ("", "1.0.0", 401, "no API key"),
        ("sb_secret_wrong", "1.0.0", 401, "neither a known API key nor a token"),
        ("a.b.c", "2.0.0", 401, "neither a known API key nor a token"),
        (expired.as_str(), "1.0.0", 401, "Token has expired"),
        (nobody.as_str(), "1.0.0", 401, "Fields `role` and `exp` are required in JWT"),
        (SECRET_KEY, "3.0.0", 400, "use vsn=1.0.0 or vsn=2.0.0"),
    ] {
        let (found, body) = refused(Raw::try_connect(on.standin.address(), key, version).await);
        assert_eq!(found, status, "{body}");
        assert!(body["error"].as_str().unwrap().contains(why), "{body}");
    }
    let _one = on.server().await;
    on.until(|counts| counts.sockets == 1).await;
    let another = Raw::try_connect(on.standin.address(), SECRET_KEY, "1.0.0").await;
    assert_eq!(refused(another).0, 429);
    let plain = http_client().get(on.http("/realtime/v1/websocket?apikey=")).send().await.unwrap();
    assert_eq!(plain.status(), 401);
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_what_this_is() {
    let on = Fixture::new().await;
    let url = on.http(&format!("/realtime/v1/websocket?apikey={SECRET_KEY}"));
    let plain = http_client().get(url).send().await.unwrap();
    assert_eq!(plain.status(), 426);
    assert!(plain.text().await.unwrap().contains("WebSocket"));
}

#[tokio::test]
async fn the_bare_path_and_a_token_as_key_work_too() {
    let on = Fixture::new().await;
    let anon = token(&json!({ "role": "anon" }), 60);
    let url = format!("ws://{}/socket/websocket?apikey={anon}", on.standin.address());
    connect_async(url).await.unwrap();
}

#[tokio::test]
async fn heartbeats_are_answered_in_both_versions() {
    let on = Fixture::new().await;
    for version in ["1.0.0", "2.0.0"] {
        let mut raw = Raw::connect(on.standin.address(), PUBLISHABLE_KEY, version).await;
        let reply = raw.ask("phoenix", "heartbeat", json!({})).await;
        assert_eq!(reply, json!({ "status": "ok", "response": {} }), "{version}");
    }
}

#[tokio::test]
async fn a_frame_that_is_no_message_closes_the_socket_with_a_reason() {
    let on = Fixture::new().await;
    for frame in [Message::text("{}"), Message::binary(vec![9, 9]), Message::text("[1]")] {
        let mut raw = on.server().await;
        futures_util::SinkExt::send(&mut raw.socket, frame).await.unwrap();
        let close = raw.closed().await.unwrap();
        assert_eq!(u16::from(close.code), 1007);
        assert!(close.reason.contains("must be"), "{}", close.reason);
    }
}

#[tokio::test]
async fn a_wrong_join_is_answered_with_a_reason() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    let wrong = token(&json!({ "role": "anon" }), -10);
    for (topic, payload, why) in [
        ("realtime:", json!({}), "UnmatchedTopic"),
        ("other:a", json!({}), "UnmatchedTopic"),
        ("realtime:a", json!({ "config": 1 }), "InvalidJoinPayload"),
        ("realtime:a", json!({ "access_token": wrong }), "Token has expired"),
        ("realtime:a", json!({ "access_token": "a.b.c" }), "InvalidJWTToken"),
        (
            "realtime:a",
            json!({ "config": { "broadcast": { "replay": { "since": 1 } } } }),
            "private channels only",
        ),
    ] {
        let reply = raw.ask(topic, "phx_join", payload).await;
        assert_eq!(reply["status"], "error");
        let reason = reply["response"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{reason}");
    }
    let reply = raw.ask("realtime:a", "broadcast", json!({})).await;
    assert_eq!(reply["response"]["reason"], "unmatched topic");
    assert_eq!(on.standin.counts().refused, 6);
}

#[tokio::test]
async fn a_socket_has_a_hundred_channels_at_most() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    for n in 0..100 {
        raw.join(&n.to_string(), json!({}), None).await;
    }
    let reply = raw.try_join("more", json!({}), None).await;
    assert!(reply["response"]["reason"].as_str().unwrap().contains("Too many channels"));
    assert_eq!(raw.ask("realtime:0", "phx_leave", json!({})).await["status"], "ok");
    raw.hear("phx_close").await;
    raw.join("more", json!({}), None).await;
}

#[tokio::test]
async fn joining_again_ends_the_earlier_channel() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    raw.join("a", json!({ "broadcast": { "self": true } }), None).await;
    raw.say("realtime:a", "phx_join", json!({})).await;
    let close = raw.hear("phx_close").await;
    assert_eq!((close.join_ref, close.reference), (json!("1"), json!("1")));
    raw.hear("phx_reply").await;
    // The later one does not want to hear itself.
    raw.say("realtime:a", "broadcast", json!({ "type": "broadcast", "event": "e" })).await;
    assert_eq!(raw.pending().await, []);
}
