use serde_json::{Value, json};

use crate::fixture::{Fixture, SECRET_KEY, tenant, token};
use crate::raw::Raw;

fn private() -> Value {
    json!({ "private": true, "broadcast": { "ack": true } })
}

fn short(tenant: &str, lifetime: i64) -> String {
    token(&json!({ "role": "authenticated", "tenant": tenant }), lifetime)
}

#[tokio::test]
async fn a_channel_ends_with_its_token_and_the_socket_stays() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    raw.join("room", private(), Some(&short("a", 4))).await;
    let system = raw.next().await;
    assert_eq!(system.event, "system");
    assert_eq!(system.payload["status"], "error");
    assert!(system.payload["message"].as_str().unwrap().starts_with("Token has expired"));
    let close = raw.next().await;
    assert_eq!((close.event.as_str(), close.reference), ("phx_close", json!("1")));
    let reply = raw.ask("realtime:room", "broadcast", json!({})).await;
    assert_eq!(reply["response"]["reason"], "unmatched topic");
    raw.join("room", private(), Some(&tenant("a"))).await;
}

#[tokio::test]
async fn a_new_token_keeps_the_channel_beyond_the_old_ones_end() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    raw.join("room", private(), Some(&short("a", 4))).await;
    let mut brief = on.anybody().await;
    brief.join("hall", private(), Some(&short("b", 4))).await;
    raw.say("realtime:room", "access_token", json!({ "access_token": tenant("a") })).await;
    // By the time that this one ends, the first would have ended, too.
    brief.hear("phx_close").await;
    assert_eq!(raw.pending().await, []);
}

#[tokio::test]
async fn what_is_no_new_token_is_ignored() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    let ours = tenant("a");
    raw.join("room", private(), Some(&ours)).await;
    for same in [json!(ours), Value::Null, json!(SECRET_KEY), json!(""), json!(1)] {
        raw.say("realtime:room", "access_token", json!({ "access_token": same })).await;
    }
    assert_eq!(raw.pending().await, []);
    let push = json!({ "type": "broadcast", "event": "e", "payload": {} });
    assert_eq!(raw.ask("realtime:room", "broadcast", push).await["status"], "ok");
}

#[tokio::test]
async fn a_new_token_that_may_not_read_or_is_wrong_ends_the_channel() {
    let on = Fixture::new().await;
    let mut raw = on.anybody().await;
    for (token, why) in [
        (tenant("b"), "You do not have permissions to read"),
        (short("a", -5), "Token has expired"),
        ("a.b.c".to_owned(), "neither a known API key nor a token"),
    ] {
        raw.join("room", private(), Some(&tenant("a"))).await;
        raw.say("realtime:room", "access_token", json!({ "access_token": token })).await;
        let system = raw.hear("system").await;
        assert!(system.payload["message"].as_str().unwrap().contains(why), "{system:?}");
        raw.hear("phx_close").await;
        // The room is free for the next join.
        raw.pending().await;
    }
}

#[tokio::test]
async fn rights_are_those_of_the_latest_token() {
    let on = Fixture::new().await;
    on.run("insert into notes (id, tenant) values (0, 'a')").await;
    let mut raw = on.anybody().await;
    let changes = json!([{ "event": "INSERT", "schema": "public", "table": "notes" }]);
    raw.join("hall", json!({ "private": true, "postgres_changes": changes }), Some(&tenant("a")))
        .await;
    raw.hear("system").await;
    raw.say("realtime:hall", "access_token", json!({ "access_token": tenant("b") })).await;
    let system = raw.hear("system").await;
    assert_eq!(system.payload["message"], "Subscribed to PostgreSQL");
    on.run("insert into notes (id, tenant) values (1, 'a'), (2, 'b')").await;
    assert_eq!(raw.hear("postgres_changes").await.payload["data"]["record"]["id"], 2);
}

#[tokio::test]
async fn keys_do_not_expire_and_may_be_sent_as_tokens() {
    let on = Fixture::new().await;
    let mut raw = Raw::connect(on.standin.address(), SECRET_KEY, "1.0.0").await;
    raw.join("room", private(), Some(SECRET_KEY)).await;
    let push = json!({ "type": "broadcast", "event": "e", "payload": {} });
    assert_eq!(raw.ask("realtime:room", "broadcast", push).await["status"], "ok");
}
