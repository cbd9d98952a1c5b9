use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, claim, message};

#[tokio::test]
async fn a_claim_takes_only_from_the_routes_it_names() {
    let on = Fixture::new().await;
    let mut ids = BTreeMap::new();
    for (shard, tenant) in [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a")] {
        let id = on.send(json!({ "shard": shard, "tenant": tenant })).await;
        ids.insert((shard, tenant), id);
    }
    on.send(json!({ "role": "review" })).await;
    on.send(json!({ "service": "code" })).await;
    for (route, takes) in [
        ("codegen/generate/0", vec![(0, "a"), (0, "b")]),
        ("codegen/generate/1/b", vec![(1, "b")]),
        ("codegen/generate/*/a", vec![(0, "a"), (1, "a"), (2, "a")]),
        ("codegen/generate/*", vec![(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a")]),
        ("codegen/generate/7", vec![]),
        ("codegen/generate/0/c", vec![]),
    ] {
        on.run("begin").await;
        let claimed: BTreeSet<i64> =
            on.claim(&[route], 100).await.iter().map(|claim| claim.id).collect();
        let due: BTreeSet<i64> = takes.iter().map(|key| ids[key]).collect();
        assert_eq!(claimed, due, "{route}");
        on.run("rollback").await;
    }
    let routes = ["codegen/generate/1", "codegen/generate/1/a", "codegen/generate/*/b"];
    assert_eq!(on.claim(&routes, 100).await.len(), 3, "each once, however often it is named");
    on.is_whole().await;
}

#[tokio::test]
async fn a_claim_gives_at_most_as_many_as_asked_for_and_in_order() {
    let on = Fixture::new().await;
    let ids = on.publish(json!(vec![message(&json!({})); 25])).await;
    assert_eq!(on.claimed_ids(10).await, ids[..10]);
    assert_eq!(on.claimed_ids(10).await, ids[10..20]);
    assert_eq!(on.claimed_ids(10).await, ids[20..]);
    assert!(on.claimed_ids(10).await.is_empty());
    on.is_whole().await;
}

#[tokio::test]
async fn two_who_claim_at_once_never_wait_and_never_share() {
    let on = Fixture::new().await;
    let ids = on.publish(json!(vec![message(&json!({})); 4])).await;
    let other = on.test.client().await;
    other.batch_execute("begin; set lock_timeout = '1ms'").await.unwrap();
    let theirs = claim(&other, "w2", &["codegen/generate/0"], 2).await.unwrap();
    on.run("set lock_timeout = '1ms'").await;
    assert_eq!(theirs.iter().map(|claim| claim.id).collect::<Vec<_>>(), ids[..2]);
    assert_eq!(on.claimed_ids(10).await, ids[2..]);
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(on.claimed_ids(10).await, ids[..2], "a claim that is rolled back took nothing");
    on.is_whole().await;
}

#[tokio::test]
async fn many_who_claim_at_once_share_all_and_nothing_twice() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.agent_messages (service, role, shard, tenant, priority)
        select 'codegen', 'generate', n % 3, 't' || n % 7, n % 2 from generate_series(1, 3000) as n",
    )
    .await;
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        let client = on.test.client().await;
        tasks.spawn(async move {
            let mut all = Vec::new();
            loop {
                let worker = format!("w{worker}");
                let claims = claim(&client, &worker, &["codegen/generate/*"], 37).await.unwrap();
                if claims.is_empty() {
                    return all;
                }
                all.extend(claims.into_iter().map(|claim| claim.id));
            }
        });
    }
    let mut claimed: Vec<i64> = tasks.join_all().await.concat();
    let count = claimed.len();
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!((count, claimed.len()), (3000, 3000));
    on.is_whole().await;
}

#[tokio::test]
async fn a_flood_of_one_tenant_does_not_delay_anothers_first_message() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.agent_messages (service, role, tenant)
        select 'codegen', 'generate', 'flood' from generate_series(1, 5000)",
    )
    .await;
    on.claimed_ids(100).await;
    let small = on.send(json!({ "tenant": "small" })).await;
    let claimed = on.claimed_ids(10).await;
    assert!(claimed.contains(&small), "{claimed:?}");
    assert_eq!(claimed.len(), 10, "what the small one does not need goes to the other");
}

#[tokio::test]
async fn a_claim_of_a_hundred_serves_each_of_a_hundred_tenants() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.agent_messages (service, role, tenant)
        select 'codegen', 'generate', 't' || n from generate_series(1, 100) as n, generate_series(1, 20)",
    )
    .await;
    for _ in 0..3 {
        let claims = on.claim(&["codegen/generate/0"], 100).await;
        let tenants: BTreeSet<&str> = claims.iter().map(|claim| claim.tenant.as_str()).collect();
        assert_eq!((claims.len(), tenants.len()), (100, 100));
    }
    on.is_whole().await;
}

#[tokio::test]
async fn a_higher_priority_of_one_tenant_does_not_come_before_another_tenant() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.agent_messages (service, role, tenant, priority)
        select 'codegen', 'generate', 'pushy', 1000 from generate_series(1, 500)",
    )
    .await;
    let modest = on.send(json!({ "tenant": "modest", "priority": -1000 })).await;
    assert!(on.claimed_ids(10).await.contains(&modest));
}

#[tokio::test]
async fn a_claim_from_a_cursor_looks_only_behind_it() {
    let on = Fixture::new().await;
    let ids = on.publish(json!(vec![message(&json!({})); 6])).await;
    let lane = on.number("select id from cogo.lanes").await;
    let sql = "select id from public.bus_claim('w1', array['codegen/generate/0'], 10, array[$1::bigint::int], array[$2::bigint])";
    let rows = on.rows(sql, &[&lane, &ids[3]]).await;
    let claimed: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(claimed, ids[4..]);
    // A lane that has no cursor is looked at from its start.
    let other = on.send(json!({ "shard": 1 })).await;
    let sql = "select id from public.bus_claim('w1', array['codegen/generate/*'], 10, array[$1::bigint::int], array[$2::bigint])";
    let rows = on.rows(sql, &[&lane, &ids[5]]).await;
    assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [other]);
    assert_eq!(on.claimed_ids(10).await, ids[..4]);
    on.is_whole().await;
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_its_route_says() {
    let on = Fixture::new().await;
    let length =
        "select lease_ms = extract(epoch from lease_until - now()) * 1000 and lease_ms = $1
        from public.bus_claim('w1', array['codegen/generate/0'])";
    on.publish(json!(vec![message(&json!({})); 2])).await;
    assert!(on.row(length, &[&30_000_i64]).await.get::<_, bool>(0));
    on.run("insert into public.bus_routes (service, role, lease, max_attempts) values ('codegen', 'generate', '90 s', 5)")
        .await;
    assert!(on.row(length, &[&90_000_i64]).await.get::<_, bool>(0));
    on.send(json!({})).await;
    assert_eq!(on.claim_one().await.max_attempts, 5);
}

#[tokio::test]
async fn a_claim_through_the_api_does_not_wait_for_the_disk_and_nothing_else_follows_it() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let api = on.test.client().await;
    let commits = async || -> String {
        api.query_one("select current_setting('synchronous_commit')", &[]).await.unwrap().get(0)
    };
    // The servers of tests wait for no disk at all.
    api.batch_execute("set synchronous_commit = on; begin").await.unwrap();
    let sql = "select public.bus_claim_or_park('w1', array['codegen/generate/0'], 2, 'realtime', 1000) #>> '{leases,0,id}'";
    let claimed: String = api.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!((claimed, commits().await.as_str()), (id.to_string(), "off"));
    api.batch_execute("commit").await.unwrap();
    assert_eq!(commits().await, "on");
}
