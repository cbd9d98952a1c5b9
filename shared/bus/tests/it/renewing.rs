use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Claim, Fixture, message};

async fn renew(on: &Fixture, claims: &[&Claim]) -> Vec<(i64, bool)> {
    let ids: Vec<i64> = claims.iter().map(|claim| claim.id).collect();
    let leases: Vec<Uuid> = claims.iter().map(|claim| claim.lease).collect();
    let sql = "select id, cancel_requested from public.bus_renew('w1', $1, $2) order by id";
    let rows = on.rows(sql, &[&ids, &leases]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_renewed_lease_outlives_its_first_end() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 2])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    on.advance(20).await;
    assert_eq!(renew(&on, &[&claims[0]]).await, [(claims[0].id, false)]);
    on.advance(20).await;
    assert_eq!(on.sweep().await["reclaimed"], 1);
    assert_eq!(on.status(claims[0].id).await, "claimed");
    assert_eq!(on.status(claims[1].id).await, "queued");
    on.done(&claims[0]).await;
    on.is_whole().await;
}

#[tokio::test]
async fn only_what_is_still_held_comes_back() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 5])).await;
    let claims = on.claim(&["codegen/generate/0"], 5).await;
    on.done(&claims[0]).await;
    on.end(&claims[1], "release", json!({})).await;
    let again = on.claim_one().await;
    assert_eq!(again.id, claims[1].id);
    on.run(&format!("delete from cogo.agent_messages where id = {}", claims[2].id)).await;
    let all: Vec<&Claim> = claims.iter().collect();
    assert_eq!(renew(&on, &all).await, [(claims[3].id, false), (claims[4].id, false)]);
    assert!(renew(&on, &[]).await.is_empty());
    on.is_whole().await;
}

#[tokio::test]
async fn a_renewal_tells_what_was_cancelled_and_gives_the_routes_length() {
    let on = Fixture::new().await;
    on.run("insert into public.bus_routes (service, role, lease) values ('codegen', 'generate', '50 s')").await;
    on.publish(json!(vec![message(&json!({})); 2])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    assert_eq!(on.cancel(claims[1].id).await, "claimed");
    let renewed = renew(&on, &[&claims[0], &claims[1]]).await;
    assert_eq!(renewed, [(claims[0].id, false), (claims[1].id, true)]);
    let sql = "select lease_ms from public.bus_renew('w1', array[$1::bigint], array[$2::uuid])";
    assert_eq!(on.row(sql, &[&claims[0].id, &claims[0].lease]).await.get::<_, i64>(0), 50_000);
}

#[tokio::test]
async fn what_somebody_is_settling_is_answered_without_waiting_for_it() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 2])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    let other = on.test.client().await;
    other.batch_execute("begin").await.unwrap();
    let done = "select public.bus_done('w1', array[$1::bigint], array[$2::uuid])";
    other.query(done, &[&claims[0].id, &claims[0].lease]).await.unwrap();
    on.run("set lock_timeout = '1ms'").await;
    let renewed = renew(&on, &[&claims[0], &claims[1]]).await;
    assert_eq!(renewed.len(), 2, "not lost, or its handler would be stopped for nothing");
    other.batch_execute("commit").await.unwrap();
    assert_eq!(renew(&on, &[&claims[0], &claims[1]]).await, [(claims[1].id, false)]);
}

#[tokio::test]
async fn an_overdue_lease_that_nobody_took_can_still_be_renewed_and_settled() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    let claim = on.claim_one().await;
    on.advance(60).await;
    assert_eq!(renew(&on, &[&claim]).await.len(), 1);
    assert_eq!(on.sweep().await["reclaimed"], 0);
    on.advance(60).await;
    on.done(&claim).await;
    on.is_whole().await;
}
