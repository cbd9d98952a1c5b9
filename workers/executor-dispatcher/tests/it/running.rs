use serde_json::json;

use crate::desk::Desk;

#[tokio::test]
async fn what_a_dead_dispatcher_left_open_another_closes() {
    let on = Desk::new().await;
    let mut first = on.start(&[]);
    let id = on.generate().await;
    on.until(&format!("select state = 'enqueued' from public.executions where id = {id}")).await;
    first.stops().await;
    on.work("codegen/generate/0", json!({ "outcome": "done" })).await;
    let mut second = on.start(&[]);
    on.until(&format!("select state = 'done' from public.executions where id = {id}")).await;
    assert_eq!(on.told(id).await, ["execute_enqueued", "execute_done"]);
    second.stops().await;
}

#[tokio::test]
async fn a_worker_role_needs_no_more_than_the_functions() {
    let on = Desk::new().await;
    for role in ["cogo_worker", "service_role"] {
        on.generate().await;
        let claim = on.claim("orchestrator/execute/0").await.unwrap();
        let me = on.test.as_role(role, &json!({ "role": role })).await;
        let forward = format!(
            "select verdict from public.execution_forward('w', {}, '{}', 'codegen/generate/0', '{}', '{{}}')",
            claim.id,
            claim.lease,
            crate::desk::ASSIGNMENT
        );
        let rows = me.query(&forward, &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, &str>(0), "forwarded");
        me.query("select public.execution_follow()", &[]).await.unwrap();
        me.query("select public.execution_retain('1 s')", &[]).await.unwrap();
        me.query("select from public.executions, public.circuits, public.execution_policies", &[])
            .await
            .unwrap();
    }
    for role in ["anon", "authenticated"] {
        let me = on.test.as_role(role, &json!({ "role": role, "tenant": "default" })).await;
        for sql in [
            "select public.execution_follow()",
            "select public.execution_retain('1 s')",
            "select from public.executions",
            "select from public.circuits",
            "select from public.execution_policies",
        ] {
            assert!(me.query(sql, &[]).await.is_err(), "{role} may {sql}");
        }
    }
}
