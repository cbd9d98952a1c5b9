use bus::Status;
use serde_json::json;
use testkit::Way;

use crate::fixture::{Fixture, message};

testkit::on_every_wire!(the_crate_reads_every_state_and_counts_every_place);

/// What the view says of a message, as one line.
async fn seen(on: &Fixture, id: i64) -> String {
    let sql = "select concat_ws(' ', status, attempts, coalesce(claimed_by, '-'),
            case when claimed_at is null then '-' else 'claimed_at' end,
            case when lease_until is null then '-' else 'lease_until' end,
            case when done_at is null then '-' else 'done_at' end,
            coalesce(error, '-'), cancel_requested)
        from public.agent_messages where id = $1";
    on.row(sql, &[&id]).await.get(0)
}

#[tokio::test]
async fn the_view_tells_the_truth_in_every_state() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "delay_ms": 1000 })).await;
    assert_eq!(seen(&on, id).await, "queued 0 - - - - - f", "delayed");
    on.advance(2).await;
    on.sweep().await;
    assert_eq!(seen(&on, id).await, "queued 0 - - - - - f", "ready");
    let claim = on.claim_one().await;
    assert_eq!(seen(&on, id).await, "claimed 1 w1 claimed_at lease_until - - f");
    on.end(&claim, "retry", json!({ "error": "no", "retry_in_ms": 1000 })).await;
    assert_eq!(seen(&on, id).await, "queued 1 - - - - no f", "waiting for its second attempt");
    on.advance(2).await;
    let claim = on.claim_one().await;
    assert_eq!(seen(&on, id).await, "claimed 2 w1 claimed_at lease_until - no f");
    on.cancel(id).await;
    assert_eq!(seen(&on, id).await, "claimed 2 w1 claimed_at lease_until - no t");
    on.end(&claim, "cancel", json!({})).await;
    assert_eq!(seen(&on, id).await, "cancelled 2 w1 claimed_at - done_at no f");

    on.publish(json!(vec![message(&json!({})); 2])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    on.done(&claims[0]).await;
    on.end(&claims[1], "fail", json!({ "error": "bad" })).await;
    assert_eq!(seen(&on, claims[0].id).await, "done 1 w1 claimed_at - done_at - f");
    assert_eq!(seen(&on, claims[1].id).await, "failed 1 w1 claimed_at - done_at bad f");
    let ordered = on.publish(json!(vec![message(&json!({ "ordering_key": "o" })); 2])).await;
    assert_eq!(seen(&on, ordered[1]).await, "queued 0 - - - - - f", "waiting for its turn");
    on.is_whole().await;
}

async fn the_crate_reads_every_state_and_counts_every_place(way: Way) {
    let on = Fixture::over(way).await;
    let mut ids = on.publish(json!(vec![message(&json!({})); 5])).await;
    let claims = on.claim(&["codegen/generate/0"], 4).await;
    on.done(&claims[0]).await;
    on.end(&claims[1], "fail", json!({})).await;
    on.end(&claims[2], "cancel", json!({})).await;
    ids.extend(on.publish(json!(vec![message(&json!({ "ordering_key": "o" })); 2])).await);
    ids.push(on.send(json!({ "delay_ms": 60_000 })).await);
    let ids: Vec<model::MessageId> = ids.into_iter().map(|id| id.try_into().unwrap()).collect();
    let states = on.bus.states(&ids).await.unwrap();
    let states: Vec<Status> = states.iter().map(|state| state.status).collect();
    use Status::{Cancelled, Claimed, Done, Failed, Queued};
    assert_eq!(states, [Done, Failed, Cancelled, Claimed, Queued, Queued, Queued, Queued]);
    let depths = on.bus.depth().await.unwrap();
    let depth = &depths.routes[0];
    assert_eq!(depths.routes.len(), 1);
    assert_eq!((depth.ready, depth.delayed, depth.waiting, depth.claimed), (2, 1, 1, 1));
    assert_eq!((depth.done_last_hour, depth.failed_last_hour), (1, 1));
    let peeked = on.bus.peek(&"codegen/generate/*".parse().unwrap(), 10).await.unwrap();
    assert_eq!(peeked.len(), 2);
    let trace = on.bus.trace(peeked[0].trace_id).await.unwrap().unwrap();
    assert_eq!(trace.messages.len(), 1);
}

#[tokio::test]
async fn a_deleted_message_leaves_nothing_behind_in_whatever_state_it_was() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 6])).await;
    let claims = on.claim(&["codegen/generate/0"], 5).await;
    on.done(&claims[0]).await;
    on.end(&claims[1], "fail", json!({})).await;
    on.end(&claims[2], "cancel", json!({})).await;
    on.end(&claims[3], "retry", json!({})).await;
    on.publish(json!(vec![message(&json!({ "ordering_key": "o" })); 3])).await;
    on.send(json!({ "delay_ms": 1000, "tenant": "acme", "priority": 3 })).await;
    on.run("delete from cogo.agent_messages").await;
    for table in ["ready", "later", "ordered", "leases", "receipts"] {
        assert_eq!(on.number(&format!("select count(*) from cogo.{table}")).await, 0, "{table}");
    }
    on.is_whole().await;
    let answers =
        on.settle(json!([crate::fixture::settling(&claims[4], "done", &json!({}))])).await;
    assert!(!answers[0].1);
    on.is_whole().await;
}

#[tokio::test]
async fn the_state_columns_of_the_view_cannot_be_written() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    for column in ["status", "claimed_by", "done_at", "result_snippet", "cancel_requested"] {
        let update = format!("update public.agent_messages set {column} = null");
        let error = on.sql.batch_execute(&update).await.unwrap_err();
        let said = error.as_db_error().unwrap().message().to_owned();
        assert!(said.contains(column), "{said}");
    }
    on.is_whole().await;
}
