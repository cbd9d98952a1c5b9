use std::collections::BTreeMap;
use std::future::poll_fn;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::fixture::{Claim, Fixture, claim, message, until};

const STAGE: &str = "codegen/generate/*";

async fn limit(on: &Fixture, settings: &str) {
    on.run(&format!(
        "insert into public.bus_routes (service, role) values ('codegen', 'generate') on conflict do nothing;
        update public.bus_routes set {settings}"
    ))
    .await;
}

fn by_tenant(claims: &[Claim]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for claim in claims {
        *counts.entry(claim.tenant.as_str()).or_default() += 1;
    }
    counts
}

async fn three_tenants(on: &Fixture) {
    on.run(
        "insert into public.agent_messages (service, role, shard, tenant)
        select 'codegen', 'generate', n % 2, 't' || n % 3 from generate_series(1, 60) as n",
    )
    .await;
}

#[tokio::test]
async fn no_more_of_a_stage_are_in_flight_than_its_route_allows() {
    let on = Fixture::new().await;
    limit(&on, "max_in_flight = 5").await;
    three_tenants(&on).await;
    let claims = on.claim(&[STAGE], 3).await;
    assert_eq!(claims.len(), 3);
    assert_eq!(on.claim(&[STAGE], 10).await.len(), 2);
    assert!(on.claim(&[STAGE], 10).await.is_empty());
    on.done(&claims[0]).await;
    assert_eq!(on.claim(&[STAGE], 10).await.len(), 1);
    on.is_whole().await;
}

#[tokio::test]
async fn no_more_of_a_tenant_are_in_flight_than_its_route_allows() {
    let on = Fixture::new().await;
    limit(&on, "max_in_flight_per_tenant = 2").await;
    three_tenants(&on).await;
    let claims = on.claim(&[STAGE], 50).await;
    assert_eq!(by_tenant(&claims), BTreeMap::from([("t0", 2), ("t1", 2), ("t2", 2)]));
    assert!(on.claim(&[STAGE], 50).await.is_empty());
    let one = claims.iter().find(|claim| claim.tenant == "t1").unwrap();
    on.end(one, "release", json!({})).await;
    assert_eq!(by_tenant(&on.claim(&[STAGE], 50).await), BTreeMap::from([("t1", 1)]));
    on.is_whole().await;
}

#[tokio::test]
async fn both_limits_hold_together_and_other_stages_do_not_count() {
    let on = Fixture::new().await;
    limit(&on, "max_in_flight = 5, max_in_flight_per_tenant = 2").await;
    three_tenants(&on).await;
    on.publish(json!(vec![message(&json!({ "role": "review" })); 9])).await;
    let claims = on.claim(&[STAGE, "codegen/review/0"], 100).await;
    let review = claims.iter().filter(|claim| claim.tenant == "default").count();
    assert_eq!((claims.len(), review), (14, 9));
    assert!(by_tenant(&claims).iter().all(|(tenant, count)| *tenant == "default" || *count <= 2));
}

#[tokio::test]
async fn a_limit_also_counts_what_was_claimed_before_it_was_set() {
    let on = Fixture::new().await;
    three_tenants(&on).await;
    let claims = on.claim(&[STAGE], 4).await;
    limit(&on, "max_in_flight = 5").await;
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 1);
    for claim in &claims {
        on.done(claim).await;
    }
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 4);
    limit(&on, "max_in_flight = null").await;
    assert_eq!(on.claim(&[STAGE], 7).await.len(), 7, "and it no longer does when it is lifted");
    on.is_whole().await;
}

#[tokio::test]
async fn claimers_at_once_do_not_exceed_a_limit_together() {
    let on = Fixture::new().await;
    limit(&on, "max_in_flight = 20, max_in_flight_per_tenant = 8").await;
    three_tenants(&on).await;
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        let client = on.test.client().await;
        tasks.spawn(async move {
            let worker = format!("w{worker}");
            let mut all = Vec::new();
            for _ in 0..5 {
                all.extend(claim(&client, &worker, &[STAGE], 4).await.unwrap());
            }
            all
        });
    }
    let claims = tasks.join_all().await.concat();
    assert_eq!(claims.len(), 20);
    assert!(by_tenant(&claims).values().all(|count| *count <= 8), "{:?}", by_tenant(&claims));
    on.is_whole().await;
}

#[tokio::test]
async fn a_rate_gives_a_seconds_worth_at_once_and_then_as_time_passes() {
    let on = Fixture::new().await;
    limit(&on, "rate = 10").await;
    three_tenants(&on).await;
    // A second may pass between two claims of a slow test, but not an hour.
    limit(&on, "rate = 0.001").await;
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 1, "at least one");
    assert!(on.claim(&[STAGE], 50).await.is_empty());
    on.advance(1001).await;
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 1);
    on.advance(100_000).await;
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 1, "what was not used is not saved up");
    limit(&on, "rate = 30").await;
    on.advance(1).await;
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 30);
    on.is_whole().await;
}

#[tokio::test]
async fn a_rate_per_tenant_holds_for_each() {
    let on = Fixture::new().await;
    limit(&on, "rate_per_tenant = 0.001").await;
    three_tenants(&on).await;
    let claims = on.claim(&[STAGE], 50).await;
    assert_eq!(by_tenant(&claims), BTreeMap::from([("t0", 1), ("t1", 1), ("t2", 1)]));
    assert!(on.claim(&[STAGE], 50).await.is_empty());
    on.advance(1001).await;
    assert_eq!(on.claim(&[STAGE], 50).await.len(), 3);
}

#[tokio::test]
async fn a_pause_and_its_end_are_in_force_at_the_next_claim() {
    let on = Fixture::new().await;
    three_tenants(&on).await;
    let before = on.claim(&[STAGE], 1).await;
    on.run("select public.bus_pause('codegen', 'generate')").await;
    assert!(on.claim(&[STAGE], 10).await.is_empty());
    let during = on.send(json!({})).await;
    assert_eq!(on.status(during).await, "queued");
    on.done(&before[0]).await;
    on.run("select public.bus_pause('codegen', 'generate', false)").await;
    assert_eq!(on.claim(&[STAGE], 10).await.len(), 10);
    let sql = "select event_type from public.bus_events where service = 'codegen' and role = 'generate' order by id";
    let rows = on.rows(sql, &[]).await;
    let events: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(events, ["route_paused", "route_resumed"]);
}

#[tokio::test]
async fn a_paused_stage_does_not_hold_up_the_others_of_a_worker() {
    let on = Fixture::new().await;
    three_tenants(&on).await;
    on.run("select public.bus_pause('codegen', 'generate')").await;
    let review = on.send(json!({ "role": "review" })).await;
    let claims = on.claim(&[STAGE, "codegen/review/*"], 10).await;
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [review]);
}

#[tokio::test]
async fn sleepers_are_rung_when_their_stage_is_resumed_or_widened() {
    let on = Fixture::new().await;
    on.run("select public.bus_pause('codegen', 'generate')").await;
    let (asleep, mut rung) = listener(&on, "bell").await;
    let park = "select public.bus_park('w2', 'bell', array['codegen/generate/*'], 10000)";
    asleep.batch_execute(park).await.unwrap();
    on.run("select public.bus_pause('codegen', 'generate', false)").await;
    assert_eq!(rung.recv().await.unwrap(), "codegen/generate/*");
    limit(&on, "max_in_flight = 7").await;
    assert_eq!(rung.recv().await.unwrap(), "codegen/generate/*");
}

#[tokio::test]
async fn a_producer_rings_one_sleeper_and_nobody_when_nobody_sleeps() {
    let on = Fixture::new().await;
    let (one, mut rung) = listener(&on, "bell").await;
    on.send(json!({})).await;
    for worker in ["w1", "w2", "w3"] {
        let park = "select public.bus_park($1, 'bell', array['codegen/generate/0'], 10000)";
        one.query(park, &[&worker]).await.unwrap();
    }
    on.send(json!({ "shard": 1 })).await;
    on.send(json!({ "role": "review" })).await;
    on.send(json!({ "tenant": "acme" })).await;
    // The last word: whatever rang before it has been heard before it.
    on.run("notify bell, 'end'").await;
    let mut heard = Vec::new();
    loop {
        match rung.recv().await.unwrap() {
            end if end == "end" => break,
            ring => heard.push(ring),
        }
    }
    assert_eq!(heard, ["codegen/generate/0"], "neither another shard nor another stage");
}

#[tokio::test]
async fn a_worker_cannot_fall_asleep_while_somebody_publishes_to_it() {
    let on = Fixture::new().await;
    let producer = on.test.client().await;
    producer.batch_execute("begin").await.unwrap();
    producer
        .batch_execute(
            "insert into public.agent_messages (service, role) values ('codegen', 'generate')",
        )
        .await
        .unwrap();
    let park = "select public.bus_park('w1', 'bell', array['codegen/generate/0'], 10000)";
    assert_eq!(on.row(park, &[]).await.get::<_, Option<i32>>(0), None);
    let elsewhere = "select public.bus_park('w1', 'bell', array['codegen/review/0'], 10000)";
    assert_eq!(on.row(elsewhere, &[]).await.get::<_, Option<i32>>(0), Some(10_000));
    producer.batch_execute("commit").await.unwrap();
    assert_eq!(on.row(park, &[]).await.get::<_, Option<i32>>(0), Some(10_000));
}

#[tokio::test]
async fn a_worker_cannot_fall_asleep_while_the_next_of_an_ordering_key_is_given_its_turn() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({ "ordering_key": "o" })); 2])).await;
    let first = on.claim_one().await;
    on.run("begin").await;
    on.done(&first).await;
    let other = on.test.client().await;
    let park = "select public.bus_park('w2', 'bell', array['codegen/generate/0'], 10000)";
    let parked: Option<i32> = other.query_one(park, &[]).await.unwrap().get(0);
    assert_eq!(parked, None, "it would look, find nothing, and nobody would ring it");
    on.run("commit").await;
}

#[tokio::test]
async fn a_sleeper_wakes_by_itself_for_what_is_delayed() {
    let on = Fixture::new().await;
    let park = "select public.bus_park('w1', 'bell', array['codegen/generate/*'], 20000)";
    on.send(json!({ "delay_ms": 5000 })).await;
    let wait: i32 = on.row(park, &[]).await.get(0);
    assert!((1..=5000).contains(&wait), "{wait}");
    on.advance(10).await;
    let wait: i32 = on.row(park, &[]).await.get(0);
    assert_eq!(wait, 1);
}

#[tokio::test]
async fn due_messages_ring_a_sleeper_whoever_finds_them() {
    let on = Fixture::new().await;
    let (asleep, mut rung) = listener(&on, "bell").await;
    on.send(json!({ "delay_ms": 5000 })).await;
    asleep
        .batch_execute("select public.bus_park('w2', 'bell', array['codegen/generate/*'], 60000)")
        .await
        .unwrap();
    on.advance(10).await;
    on.run("update cogo.parked set until = until + interval '10 s'").await;
    assert_eq!(on.sweep().await["promoted"], 1);
    assert_eq!(rung.recv().await.unwrap(), "codegen/generate/0");
    until(&on.sql, "exists (select from cogo.ready)").await;
}

/// A connection that listens, and what it hears.
async fn listener(on: &Fixture, channel: &str) -> (Client, mpsc::Receiver<String>) {
    let config: tokio_postgres::Config = on.test.url().parse().unwrap();
    let (client, mut connection) = config.connect(NoTls).await.unwrap();
    // More than any test rings.
    let (heard, hear) = mpsc::channel(100);
    #[expect(clippy::disallowed_methods, reason = "the connection ends with its client")]
    tokio::spawn(async move {
        while let Some(Ok(said)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(rang) = said {
                let _ = heard.send(rang.payload().to_owned()).await;
            }
        }
    });
    client.batch_execute(&format!("listen {channel}")).await.unwrap();
    (client, hear)
}
