use serde_json::{Value, json};

use crate::fixture::{Fixture, message, until};

#[tokio::test]
async fn a_lost_lease_returns_the_message_with_its_attempt_counted() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let first = on.claim_one().await;
    assert_eq!(on.sweep().await["reclaimed"], 0);
    on.advance(31).await;
    assert_eq!(on.sweep().await["reclaimed"], 1);
    let row = on
        .row(
            "select status, attempts, error, claimed_by from public.agent_messages where id = $1",
            &[&id],
        )
        .await;
    assert_eq!((row.get(0), row.get(1)), ("queued", 1));
    assert_eq!(row.get::<_, Option<&str>>(2), Some("worker w1 stopped renewing its lease"));
    assert_eq!(row.get::<_, Option<&str>>(3), None);
    assert_eq!(on.events(id).await, ["reclaimed"]);
    let again = on.claim_one().await;
    assert_eq!((again.id, again.attempt), (first.id, 2));
    on.is_whole().await;
}

#[tokio::test]
async fn the_last_lost_lease_is_a_dead_letter() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "max_attempts": 2 })).await;
    for _ in 0..2 {
        on.claim_one().await;
        on.advance(31).await;
        assert_eq!(on.sweep().await["reclaimed"], 1);
    }
    assert_eq!((on.status(id).await.as_str(), on.attempts(id).await), ("failed", 2));
    assert_eq!(
        on.text("select reason from public.agent_messages_dlq").await.unwrap(),
        "lease_lost"
    );
    assert_eq!(on.events(id).await, ["reclaimed", "dead_lettered"]);
    on.is_whole().await;
}

#[tokio::test]
async fn what_waited_too_long_expires_wherever_it_waits() {
    let on = Fixture::new().await;
    let mut ids = on
        .publish(json!([
            message(&json!({ "ttl_ms": 10_000 })),
            message(&json!({ "ttl_ms": 10_000, "delay_ms": 60_000 })),
            message(&json!({ "ordering_key": "o" })),
            message(&json!({ "ordering_key": "o", "ttl_ms": 10_000 })),
        ]))
        .await;
    let retried = on.send(json!({ "ttl_ms": 10_000, "tenant": "acme" })).await;
    let claim = on.claim(&["codegen/generate/0/acme"], 1).await;
    on.end(&claim[0], "retry", json!({ "retry_in_ms": 60_000 })).await;
    let held = on.send(json!({ "ttl_ms": 10_000, "tenant": "held" })).await;
    on.claim(&["codegen/generate/0/held"], 1).await;
    on.advance(11).await;
    assert_eq!(on.sweep().await["expired"], 4);
    let head = ids.remove(2);
    ids.push(retried);
    for id in ids {
        assert_eq!(on.status(id).await, "failed");
        let before: &[&str] = if id == retried { &["retried"] } else { &[] };
        assert_eq!(on.events(id).await, [before, &["expired"]].concat());
        let letter = "select reason from public.agent_messages_dlq where orig_id = $1";
        assert_eq!(on.row(letter, &[&id]).await.get::<_, &str>(0), "expired");
    }
    assert_eq!(on.attempts(retried).await, 1);
    assert_eq!(on.status(head).await, "queued");
    assert_eq!(on.status(held).await, "claimed", "whoever works on it may finish it");
    on.is_whole().await;
}

#[tokio::test]
async fn what_is_due_becomes_ready() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({ "delay_ms": 10_000 })); 3])).await;
    on.send(json!({ "delay_ms": 60_000 })).await;
    assert_eq!(on.sweep().await["promoted"], 0);
    on.advance(11).await;
    assert_eq!(on.sweep().await["promoted"], 3);
    assert_eq!(on.number("select count(*) from cogo.ready").await, 3);
    on.is_whole().await;
}

#[tokio::test]
async fn a_round_is_short_and_says_when_there_is_more() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 25])).await;
    on.claimed_ids(25).await;
    on.advance(31).await;
    let mut rounds = Vec::new();
    loop {
        let swept: Value = on.row("select public.bus_sweep('keeper', 10)", &[]).await.get(0);
        rounds.push(swept["reclaimed"].as_i64().unwrap());
        on.is_whole().await;
        if swept["more"] == false {
            break;
        }
    }
    assert_eq!(rounds, [10, 10, 5]);
}

#[tokio::test]
async fn one_keeper_leads_until_it_falls_silent() {
    let on = Fixture::new().await;
    let sweep = async |keeper: &str| -> bool {
        let swept: Option<Value> = on.row("select public.bus_sweep($1)", &[&keeper]).await.get(0);
        swept.is_some()
    };
    assert!(sweep("k1").await);
    assert!(!sweep("k2").await);
    assert!(sweep("k1").await);
    let retained: Option<Value> = on.row("select public.bus_retain('k2')", &[]).await.get(0);
    assert_eq!(retained, None, "retention is the leader's, too");
    on.advance(6).await;
    assert!(sweep("k2").await);
    assert!(!sweep("k1").await);
}

#[tokio::test]
async fn two_keepers_at_once_do_not_wait_for_each_other() {
    let on = Fixture::new().await;
    on.sweep().await;
    on.advance(10).await;
    let other = on.test.client().await;
    other.batch_execute("begin; select public.bus_sweep('k2')").await.unwrap();
    on.run("set lock_timeout = '1ms'").await;
    let swept: Option<Value> = on.row("select public.bus_sweep('keeper')", &[]).await.get(0);
    assert_eq!(swept, None);
    other.batch_execute("rollback").await.unwrap();
    on.sweep().await;
}

#[tokio::test]
async fn a_worker_that_fell_silent_is_gone() {
    let on = Fixture::new().await;
    on.run(
        "select public.bus_beat('{\"id\": \"w1\", \"agent_name\": \"a\", \"state\": \"ready\"}')",
    )
    .await;
    on.advance(50).await;
    on.run(
        "select public.bus_beat('{\"id\": \"w2\", \"agent_name\": \"a\", \"state\": \"ready\"}')",
    )
    .await;
    on.advance(20).await;
    assert_eq!(on.sweep().await["workers_gone"], 1);
    let state = "select state from public.workers where id = $1";
    assert_eq!(on.row(state, &[&"w1"]).await.get::<_, &str>(0), "gone");
    assert_eq!(on.row(state, &[&"w2"]).await.get::<_, &str>(0), "ready");
    assert_eq!(on.sweep().await["workers_gone"], 0);
    assert!(!on.row("select public.bus_drain('w1')", &[]).await.get::<_, bool>(0));
    assert!(on.row("select public.bus_drain('w2')", &[]).await.get::<_, bool>(0));
}

#[tokio::test]
async fn the_keeper_forgets_dead_sleepers_and_rings_living_ones_where_work_waits() {
    let on = Fixture::new().await;
    for (worker, route) in [("w1", "codegen/generate/*"), ("w2", "codegen/review/*")] {
        let park = "select public.bus_park($1, 'bell', array[$2], 60000)";
        on.rows(park, &[&worker, &route]).await;
    }
    on.send(json!({})).await;
    assert_eq!(on.sweep().await["rung"], 1);
    on.run("select public.bus_pause('codegen', 'generate')").await;
    assert_eq!(on.sweep().await["rung"], 0, "nothing can be claimed there");
    on.advance(70).await;
    on.sweep().await;
    assert_eq!(on.number("select count(*) from cogo.parked").await, 0);
}

#[tokio::test]
async fn the_keeper_steps_over_what_others_hold() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({ "ttl_ms": 20_000 })); 4])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    on.advance(60).await;
    let other = on.test.client().await;
    other.batch_execute("begin").await.unwrap();
    let done = "select public.bus_done('w1', array[$1::bigint], array[$2::uuid])";
    other.query(done, &[&claims[0].id, &claims[0].lease]).await.unwrap();
    other
        .batch_execute("delete from cogo.ready where id = (select max(id) from cogo.ready)")
        .await
        .unwrap();
    on.run("set lock_timeout = '1ms'").await;
    let swept = on.sweep().await;
    // The one it got back has expired, too.
    assert_eq!((&swept["reclaimed"], &swept["expired"]), (&json!(1), &json!(2)));
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(on.sweep().await["reclaimed"], 1);
    until(&on.sql, "not exists (select from cogo.leases)").await;
    on.is_whole().await;
}
