use serde_json::{Value, json};

use crate::fixture::{Project, TRACE, refused, told};

#[tokio::test]
async fn a_trace_is_shown_to_whom_it_belongs() {
    let on = Project::start().await;
    on.open_a_stage().await;
    let message = json!({ "service": "example", "role": "echo", "tenant": "a", "trace_id": TRACE });
    on.run(&format!("select public.bus_publish('{message}')")).await;
    let path = format!("trace-status?trace_id={TRACE}");
    let (status, trace) = told(on.get(&path, &on.user("a"))).await;
    assert_eq!((status, &trace["at_rest"]), (200, &json!(false)), "{trace}");
    assert_eq!(trace["messages"][0]["status"], json!("queued"));
    on.end("example/echo/0", "done").await;
    let trace = told(on.get(&path, &on.user("a"))).await.1;
    assert_eq!(trace["at_rest"], json!(true));
    assert!(trace["events"].as_array().unwrap().iter().any(|one| one["event_type"] == "echo_done"));

    assert_eq!(refused(on.get(&path, &on.user("b"))).await, (404, "not_found".into()));
    assert_eq!(told(on.get(&path, &on.server())).await.0, 200);
    let anonymous = on.token(&json!({ "role": "anon" }));
    assert_eq!(refused(on.get(&path, &anonymous)).await.0, 401);
    let expired = json!({ "role": "authenticated", "tenant": "a", "exp": 1 });
    assert_eq!(refused(on.get(&path, &on.token(&expired))).await.0, 401);
}

#[tokio::test]
async fn dead_letters_are_listed_and_retried_by_whom_they_belong_to() {
    let on = Project::start().await;
    on.open_a_stage().await;
    let mine = on.dead_letter("example", "echo", "a").await;
    let theirs = on.dead_letter("example", "echo", "b").await;
    let closed = on.dead_letter("closed", "stage", "a").await;
    let user = on.user("a");
    let ids = |told: &Value| -> Vec<Value> {
        let letters = told["letters"].as_array().unwrap();
        letters.iter().map(|one| one["message_id"].clone()).collect()
    };
    assert_eq!(ids(&told(on.get("dlq-list", &user)).await.1), std::slice::from_ref(&mine));
    let server = on.server();
    let all = told(on.get("dlq-list?limit=2", &server)).await.1;
    assert_eq!(ids(&all), [closed.clone(), theirs.clone()]);
    let rest = told(on.get(&format!("dlq-list?before={}", all["next"]), &server)).await.1;
    assert_eq!((ids(&rest), &rest["next"]), (vec![mine.clone()], &Value::Null));
    let of = |query: &str| on.get(&format!("dlq-list?{query}"), &server);
    assert_eq!(ids(&told(of("service=closed&role=stage")).await.1), std::slice::from_ref(&closed));
    assert_eq!(ids(&told(of("reason=other")).await.1), Vec::<Value>::new());

    let retry = |id: &Value| on.post("dlq-retry", &user, &json!({ "message_id": id }));
    for foreign in [&theirs, &closed, &json!(4711)] {
        assert_eq!(refused(retry(foreign)).await, (404, "not_found".into()), "{foreign}");
    }
    for wrong in [json!("7"), json!(0), json!(1.5), Value::Null] {
        assert_eq!(refused(retry(&wrong)).await.0, 400, "{wrong}");
    }
    let (status, first) = told(retry(&mine)).await;
    assert_eq!(
        (status, &first["attached"], &first["trace_id"]),
        (200, &json!(false), &json!(TRACE))
    );
    let again = told(retry(&mine)).await.1;
    assert_eq!((&again["id"], &again["attached"]), (&first["id"], &json!(true)));
    let open = told(on.get("dlq-list?open_only=true", &user)).await.1;
    assert_eq!(ids(&open), Vec::<Value>::new());
    assert_eq!(on.value("select count(*) from public.agent_messages").await, json!(4));
}

#[tokio::test]
async fn workers_and_routes_are_told_with_one_request() {
    let on = Project::start().await;
    on.open_a_stage().await;
    on.dead_letter("example", "echo", "a").await;
    on.run(
        "select public.bus_publish('{\"service\": \"example\", \"role\": \"echo\", \"tenant\": \"a\"}');
        insert into public.workers (id, agent_name, service, role, tenant, state) values
            ('one', 'x', 'example', 'echo', 'a', 'ready'), ('all', 'x', 'example', 'echo', null, 'ready')",
    )
    .await;
    let (user, server) = (on.user("a"), on.server());
    let workers = async |token: &str| {
        let workers = told(on.get("workers-active", token)).await.1;
        workers["workers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(workers(&user).await, [json!("one")]);
    assert_eq!(workers(&server).await, [json!("all"), json!("one")]);
    for token in [&user, &server] {
        let overview = told(on.get("metrics-overview", token)).await.1;
        let route = &overview["routes"][0];
        assert_eq!(
            json!([
                route["service"],
                route["queued"],
                route["in_flight"],
                route["failed_last_hour"]
            ]),
            json!(["example", 1, 0, 1])
        );
    }
    assert_eq!(told(on.get("metrics-overview", &on.user("b"))).await.1["routes"], json!([]));
}
