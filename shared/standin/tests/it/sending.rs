use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{Cluster, ClusterOptions};
use tokio::time::timeout;

use crate::fixture::{Fixture, PATIENCE, PUBLISHABLE_KEY, SECRET_KEY, settings, tenant};
use crate::raw::Raw;
use standin::{Standin, provide};

fn private() -> Value {
    json!({ "private": true, "broadcast": { "replication_ready": true } })
}

/// In the room, and sure to hear what is sent from now on.
async fn listener(on: &Fixture) -> Raw {
    let mut raw = on.anybody().await;
    raw.join("room", private(), Some(&tenant("a"))).await;
    let system = raw.hear("system").await;
    assert_eq!(
        system.payload,
        json!({ "extension": "system", "status": "ok", "channel": "room",
            "message": "Replication connection established" })
    );
    raw
}

#[tokio::test]
async fn what_the_database_sends_arrives_with_its_id() {
    let on = Fixture::new().await;
    let mut two = listener(&on).await;
    let mut one = Raw::connect(on.standin.address(), SECRET_KEY, "1.0.0").await;
    one.join("room", private(), None).await;
    one.hear("system").await;
    on.run("select realtime.send('{\"n\": 1}', 'work', 'room')").await;
    let id = on.client.query_one("select id::text from realtime.messages", &[]).await.unwrap();
    let id: String = id.get(0);
    let expected = json!({ "type": "broadcast", "event": "work", "payload": { "n": 1, "id": id },
        "meta": { "id": id } });
    for (raw, binary) in [(&mut two, true), (&mut one, false)] {
        let heard = raw.next().await;
        assert_eq!((heard.topic.as_str(), heard.binary), ("realtime:room", binary));
        assert_eq!(heard.payload, expected);
    }
}

#[tokio::test]
async fn what_is_rolled_back_or_elsewhere_or_public_is_not_heard() {
    let on = Fixture::new().await;
    let mut raw = listener(&on).await;
    on.run("begin; select realtime.send('{}', 'undone', 'room'); rollback").await;
    on.run("select realtime.send('{}', 'elsewhere', 'hall')").await;
    on.run("select realtime.send('{}', 'public', 'room', false)").await;
    on.run(
        "insert into realtime.messages (topic, extension, event, private)
         values ('room', 'presence', 'other', true)",
    )
    .await;
    on.run("select realtime.send('{}', 'marker', 'room')").await;
    assert_eq!(raw.next().await.payload["event"], "marker");
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let on = Fixture::new().await;
    let mut raw = listener(&on).await;
    for size in [6_000, 8_000, 1_000_000] {
        on.run(&format!(
            "select realtime.send(jsonb_build_object('a', repeat('ä', {size})), 'e', 'room')"
        ))
        .await;
        let heard = raw.next().await;
        assert_eq!(heard.payload["payload"]["a"].as_str().unwrap().chars().count(), size);
    }
}

#[tokio::test]
async fn a_burst_arrives_whole_once_and_in_order() {
    let on = Fixture::new().await;
    let mut raw = listener(&on).await;
    // More at once than the session remembers.
    on.run(
        "select realtime.send(jsonb_build_object('n', n), 'e', 'room')
         from generate_series(1, 3000) as n",
    )
    .await;
    let mut heard = Vec::new();
    for _ in 0..3000 {
        heard.push(raw.next().await.payload["payload"]["n"].as_i64().unwrap());
    }
    assert_eq!(heard, (1..=3000).collect::<Vec<_>>());
    assert_eq!(raw.pending().await, []);
}

#[tokio::test]
async fn a_row_trigger_can_broadcast_its_changes() {
    let on = Fixture::new().await;
    on.run(
        "create function tell() returns trigger language plpgsql security definer as $$
         begin
             perform realtime.broadcast_changes('room', tg_op, tg_op, tg_table_name,
                 tg_table_schema, new, old);
             return null;
         end $$;
         create trigger tell after insert or update or delete on public.notes
             for each row execute function tell()",
    )
    .await;
    let mut raw = listener(&on).await;
    on.run("insert into notes (id, n) values (1, 1)").await;
    on.run("update notes set n = 2").await;
    on.run("delete from notes").await;
    for (operation, new, old) in [
        ("INSERT", json!(1), Value::Null),
        ("UPDATE", json!(2), json!(1)),
        ("DELETE", Value::Null, json!(2)),
    ] {
        let payload = raw.next().await.payload;
        assert_eq!(payload["event"], operation);
        let inner = &payload["payload"];
        assert_eq!((&inner["schema"], &inner["table"]), (&json!("public"), &json!("notes")));
        assert_eq!((&inner["record"]["n"], &inner["old_record"]["n"]), (&new, &old));
    }
}

#[tokio::test]
async fn whoever_may_not_send_gets_a_warning_and_the_rest_of_the_work_is_done() {
    let on = Fixture::new().await;
    let mut raw = listener(&on).await;
    let claims = json!({ "role": "authenticated", "tenant": "b" });
    let other = on.test.as_role("authenticated", &claims).await;
    other.query("select realtime.send('{}', 'forbidden', 'room')", &[]).await.unwrap();
    let claims = json!({ "role": "authenticated", "tenant": "a" });
    let member = on.test.as_role("authenticated", &claims).await;
    member.query("select realtime.send('{}', 'allowed', 'room')", &[]).await.unwrap();
    assert_eq!(raw.next().await.payload["event"], "allowed");
}

#[tokio::test]
async fn a_private_channel_replays_the_newest_messages_since_a_time() {
    let on = Fixture::new().await;
    on.run("select realtime.send('{\"n\": 0}', 'old', 'room')").await;
    on.run("update realtime.messages set inserted_at = inserted_at - interval '10 minutes'").await;
    on.run("select realtime.send('{\"n\": -1}', 'public', 'room', false)").await;
    on.run("select realtime.send('{\"n\": -2}', 'elsewhere', 'hall')").await;
    for n in 1..=30 {
        on.run(&format!("select realtime.send('{{\"n\": {n}}}', 'e', 'room')")).await;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut raw = on.anybody().await;
    let replay = |since: u128, limit: u32| {
        let replay = json!({ "since": u64::try_from(since).unwrap(), "limit": limit });
        json!({ "private": true, "broadcast": { "replay": replay, "ack": true } })
    };
    for (since, limit, expected) in
        [(now - 300_000, 25, 6..31), (now - 300_000, 2, 29..31), (now + 300_000, 25, 31..31)]
    {
        raw.join("room", replay(since, limit), Some(&tenant("a"))).await;
        // Its channel answers once it has replayed.
        let push = json!({ "type": "broadcast", "event": "e" });
        let answer = json!(raw.say("realtime:room", "broadcast", push).await);
        let mut heard = Vec::new();
        loop {
            let one = raw.next().await;
            if one.reference == answer {
                break;
            }
            heard.push(one);
        }
        let numbers = heard.iter().map(|one| one.payload["payload"]["n"].as_i64().unwrap());
        assert_eq!(numbers.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        for one in heard {
            assert!(!one.binary);
            assert_eq!(one.payload["meta"]["replayed"], true);
            assert_eq!(one.payload["meta"]["id"], one.payload["payload"]["id"]);
        }
        raw.ask("realtime:room", "phx_leave", json!({})).await;
        raw.hear("phx_close").await;
    }
}

#[tokio::test]
async fn messages_older_than_an_hour_are_forgotten() {
    let on = Fixture::new().await;
    on.run("select realtime.send('{}', 'old', 'room'), realtime.send('{}', 'new', 'room')").await;
    on.run(
        "update realtime.messages set inserted_at = inserted_at - interval '61 minutes'
         where event = 'old'",
    )
    .await;
    on.run(
        "create table realtime.messages_2001_01_01 partition of realtime.messages
            for values from ('2001-01-01') to ('2001-01-02')",
    )
    .await;
    on.run("select standin.forget()").await;
    let left = on.client.query("select event from realtime.messages", &[]).await.unwrap();
    let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["new"]);
    let gone = "select to_regclass('realtime.messages_2001_01_01') is null";
    assert!(on.client.query_one(gone, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn after_the_database_was_gone_broadcasts_arrive_again() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let url = cluster.create_database("one").await.unwrap();
    let db = db::DbSettings::at(&url);
    provide(&db, None).await.unwrap();
    let standin = Standin::start(settings(db.clone())).await.unwrap();
    let mut raw = Raw::connect(standin.address(), PUBLISHABLE_KEY, "2.0.0").await;
    let join = json!({ "broadcast": { "replication_ready": true } });
    raw.join("a", join.clone(), None).await;
    raw.hear("system").await;
    let client = db::Db::connect(&db).unwrap();
    // This server commits without waiting for its log, and what was provided must survive its crash.
    client.client().await.unwrap().batch("test.flush", "checkpoint").await.unwrap();
    cluster.restart_immediate().unwrap();
    // Until the stand-in is connected again, what is sent is lost.
    let mut ready = Raw::connect(standin.address(), PUBLISHABLE_KEY, "2.0.0").await;
    let again = async {
        loop {
            if let Ok(client) = client.client().await {
                let _ =
                    client.batch("test.send", "select realtime.send('{}', 'e', 'a', false)").await;
            }
            if raw.pending().await.iter().any(|heard| heard.event == "broadcast") {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    ready.join("b", join, None).await;
    ready.hear("system").await;
    standin.stop().await;
}
