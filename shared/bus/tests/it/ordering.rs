use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, claim, message, publish, settle, settling};

async fn a_stream_of(on: &Fixture, count: usize) -> Vec<i64> {
    on.publish(json!(vec![message(&json!({ "ordering_key": "o" })); count])).await
}

#[tokio::test]
async fn messages_of_a_key_come_one_at_a_time_and_in_order() {
    let on = Fixture::new().await;
    let ids = a_stream_of(&on, 4).await;
    let free = on.send(json!({})).await;
    assert_eq!(on.claimed_ids(1).await, [ids[0]]);
    assert_eq!(on.claimed_ids(10).await, [free]);
    on.run("update cogo.leases set worker = worker").await;
    let first = on.row("select lease from cogo.leases where id = $1", &[&ids[0]]).await;
    let lease: uuid::Uuid = first.get(0);
    on.settle(json!([{ "id": ids[0], "lease": lease, "outcome": "done" }])).await;
    for id in &ids[1..] {
        let claims = on.claim(&["codegen/generate/0"], 10).await;
        assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [*id]);
        assert!(on.claimed_ids(10).await.is_empty());
        on.is_whole().await;
        on.done(&claims[0]).await;
    }
    assert_eq!(on.number("select count(*) from cogo.ordered").await, 0);
    on.is_whole().await;
}

#[tokio::test]
async fn the_short_way_of_settling_also_lets_the_next_one_move_up() {
    let on = Fixture::new().await;
    let ids = a_stream_of(&on, 3).await;
    for id in &ids {
        let claim = on.claim_one().await;
        assert_eq!(claim.id, *id);
        let sql = "select public.bus_done('w1', array[$1::bigint], array[$2::uuid])";
        let done: Vec<i64> = on.row(sql, &[&claim.id, &claim.lease]).await.get(0);
        assert_eq!(done, [*id]);
        on.is_whole().await;
    }
}

#[tokio::test]
async fn a_key_is_of_its_route_and_tenant() {
    let on = Fixture::new().await;
    let mut ids = Vec::new();
    for fields in [json!({}), json!({ "tenant": "acme" }), json!({ "shard": 1 })] {
        let mut message = message(&fields);
        message["ordering_key"] = json!("o");
        ids.extend(on.publish(json!([message, message])).await);
    }
    let mut claimed = on.claimed_ids(10).await;
    claimed.sort_unstable();
    assert_eq!(claimed, [ids[0], ids[2], ids[4]]);
    on.is_whole().await;
}

#[tokio::test]
async fn a_head_that_is_tried_again_keeps_its_turn() {
    let on = Fixture::new().await;
    let ids = a_stream_of(&on, 2).await;
    let claim = on.claim_one().await;
    assert_eq!(
        on.end(&claim, "retry", json!({ "retry_in_ms": 5000, "error": "no" })).await,
        "queued"
    );
    assert!(on.claimed_ids(10).await.is_empty(), "the second waits for the first's second attempt");
    on.advance(6).await;
    let claim = on.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (ids[0], 2));
    assert_eq!(on.end(&claim, "release", json!({})).await, "queued");
    let claim = on.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (ids[0], 2));
    on.is_whole().await;
    assert_eq!(on.end(&claim, "fail", json!({ "error": "no" })).await, "failed");
    assert_eq!(on.claimed_ids(10).await, [ids[1]]);
    on.is_whole().await;
}

#[tokio::test]
async fn a_head_that_is_cancelled_expires_or_is_deleted_gives_its_turn_away() {
    let on = Fixture::new().await;
    let ids = a_stream_of(&on, 5).await;
    assert_eq!(on.cancel(ids[0]).await, "cancelled");
    assert_eq!(on.place(ids[1]).await, "ready");
    on.is_whole().await;

    on.run(&format!("delete from cogo.agent_messages where id = {}", ids[1])).await;
    assert_eq!(on.place(ids[2]).await, "ready");
    on.is_whole().await;

    on.run("update cogo.ready set expires_at = now()").await;
    assert_eq!(on.sweep().await["expired"], 1);
    assert_eq!(
        (on.status(ids[2]).await.as_str(), on.place(ids[3]).await.as_str()),
        ("failed", "ready")
    );
    on.is_whole().await;

    let claim = on.claim_one().await;
    assert_eq!(on.cancel(ids[3]).await, "claimed");
    assert_eq!(on.place(ids[4]).await, "waiting");
    assert_eq!(on.end(&claim, "release", json!({})).await, "cancelled");
    assert_eq!(on.claimed_ids(10).await, [ids[4]]);
    on.is_whole().await;
}

#[tokio::test]
async fn a_head_whose_worker_died_comes_again_before_the_next() {
    let on = Fixture::new().await;
    let ids = a_stream_of(&on, 2).await;
    for attempt in 1..=3 {
        let claim = on.claim_one().await;
        assert_eq!((claim.id, claim.attempt), (ids[0], attempt));
        on.advance(31).await;
        assert_eq!(on.sweep().await["reclaimed"], 1);
        on.is_whole().await;
    }
    assert_eq!(on.status(ids[0]).await, "failed");
    assert_eq!(on.claimed_ids(10).await, [ids[1]]);
    on.is_whole().await;
}

#[tokio::test]
async fn one_that_waits_for_its_turn_can_be_cancelled_deleted_or_expire() {
    let on = Fixture::new().await;
    let ids = a_stream_of(&on, 5).await;
    assert_eq!(on.cancel(ids[1]).await, "cancelled");
    on.run(&format!("delete from cogo.agent_messages where id = {}", ids[2])).await;
    on.run(&format!("update cogo.ordered set expires_at = now() where id = {}", ids[3])).await;
    assert_eq!(on.sweep().await["expired"], 1);
    assert_eq!(on.status(ids[3]).await, "failed");
    assert_eq!(on.events(ids[3]).await, ["expired"]);
    on.is_whole().await;
    let claim = on.claim_one().await;
    assert_eq!(claim.id, ids[0]);
    on.done(&claim).await;
    assert_eq!(on.claimed_ids(10).await, [ids[4]]);
    on.is_whole().await;
}

#[tokio::test]
async fn a_delayed_message_holds_up_those_behind_it() {
    let on = Fixture::new().await;
    let slow = on.send(json!({ "ordering_key": "o", "delay_ms": 5000 })).await;
    let next = on.send(json!({ "ordering_key": "o" })).await;
    let late = on.send(json!({ "ordering_key": "o", "delay_ms": 9000 })).await;
    assert!(on.claimed_ids(10).await.is_empty());
    on.advance(6).await;
    let claim = on.claim_one().await;
    assert_eq!(claim.id, slow);
    on.done(&claim).await;
    let claim = on.claim_one().await;
    assert_eq!(claim.id, next);
    on.done(&claim).await;
    assert_eq!(on.place(late).await, "later", "its turn has come, its time has not");
    on.advance(6).await;
    assert_eq!(on.claimed_ids(10).await, [late]);
    on.is_whole().await;
}

#[tokio::test]
async fn producers_at_once_make_one_stream_that_loses_nothing() {
    let on = Fixture::new().await;
    let mut tasks = JoinSet::new();
    for producer in 0..6 {
        let client = on.test.client().await;
        tasks.spawn(async move {
            for n in 0..20 {
                let key = format!("o{}", n % 2);
                let payload = json!({ "producer": producer, "n": n });
                let one = message(&json!({ "ordering_key": key, "payload": payload }));
                publish(&client, &one).await.unwrap();
            }
        });
    }
    for worker in 0..3 {
        let client = on.test.client().await;
        tasks.spawn(async move {
            let worker = format!("w{worker}");
            let ended = "select count(*) = 120 from cogo.receipts";
            while !client.query_one(ended, &[]).await.unwrap().get::<_, bool>(0) {
                let claims = claim(&client, &worker, &["codegen/generate/0"], 5).await.unwrap();
                for claim in claims {
                    let outcome = json!([settling(&claim, "done", &json!({}))]);
                    assert!(settle(&client, &worker, &outcome).await.unwrap()[0].1);
                }
            }
        });
    }
    let all = tokio::time::timeout(std::time::Duration::from_secs(60), tasks.join_all()).await;
    assert!(all.is_ok(), "a message of a stream was lost");
    // The order of the ends of one producer's messages of one key is the order of their sending.
    let sql = "select message.ordering_key, message.payload from cogo.receipts as receipt
        join cogo.agent_messages as message using (id) order by receipt.claimed_at, receipt.done_at";
    let rows = on.rows(sql, &[]).await;
    assert_eq!(rows.len(), 120);
    let mut last = std::collections::BTreeMap::new();
    for row in &rows {
        let (key, payload): (String, Value) = (row.get(0), row.get(1));
        let n = payload["n"].as_i64().unwrap();
        let before = last.insert((key, payload["producer"].as_i64()), n);
        assert!(before.is_none_or(|before| before < n), "{n} after {before:?}");
    }
    on.is_whole().await;
}

#[tokio::test]
async fn a_rolled_back_producer_leaves_no_hole_in_a_stream() {
    let on = Fixture::new().await;
    let first = a_stream_of(&on, 1).await[0];
    on.run("begin").await;
    a_stream_of(&on, 3).await;
    on.run("rollback").await;
    let last = a_stream_of(&on, 1).await[0];
    let claim = on.claim_one().await;
    assert_eq!(claim.id, first);
    on.done(&claim).await;
    assert_eq!(on.claimed_ids(10).await, [last]);
    on.is_whole().await;
}
