use serde_json::json;
use tokio::task::JoinSet;

use crate::desk::Desk;

const TARGET: &str = "codegen/generate/0";

#[tokio::test]
async fn how_the_targets_message_ends_is_told_once() {
    let on = Desk::new().await;
    let ends = [
        (json!({ "outcome": "done" }), "done", "execute_done"),
        (
            json!({ "outcome": "fail", "reason": "payload_invalid" }),
            "failed",
            "execute_failed payload_invalid",
        ),
        (json!({ "outcome": "cancel" }), "cancelled", "execute_failed cancelled"),
    ];
    for (outcome, state, told) in ends {
        let id = on.generate().await;
        assert_eq!(on.forward().await.word, "forwarded");
        assert_eq!(
            on.follow().await,
            json!({ "changed": 0, "ended": 0, "more": false, "open": true })
        );
        on.work(TARGET, outcome).await;
        assert_eq!(
            on.follow().await,
            json!({ "changed": 1, "ended": 1, "more": false, "open": false })
        );
        assert_eq!(
            on.follow().await,
            json!({ "changed": 0, "ended": 0, "more": false, "open": false })
        );
        assert_eq!(on.told(id).await, ["execute_enqueued", told]);
        let now = on
            .text(&format!(
                "select state from public.executions where id = {id} and ended_at is not null"
            ))
            .await;
        assert_eq!(now.as_deref(), Some(state));
    }
}

#[tokio::test]
async fn what_nobody_claims_within_its_ttl_has_exceeded_it() {
    let on = Desk::new().await;
    let id = on.generate().await;
    on.forward().await;
    on.test.advance(std::time::Duration::from_secs(61)).await;
    assert!(on.claim(TARGET).await.is_none(), "it must not start after its ttl");
    on.run("select public.bus_sweep('keeper')").await;
    on.follow().await;
    assert_eq!(on.told(id).await, ["execute_enqueued", "execute_failed ttl_exceeded"]);
}

#[tokio::test]
async fn each_failed_attempt_is_told_once_whether_or_not_anybody_looked_between_them() {
    let on = Desk::new().await;
    let again = json!({ "outcome": "retry", "error": "no", "retry_in_ms": 0 });
    for looks in [true, false] {
        for (last, attempts) in [("done", 2), ("retry", 2)] {
            let id = on.generate().await;
            on.forward().await;
            for _ in 0..attempts {
                on.work(TARGET, again.clone()).await;
                if looks {
                    on.follow().await;
                    on.follow().await;
                    let state = on
                        .text(&format!("select state from public.executions where id = {id}"))
                        .await;
                    assert_eq!(state.as_deref(), Some("retrying"));
                }
            }
            on.work(TARGET, json!({ "outcome": last, "error": "no" })).await;
            on.follow().await;
            let end =
                if last == "done" { "execute_done" } else { "execute_failed attempts_exhausted" };
            assert_eq!(
                on.told(id).await,
                [
                    "execute_enqueued",
                    "execute_retry attempt_failed",
                    "execute_retry attempt_failed",
                    end
                ]
            );
        }
    }
}

#[tokio::test]
async fn a_lost_lease_is_a_failed_attempt_and_a_release_is_none() {
    let on = Desk::new().await;
    let id = on.generate().await;
    on.forward().await;
    on.work(TARGET, json!({ "outcome": "release" })).await;
    on.follow().await;
    assert_eq!(on.told(id).await, ["execute_enqueued"]);
    on.claim(TARGET).await.unwrap();
    on.run("update cogo.leases set lease_until = now() - interval '1 s'; select public.bus_sweep('keeper')").await;
    on.follow().await;
    assert_eq!(on.told(id).await, ["execute_enqueued", "execute_retry attempt_failed"]);
}

#[tokio::test]
async fn a_follower_that_dies_before_its_commit_leaves_it_to_the_next() {
    let on = Desk::new().await;
    let id = on.generate().await;
    on.forward().await;
    on.work(TARGET, json!({ "outcome": "done" })).await;
    let mut dying = on.test.client().await;
    let transaction = dying.transaction().await.unwrap();
    transaction.query_one("select public.execution_follow()", &[]).await.unwrap();
    // Meanwhile another does not wait for it.
    assert_eq!(on.follow().await["changed"], 0);
    drop(transaction);
    drop(dying);
    on.until(&format!(
        "select public.execution_follow() is not null and (select state from public.executions where id = {id}) = 'done'"
    ))
    .await;
    assert_eq!(on.told(id).await, ["execute_enqueued", "execute_done"]);
}

#[tokio::test]
async fn many_who_follow_at_once_tell_each_end_once() {
    let on = Desk::new().await;
    on.run(
        "insert into public.agent_messages (service, role, payload)
        select 'orchestrator', 'execute', '{\"target\": \"codegen/generate/0\"}' from generate_series(1, 600);
        insert into public.bus_routes (service, role, backoff_base) values ('codegen', 'generate', '0 s')",
    )
    .await;
    let forward_all = format!(
        "select count(*) from (select id, lease from public.bus_claim('w', array['orchestrator/execute/0'], 600) offset 0) as claim
        cross join lateral public.execution_forward('w', claim.id, claim.lease, '{TARGET}', '{}', '{{}}')",
        crate::desk::ASSIGNMENT
    );
    assert_eq!(on.number(&forward_all).await, 600);
    // Most attempts fail, so that each is worked on up to three times.
    let work = "select count(*) from (select id, lease from public.bus_claim('t', array['codegen/generate/0'], 7) offset 0) as claim
        cross join lateral public.bus_settle('t', jsonb_build_array(jsonb_build_object('id', claim.id, 'lease', claim.lease,
            'outcome', case when claim.id % 5 = 0 then 'done' else 'retry' end)))";
    let mut following = JoinSet::new();
    for _ in 0..4 {
        let client = on.test.client().await;
        following.spawn(async move {
            loop {
                let row =
                    client.query_one("select public.execution_follow(20)", &[]).await.unwrap();
                let seen: serde_json::Value = row.get(0);
                if seen["open"] == false {
                    break;
                }
            }
        });
    }
    while on.number("select count(*) from public.executions where ended_at is null").await > 0 {
        on.number(work).await;
    }
    following.join_all().await;
    let told = "select count(*) from (
        select message_id, event_type, payload ->> 'attempt' from public.bus_events where event_type like 'execute\\_%'
        group by 1, 2, 3 having count(*) > 1) as twice";
    assert_eq!(on.number(told).await, 0);
    let expected = on
        .number(
            "select sum(1 + 1 + (receipt.attempts - 1)) from public.executions as execution
            join cogo.receipts as receipt on receipt.id = execution.target_id",
        )
        .await;
    let events = on
        .number("select count(*) from public.bus_events where event_type like 'execute\\_%'")
        .await;
    assert_eq!(events, expected);
}

#[tokio::test]
async fn an_execution_whose_message_is_gone_ends_as_well() {
    let on = Desk::new().await;
    let id = on.generate().await;
    let target = on.forward().await.target_id.unwrap();
    on.run(&format!("delete from cogo.agent_messages where id = {target}")).await;
    on.follow().await;
    assert_eq!(on.told(id).await, ["execute_enqueued", "execute_failed message_gone"]);
}

#[tokio::test]
async fn what_ended_long_ago_is_deleted_in_batches_and_what_is_open_is_kept() {
    let on = Desk::new().await;
    for _ in 0..3 {
        on.generate().await;
        on.forward().await;
        on.work(TARGET, json!({ "outcome": "done" })).await;
    }
    on.follow().await;
    on.generate().await;
    on.forward().await;
    on.test.advance(std::time::Duration::from_secs(100)).await;
    assert_eq!(on.number("select public.execution_retain('101 s')").await, 0);
    assert_eq!(on.number("select public.execution_retain('99 s', 2)").await, 2);
    assert_eq!(on.number("select public.execution_retain('99 s', 2)").await, 1);
    assert_eq!(on.number("select count(*) from public.executions where ended_at is null").await, 1);
}
