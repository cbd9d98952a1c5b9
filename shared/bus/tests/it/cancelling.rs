use bus::Cancelled;
use serde_json::json;
use testkit::Way;

use crate::fixture::{Fixture, message, refusal, until};

testkit::on_every_wire!(the_crate_says_what_it_found);

#[tokio::test]
async fn what_is_queued_in_whatever_place_is_cancelled_at_once() {
    let on = Fixture::new().await;
    let ids = on
        .publish(json!([
            message(&json!({})),
            message(&json!({ "delay_ms": 60_000 })),
            message(&json!({ "ordering_key": "o" })),
            message(&json!({ "ordering_key": "o" })),
            message(&json!({ "ordering_key": "p", "delay_ms": 60_000 })),
            message(&json!({ "priority": 7, "tenant": "acme", "shard": 3 })),
        ]))
        .await;
    for id in ids.iter().rev() {
        assert_eq!(on.cancel(*id).await, "cancelled");
        assert_eq!((on.status(*id).await.as_str(), on.attempts(*id).await), ("cancelled", 0));
        assert_eq!(on.events(*id).await, ["cancelled"]);
        on.is_whole().await;
    }
    assert!(on.claimed_ids(10).await.is_empty());
    assert_eq!(on.number("select count(*) from public.agent_messages_dlq").await, 0);
}

#[tokio::test]
async fn the_worker_of_what_is_claimed_is_asked_and_has_the_last_word() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 5])).await;
    let claims = on.claim(&["codegen/generate/0"], 5).await;
    for claim in &claims {
        assert_eq!(on.cancel(claim.id).await, "claimed");
        assert_eq!(on.cancel(claim.id).await, "claimed");
        let asked = "select cancel_requested from public.agent_messages where id = $1";
        assert!(on.row(asked, &[&claim.id]).await.get::<_, bool>(0));
    }
    for (claim, (outcome, state)) in claims.iter().zip([
        ("done", "done"),
        ("cancel", "cancelled"),
        ("retry", "cancelled"),
        ("release", "cancelled"),
        ("fail", "failed"),
    ]) {
        assert_eq!(on.end(claim, outcome, json!({})).await, state, "{outcome}");
        assert_eq!(on.status(claim.id).await, state);
    }
    on.is_whole().await;
}

#[tokio::test]
async fn what_a_cancelled_message_would_hand_on_is_dropped_with_it() {
    let on = Fixture::new().await;
    on.publish(json!([message(&json!({})), message(&json!({}))])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    on.cancel(claims[0].id).await;
    for (claim, state) in claims.iter().zip(["cancelled", "done"]) {
        let follow = json!({
            "publish": [message(&json!({ "service": "next" }))],
            "events": [{ "event_type": "codegen_done" }],
        });
        assert_eq!(on.end(claim, "done", follow).await, state);
        assert_eq!(on.status(claim.id).await, state);
    }
    assert_eq!(on.events(claims[0].id).await, ["cancelled"]);
    assert_eq!(on.events(claims[1].id).await, ["codegen_done"]);
    let handed_on = "select count(*) from public.agent_messages where service = 'next'";
    assert_eq!(on.number(handed_on).await, 1);
    on.is_whole().await;
}

#[tokio::test]
async fn a_cancelled_trace_ends_wherever_its_messages_are() {
    let on = Fixture::new().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mine = |fields: serde_json::Value| {
        let mut message = message(&fields);
        message["trace_id"] = json!(trace);
        message
    };
    let other = on.send(json!({})).await;
    on.publish(json!([mine(json!({ "priority": 9 })), mine(json!({ "priority": 9 }))])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    on.done(&claims[0]).await;
    let waiting = on
        .publish(json!([
            mine(json!({ "delay_ms": 60_000 })),
            mine(json!({ "ordering_key": "o" })),
            mine(json!({ "ordering_key": "o", "tenant": "acme" })),
        ]))
        .await;
    let cancel = "select cancelled, asked from public.bus_cancel_trace($1)";
    let told = on.row(cancel, &[&trace]).await;
    assert_eq!((told.get::<_, i32>(0), told.get::<_, i32>(1)), (3, 1));
    for id in waiting {
        assert_eq!(on.status(id).await, "cancelled");
    }
    assert_eq!(on.status(claims[0].id).await, "done");
    assert_eq!(on.status(other).await, "queued");
    let again = on.row(cancel, &[&trace]).await;
    assert_eq!((again.get::<_, i32>(0), again.get::<_, i32>(1)), (0, 0));
    assert_eq!(on.end(&claims[1], "release", json!({})).await, "cancelled");
    let unknown = on.sql.query(cancel, &[&"1af7651916cd43dd8448eb211c80319c"]).await;
    assert!(refusal(unknown).contains("there is no trace"));
    on.is_whole().await;
}

#[tokio::test]
async fn a_cancelled_message_whose_worker_died_does_not_come_back() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    on.claim_one().await;
    on.cancel(id).await;
    on.advance(31).await;
    on.sweep().await;
    assert_eq!(on.status(id).await, "cancelled");
    on.is_whole().await;
}

#[tokio::test]
async fn what_has_ended_stays_as_it_ended() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 3])).await;
    let claims = on.claim(&["codegen/generate/0"], 3).await;
    for (claim, (outcome, state)) in
        claims.iter().zip([("done", "done"), ("fail", "failed"), ("cancel", "cancelled")])
    {
        on.end(claim, outcome, json!({})).await;
        let events = on.events(claim.id).await;
        assert_eq!(on.cancel(claim.id).await, state);
        assert_eq!(on.events(claim.id).await, events);
    }
    on.is_whole().await;
}

#[tokio::test]
async fn a_message_that_is_not_there_is_named() {
    let on = Fixture::new().await;
    let said = refusal(on.sql.query("select public.bus_cancel(4711)", &[]).await);
    assert_eq!(said, "P0002 there is no message 4711");
}

#[tokio::test]
async fn a_message_in_the_middle_of_a_claim_is_found_again() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let other = on.test.client().await;
    on.run("begin").await;
    on.claim_one().await;
    let cancelling = async { other.query_one("select public.bus_cancel($1)", &[&id]).await };
    let ((), cancelled) = tokio::join!(
        async {
            let client = on.test.client().await;
            until(&client, "exists (select from pg_stat_activity where wait_event_type = 'Lock')")
                .await;
            on.run("commit").await;
        },
        cancelling
    );
    assert_eq!(cancelled.unwrap().get::<_, &str>(0), "claimed");
    on.is_whole().await;
}

/// Found by the chaos: the cancellation had read the attempts before it waited for the sweep.
#[tokio::test]
async fn a_message_in_the_middle_of_a_reclaim_keeps_the_attempt_it_spent() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    on.claim_one().await;
    on.advance(31).await;
    let other = on.test.client().await;
    on.run("begin").await;
    on.sweep().await;
    let cancelling = async { other.query_one("select public.bus_cancel($1)", &[&id]).await };
    let ((), cancelled) = tokio::join!(
        async {
            let client = on.test.client().await;
            let waits = "exists (select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock')";
            until(&client, waits).await;
            on.run("commit").await;
        },
        cancelling
    );
    assert_eq!(cancelled.unwrap().get::<_, &str>(0), "cancelled");
    assert_eq!(on.attempts(id).await, 1);
    on.is_whole().await;
}

async fn the_crate_says_what_it_found(way: Way) {
    let on = Fixture::over(way).await;
    let id = on.send(json!({})).await.try_into().unwrap();
    let other = on.send(json!({})).await.try_into().unwrap();
    assert_eq!(on.bus.cancel(id, "no_longer_needed").await.unwrap(), Cancelled::Now);
    assert_eq!(on.bus.cancel(id, "x").await.unwrap(), Cancelled::Ended("cancelled"));
    let reason = on.text("select reason from cogo.receipts").await;
    assert_eq!(reason.as_deref(), Some("no_longer_needed"));
    let claim = on.claim_one().await;
    assert_eq!(on.bus.cancel(other, "x").await.unwrap(), Cancelled::Asked);
    on.done(&claim).await;
    assert_eq!(on.bus.cancel(other, "x").await.unwrap(), Cancelled::Ended("done"));
}
