use serde_json::{Value, json};

use crate::desk::Desk;

#[tokio::test]
async fn what_is_refused_fails_at_once_with_its_code_and_an_event_that_says_so() {
    let on = Desk::new().await;
    on.run(
        "insert into public.execution_policies (target, models, max_cost_usd, max_tokens) values
            ('*', null, 0.5, 1000000), ('ai/*', '{small,big-*}', null, null);
        insert into public.bus_routes (service, role, max_payload) values ('tiny', 'target', 1024)",
    )
    .await;
    let spent = "a".repeat(32);
    on.run(&format!(
        "insert into public.bus_events (event_type, trace_id, payload) values
            ('codegen_failed', '{spent}', '{{\"usage\": {{\"cost_usd\": 0.06, \"tokens\": 10}}}}'),
            ('codegen_done', '{spent}', '{{\"usage\": {{\"cost_usd\": 0.06, \"tokens\": 10}}}}'),
            ('codegen_done', '{spent}', '{{\"usage\": {{\"cost_usd\": \"much\"}}}}'),
            ('codegen_done', '{spent}', '{{\"usage\": {{\"cost_usd\": -5}}}}')"
    ))
    .await;
    let to =
        |target: &str, assignment: Value| json!({ "target": target, "__assignment": assignment });
    let cases = [
        ("target_invalid", to("codegen", json!({}))),
        ("target_invalid", to("codegen/generate/0/acme", json!({}))),
        ("target_refused", to("orchestrator/execute/0", json!({}))),
        ("target_refused", to("orchestrator/execute/7", json!({}))),
        ("target_refused", to("orchestrator/intent/0", json!({}))),
        ("payload_invalid", json!({ "payload": {} })),
        ("payload_invalid", json!({ "target": "codegen/generate/0", "payload": [] })),
        ("payload_invalid", json!({ "target": "codegen/generate/0", "paylaod": {} })),
        ("payload_invalid", to("codegen/generate/0", json!({ "ttl": 1 }))),
        (
            "payload_invalid",
            json!({ "target": "tiny/target/0", "payload": { "a": "b".repeat(2000) } }),
        ),
        ("ttl_exceeded", to("codegen/generate/0", json!({ "ttl_ms": 0 }))),
        ("model_policy_violation", to("ai/chat/0", json!({ "model": "big" }))),
        ("model_policy_violation", to("ai/chat/0", json!({ "model": "smaller" }))),
        ("budget_exceeded", to("ai/chat/0", json!({ "budget": { "maxCostUsd": -1 } }))),
        ("budget_exceeded", to("codegen/generate/0", json!({ "budget": { "maxCostUsd": 0.51 } }))),
        (
            "budget_exceeded",
            to("codegen/generate/0", json!({ "budget": { "maxTokens": 1_000_001 } })),
        ),
    ];
    let mut _dispatcher = on.start(&[]);
    let mut asked = Vec::new();
    for (code, payload) in cases {
        asked.push((on.execute(&payload).await, code, payload));
    }
    // Its own budget is small enough, but its trace has spent it already.
    let poor = "insert into public.agent_messages (service, role, trace_id, payload)
        values ('orchestrator', 'execute', $1, '{\"target\": \"codegen/generate/0\"}') returning id";
    let poor: i64 = on.sql.query_one(poor, &[&spent]).await.unwrap().get(0);
    asked.push((poor, "budget_exceeded", json!({})));

    for (id, code, payload) in &asked {
        on.until(&format!("select status = 'failed' from public.agent_messages where id = {id}"))
            .await;
        let reason = on
            .text(&format!("select reason from public.agent_messages_dlq where orig_id = {id}"))
            .await;
        let said =
            on.text(&format!("select error from public.agent_messages where id = {id}")).await;
        assert_eq!(reason.as_deref(), Some(*code), "{payload}: {said:?}");
        assert!(said.is_some_and(|said| said.len() > 20), "{payload} is not told why");
        assert_eq!(on.told(*id).await, [format!("execute_failed {code}")], "{payload}");
        let attempts =
            on.number(&format!("select attempts from public.agent_messages where id = {id}")).await;
        assert_eq!(attempts, 1, "{payload}");
    }
    assert_eq!(
        on.number("select count(*) from public.agent_messages where service <> 'orchestrator'")
            .await,
        0
    );
    assert_eq!(on.number("select count(*) from public.executions").await, 0);
}

#[tokio::test]
async fn a_policy_narrows_what_nobody_asked_for_and_the_most_specific_counts() {
    let on = Desk::new().await;
    on.run(
        "insert into public.execution_policies (target, models, max_cost_usd, max_tokens, max_ttl_ms) values
            ('*', '{}', 0, 0, 1), ('codegen/*', '{}', 0, 0, 1), ('codegen/generate', '{small-*}', 0.05, 7, 30000)",
    )
    .await;
    let _dispatcher = on.start(&[]);
    // Written out in full, as agent-core does.
    let assignment = json!({ "model": "small-1", "agent_id": "cogo-code-writer",
        "budget": { "maxCostUsd": 0.1, "maxTokens": 200_000 } });
    let id =
        on.execute(&json!({ "target": "codegen/generate/2", "__assignment": assignment })).await;
    on.until(&format!("select state = 'enqueued' from public.executions where id = {id}")).await;
    let got = on.rows("select payload, (1000 * extract(epoch from expires_at - (select created_at from public.agent_messages
        where service = 'orchestrator')))::bigint from public.agent_messages where service = 'codegen'").await;
    assert_eq!(
        got[0].get::<_, Value>(0),
        json!({ "__assignment": { "model": "small-1", "agent_id": "cogo-code-writer", "ttl_ms": 30_000,
            "budget": { "maxCostUsd": 0.05, "maxTokens": 7 } } })
    );
    assert_eq!(got[0].get::<_, i64>(1), 30_000);
    let agent = on
        .text("select agent_id from public.bus_events where event_type = 'execute_enqueued'")
        .await;
    assert_eq!(agent.as_deref(), Some("cogo-code-writer"));
}

#[tokio::test]
async fn the_allow_list_of_the_dispatchers_stage_decides_when_there_is_one() {
    let on = Desk::new().await;
    on.run(
        "insert into public.bus_routes (service, role, allowed_targets)
        values ('orchestrator', 'execute', '{orchestrator/intent,orchestrator/execute,ai/*}')",
    )
    .await;
    let _dispatcher = on.start(&[]);
    for (target, becomes) in [
        ("orchestrator/intent/0", "done"),
        ("ai/anything/0", "done"),
        ("codegen/generate/0", "failed"),
        // It would go round in circles, whatever anybody lists.
        ("orchestrator/execute/0", "failed"),
    ] {
        let id = on.execute(&json!({ "target": target })).await;
        on.until(&format!(
            "select status in ('done', 'failed') from public.agent_messages where id = {id}"
        ))
        .await;
        let status =
            on.text(&format!("select status from public.agent_messages where id = {id}")).await;
        assert_eq!(status.as_deref(), Some(becomes), "{target}");
    }
}
