use std::time::Duration;

use serde_json::json;

use crate::desk::Desk;

const TARGET: &str = "codegen/generate/0";

/// Two failures open it; a target's message has one attempt.
async fn fragile(open_for: &str) -> Desk {
    let on = Desk::new().await;
    on.run(&format!(
        "insert into public.execution_policies (target, circuit_failures, circuit_open_for) values ('codegen/*', 2, '{open_for}');
        insert into public.bus_routes (service, role, max_attempts) values ('codegen', 'generate', 1)"
    ))
    .await;
    on
}

async fn circuit(on: &Desk) -> String {
    on.text("select state from public.circuits where target = 'codegen/generate'")
        .await
        .unwrap_or_default()
}

/// Forwarded, worked on in this way, and told of.
async fn ends(on: &Desk, outcome: serde_json::Value) -> i64 {
    let id = on.generate().await;
    assert_eq!(on.forward().await.word, "forwarded");
    on.work(TARGET, outcome).await;
    on.follow().await;
    id
}

async fn breaks(on: &Desk) -> i64 {
    ends(on, json!({ "outcome": "retry", "error": "no" })).await
}

#[tokio::test]
async fn it_opens_after_failures_in_a_row_and_those_that_follow_wait_without_losing_an_attempt() {
    let on = fragile("30 s").await;
    breaks(&on).await;
    ends(&on, json!({ "outcome": "done" })).await;
    breaks(&on).await;
    assert_eq!(circuit(&on).await, "closed", "they were not in a row");
    let last = breaks(&on).await;
    assert_eq!(circuit(&on).await, "open");
    let opened = "select count(*) from public.bus_events where event_type = 'circuit_opened' and reason = 'attempts_exhausted'
        and service = 'codegen' and role = 'generate' and message_id = ";
    assert_eq!(on.number(&format!("{opened}{last}")).await, 1);

    let id = on.generate().await;
    for _ in 0..5 {
        assert_eq!(on.forward().await.word, "waits");
        on.run("update cogo.later set due_at = now()").await;
    }
    // It is told once, however often it looks.
    assert_eq!(on.told(id).await, ["execute_retry circuit_open"]);
    assert_eq!(
        on.number(&format!("select attempts from public.agent_messages where id = {id}")).await,
        0
    );
    assert_eq!(
        on.text(&format!("select state from public.executions where id = {id}")).await.as_deref(),
        Some("waiting")
    );
}

#[tokio::test]
async fn only_failures_to_work_at_all_count() {
    let on = fragile("30 s").await;
    for outcome in [
        json!({ "outcome": "fail", "reason": "payload_invalid" }),
        json!({ "outcome": "fail", "reason": "budget_exceeded" }),
        json!({ "outcome": "fail", "reason": "tests_failed" }),
        json!({ "outcome": "cancel" }),
    ] {
        for _ in 0..3 {
            ends(&on, outcome.clone()).await;
        }
    }
    assert_eq!(on.number("select count(*) from public.circuits").await, 0);
    for _ in 0..2 {
        on.generate().await;
        on.forward().await;
    }
    on.test.advance(Duration::from_secs(61)).await;
    on.run("select public.bus_sweep('keeper')").await;
    on.follow().await;
    assert_eq!(
        circuit(&on).await,
        "open",
        "a target that claims nothing within the ttl does not work"
    );
}

#[tokio::test]
async fn one_probe_goes_through_and_its_end_decides() {
    let on = fragile("30 s").await;
    breaks(&on).await;
    breaks(&on).await;
    let (one, other) = (on.generate().await, on.generate().await);
    assert_eq!(on.forward().await.word, "waits");
    assert_eq!(on.forward().await.word, "waits");
    on.test.advance(Duration::from_secs(30)).await;
    assert_eq!(on.forward().await.word, "forwarded");
    assert_eq!(circuit(&on).await, "half_open");
    assert_eq!(on.number("select probe_id from public.circuits").await, one);
    assert_eq!(on.forward().await.word, "waits");

    on.work(TARGET, json!({ "outcome": "retry" })).await;
    on.follow().await;
    assert_eq!(circuit(&on).await, "open");
    on.test.advance(Duration::from_secs(29)).await;
    // Its ttl ends before the circuit may be probed again.
    on.run("update cogo.later set due_at = now()").await;
    assert_eq!(on.forward().await.word, "waits");
    assert_eq!(on.told(other).await, ["execute_retry circuit_open", "execute_retry circuit_open"]);
    on.test.advance(Duration::from_secs(1)).await;
    let late = on.forward().await;
    assert_eq!((late.word.as_str(), late.reason.as_deref()), ("refused", Some("ttl_exceeded")));
    assert_eq!(
        on.text(&format!("select state from public.executions where id = {other}"))
            .await
            .as_deref(),
        Some("failed")
    );

    // The next probe ends well: it closes, and whoever waits is called at once.
    ends_as_probe(&on).await;
}

async fn ends_as_probe(on: &Desk) {
    let probe = on.generate().await;
    assert_eq!(on.forward().await.word, "forwarded");
    assert_eq!(circuit(on).await, "half_open");
    let waiting = on.generate().await;
    assert_eq!(on.forward().await.word, "waits");
    assert!(on.claim("orchestrator/execute/0").await.is_none());
    on.work(TARGET, json!({ "outcome": "done" })).await;
    on.follow().await;
    assert_eq!(circuit(on).await, "closed");
    let closed = format!(
        "select count(*) from public.bus_events where event_type = 'circuit_closed' and message_id = {probe}"
    );
    assert_eq!(on.number(&closed).await, 1);
    assert_eq!(on.forward().await.word, "forwarded");
    assert_eq!(on.told(waiting).await, ["execute_retry circuit_open", "execute_enqueued"]);
    assert_eq!(on.number("select failures from public.circuits").await, 0);
}

#[tokio::test]
async fn what_was_forwarded_before_it_opened_has_no_say_in_when_it_closes() {
    let on = fragile("30 s").await;
    let early = on.generate().await;
    on.forward().await;
    let claim = on.claim(TARGET).await.unwrap();
    breaks(&on).await;
    breaks(&on).await;
    on.settle(&claim, json!({ "outcome": "done" })).await;
    on.follow().await;
    assert_eq!(on.told(early).await, ["execute_enqueued", "execute_done"]);
    assert_eq!(circuit(&on).await, "open");
}

#[tokio::test]
async fn a_cancelled_probe_lets_another_probe() {
    let on = fragile("30 s").await;
    breaks(&on).await;
    breaks(&on).await;
    on.test.advance(Duration::from_secs(30)).await;
    on.generate().await;
    on.generate().await;
    let probe = on.forward().await.target_id.unwrap();
    assert_eq!(on.forward().await.word, "waits");
    on.run(&format!("select public.bus_cancel({probe})")).await;
    on.follow().await;
    assert_eq!(on.forward().await.word, "forwarded");
    assert_eq!(circuit(&on).await, "half_open");
}

#[tokio::test]
async fn a_probe_that_somebody_removed_does_not_stand_in_the_way_for_ever() {
    let on = fragile("30 s").await;
    breaks(&on).await;
    breaks(&on).await;
    on.test.advance(Duration::from_secs(30)).await;
    on.generate().await;
    assert_eq!(on.forward().await.word, "forwarded");
    on.run("delete from public.executions where id = (select probe_id from public.circuits)").await;
    let next = on.generate().await;
    assert_eq!(on.forward().await.word, "forwarded");
    assert_eq!(on.number("select probe_id from public.circuits").await, next);
}

#[tokio::test]
async fn what_is_cancelled_while_it_waits_ends() {
    let on = fragile("30 s").await;
    breaks(&on).await;
    breaks(&on).await;
    let id = on.generate().await;
    assert_eq!(on.forward().await.word, "waits");
    on.run(&format!("select public.bus_cancel({id})")).await;
    on.follow().await;
    assert_eq!(on.told(id).await, ["execute_retry circuit_open", "execute_failed cancelled"]);
    assert_eq!(circuit(&on).await, "open");
}

#[tokio::test]
async fn two_dispatchers_live_through_a_targets_failure_and_recovery_together() {
    let on = fragile("1 s").await;
    let (mut one, mut other) =
        (on.start(&["--bus-poll-ms", "3600000"]), on.start(&["--bus-poll-ms", "3600000"]));
    for _ in 0..2 {
        on.generate().await;
    }
    for _ in 0..2 {
        on.until("select exists (select from cogo.ready join cogo.lanes on lanes.id = lane_id where service = 'codegen')").await;
        on.work(TARGET, json!({ "outcome": "retry" })).await;
    }
    on.until("select exists (select from public.circuits where state = 'open')").await;
    on.run(
        "insert into public.agent_messages (service, role, payload)
        select 'orchestrator', 'execute', '{\"target\": \"codegen/generate/0\"}' from generate_series(1, 40)",
    )
    .await;
    on.until("select count(*) = 40 from public.executions where state = 'waiting'").await;
    // After a while exactly one of them reaches the target.
    on.until("select exists (select from public.circuits where state = 'half_open')").await;
    assert_eq!(
        on.number("select count(*) from public.executions where state = 'enqueued'").await,
        1
    );
    on.work(TARGET, json!({ "outcome": "done" })).await;
    on.until("select count(*) = 39 from public.executions where state = 'enqueued'").await;
    for _ in 0..39 {
        on.work(TARGET, json!({ "outcome": "done" })).await;
    }
    on.until("select count(*) = 40 from public.executions where state = 'done'").await;
    for (event, count) in [
        ("circuit_opened", 1),
        ("circuit_closed", 1),
        ("execute_enqueued", 42),
        ("execute_done", 40),
        ("execute_failed", 2),
        ("execute_retry", 40),
    ] {
        let sql = format!("select count(*) from public.bus_events where event_type = '{event}'");
        assert_eq!(on.number(&sql).await, count, "{event}");
    }
    let spent = "select count(*) from public.agent_messages where service = 'orchestrator' and (attempts <> 1 or status <> 'done')";
    assert_eq!(on.number(spent).await, 0);
    one.stops().await;
    other.stops().await;
}
