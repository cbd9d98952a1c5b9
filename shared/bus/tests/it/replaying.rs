use serde_json::{Value, json};

use crate::fixture::{Fixture, refusal};

async fn replay(on: &Fixture, id: i64) -> Result<i64, tokio_postgres::Error> {
    on.sql.query_one("select public.bus_replay($1)", &[&id]).await.map(|row| row.get(0))
}

#[tokio::test]
async fn a_replay_is_a_new_message_with_the_same_trace_and_work() {
    let on = Fixture::new().await;
    let id = on
        .send(json!({
            "shard": 2, "tenant": "acme", "priority": 4, "ordering_key": "o", "max_attempts": 1,
            "idempotency_key": "once", "payload": { "n": 1 }, "ttl_ms": 1000,
            "project_id": "7f1c5e0a-1111-4222-8333-123456789abc",
        }))
        .await;
    let claim = on.claim_one().await;
    on.end(&claim, "fail", json!({ "error": "x" })).await;
    let new = replay(&on, id).await.unwrap();
    let row = on
        .row(
            "select new.status, new.attempts, new.replay_of, new.payload, new.idempotency_key, new.expires_at is null,
                (new.shard, new.tenant, new.priority, new.ordering_key, new.max_attempts, new.project_id, new.trace_id)
                    = (old.shard, old.tenant, old.priority, old.ordering_key, old.max_attempts, old.project_id, old.trace_id)
            from public.agent_messages as new, public.agent_messages as old where new.id = $1 and old.id = $2",
            &[&new, &id],
        )
        .await;
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("queued", 0, id));
    assert_eq!(row.get::<_, Value>(3), json!({ "n": 1 }));
    assert_eq!(row.get::<_, Option<&str>>(4), None, "the first message still has the key");
    assert!(row.get::<_, bool>(5) && row.get::<_, bool>(6));
    let letter = "select replayed_as from public.agent_messages_dlq where orig_id = $1";
    assert_eq!(on.row(letter, &[&id]).await.get::<_, i64>(0), new);
    assert_eq!(on.status(id).await, "failed", "what ended stays as it ended");
    assert_eq!(on.events(new).await, ["replayed"]);
    let claim = on.claim_one().await;
    assert_eq!(claim.id, new);
    on.done(&claim).await;
    on.is_whole().await;
}

#[tokio::test]
async fn whatever_ended_can_be_replayed_also_twice() {
    let on = Fixture::new().await;
    for outcome in ["done", "fail", "cancel"] {
        let id = on.send(json!({})).await;
        let claim = on.claim_one().await;
        on.end(&claim, outcome, json!({})).await;
        let (one, two) = (replay(&on, id).await.unwrap(), replay(&on, id).await.unwrap());
        assert_ne!(one, two);
        for _ in 0..2 {
            let claim = on.claim_one().await;
            on.done(&claim).await;
        }
    }
    on.is_whole().await;
}

#[tokio::test]
async fn what_has_not_ended_cannot_be_replayed() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let refused = format!("55000 message {id} has not ended yet");
    assert_eq!(refusal(replay(&on, id).await), refused);
    let claim = on.claim_one().await;
    assert_eq!(refusal(replay(&on, id).await), refused);
    on.end(&claim, "retry", json!({})).await;
    assert_eq!(refusal(replay(&on, id).await), refused);
    assert_eq!(refusal(replay(&on, 4711).await), "P0002 there is no message 4711");
    assert_eq!(on.number("select count(*) from cogo.agent_messages").await, 1);
}

#[tokio::test]
async fn a_dead_letter_outlives_its_message_and_can_still_be_replayed() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "shard": 2, "tenant": "acme", "payload": { "n": 1 } })).await;
    let claim = on.claim_one().await;
    on.end(&claim, "fail", json!({})).await;
    let trace = on.text("select trace_id from public.agent_messages_dlq").await.unwrap();
    on.run("delete from cogo.agent_messages").await;
    let new = replay(&on, id).await.unwrap();
    let row = on
        .row(
            "select shard, tenant, payload, trace_id, replay_of from public.agent_messages where id = $1",
            &[&new],
        )
        .await;
    assert_eq!((row.get(0), row.get(1)), (2, "acme"));
    assert_eq!(row.get::<_, Value>(2), json!({ "n": 1 }));
    assert_eq!((row.get::<_, &str>(3), row.get::<_, i64>(4)), (trace.as_str(), id));
    assert_eq!(on.number("select replayed_as from public.agent_messages_dlq").await, new);
    on.is_whole().await;
}
