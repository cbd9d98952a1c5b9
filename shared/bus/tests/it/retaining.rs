use serde_json::{Value, json};

use crate::fixture::{Fixture, message};

const DAY: u64 = 86_400;

async fn retain(on: &Fixture) -> Value {
    let retained: Option<Value> = on.row("select public.bus_retain('keeper')", &[]).await.get(0);
    retained.expect("this keeper leads")
}

async fn finished(on: &Fixture, fields: Value) -> i64 {
    let id = on.send(fields).await;
    let claim = on.claim_one().await;
    on.done(&claim).await;
    id
}

#[tokio::test]
async fn each_kind_of_row_is_kept_as_long_as_it_should_be() {
    let on = Fixture::new().await;
    let done = finished(&on, json!({})).await;
    let failed = on.send(json!({})).await;
    let claim = on.claim_one().await;
    on.end(&claim, "fail", json!({})).await;
    on.run(
        "select public.bus_beat('{\"id\": \"w1\", \"agent_name\": \"a\", \"state\": \"gone\"}')",
    )
    .await;
    let count = async |table: &str| on.number(&format!("select count(*) from {table}")).await;
    let left = async || {
        (
            count("cogo.agent_messages").await,
            count("cogo.receipts").await,
            count("public.bus_events").await,
            count("public.workers").await,
            count("public.agent_messages_dlq").await,
        )
    };
    assert_eq!(left().await, (2, 2, 1, 1, 1));
    for (days, then) in [
        (1, (2, 2, 1, 1, 1)),
        (2, (2, 2, 1, 0, 1)),
        (6, (2, 2, 1, 0, 1)),
        (7, (0, 0, 1, 0, 1)),
        (13, (0, 0, 1, 0, 1)),
        (14, (0, 0, 0, 0, 1)),
        (29, (0, 0, 0, 0, 1)),
        (30, (0, 0, 0, 0, 0)),
    ] {
        // Just past the day, and rows were written a moment ago.
        on.run(&format!(
            "create table if not exists public.age (days int); insert into public.age select 0 where not exists (select from public.age);
            delete from public.age where days > {days}"
        ))
        .await;
        let before = on.number("select max(days) from public.age").await;
        on.advance((days - u64::try_from(before).unwrap()) * DAY + u64::from(before == 0) * 10)
            .await;
        on.run(&format!("update public.age set days = {days}")).await;
        retain(&on).await;
        assert_eq!(left().await, then, "after {days} days");
        on.is_whole().await;
    }
    let _ = (done, failed);
}

#[tokio::test]
async fn what_is_unfinished_stays_for_ever() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    on.claim_one().await;
    let delayed = on.send(json!({ "delay_ms": 1000 })).await;
    let ready = on.send(json!({ "tenant": "acme" })).await;
    on.advance(90 * DAY).await;
    assert_eq!(retain(&on).await["messages"], 0);
    assert_eq!(on.status(delayed).await, "queued");
    assert_eq!(on.status(ready).await, "queued");
    on.is_whole().await;
}

#[tokio::test]
async fn a_trace_that_was_touched_in_the_last_day_stays_whole() {
    let on = Fixture::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let old = finished(&on, json!({ "trace_id": trace })).await;
    let alone = finished(&on, json!({})).await;
    on.rows("select public.bus_emit(jsonb_build_array(jsonb_build_object('event_type', 'old', 'message_id', $1::bigint)))", &[&old])
        .await;
    on.advance(40 * DAY).await;
    let new = finished(&on, json!({ "trace_id": trace })).await;
    let retained = retain(&on).await;
    assert_eq!((&retained["messages"], &retained["events"]), (&json!(1), &json!(0)));
    assert_eq!((on.status(old).await, on.status(new).await), ("done".into(), "done".into()));
    let gone = on.rows("select from public.agent_messages where id = $1", &[&alone]).await;
    assert!(gone.is_empty());

    on.advance(DAY + 10).await;
    let retained = retain(&on).await;
    assert_eq!(
        (&retained["messages"], &retained["events"]),
        (&json!(1), &json!(1)),
        "the new one is young"
    );
    on.is_whole().await;
}

#[tokio::test]
async fn a_trace_with_unfinished_work_stays_whole() {
    let on = Fixture::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    finished(&on, json!({ "trace_id": trace })).await;
    on.send(json!({ "trace_id": trace, "delay_ms": 1 })).await;
    on.advance(40 * DAY).await;
    assert_eq!(retain(&on).await["messages"], 0);
}

#[tokio::test]
async fn retention_goes_in_batches_from_where_it_stopped() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 25])).await;
    for claim in on.claim(&["codegen/generate/0"], 25).await {
        on.done(&claim).await;
    }
    on.run("select public.bus_emit(jsonb_build_array(jsonb_build_object('event_type', 'a', 'trace_id', repeat('a', 32))))")
        .await;
    on.advance(40 * DAY).await;
    let mut from: Option<Value> = None;
    let mut batches = Vec::new();
    loop {
        let sql = "select public.bus_retain('keeper', $1, 10)";
        let retained: Value = on.row(sql, &[&from]).await.get(0);
        batches.push(retained["messages"].as_i64().unwrap());
        on.is_whole().await;
        from = Some(retained["from"].clone()).filter(|from| !from.is_null());
        if from.is_none() {
            break;
        }
    }
    assert_eq!(batches, [10, 10, 5, 0]);
    assert_eq!(on.number("select count(*) from cogo.agent_messages").await, 0);
    assert_eq!(on.number("select count(*) from public.bus_events").await, 0);
}

#[tokio::test]
async fn a_dead_letter_of_an_old_message_is_kept_a_month() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    on.end(&claim, "fail", json!({})).await;
    on.advance(20 * DAY).await;
    retain(&on).await;
    let letters = on.rows("select from public.agent_messages_dlq where orig_id = $1", &[&id]).await;
    assert_eq!(letters.len(), 1);
    on.is_whole().await;
}
