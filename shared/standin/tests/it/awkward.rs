use std::time::Duration;

use serde_json::{Value, json};
use standin::Rate;
use tokio::time::Instant;

use crate::fixture::{Fixture, PATIENCE, SECRET_KEY, eventually, tenant};
use crate::raw::Raw;

const NOTES: &str = r#"{"event":"*","schema":"public","table":"notes"}"#;

fn notes() -> Value {
    json!({ "postgres_changes": [serde_json::from_str::<Value>(NOTES).unwrap()] })
}

#[tokio::test]
async fn what_happens_between_joined_and_ready_is_lost() {
    let on = Fixture::awkward(|awkward| awkward.ready_after = Duration::from_secs(1)).await;
    let mut raw = on.server().await;
    raw.join("a", notes(), None).await;
    on.run("insert into notes (id) values (1)").await;
    // A look at the log finds it, and nobody who wants to know.
    on.until(|counts| counts.polls > 0).await;
    let polls = on.standin.counts().polls;
    on.until(|counts| counts.polls > polls + 1).await;
    assert_eq!(raw.hear("system").await.payload["message"], "Subscribed to PostgreSQL");
    on.run("insert into notes (id) values (2)").await;
    assert_eq!(raw.hear("postgres_changes").await.payload["data"]["record"]["id"], 2);
}

/// So many, before the first of them is forgotten.
fn messages(count: u64) -> Option<Rate> {
    Some(Rate { per_second: 1, over: Duration::from_secs(count) })
}

#[tokio::test]
async fn above_the_rate_what_comes_from_the_database_is_thrown_away() {
    // Each broadcast counts twice, because one listener hears it.
    let on = Fixture::awkward(|awkward| awkward.rate = messages(3600)).await;
    let mut raw = on.server().await;
    raw.join("a", json!({ "broadcast": { "replication_ready": true } }), None).await;
    raw.hear("system").await;
    on.run("select realtime.send('{}', 'e', 'a', false) from generate_series(1, 2000)").await;
    on.until(|counts| counts.broadcasts + counts.dropped == 2000).await;
    let counts = on.standin.counts();
    assert_eq!((counts.delivered, counts.dropped), (1800, 200));
    assert_eq!(raw.pending().await.len(), 1800);
    // Now a push ends its channel, and nobody gets in.
    let push = json!({ "type": "broadcast", "event": "e" });
    raw.say("realtime:a", "broadcast", push).await;
    let system = raw.hear("system").await;
    assert_eq!(system.payload["message"], "Too many messages per second");
    raw.hear("phx_close").await;
    let reply = raw.try_join("b", json!({}), None).await;
    assert!(reply["response"]["reason"].as_str().unwrap().contains("Too many"), "{reply}");
}

#[tokio::test]
async fn changes_above_the_rate_are_thrown_away_too() {
    let on = Fixture::awkward(|awkward| awkward.rate = messages(300)).await;
    let mut raw = on.server().await;
    raw.join("a", notes(), None).await;
    raw.hear("system").await;
    on.run("insert into notes (id) select generate_series(1, 370)").await;
    on.until(|counts| counts.delivered + counts.dropped == 370).await;
    assert_eq!(on.standin.counts().dropped, 70);
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed_with_1000() {
    let limit = Duration::from_millis(300);
    let on = Fixture::awkward(|awkward| awkward.idle_close = Some(limit)).await;
    let mut raw = on.server().await;
    let since = Instant::now();
    assert_eq!(u16::from(raw.closed().await.unwrap().code), 1000);
    assert!(since.elapsed() >= limit / 2, "it was closed before it was idle");
    on.until(|counts| counts.sockets == 0).await;
}

#[tokio::test]
async fn a_restart_closes_every_socket_with_1012_and_lets_nobody_in_meanwhile() {
    let on = Fixture::new().await;
    let mut old = on.server().await;
    old.join("a", notes(), None).await;
    old.hear("system").await;
    let restart = on.standin.restart(Duration::from_millis(300));
    let meanwhile = async {
        assert_eq!(u16::from(old.closed().await.unwrap().code), 1012);
        let refused = Raw::try_connect(on.standin.address(), SECRET_KEY, "2.0.0").await;
        let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else {
            panic!("it was let in");
        };
        assert_eq!(answer.status(), 503);
    };
    tokio::join!(restart, meanwhile);
    let mut new = on.server().await;
    new.join("a", notes(), None).await;
    new.hear("system").await;
}

#[tokio::test]
async fn stopping_says_goodbye_and_ends_everything() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    raw.join("a", notes(), None).await;
    raw.hear("system").await;
    let address = on.standin.address();
    let Fixture { standin, test: _test, client } = on;
    tokio::time::timeout(PATIENCE, standin.stop()).await.unwrap();
    assert_eq!(u16::from(raw.closed().await.unwrap().code), 1012);
    assert!(Raw::try_connect(address, SECRET_KEY, "2.0.0").await.is_err());
    let left = "select from pg_stat_activity
        where datname = current_database() and application_name like 'standin%'";
    eventually(async || client.query(left, &[]).await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn without_todays_partition_a_message_is_lost_and_its_transaction_commits() {
    let on = Fixture::awkward(|awkward| awkward.lost_partition = true).await;
    let mut raw = on.anybody().await;
    let ready = json!({ "private": true, "broadcast": { "replication_ready": true } });
    raw.join("room", ready, Some(&tenant("a"))).await;
    raw.hear("system").await;
    on.run(
        "begin; insert into notes (id) values (1);
            select realtime.send('{}', 'lost', 'room'); commit",
    )
    .await;
    assert_eq!(on.client.query("select from notes", &[]).await.unwrap().len(), 1);
    assert_eq!(on.client.query("select from realtime.messages", &[]).await.unwrap().len(), 0);
    on.run("select standin.make_partitions()").await;
    on.run("select realtime.send('{}', 'found', 'room')").await;
    assert_eq!(raw.hear("broadcast").await.payload["event"], "found");
}

#[tokio::test]
async fn a_refused_join_is_answered_after_a_pause_that_holds_up_nothing_else() {
    let on = Fixture::awkward(|awkward| awkward.refused_join = Duration::from_millis(300)).await;
    let mut raw = on.server().await;
    let reference = raw.say("realtime:", "phx_join", json!({})).await;
    // Heartbeats and other channels go on.
    assert_eq!(raw.pending().await, []);
    raw.join("a", json!({}), None).await;
    let reply = raw.hear("phx_reply").await;
    assert_eq!((reply.reference, &reply.payload["status"]), (json!(reference), &json!("error")));
}

#[tokio::test]
async fn there_is_no_presence_and_it_is_said() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    raw.join("a", json!({ "presence": { "enabled": true, "key": "" } }), None).await;
    assert_eq!(raw.next().await.event, "presence_state");
    let reply = raw.ask("realtime:a", "presence", json!({ "event": "track" })).await;
    assert_eq!(reply["status"], "error");
}
