use futures_util::SinkExt;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::fixture::{Fixture, PUBLISHABLE_KEY, SECRET_KEY, http_client, tenant, token};
use crate::raw::Raw;

fn push(event: &str, payload: impl Serialize) -> Value {
    json!({ "type": "broadcast", "event": event, "payload": payload })
}

fn private(broadcast: impl Serialize) -> Value {
    json!({ "private": true, "broadcast": broadcast })
}

#[tokio::test]
async fn a_broadcast_reaches_the_others_as_a_frame_or_as_a_text_by_their_version() {
    let on = Fixture::new().await;
    let mut sender = on.anybody().await;
    let mut two = on.anybody().await;
    let mut one = Raw::connect(on.standin.address(), PUBLISHABLE_KEY, "1.0.0").await;
    for raw in [&mut sender, &mut two, &mut one] {
        raw.join("a", json!({}), None).await;
    }
    sender.say("realtime:a", "broadcast", push("hi", json!({ "x": 1 }))).await;
    for (raw, binary) in [(&mut two, true), (&mut one, false)] {
        let heard = raw.next().await;
        assert_eq!((heard.topic.as_str(), heard.binary), ("realtime:a", binary));
        assert_eq!(heard.payload, push("hi", json!({ "x": 1 })));
        assert_eq!((heard.join_ref, heard.reference), (Value::Null, Value::Null));
    }
    assert_eq!(sender.pending().await, []);
}

#[tokio::test]
async fn self_and_ack_are_given_to_whoever_asked_for_them() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    raw.join("a", json!({ "broadcast": { "self": true, "ack": true } }), None).await;
    let reference = raw.say("realtime:a", "broadcast", push("e", json!(1))).await;
    let (first, second) = (raw.next().await, raw.next().await);
    assert_eq!(first.payload, push("e", json!(1)));
    assert_eq!(second.reference, json!(reference));
    assert_eq!(second.payload, json!({ "status": "ok", "response": {} }));
    // What is no broadcast is told, and does no harm.
    let reply = raw.ask("realtime:a", "broadcast", json!({})).await;
    assert_eq!(reply["status"], "error");
}

#[tokio::test]
async fn bytes_pass_from_version_two_to_version_two_alone() {
    let on = Fixture::new().await;
    let mut sender = on.anybody().await;
    let mut two = on.anybody().await;
    let mut one = Raw::connect(on.standin.address(), PUBLISHABLE_KEY, "1.0.0").await;
    for raw in [&mut sender, &mut two, &mut one] {
        raw.join("a", json!({}), None).await;
    }
    let frame = [&[3, 0, 1, 10, 1, 0, 0][..], b"9realtime:ae", &[0, 255]].concat();
    sender.socket.send(Message::binary(frame)).await.unwrap();
    assert_eq!(two.next().await.payload, push("e", json!([0, 255])));
    assert_eq!(one.pending().await, []);
}

#[tokio::test]
async fn policies_say_who_reads_and_who_writes_a_private_channel() {
    let on = Fixture::new().await;
    let (ours, theirs) = (tenant("a"), tenant("b"));
    let ack = || private(json!({ "ack": true }));
    let mut member = on.anybody().await;
    member.join("room", ack(), Some(&ours)).await;
    member.join("hall", ack(), Some(&ours)).await;
    // Keys stand for their role.
    let mut server = on.server().await;
    server.join("room", ack(), None).await;
    server.join("hall", ack(), None).await;

    for (name, token, key) in [
        ("room", Some(&*theirs), PUBLISHABLE_KEY),
        ("room", None, PUBLISHABLE_KEY),
        ("other", Some(&*ours), SECRET_KEY),
    ] {
        let mut raw = Raw::connect(on.standin.address(), key, "2.0.0").await;
        let reply = raw.try_join(name, ack(), token).await;
        let reason = format!(
            "Unauthorized: You do not have permissions to read from this Channel topic: {name}"
        );
        assert_eq!(reply, json!({ "status": "error", "response": { "reason": reason } }));
    }

    let reply = member.ask("realtime:room", "broadcast", push("e", json!("from a"))).await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(server.next().await.payload["payload"], "from a");
    // Read only: it is not told, and nobody hears it.
    member.say("realtime:hall", "broadcast", push("e", json!("silent"))).await;
    assert_eq!(member.pending().await, []);
    assert_eq!(server.pending().await, []);
    // The server is above policies.
    server.ask("realtime:hall", "broadcast", push("e", json!("loud"))).await;
    assert_eq!(member.next().await.payload["payload"], "loud");
    // Asking left nothing behind.
    let rows = on.client.query("select from realtime.messages", &[]).await.unwrap();
    assert_eq!(rows.len(), 0);
}

#[tokio::test]
async fn a_token_may_name_only_roles_of_the_api() {
    let on = Fixture::new().await;
    for role in ["postgres", "pg_read_all_data", "nobody'; drop table x"] {
        let mighty = token(&json!({ "role": role }), 60);
        let mut raw = on.anybody().await;
        let reply = raw.try_join("room", private(json!({})), Some(&mighty)).await;
        assert!(reply["response"]["reason"].as_str().unwrap().contains("Unauthorized"), "{reply}");
    }
}

#[tokio::test]
async fn private_and_public_channels_of_one_name_are_strangers() {
    let on = Fixture::new().await;
    let (mut open, mut closed) = (on.server().await, on.server().await);
    open.join("room", json!({}), None).await;
    closed.join("room", private(json!({})), None).await;
    let mut other = on.server().await;
    other.join("room", private(json!({ "ack": true })), None).await;
    other.ask("realtime:room", "broadcast", push("e", json!(1))).await;
    assert_eq!(closed.next().await.payload["event"], "e");
    assert_eq!(open.pending().await, []);
}

#[tokio::test]
async fn over_http_several_or_one_can_be_sent_and_arrive_as_text() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    raw.join("open", json!({}), None).await;
    raw.join("room", private(json!({})), Some(&tenant("a"))).await;
    let http = http_client();
    let url = on.http("/realtime/v1/api/broadcast");
    let message = |topic: &str, private: bool, n: u32| json!({ "topic": topic, "event": "e", "payload": { "n": n }, "private": private });
    let send = async |token: &str, messages: Value| {
        let request = http.post(&url).bearer_auth(token).json(&messages);
        request.send().await.unwrap().status().as_u16()
    };
    let both = json!({ "messages": [message("open", false, 1), message("room", true, 2)] });
    assert_eq!(send(&tenant("a"), both.clone()).await, 202);
    for (topic, n) in [("realtime:open", 1), ("realtime:room", 2)] {
        let heard = raw.next().await;
        assert_eq!((heard.topic.as_str(), heard.binary), (topic, false));
        assert_eq!(heard.payload, push("e", json!({ "n": n })));
    }
    // Who may not write there is answered the same, and not heard.
    assert_eq!(send(PUBLISHABLE_KEY, both).await, 202);
    let heard = raw.pending().await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].topic, "realtime:open");

    let url = |path: &str| on.http(&format!("/realtime/v1/api/broadcast/{path}"));
    let one = http.post(url("room/events/e%20f?private=true")).header("apikey", SECRET_KEY);
    assert_eq!(one.json(&json!({ "n": 3 })).send().await.unwrap().status(), 202);
    assert_eq!(raw.next().await.payload, push("e f", json!({ "n": 3 })));

    assert_eq!(send("nobody", json!({ "messages": [] })).await, 401);
    assert_eq!(send(SECRET_KEY, json!({ "messages": 1 })).await, 422);
    let blank = json!({ "messages": [message("", false, 1)] });
    assert_eq!(send(SECRET_KEY, blank).await, 422);
    let huge = http.post(on.http("/realtime/v1/api/broadcast")).bearer_auth(SECRET_KEY);
    let huge = huge.body(vec![b' '; 3_100_000]).send().await.unwrap();
    assert_eq!(huge.status(), 413);
}

#[tokio::test]
async fn whoever_does_not_read_is_hung_up_on_and_holds_up_nobody() {
    let on = Fixture::new().await;
    let (mut slow, mut quick) = (on.anybody().await, on.anybody().await);
    slow.join("a", json!({}), None).await;
    quick.join("a", json!({}), None).await;
    let mut sender = on.anybody().await;
    sender.join("a", json!({ "broadcast": { "ack": true } }), None).await;
    let large = "x".repeat(1_000_000);
    // More than the kernel's buffers and ours hold together.
    let mut sent = 0;
    while on.standin.counts().slow == 0 {
        sent += 1;
        assert!(sent < 200, "{:?}", on.standin.counts());
        let reply = sender.ask("realtime:a", "broadcast", push("e", json!(large))).await;
        assert_eq!(reply["status"], "ok");
        assert_eq!(quick.next().await.payload["event"], "e");
    }
    on.until(|counts| counts.sockets == 2).await;
}

#[tokio::test]
async fn what_is_too_large_to_be_broadcast_is_refused_or_dropped() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    raw.join("a", json!({ "broadcast": { "ack": true, "self": true } }), None).await;
    let large = json!("x".repeat(3_100_000));
    let reply = raw.ask("realtime:a", "broadcast", push("e", large)).await;
    assert_eq!(reply["response"]["reason"], "payload_size_exceeded");
    on.run("select realtime.send(jsonb_build_object('a', repeat('x', 3100000)), 'e', 'a', false)")
        .await;
    on.run("select realtime.send('{}', 'small', 'a', false)").await;
    assert_eq!(raw.next().await.payload["event"], "small");
}
