use bus::NewMessage;
use messages::Probe;
use serde_json::{Value, json};
use testkit::Way;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, message, publish, refusal};

testkit::on_every_wire!(
    the_crate_attaches_too_and_gathers_what_is_published_at_once,
    one_bad_message_does_not_fail_those_it_travels_with,
);

#[tokio::test]
async fn a_plain_insert_of_route_and_payload_is_a_complete_message() {
    let on = Fixture::new().await;
    let row = on
        .row(
            "insert into public.agent_messages (service, role, payload)
            values ('codegen', 'generate', '{\"a\": 1}')
            returning id, shard, tenant, trace_id, priority, created_at <= clock_timestamp()",
            &[],
        )
        .await;
    let id: i64 = row.get(0);
    assert_eq!((row.get(1), row.get(2), row.get(4)), (0, "default", 0_i16));
    assert_eq!(row.get::<_, &str>(3).len(), 32);
    assert!(row.get::<_, bool>(5));
    assert_eq!((on.status(id).await.as_str(), on.attempts(id).await), ("queued", 0));
    let claim = on.claim_one().await;
    assert_eq!((claim.id, claim.attempt, claim.max_attempts), (id, 1, 3));
    on.is_whole().await;
}

#[tokio::test]
async fn an_insert_of_many_rows_to_many_routes_places_each() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.agent_messages (service, role, shard, tenant, priority, payload)
        select 's' || n % 3, 'r', n % 2, 't' || n % 5, n % 4, jsonb_build_object('n', n)
        from generate_series(1, 500) as n",
    )
    .await;
    assert_eq!(on.number("select count(*) from cogo.ready").await, 500);
    assert_eq!(on.number("select count(*) from cogo.lanes").await, 60);
    on.is_whole().await;
}

#[tokio::test]
async fn bus_publish_takes_one_or_many_and_answers_in_their_order() {
    let on = Fixture::new().await;
    let one = on.publish(message(&json!({ "payload": { "n": 0 } }))).await;
    assert_eq!(one.len(), 1);
    let messages: Vec<Value> =
        (1..=20).map(|n| message(&json!({ "shard": n % 3, "payload": { "n": n } }))).collect();
    let many = on.publish(Value::from(messages)).await;
    let sql = "select payload from public.agent_messages where id = $1";
    for (n, id) in (1..=20).zip(&many) {
        let payload: Value = on.row(sql, &[id]).await.get(0);
        assert_eq!(payload, json!({ "n": n }));
    }
    assert!(on.publish(json!([])).await.is_empty());
    on.is_whole().await;
}

#[tokio::test]
async fn everything_a_producer_says_arrives() {
    let on = Fixture::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let context = format!("00-{trace}-00f067aa0ba902b7-01");
    let project = "7f1c5e0a-1111-4222-8333-123456789abc";
    let parent = on.send(json!({ "shard": 9 })).await;
    let id = on
        .send(json!({
            "shard": 3, "tenant": "acme", "project_id": project, "traceparent": context,
            "parent_id": parent, "idempotency_key": "k", "ordering_key": "o", "priority": -5,
            "max_attempts": 7, "ttl_ms": 60_000, "payload": [1, "two", null],
        }))
        .await;
    let row = on
        .row(
            "select shard, tenant, project_id::text, trace_id, traceparent, parent_id, ordering_key,
                attempt, max_attempts, payload
            from public.bus_claim('w1', array['codegen/generate/3/acme'])",
            &[],
        )
        .await;
    assert_eq!((row.get(0), row.get(1), row.get(2)), (3, "acme", project));
    assert_eq!((row.get(3), row.get(4)), (trace, context.as_str()));
    assert_eq!((row.get(5), row.get(6)), (Some(parent), Some("o")));
    assert_eq!((row.get(7), row.get(8)), (1, 7));
    assert_eq!(row.get::<_, Value>(9), json!([1, "two", null]));
    let expires =
        "select expires_at - created_at = '60 s' from public.agent_messages where id = $1";
    assert!(on.row(expires, &[&id]).await.get::<_, bool>(0));
    on.is_whole().await;
}

#[tokio::test]
async fn a_plain_insert_with_a_trace_context_joins_its_trace() {
    let on = Fixture::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let row = on
        .row(
            "insert into public.agent_messages (service, role, traceparent)
            values ('a', 'b', $1) returning trace_id",
            &[&format!("00-{trace}-00f067aa0ba902b7-01")],
        )
        .await;
    assert_eq!(row.get::<_, &str>(0), trace);
}

#[tokio::test]
async fn a_second_message_with_the_same_key_attaches_to_the_first() {
    let on = Fixture::new().await;
    let keyed = message(&json!({ "idempotency_key": "once", "payload": { "n": 1 } }));
    let first = publish(&on.sql, &keyed).await.unwrap();
    assert!(!first[0].1);
    let again = message(&json!({ "idempotency_key": "once", "payload": { "n": 2 } }));
    assert_eq!(publish(&on.sql, &again).await.unwrap(), [(first[0].0, true)]);

    let mixed = json!([keyed, message(&json!({ "idempotency_key": "new" })), message(&json!({}))]);
    let answers = publish(&on.sql, &mixed).await.unwrap();
    assert_eq!(answers[0], (first[0].0, true));
    assert!(!answers[1].1 && !answers[2].1);
    assert_eq!(on.number("select count(*) from cogo.ready").await, 3);

    let claim = on.claim_one().await;
    on.done(&claim).await;
    let ended = publish(&on.sql, &keyed).await.unwrap();
    assert_eq!(ended, [(first[0].0, true)], "also when the first has ended");
    on.is_whole().await;
}

#[tokio::test]
async fn one_key_twice_in_one_call_is_one_message() {
    let on = Fixture::new().await;
    let keyed = message(&json!({ "idempotency_key": "once" }));
    let answers = publish(&on.sql, &json!([keyed, keyed, keyed])).await.unwrap();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| answer.0 == answers[0].0), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.1).count(), 1);
    on.is_whole().await;
}

#[tokio::test]
async fn a_key_means_nothing_to_other_tenants_routes_and_shards() {
    let on = Fixture::new().await;
    let key = json!({ "idempotency_key": "k" });
    let mut ids = vec![on.send(key.clone()).await];
    for other in [
        json!({ "idempotency_key": "k", "tenant": "acme" }),
        json!({ "idempotency_key": "k", "shard": 1 }),
        json!({ "idempotency_key": "k", "role": "review" }),
        json!({ "idempotency_key": "k", "service": "code" }),
        json!({ "idempotency_key": "K" }),
    ] {
        ids.push(on.send(other).await);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    // The priority is no part of it.
    let again = on.send(json!({ "idempotency_key": "k", "priority": 9 })).await;
    assert!(ids.contains(&again));
    on.is_whole().await;
}

#[tokio::test]
async fn fifty_at_once_with_one_key_are_one_message() {
    let on = Fixture::new().await;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let client = on.test.client().await;
        tasks.spawn(async move {
            let keyed = message(&json!({ "idempotency_key": "once" }));
            publish(&client, &keyed).await.unwrap()[0]
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.0 == answers[0].0), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.1).count(), 1, "{answers:?}");
    assert_eq!(on.number("select count(*) from public.agent_messages").await, 1);
    on.is_whole().await;
}

async fn the_crate_attaches_too_and_gathers_what_is_published_at_once(way: Way) {
    let on = Fixture::over(way).await;
    let mut tasks = JoinSet::new();
    for n in 0..200 {
        let bus = on.bus.clone();
        tasks.spawn(async move {
            let probe = NewMessage::of(&Probe { text: n.to_string() }).unwrap();
            let probe =
                if n % 2 == 0 { probe.idempotency_key(format!("k{}", n % 10)) } else { probe };
            bus.publish(probe).await.unwrap()
        });
    }
    let published = tasks.join_all().await;
    assert_eq!(published.iter().filter(|published| !published.attached).count(), 105);
    assert_eq!(on.number("select count(*) from public.agent_messages").await, 105);
    on.is_whole().await;
}

async fn one_bad_message_does_not_fail_those_it_travels_with(way: Way) {
    let on = Fixture::over(way).await;
    let mut tasks = JoinSet::new();
    for n in 0..40 {
        let bus = on.bus.clone();
        tasks.spawn(async move {
            let probe = NewMessage::of(&Probe { text: n.to_string() }).unwrap();
            let probe = if n % 4 == 0 { probe.max_attempts(0) } else { probe };
            (n, bus.publish(probe).await.is_ok())
        });
    }
    for (n, published) in tasks.join_all().await {
        assert_eq!(published, n % 4 != 0, "{n}");
    }
    assert_eq!(on.number("select count(*) from public.agent_messages").await, 30);
    on.is_whole().await;
}

#[tokio::test]
async fn a_transaction_that_rolls_back_publishes_nothing() {
    let on = Fixture::new().await;
    let keyed = json!({ "ordering_key": "o", "idempotency_key": "i" });
    on.run("begin").await;
    on.send(json!({})).await;
    on.send(keyed.clone()).await;
    on.send(json!({ "delay_ms": 1000 })).await;
    on.run("insert into public.agent_messages (service, role) values ('a', 'b'); rollback").await;
    for table in ["cogo.agent_messages", "cogo.ready", "cogo.later", "cogo.ordered", "cogo.lanes"] {
        assert_eq!(on.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
    let again = publish(&on.sql, &message(&keyed)).await.unwrap();
    assert!(!again[0].1, "a key that was rolled back is free");
    on.is_whole().await;
}

#[tokio::test]
async fn what_is_not_committed_is_not_claimed() {
    let on = Fixture::new().await;
    let producer = on.test.client().await;
    producer.batch_execute("begin").await.unwrap();
    let id = publish(&producer, &message(&json!({}))).await.unwrap()[0].0;
    assert!(on.claimed_ids(10).await.is_empty());
    producer.batch_execute("commit").await.unwrap();
    assert_eq!(on.claimed_ids(10).await, [id]);
}

#[tokio::test]
async fn a_delayed_message_waits_for_its_time() {
    let on = Fixture::new().await;
    let delayed = on.send(json!({ "delay_ms": 60_000 })).await;
    let at =
        on.text("select to_char(now() + '90 s', 'YYYY-MM-DD\"T\"HH24:MI:SSOF')").await.unwrap();
    let not_before = on.send(json!({ "retry_at": at })).await;
    let past = on.send(json!({ "retry_at": "2020-01-01T00:00:00Z" })).await;
    assert_eq!(on.place(delayed).await, "later");
    assert_eq!(on.status(delayed).await, "queued");
    assert_eq!(on.claimed_ids(10).await, [past]);
    on.advance(61).await;
    assert_eq!(on.claimed_ids(10).await, [delayed]);
    on.advance(31).await;
    assert_eq!(on.claimed_ids(10).await, [not_before]);
    on.is_whole().await;
}

#[tokio::test]
async fn a_message_past_its_time_to_live_is_not_claimed() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.bus_routes (service, role, ttl) values ('codegen', 'generate', '10 s')",
    )
    .await;
    let route = on.send(json!({})).await;
    let own = on.send(json!({ "ttl_ms": 60_000 })).await;
    let view = "select expires_at - created_at = '10 s' from public.agent_messages where id = $1";
    assert!(on.row(view, &[&route]).await.get::<_, bool>(0));
    on.advance(11).await;
    assert_eq!(on.claimed_ids(10).await, [own]);
    assert_eq!(on.status(route).await, "queued", "the keeper has not been there yet");
    on.is_whole().await;
}

#[tokio::test]
async fn the_routes_time_to_live_also_holds_for_delayed_ordered_and_many() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.bus_routes (service, role, ttl) values ('codegen', 'generate', '10 s')",
    )
    .await;
    on.publish(json!([
        message(&json!({})),
        message(&json!({ "delay_ms": 5000 })),
        message(&json!({ "ordering_key": "o" })),
        message(&json!({ "ordering_key": "o" })),
        message(&json!({ "service": "other" })),
    ]))
    .await;
    let expiring =
        "select count(*) from public.agent_messages where expires_at - created_at = '10 s'";
    assert_eq!(on.number(expiring).await, 4);
    on.advance(11).await;
    assert_eq!(on.sweep().await["expired"], 3, "the last of a stream had no turn yet");
    assert_eq!(on.sweep().await["expired"], 1);
    on.is_whole().await;
}

#[tokio::test]
async fn within_a_tenant_the_higher_priority_comes_first() {
    let on = Fixture::new().await;
    let mut ids = Vec::new();
    for priority in [0, 5, -3, 5, 100] {
        ids.push(on.send(json!({ "priority": priority })).await);
    }
    let mut claimed = Vec::new();
    for _ in 0..5 {
        claimed.extend(on.claimed_ids(1).await);
    }
    assert_eq!(claimed, [ids[4], ids[1], ids[3], ids[0], ids[2]]);
}

#[tokio::test]
async fn a_call_with_one_invalid_message_publishes_none() {
    let on = Fixture::new().await;
    let mut messages = vec![message(&json!({})); 20];
    messages[12] = message(&json!({ "tenant": "a/b" }));
    let said = refusal(publish(&on.sql, &Value::from(messages)).await);
    assert!(said.starts_with("22023 message 13: tenant must be"), "{said}");
    assert_eq!(on.number("select count(*) from cogo.agent_messages").await, 0);
    assert_eq!(on.number("select count(*) from cogo.lanes").await, 0);
}

#[tokio::test]
async fn a_publisher_with_an_old_snapshot_publishes_like_any_other() {
    let on = Fixture::new().await;
    on.run("begin isolation level repeatable read; select 1").await;
    on.send(json!({})).await;
    on.send(json!({ "ordering_key": "o" })).await;
    on.run("commit").await;
    assert_eq!(on.claimed_ids(10).await.len(), 2);
    on.is_whole().await;
}
