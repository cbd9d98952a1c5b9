use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::desk::{ASSIGNMENT, Desk, forward};

#[tokio::test]
async fn the_target_gets_the_payload_under_the_same_trace_with_the_assignment_and_the_end_of_its_ttl()
 {
    let on = Desk::new().await;
    let _dispatcher = on.start(&[]);
    let sql = "insert into public.agent_messages (service, role, tenant, project_id, traceparent, payload)
        values ('orchestrator', 'execute', 'acme', gen_random_uuid(), '00-' || repeat('a', 32) || '-' || repeat('b', 16) || '-01', $1)
        returning id";
    let payload = json!({ "target": "codegen/generate/3", "payload": { "a": null, "__assignment": "forged" },
        "__assignment": { "ttl_ms": 5000 } });
    let id: i64 = on.sql.query_one(sql, &[&payload]).await.unwrap().get(0);
    on.until(&format!("select state = 'enqueued' from public.executions where id = {id}")).await;

    let same = "select target.trace_id = execute.trace_id and target.tenant = execute.tenant and target.project_id = execute.project_id
            and target.traceparent = execute.traceparent and target.parent_id = execute.id and target.shard = 3
            and target.expires_at = execute.created_at + interval '5 s'
            and execution.tenant = 'acme' and execution.trace_id = execute.trace_id and execution.target = 'codegen/generate/3'
            and execute.status = 'done', target.payload
        from public.executions as execution
        join public.agent_messages as target on target.id = execution.target_id
        join public.agent_messages as execute on execute.id = execution.id";
    let row = &on.rows(same).await[0];
    assert!(row.get::<_, bool>(0));
    let assignment =
        json!({ "budget": { "maxCostUsd": 0.1, "maxTokens": 200_000 }, "ttl_ms": 5000 });
    assert_eq!(row.get::<_, Value>(1), json!({ "a": null, "__assignment": assignment }));
    assert_eq!(on.told(id).await, ["execute_enqueued"]);
}

#[tokio::test]
async fn a_dispatcher_that_dies_before_its_commit_has_done_nothing() {
    let on = Desk::new().await;
    let id = on.generate().await;
    let claim = on.claim("orchestrator/execute/0").await.unwrap();
    {
        let mut dying = on.test.client().await;
        let transaction = dying.transaction().await.unwrap();
        let call = "select verdict from public.execution_forward('w', $1, $2::text::uuid, 'codegen/generate/0', $3::text::jsonb, $3::text::jsonb -> 'budget')";
        let row =
            transaction.query_one(call, &[&claim.id, &claim.lease, &ASSIGNMENT]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "forwarded");
    }
    let left = "(select count(*) from public.executions) + (select count(*) from public.bus_events)
        + (select count(*) from public.agent_messages where service = 'codegen')";
    on.until(&format!("select {left} = 0")).await;
    assert_eq!(
        on.text(&format!("select status from public.agent_messages where id = {id}"))
            .await
            .as_deref(),
        Some("claimed")
    );
    assert_eq!(forward(&on.sql, &claim).await.word, "forwarded");
    assert_eq!(on.told(id).await, ["execute_enqueued"]);
}

#[tokio::test]
async fn a_dispatcher_that_dies_after_its_commit_is_told_that_the_lease_is_lost() {
    let on = Desk::new().await;
    let id = on.generate().await;
    let claim = on.claim("orchestrator/execute/0").await.unwrap();
    forward(&on.sql, &claim).await;
    let again = forward(&on.sql, &claim).await;
    assert_eq!((again.word.as_str(), again.target_id), ("lost", None));
    assert_eq!(
        on.number("select count(*) from public.agent_messages where service = 'codegen'").await,
        1
    );
    assert_eq!(on.told(id).await, ["execute_enqueued"]);
}

#[tokio::test]
async fn of_many_who_forward_the_same_lease_one_does() {
    let on = Desk::new().await;
    for round in 1..=20 {
        on.generate().await;
        let claim = on.claim("orchestrator/execute/0").await.unwrap();
        let mut racing = JoinSet::new();
        for _ in 0..4 {
            let (client, claim) = (on.test.client().await, claim.clone());
            racing.spawn(async move { forward(&client, &claim).await.word });
        }
        let mut words = racing.join_all().await;
        words.sort();
        assert_eq!(words, ["forwarded", "lost", "lost", "lost"]);
        assert_eq!(on.number("select count(*) from public.executions").await, round);
        assert_eq!(
            on.number("select count(*) from public.agent_messages where service = 'codegen'").await,
            round
        );
    }
}

#[tokio::test]
async fn what_was_cancelled_while_it_was_claimed_is_not_forwarded() {
    let on = Desk::new().await;
    let id = on.generate().await;
    let claim = on.claim("orchestrator/execute/0").await.unwrap();
    on.run(&format!("select public.bus_cancel({id})")).await;
    assert_eq!(forward(&on.sql, &claim).await.word, "cancelled");
    assert_eq!(
        on.text(&format!("select status from public.agent_messages where id = {id}"))
            .await
            .as_deref(),
        Some("cancelled")
    );
    assert_eq!(
        on.number("select count(*) from public.agent_messages where service = 'codegen'").await,
        0
    );
}
